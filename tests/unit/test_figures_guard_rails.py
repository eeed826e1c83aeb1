"""Guard rails in figures: dots, bounds and margins, and the mark of what fails, wherever it appears."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modecollapse.figures import style
from modecollapse.figures.candidates import candidates
from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import FIGURES, Drawing
from tests.figure_tables import candidate_table, texts

FAILING = [("small", "dpo")]


@pytest.fixture
def tables(few_metrics: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    return few_metrics


@pytest.fixture
def whole(context: FigureContext) -> FigureContext:
    return replace(context, size=None)


def test_a_dot_lies_at_the_difference_between_its_bounds(whole: FigureContext) -> None:
    rows = candidate_table(FAILING)
    figure = candidates({"candidates": rows}, whole)
    panel = figure.axes[0]
    assert panel.get_title() == "arc_easy, 0-shot"
    shown = rows[rows["task"] == "arc_easy"]
    dots = [float(line.get_xdata()[0]) for line in panel.lines if line.get_marker() not in ("None", "")]
    assert dots == pytest.approx(list(shown.sort_values("size", ascending=False)["value"]))
    ends = [tuple(part[:, 0]) for lines in panel.collections for part in lines.get_segments()]
    assert (pytest.approx(-0.115), pytest.approx(-0.085)) in ends
    dashed = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
    assert dashed == [-0.02]


def test_verdicts_differ_in_their_markers_and_the_legend_says_which(whole: FigureContext) -> None:
    figure = candidates({"candidates": candidate_table(FAILING)}, whole)
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert legend == {
        "passes: the lower bound is above the line",
        "undecided",
        "fails: the upper bound is below the line",
        "the margin",
    }
    markers = {line.get_marker() for line in figure.axes[0].lines}
    assert "X" in markers
    footers = " ".join(texts(figure))
    assert "one-sided bounds: the lower one at 95 %, the upper one at 97.5 % (shared over tasks)" in footers
    assert "500 documents, 1 training seed" in footers
    assert "against PLM" in footers


def test_a_task_that_was_not_compared_has_an_empty_place(whole: FigureContext) -> None:
    rows = candidate_table()
    rows.loc[rows["task"] == "piqa", ["value", "low", "high"]] = np.nan
    figure = candidates({"candidates": rows}, whole)
    assert not [line for line in figure.axes[1].lines if line.get_marker() not in ("None", "")]


def test_a_failing_stage_has_a_dagger_in_its_size_and_a_line_that_says_why(context: FigureContext) -> None:
    rows = candidate_table(FAILING)
    marked = context.marked(rows[rows["size"] == "small"])
    assert marked.label("dpo") == "DPO†"
    assert marked.label("sft") == "SFT"
    assert marked.failing == (
        "† DPO falls below PLM by more than its guard rails allow (small: fails arc_easy, piqa).",
    )
    assert context.marked(rows[rows["size"] == "large"]) == context
    assert context.label("dpo") == "DPO"


@pytest.mark.parametrize("kind", ["attribution", "curves", "benchmarks", "lineage", "token_table", "samples", "costs"])
def test_every_figure_marks_it(
    kind: str, context: FigureContext, tables: dict[str, pd.DataFrame], whole: FigureContext
) -> None:
    kind = {"curves": "self_bleu_cosine"}.get(kind, kind)
    spec = FIGURES[kind]
    size = "small" if spec.per_size else None
    plain_context = context if size else whole
    shown = {
        name: frame[frame["size"] == size] if size and "size" in frame else frame for name, frame in tables.items()
    }
    plain = Drawing(kind, size).draw(shown, plain_context)
    marked = Drawing(kind, size).draw(shown, plain_context.marked(candidate_table(FAILING)))
    assert not [text for text in texts(plain) if "†" in text]
    assert [text for text in texts(marked) if "DPO†" in text]
    assert "falls below PLM" in texts(marked)[[text.startswith("† DPO") for text in texts(marked)].index(True)]
    assert marked.get_size_inches()[1] > plain.get_size_inches()[1]


def test_notes_below_a_figure_leave_everything_else_where_and_as_large_as_it_was(
    context: FigureContext, tables: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    def drawn(notes: tuple[str, ...]) -> tuple[list[tuple[float, ...]], float]:
        figure = Drawing("self_bleu_cosine", "small").draw(tables, replace(context, failing=notes))
        style.save(figure, tmp_path / "figure")
        height = float(figure.get_size_inches()[1])
        kept = [text for text in figure.texts if not text.get_text().startswith("†")]
        artists = [*figure.axes, *kept, *figure.legends]
        boxes = [artist.get_window_extent() for artist in artists]
        top = height * figure.dpi
        return [(box.x0, top - box.y0, box.width, box.height) for box in boxes], height

    before, short = drawn(())
    after, tall = drawn(("† One note.", "† Another note. " * 20))
    assert tall > short + 0.3
    np.testing.assert_allclose(np.array(after), np.array(before), atol=0.6)


def test_a_run_is_marked_if_one_of_its_epochs_fails(context: FigureContext) -> None:
    stages = dict(context.stages)
    for epoch, stage in enumerate(("sft", "dpo"), start=1):
        stages[stage] = replace(stages[stage], label=f"DPO {epoch}", run="dpo")
    marked = replace(context, stages=stages).marked(candidate_table(FAILING))
    assert [marked.stages[stage].run_label for stage in ("sft", "dpo")] == ["DPO†", "DPO†"]
    assert [marked.label(stage) for stage in ("sft", "dpo")] == ["DPO 1", "DPO 2†"]
