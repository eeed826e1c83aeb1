"""Figures of text features show the differences of the table, and say what they leave out."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import Drawing, figures_of
from tests.figure_tables import text_feature_tables, texts


@pytest.fixture
def made() -> dict[str, pd.DataFrame]:
    return text_feature_tables()


def test_differences_are_sorted_within_their_category_with_the_data_and_every_step(
    made: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("feature_differences", "small").draw(made, context)
    train, validation = figure.axes
    assert (train.get_title(), validation.get_title()) == ("Train", "Validation")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "chosen − rejected",
        "SFT − PLM",
        "DPO − SFT",
    ]
    data = [line.get_xdata()[0] for line in train.lines if line.get_marker() == "D" and line.get_color() == "black"]
    rows = made["text_features"].query("split == 'train' and stage.isna() and data_normalised.notna()")
    expected = [sorted(part["data_normalised"], reverse=True) for _, part in rows.groupby("category", sort=False)]
    assert data == [value for part in expected for value in part]
    footer = " ".join(texts(figure)).replace("\n", " ")
    assert "(needs a tagger, which the pipeline 'blank' does not have)" in footer
    assert "(chosen − rejected does not vary)" in footer


def test_p_values_beyond_the_range_are_marked_at_the_edge_and_undefined_ones_are_hollow(
    made: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    table = made["text_features"]
    first = table.index[(table["stage"] == "dpo") & (table["size"] == "small") & table["answer_q"].notna()][0]
    table["answer_q"] = table["answer_q"].where(table["answer_q"].isna(), 0.01)
    table["data_q"] = table["data_q"].where(table["data_q"].isna(), 1e-300)
    table.loc[first, "answer_q"] = math.nan
    axes = Drawing("feature_p_values", "small").draw(made, context).axes[0]
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert {line.get_xdata()[0] for line in marks if line.get_marker() == ">"} == {15.0}
    assert [line.get_xdata()[0] for line in marks if line.get_markerfacecolor() == "white"] == [0.0]
    assert sum(np.isclose(line.get_xdata()[0], 2.0) for line in marks) > 5


def test_the_chart_of_signs_counts_the_features_that_agree(
    made: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("feature_agreement", "small").draw(made, context)
    table = made["text_features"].query("size == 'small' and stage == 'sft' and split == 'train'")
    signs = table["agreement"].dropna()
    assert f"{(signs > 0).sum()}/{len(signs)}" in texts(figure)
    assert figure.axes[0].patches[0].get_height() == pytest.approx((signs > 0).mean())


def test_the_scatter_names_its_step_and_split_and_gives_the_correlation_with_its_interval(
    made: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("feature_alignment", "small").draw(made, context)
    assert [axes.get_title() for axes in figure.axes] == [
        "SFT − PLM · train", "SFT − PLM · validation", "DPO − SFT · train", "DPO − SFT · validation",
    ]  # fmt: skip
    assert "r = −0.80 [−0.90, −0.70]\nρ = −0.70 [−0.80, −0.60]\n6 of 8 signs agree" in texts(figure)
    points = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    table = made["text_features"][made["text_features"]["split"] == "train"]
    row = table.query("size == 'small' and stage == 'sft'").iloc[0]
    data = table[table["stage"].isna() & (table["feature"] == row["feature"])].iloc[0]
    assert (data["data_normalised"], row["answer_normalised"]) in [tuple(line.get_xydata()[0]) for line in points], (
        "the step's own difference is upward"
    )


def test_names_of_points_lie_over_no_point_and_no_other_name(context: FigureContext) -> None:
    figure = Drawing("feature_alignment", "small").draw(text_feature_tables(features=69), context)
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert len(boxes) > 3
        for place, box in enumerate(boxes):
            assert not any(box.shrunk(0.95, 0.8).overlaps(other.shrunk(0.95, 0.8)) for other in boxes[:place])
            assert axes.get_window_extent().padded(2).contains(box.x0, box.y0)


def test_data_alone_has_two_figures_without_a_size(made: dict[str, pd.DataFrame], context: FigureContext) -> None:
    names = figures_of(["text_features"], [])
    assert {"feature_differences", "feature_p_values"} <= set(names)
    assert "feature_differences_small" in figures_of(["text_features"], ["small"])
    alone = {"text_features": made["text_features"][made["text_features"]["stage"].isna()]}
    for kind in ("feature_differences", "feature_p_values"):
        figure = names[kind].draw(alone, replace(context, size=None))
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["chosen − rejected"]


def test_prompt_sets_without_pairs_are_drawn_by_the_first_step(
    made: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    table = made["text_features"].query("stage.notna() and split == 'train'").assign(kind="prompts", split="creative")
    table = table.assign(agreement=math.nan, **{name: math.nan for name in table if name.startswith("data_")})
    tables = {"text_features": table, "text_feature_alignment": made["text_feature_alignment"].iloc[:0]}
    figure = Drawing("feature_differences", "small").draw(tables, context)
    assert [axes.get_title() for axes in figure.axes] == ["Creative"]
    for kind in ("feature_agreement", "feature_alignment"):
        assert "no differences of both\nthe data and a step" in texts(Drawing(kind, "small").draw(tables, context))
