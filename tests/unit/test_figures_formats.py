"""Figures of studies with several prompt formats: one for each view, and the effect of the words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from modecollapse.figures.context import FigureContext, View
from modecollapse.figures.registry import FIGURES, Drawing, figures_of
from tests.figure_tables import SIZES, STAGES, texts

VIEWS = {
    "human": dict.fromkeys(STAGES, "human"),
    "paper": {"plm": "okay", "sft": "human", "dpo": "human"},
}


OF_FORMATS = [kind for kind, spec in FIGURES.items() if spec.per_view]


@pytest.fixture
def tables(few_metrics: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return few_metrics


def in_formats(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables of a study of two formats, of which "okay" has other values, and of its wording "paper"."""
    both = dict(tables)
    compared = ("attribution", "matched_attribution")
    for name in ("curves", "samples", "repetition", "semantic", "semantic_outputs", *compared):
        other = tables[name].copy()
        for column in {"value", "delta"} & set(other):
            other[column] += 0.05
        if name == "samples":
            other["text"] = "asked okay"
        both[name] = pd.concat([tables[name], other.assign(format="okay")])
    for name in compared:
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
        assert kind == "costs" or "PLM (okay)" in shown, "costs are those of the stages after the first"
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
