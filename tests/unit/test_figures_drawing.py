"""Every figure, drawn from small tables: it shows what the tables hold, and holds on where they have gaps."""

import itertools
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.tokens import UNITS
from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, StageInfo, View
from modecollapse.figures.labels import axis_lines, output_label, token_label
from modecollapse.figures.lineage import lineage
from modecollapse.figures.registry import FIGURES, Drawing, figures_of
from modecollapse.lineage import paths
from modecollapse.metrics.registry import METRICS, QUALITIES

STAGES = ("plm", "sft", "dpo")
SIZES = ("small", "large")
CAPTIONS = Path(__file__).parents[2] / "workflow" / "report"


@pytest.fixture
def context() -> FigureContext:
    spec = {
        "title": "A study",
        "labels": {"plm": "PLM", "sft": "SFT", "dpo": "DPO"},
        "methods": {"plm": "pretrain", "sft": "sft", "dpo": "dpo"},
        "data": {"plm": "corpus", "sft": "answers", "dpo": None},
        "lineage": {"plm": [], "sft": ["plm"], "dpo": ["sft"]},
        "temperature": "1.0",
        "prompts": {"creative": {"c0": "Write a poem that costs $5."}, "factual": {"f0": "What is it?"}},
    }
    return FigureContext.from_spec(spec, SIZES, "small")


def grid(**axes: tuple[Any, ...]) -> pd.DataFrame:
    return pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)


