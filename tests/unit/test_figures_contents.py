"""Each figure shows what its tables hold, and says so where they have gaps."""

import math
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.tokens import UNITS
from modecollapse.figures.context import FigureContext, StageInfo
from modecollapse.figures.labels import axis_lines, output_label, token_label
from modecollapse.figures.lineage import lineage
from modecollapse.figures.registry import Drawing, figures_of
from tests.figure_tables import SIZES, STAGES, grid, measured, texts


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
    assert "quality_diversity_S" not in figures_of(["curves"], ["S"], ())
    assert "quality_diversity_S" in figures_of(["curves"], ["S"], ["quality"])


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


def test_labels_say_which_way_diversity_lies() -> None:
    assert axis_lines(output_label("self_bleu")) == "Self-BLEU\n↑ less diverse"
    assert token_label("entropy").axis == "Entropy (nats/token)"
    assert all(token_label(name).text for name in UNITS)


def test_reward_models_are_right_per_task_where_better_is_longer_beside_shorter(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("reward_accuracy").draw(tables, context)
    titles = [axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == ["DPO, small: train", "DPO, small: held", "DPO, large: train", "DPO, large: held"]
    rows = tables["rewards"].query("size == 'small' and data == 'held' and quantity == 'accuracy' and better != 'all'")
    axes = figure.axes[1]
    points = {(line.get_marker(), line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 1}
    assert points == {("o" if row.better == "longer" else "s", row.value) for row in rows.itertuples()}
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["all tasks", "creative"]


def test_repetition_is_drawn_by_temperature_and_by_kind_beside_the_other_stages(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("repetition", "small").draw(tables, context)
    rows = tables["repetition"].query("size == 'small' and prompts == 'creative'")
    upper, lower = figure.axes[1], figure.axes[3]
    assert upper.get_title() == "Creative prompts"
    line = next(line for line in upper.lines if len(line.get_xdata()) == 3)
    shown = rows.query("stage == 'plm' and kind == 'any' and temperature != 'mean'")
    assert list(line.get_ydata()) == pytest.approx(list(shown["value"]))
    means = {line.get_ydata()[0] for line in lower.lines if len(line.get_xdata()) == 1}
    assert means == set(rows.query("temperature == 'mean'")["value"])
    assert [label.get_text() for label in lower.get_xticklabels()] == ["any", "multiple", "tandem", "cycle"]


def test_win_rates_are_bars_of_every_task_for_each_stage_and_judge(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("win_rates", "small").draw(tables, context)
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in shown] == [
        "SFT, by rm",
        "DPO, by rm",
        "SFT, by gpt",
        "DPO, by gpt",
    ]
    assert [label.get_text() for label in shown[0].get_yticklabels()] == ["all tasks", "chat", "open QA"]
    # Of 39 pairs 11 are won, 4 tied, 3 lost and 1 + 20 without a verdict.
    widths = [patch.get_width() for patch in shown[0].patches[:4]]
    assert widths == pytest.approx([11 / 39, 4 / 39, 3 / 39, 21 / 39])
    rows = tables["win_rates"].query("size == 'small' and stage == 'sft' and judge == 'rm'")
    dots = [line.get_xdata()[0] for line in shown[0].lines if line.get_marker() == "o"]
    assert dots == list(rows["value"])
    assert {"SFT wins", "DPO wins", "PLM wins", "tie", "no verdict"} <= set(texts(figure))


def test_win_rates_without_a_verdict_and_without_a_row_are_drawn(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    rates = tables["win_rates"]
    nothing = rates.assign(wins=0, ties=0, losses=0, n=0, value=math.nan, low=math.nan, high=math.nan)
    figure = Drawing("win_rates", "small").draw({"win_rates": nothing}, context)
    assert not [line for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert "nothing judged" in texts(Drawing("win_rates", "small").draw({"win_rates": rates[:0]}, context))
    empty = {"judge_agreement": tables["judge_agreement"][:0]}
    assert "no two judges decided the same pairs" in texts(Drawing("judge_agreement").draw(empty, context))


def test_agreement_stands_beside_chance(tables: dict[str, pd.DataFrame], context: FigureContext) -> None:
    figure = Drawing("judge_agreement").draw(tables, context)
    assert [axes.get_title() for axes in figure.axes if axes.axison] == list(SIZES)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["rm – gpt"]
    assert {line.get_marker() for line in figure.axes[0].lines} >= {"o", "s"}


def test_an_interval_of_a_perplexity_that_reaches_below_one_is_drawn_from_the_bottom(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    wide = {**tables, "tokens_pooled": tables["tokens_pooled"].assign(value=3.0, low=-2.0, high=8.0)}
    axes = Drawing("entropy_floor").draw(wide, context).axes[0]
    lines = [segment for lines in axes.collections for segment in lines.get_segments()]
    assert lines
    assert all(segment[0][1] == 0.0 and segment[1][1] == pytest.approx(math.log(8.0)) for segment in lines)


def test_semantic_quantities_stand_beside_each_other_by_prompt_set_and_stage(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("semantic", "small").draw(tables, context)
    rows = tables["semantic"].query("size == 'small' and quantity == 'clusters'")
    axes = next(axes for axes in figure.axes if axes.get_ylabel() == "Clusters")
    assert sorted(line.get_ydata()[0] for line in axes.lines) == sorted(rows["value"])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Factual\nprompts", "Creative\nprompts"]


def test_the_map_has_every_output_with_its_cluster_and_one_scale_of_colours(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("semantic_map", "small").draw(tables, context)
    panels = figure.axes[:6]
    assert [sum(len(points.get_offsets()) for points in axes.collections) for axes in panels] == [30] * 6
    assert all(any(text.get_text() == "k = 3" for text in axes.texts) for axes in panels)
    assert [axes.get_title() for axes in panels[:3]] == ["PLM", "SFT", "DPO"]
    empty = {**tables, "semantic_outputs": tables["semantic_outputs"].iloc[:0]}
    assert "no outputs" in texts(Drawing("semantic_map", "small").draw(empty, context))