def measured(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Adds numbers that rise along the rows, with intervals of ± 0.05, and the columns still missing."""
    value = np.linspace(0.2, 0.8, len(frame))
    frame = frame.assign(definition="corrected", low=value - 0.05, high=value + 0.05)
    frame = frame.assign(**{"delta" if "delta" in SCHEMAS[name].names else "value": value})
    defaults = {"format": "human", "unit": "", "share": 0.5}
    defaults |= dict.fromkeys(("format_before", "format_after"), "human")
    missing = {column: defaults.get(column, 20) for column in SCHEMAS[name].names if column not in frame}
    return frame.assign(**missing)[SCHEMAS[name].names]


@pytest.fixture
def tables() -> dict[str, pd.DataFrame]:
    prompts, temperatures = ("creative", "factual"), ("0.5", "1.0", "1.5")
    models = {"size": SIZES, "stage": STAGES}
    cut = tuple(name for name, metric in METRICS.items() if metric.scope != "whole")
    whole = ("mean_length", "empty_rate", *QUALITIES)
    curves = pd.concat(
        grid(**models, prompts=prompts, temperature=temperatures, words=(words,), metric=metrics)
        for words, metrics in ((20, cut), (0, whole))
    )
    steps = {"path": ("plm>sft>dpo",), "step": ("plm>sft", "sft>dpo", "total")}
    output = grid(size=SIZES, level=("output",), prompts=prompts, temperature=("1.0", "mean"), metric=cut, **steps)
    token = grid(size=SIZES, level=("token",), prompts=("",), temperature=("",), metric=tuple(UNITS), **steps)
    attribution = pd.concat([output.assign(words=20), token.assign(words=0)])
    matched = grid(size=SIZES, prompts=prompts, metric=cut, **steps).assign(words=20, note="")
    answers = grid(**models, prompts=prompts, prompt=("c0",), sample=(0, 1))
    logged = grid(**models, step=tuple(range(5)), quantity=("loss", "learning_rate"))
    strengths = grid(task=prompts, quantity=("self_bleu", "utility"), **{"lambda": (0.0, 0.5, 1.0)})
    keys = pd.DataFrame({"key": prompts, "prompts": prompts[::-1]})
    published = grid(**models, temperature=temperatures, metric=("self_bleu", "cosine")).merge(keys, how="cross")
    parts = pd.DataFrame({"effect": ["stage", "format", "apparent"], "within": ["both", "both", ""]})
    sides = {"format_before": ("okay",), "format_after": ("human",)}
    effects = grid(size=SIZES, prompts=prompts, temperature=("mean",), metric=cut, step=("plm>sft", "plm>dpo"), **sides)
    effects = effects.merge(parts, how="cross").assign(words=20)
    asked = grid(**models, task=("arc_easy", "lambada_openai"), shots=(0, 5), metric=("perplexity", "acc"))
    floor = pd.DataFrame([{"task": "pretraining", "quantity": "entropy_floor", "lambda": math.nan, "value": 0.7}])
    return {
        "curves": measured("curves", curves),
        "attribution": measured("attribution", attribution),
        "published": measured("published", published),
        "matched_attribution": measured("matched_attribution", matched),
        "format_effect": measured("format_effect", effects),
        "benchmarks_pooled": measured("benchmarks_pooled", asked).assign(
            filter="none", chance=np.where(asked["task"] == "arc_easy", 0.25, math.nan), higher_is_better=True
        ),
        "tokens_pooled": measured("tokens_pooled", grid(**models, metric=tuple(UNITS))),
        "vocabulary_cdf": grid(**models, rank_share=(0.001, 0.01, 0.1, 1.0)).assign(
            seed=0, mass=lambda frame: frame["rank_share"] ** 0.1
        ),
        "samples": answers.assign(
            seed=0, format="human", temperature="1.0", text="It costs $5 and \U0001f600, or $x_1. " * 30
        ),
        "training": logged.assign(seed=0, value=1.0),
        "truth": pd.concat([strengths.assign(value=strengths["lambda"] / 4), floor]),
    }


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return found


@pytest.mark.parametrize("kind", FIGURES)
def test_each_figure_is_drawn_without_warnings_and_inside_its_edges(
    kind: str, tables: dict[str, pd.DataFrame], context: FigureContext, recwarn: pytest.WarningsRecorder
) -> None:
    figure = Drawing(kind, "small").draw(tables, context)
    FigureCanvasAgg(figure).draw()
    assert not [str(warning.message) for warning in recwarn]
    width, height = figure.get_size_inches()
    assert width <= 7.25
    box = figure.get_tightbbox()
    assert box.x0 >= -0.02
    assert box.y0 >= -0.02
    assert box.x1 <= width + 0.02
    assert box.y1 <= height + 0.02


def epochs_of(frame: pd.DataFrame, lines: Sequence[str]) -> pd.DataFrame:
    """A table of the three stages, turned into one of the stages of all `lines`, or of the steps of `lines`."""
    if "path" in frame:
        steps = [(line, f"{a}>{b}") for line in lines for a, b in itertools.pairwise(line.split(">"))]
        rows = frame[frame["step"] == "plm>sft"]
        parts = [rows.assign(path=line, step=step) for line, step in steps + [(line, "total") for line in lines]]
        return pd.concat(
            part.assign(delta=0.02 + 0.01 * n, low=0.0, high=0.06 + 0.01 * n) for n, part in enumerate(parts)
        )
    if "effect" in frame:
        steps = dict.fromkeys(f"{a}>{b}" for line in lines for a, b in itertools.pairwise(line.split(">")))
        rows = frame[frame["step"] == frame["step"].iloc[0]]
        return pd.concat(rows.assign(step=step) for step in steps)
    if "stage" in frame:
        stages = dict.fromkeys(stage for line in lines for stage in line.split(">"))
        parts = [frame[frame["stage"] == "sft"].assign(stage=stage) for stage in stages]
        if "step" in frame:
            parts = [part.assign(step=part["step"] + 5 * place) for place, part in enumerate(parts)]
        return pd.concat(parts)
    return frame


@pytest.fixture
def epochs() -> FigureContext:
    """0 to 3 epochs of SFT, and 3 of DPO from each: 16 stages in four lines."""
    runs = {"sft": "plm", "dpo0": "plm", **{f"dpo{n}": f"sft-{n}" for n in (1, 2, 3)}}
    lineage = {"plm": []}
    for run, parent in runs.items():
        lineage |= {f"{run}-{epoch}": [f"{run}-{epoch - 1}" if epoch > 1 else parent] for epoch in (1, 2, 3)}
    labels = {stage: stage.upper().replace("-", " ") for stage in lineage}
    spec = {
        "title": "Epochs", "labels": labels, "methods": {stage: stage.partition("-")[0][:3] for stage in lineage},
        "data": dict.fromkeys(lineage, "helpful"), "lineage": lineage, "temperature": "1.0",
        "prompts": {"creative": {"c0": "Write a poem that costs $5."}, "factual": {"f0": "What is it?"}},
        "runs": {stage: stage[:-2] for stage in lineage if stage != "plm"},
    }  # fmt: skip
    return FigureContext.from_spec(spec, SIZES, "small")


CROWDED = ["lineage", "training_curves", "self_bleu_cosine", "samples", "attribution", "token_attribution"]
"""Figures that have most to show when there are more stages."""


@pytest.mark.parametrize(
    "kind", [kind if kind in CROWDED else pytest.param(kind, marks=pytest.mark.slow) for kind in FIGURES]
)
def test_each_figure_of_sixteen_stages_stays_inside_its_edges(
    kind: str, tables: dict[str, pd.DataFrame], epochs: FigureContext, recwarn: pytest.WarningsRecorder
) -> None:
    lines = [">".join(line) for line in paths({stage: info.parents for stage, info in epochs.stages.items()})]
    figure = Drawing(kind, "small").draw({name: epochs_of(frame, lines) for name, frame in tables.items()}, epochs)
    FigureCanvasAgg(figure).draw()
    assert not [str(warning.message) for warning in recwarn]
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0) >= -0.02
    assert box.x1 <= width + 0.02
    assert box.y1 <= height + 0.02


@pytest.mark.parametrize("kind", FIGURES)
def test_each_figure_of_a_study_without_rows_is_empty_but_drawn(
    kind: str, tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    empty = {name: frame.iloc[:0] for name, frame in tables.items()}
    FigureCanvasAgg(Drawing(kind, "small").draw(empty, context)).draw()


@pytest.mark.parametrize("kind", FIGURES)
def test_each_figure_has_a_caption(kind: str) -> None:
    caption = (CAPTIONS / Drawing(kind).caption).read_text(encoding="utf-8")
    assert len(caption.split()) > 30


def test_temperature_curves_show_factual_prompts_left_with_values_and_bands_from_the_table(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("self_bleu_cosine", "small").draw(tables, context)
    left, right = figure.axes[:2]
    assert (left.get_title(), right.get_title()) == ("Factual prompts", "Creative prompts")
    curves = tables["curves"].query("size == 'small' and metric == 'self_bleu' and prompts == 'factual'")
    for line, stage in zip(left.lines, STAGES, strict=True):
        assert list(line.get_ydata()) == list(curves.loc[curves["stage"] == stage, "value"])
    assert len(left.collections) == len(STAGES)
    assert left.get_ylim() == right.get_ylim()


def test_published_panels_show_the_same_values_by_key_and_by_the_prompts_that_the_key_holds(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("published_panels", "small").draw(tables, context)
    panels = figure.axes[:4]
    assert [axes.get_title() for axes in panels] == ["Factual prompts", "Creative prompts"] * 2
    assert {"As the keys label them", "As the completions show"} <= set(texts(figure))
    by_key = [[list(line.get_ydata()) for line in axes.lines] for axes in panels[:2]]
    by_prompts = [[list(line.get_ydata()) for line in axes.lines] for axes in panels[2:]]
    assert by_key == by_prompts[::-1]
    assert by_key[0] != by_key[1]
    stored = tables["published"].query("size == 'small' and metric == 'self_bleu' and stage == 'plm'")
    assert by_key[0][0] == list(stored.loc[stored["key"] == "factual", "value"])


def test_panels_of_keys_that_are_not_established_are_empty_and_say_so(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    tables["published"] = tables["published"].assign(prompts="")
    figure = Drawing("published_panels", "small").draw(tables, context)
    assert [bool(axes.lines) for axes in figure.axes[:4]] == [True, True, False, False]
    assert texts(figure).count("not established") == 4


def test_the_figure_of_all_metrics_leaves_out_what_only_the_tables_show(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    for kind in ("output_metrics", "attribution"):
        shown = " ".join(texts(Drawing(kind, "small").draw(tables, context))).replace("\n", " ")
        assert "Diversity of order 2," in shown
        assert "Diversity of order 3," not in shown


def test_other_definitions_and_sizes_are_not_drawn(tables: dict[str, pd.DataFrame], context: FigureContext) -> None:
    replica = tables["curves"].assign(definition="replica", value=9.0)
    both = {"curves": pd.concat([tables["curves"], replica])}
    figure = Drawing("self_bleu_cosine", "small").draw(both, context)
    assert all(max(line.get_ydata()) < 1 for axes in figure.axes for line in axes.lines)


def test_a_metric_without_values_for_a_prompt_set_says_so(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    curves = tables["curves"]
    tables["curves"] = curves[(curves["metric"] != "correct") | (curves["prompts"] == "factual")]
    assert "not defined for\ncreative prompts" in texts(Drawing("quality", "small").draw(tables, context))


def test_several_prompt_formats_have_line_styles_of_their_own(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    other = tables["curves"].assign(format="okay")
    figure = Drawing("self_bleu_cosine", "small").draw({"curves": pd.concat([tables["curves"], other])}, context)
    assert {"format: human", "format: okay"} <= set(texts(figure))
    assert len({line.get_linestyle() for line in figure.axes[0].lines}) == 2


VIEWS = {
    "human": dict.fromkeys(STAGES, "human"),
    "paper": {"plm": "okay", "sft": "human", "dpo": "human"},
}
OF_FORMATS = [kind for kind, spec in FIGURES.items() if spec.per_view]


def in_formats(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of a study of two formats, of which "okay" has other values, and of its wording "paper"."""
    both = dict(tables)
    for name in ("curves", "samples", "attribution", "matched_attribution"):
        other = tables[name].copy()
        for column in {"value", "delta"} & set(other):
            other[column] += 0.05
        if name == "samples":
            other["text"] = "asked okay"
        both[name] = pd.concat([tables[name], other.assign(format="okay")])
    for name in ("attribution", "matched_attribution"):
        before = tables[name]["step"].map({"plm>sft": "okay", "sft>dpo": "human", "total": "okay"})
        paper = tables[name].assign(format="paper", format_before=before, format_after="human")
        both[name] = pd.concat([both[name], paper])
    return both


def viewed(context: FigureContext, view: str) -> FigureContext:
    return replace(context, view=View(view, VIEWS[view]))


@pytest.mark.parametrize("kind", OF_FORMATS)
def test_a_figure_of_a_study_with_several_formats_shows_one_and_says_which(
    kind: str, tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    def geometry(figure: Figure) -> list[Any]:
        lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]
        return [lines, [bar.get_bbox().bounds for axes in figure.axes for bar in axes.patches]]

    one = Drawing(kind, "small").draw(tables, context)
    shown = Drawing(kind, "small").draw(in_formats(tables), viewed(context, "human"))
    assert geometry(shown) == geometry(one)
    assert "format: human" in " ".join(texts(shown))
    assert not any("okay" in text for text in texts(shown))


@pytest.mark.parametrize("kind", OF_FORMATS)
def test_a_figure_across_formats_names_them_and_stays_inside_its_edges(
    kind: str, tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing(kind, "small").draw(in_formats(tables), viewed(context, "paper"))
    FigureCanvasAgg(figure).draw()
    shown = " ".join(texts(figure))
    assert "“paper”" in shown
    if FIGURES[kind].compares:
        assert "This step also changes the words around the prompt: PLM → SFT (okay → human)." in shown
        assert "PLM → SFT (okay → human)" in texts(figure)
        assert "SFT → DPO" in texts(figure)
    else:
        assert "PLM (okay)" in shown
        assert "SFT (human)" in shown
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= -0.02
    assert box.y0 >= -0.02
    assert box.x1 <= width + 0.02
    assert box.y1 <= height + 0.02


def test_figures_of_a_study_with_several_formats_are_one_for_each_the_first_with_the_plain_name() -> None:
    tables = ["curves", "attribution", "format_effect"]
    names = figures_of(tables, ["S"], views=["paper", "okay", "human"], compared=["paper", "human"])
    assert names["attribution"] == Drawing("attribution", None, "paper")
    assert names["attribution+human"] == Drawing("attribution", None, "human")
    assert "attribution+okay" not in names, "under that format no path is compared"
    assert names["output_metrics_S+okay"] == Drawing("output_metrics", "S", "okay")
    assert names["format_effect"] == Drawing("format_effect")
    assert names["lineage"] == Drawing("lineage")


def test_format_effects_are_parts_stacked_to_the_apparent_effect(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    effects = tables["format_effect"]
    effects = effects.assign(delta=effects["effect"].map({"stage": 0.3, "format": -0.1, "apparent": 0.2}))
    figure = Drawing("format_effect").draw({"format_effect": effects}, context)
    axes = figure.axes[0]
    bars = [(bar.get_y(), bar.get_height()) for bar in axes.patches]
    assert np.array(bars) == pytest.approx(np.array([(0.0, 0.3), (0.0, -0.1)] * 4))
    assert [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"] == pytest.approx([0.2] * 4)
    legend = ["training: PLM → SFT", "training: PLM → DPO", "format: okay → human", "apparent effect"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == legend


def test_format_effects_of_single_stages_are_drawn_where_no_step_changes_the_format(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    effects = tables["format_effect"]
    of_stages = effects[(effects["effect"] == "format") & (effects["step"] == "plm>sft")]
    of_stages = pd.concat(of_stages.assign(step=stage, within=stage) for stage in STAGES)
    figure = Drawing("format_effect").draw({"format_effect": of_stages}, context)
    assert len(figure.axes[0].patches) == len(SIZES) * len(STAGES)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["PLM", "SFT", "DPO", "format: okay → human"]


@style.styled
def with_legend(entries: int) -> Figure:
    figure = Figure(figsize=(7.2, 2))
    style.heading(figure, "llama-2-7b · first 20 words · format: human")
    style.top_legend(figure, [Line2D([], [], label=f"stage {place}") for place in range(entries)])
    return figure


def test_a_legend_that_would_hide_the_heading_stands_beside_it_in_one_row_or_two() -> None:
    for entries in (3, 6, 9):
        figure = with_legend(entries)
        FigureCanvasAgg(figure).draw()
        heading, legend = figure.texts[0].get_window_extent(), figure.legends[0].get_window_extent()
        assert legend.x0 > heading.x1 or legend.y1 < heading.y0
        assert legend.x1 <= 7.2 * figure.dpi


def test_attribution_bars_stack_steps_and_mark_the_total(context: FigureContext) -> None:
    rows = grid(size=SIZES, level=("output",), prompts=("factual",), temperature=("mean",), metric=("self_bleu",))
    steps = pd.DataFrame({"step": ["plm>sft", "sft>dpo", "total"], "delta": [0.3, -0.1, 0.2]})
    changes = measured("attribution", rows.merge(steps, how="cross").assign(path="plm>sft>dpo", words=20))
    changes["delta"] = [0.3, -0.1, 0.2] * 2
    axes = Drawing("attribution").draw({"attribution": changes}, context).axes[0]
    bars = [(bar.get_y(), bar.get_height()) for bar in axes.patches]
    assert np.array(bars) == pytest.approx(np.array([(0.0, 0.3), (0.0, -0.1)] * 2))
    totals = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert totals == pytest.approx([0.2, 0.2])


def test_bars_at_matched_entropy_stand_beside_those_over_temperatures_and_may_be_missing(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    matched = tables["matched_attribution"]
    tables["matched_attribution"] = matched.assign(
        **{name: matched[name].where(matched["prompts"] == "factual") for name in ("delta", "low", "high")}
    )
    figure = Drawing("matched_attribution").draw(tables, context)
    assert {"mean over T", "matched entropy"} <= set(texts(figure))
    counts = [sum(math.isfinite(bar.get_height()) for bar in axes.patches) for axes in figure.axes[:2]]
    assert counts == [2 * 2 * 2, 2 * 2], "factual prompts have both kinds, creative ones only the first"


def test_quality_is_drawn_against_diversity_with_more_diversity_upwards(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("quality_diversity", "small").draw(tables, context)
    axes = figure.axes[0]
    assert "1 − Self-BLEU\n↑ more diverse" in texts(figure)
    curves = tables["curves"].query("size == 'small' and prompts == 'factual' and stage == 'sft'")
    line = axes.lines[1]
    assert list(line.get_xdata()) == list(curves.loc[curves["metric"] == "correct", "value"])
    assert list(line.get_ydata()) == list(1 - curves.loc[curves["metric"] == "self_bleu", "value"])
    assert {"T 0.5", "T 1.5"} <= set(texts(figure))


def test_a_study_without_quality_scores_has_no_figure_of_them() -> None:
    assert "quality_diversity_S" not in figures_of(["curves"], ["S"], quality=False)
    assert "quality_diversity_S" in figures_of(["curves"], ["S"], quality=True)


def test_the_token_table_prints_each_value_with_its_interval(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    row = tables["tokens_pooled"].query("size == 'large' and stage == 'sft' and metric == 'perplexity'").iloc[0]
    shown = texts(Drawing("token_table").draw(tables, context))
    assert f"{row['value']:.2f}" in shown
    assert f"{row['low']:.2f} to {row['high']:.2f}" in shown


@pytest.mark.parametrize("kind", ["token_table", "entropy_floor", "token_attribution"])
def test_token_figures_draw_the_corrected_definition_only(
    kind: str, tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    def drawn(tables: dict[str, pd.DataFrame]) -> list[Any]:
        figure = Drawing(kind).draw(tables, context)
        lines = [line.get_xydata().tolist() for axes in figure.axes for line in axes.lines]
        return [texts(figure), lines, [bar.get_xy() for axes in figure.axes for bar in axes.patches]]

    both = dict(tables)
    for name in ("tokens_pooled", "attribution"):
        number = "value" if name == "tokens_pooled" else "delta"
        replica = tables[name].assign(definition="replica", **{number: 7.0, "low": 6.0, "high": 8.0})
        both[name] = pd.concat([replica, tables[name]], ignore_index=True)
    assert drawn(both) == drawn(tables)


def test_benchmarks_show_the_accuracy_of_every_task_and_shots_beside_guessing(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("benchmarks").draw(tables, context)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["arc_easy, 0-shot", "arc_easy, 5-shot", "lambada_openai, 0-shot", "lambada_openai, 5-shot"]
    rows = tables["benchmarks_pooled"].query("task == 'arc_easy' and shots == 5 and metric == 'acc'")
    axes = figure.axes[1]
    points = sorted(line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 1)
    assert points == sorted(rows["value"])
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [0.25]
    assert not [line for line in figure.axes[3].lines if line.get_linestyle() == "--"], "nothing is guessed here"
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()


def test_a_benchmark_where_lower_is_better_says_so(tables: dict[str, pd.DataFrame], context: FigureContext) -> None:
    asked = tables["benchmarks_pooled"].query("metric == 'perplexity'").assign(higher_is_better=False)
    figure = Drawing("benchmarks").draw({"benchmarks_pooled": asked}, context)
    assert figure.axes[0].get_ylabel() == "Perplexity\n↓ better"


def test_samples_show_text_as_it_is_written_without_reading_mathematics_into_it(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    shown = texts(Drawing("samples", "small").draw(tables, context))
    assert any("It costs $5" in line for line in shown)
    assert "creative: Write a poem that costs $5." in shown
    assert any(line.endswith("…") for line in shown)


def test_the_figure_of_samples_looks_at_the_beginning_of_a_long_completion_only(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    shown = []
    for length in (10_000, 1_000_000):
        tables["samples"]["text"] = " " * length + "x" * length
        start = time.process_time()
        shown.append(texts(Drawing("samples", "small").draw(tables, context)))
        assert time.process_time() - start < 5, "a million characters laid out take that long each"
    assert shown[0] == shown[1]
    assert "(empty)" not in "".join(shown[0])


def test_a_diagram_of_several_parents_routes_long_edges_past_the_boxes_between() -> None:
    stages = {
        "plm": StageInfo("PLM", "pretrain"),
        "sft": StageInfo("SFT", "sft", ("plm",), "answers"),
        "rm": StageInfo("RM", "reward", ("sft",), "preferences"),
        "ppo": StageInfo("PPO", "ppo", ("sft", "rm")),
    }
    figure = lineage({}, FigureContext("t", stages, SIZES, {}, "1.0"))
    assert {"PLM", "SFT", "RM", "PPO", "data: answers"} <= set(texts(figure))
    arrows = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyArrowPatch"]
    boxes = [patch for patch in figure.axes[0].patches if type(patch).__name__ == "FancyBboxPatch"]
    assert len(arrows) == 4
    assert sum(arrow.get_linestyle() in ("--", "dashed") for arrow in arrows) == 1
    middle = next(box for box in boxes if box.get_bbox().x0 == max(sorted(b.get_bbox().x0 for b in boxes)[:3]))
    for arrow in arrows:
        for x, y in arrow._path_original.interpolated(20).vertices:
            inside = middle.get_bbox().x0 < x < middle.get_bbox().x1 and middle.get_bbox().y0 < y < middle.get_bbox().y1
            assert not inside


def test_a_study_has_the_figures_whose_tables_it_has_one_per_size_where_so_said() -> None:
    names = figures_of(["curves", "attribution"], ["S", "2.8b"])
    assert {"lineage", "output_metrics_S", "output_metrics_2.8b", "attribution"} <= set(names)
    assert not {"truth", "token_table", "quality_S", "token_attribution"} & set(names)
    assert names["output_metrics_2.8b"] == Drawing("output_metrics", "2.8b")


def test_the_registry_does_not_load_matplotlib_because_dry_runs_import_it() -> None:
    code = "import sys, modecollapse.figures.registry; print('matplotlib' in sys.modules)"
    path = str(Path(__file__).parents[2] / "workflow")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.stdout.strip() == "False", done.stderr


def test_labels_say_which_way_diversity_lies() -> None:
    assert axis_lines(output_label("self_bleu")) == "Self-BLEU\n↑ less diverse"
    assert token_label("entropy").axis == "Entropy (nats/token)"
    assert all(token_label(name).text for name in UNITS)
