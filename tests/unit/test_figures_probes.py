"""Figures of entropy along outputs and of probes: what they show, and what they do where there is nothing to show."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import Drawing
from tests.figure_tables import texts

QUESTIONS = {"choices": {"integer": "Tell me an integer:"}, "responses": {"new-word": "Invent a new word."}}


@pytest.fixture
def asked(context: FigureContext) -> FigureContext:
    return replace(context, questions=QUESTIONS)


def test_signs_stand_for_what_tokens_have_that_cannot_be_seen() -> None:
    assert style.visible(" a b") == "␣a␣b"
    assert style.visible("\n\t") == "⏎⇥"
    assert style.visible("") == "∅"
    assert style.visible("\x00\U0001f9ff") == "▯▯"


def test_boxes_are_those_of_outputs_and_the_truth_is_a_line_where_it_is_known(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("top_entropy", "small").draw(tables, context)
    outputs = tables["top_entropy_outputs"].query("size == 'small'")
    medians = outputs.groupby("stage")["top_entropy"].median()
    levels = [line.get_ydata() for line in figure.axes[0].lines]
    assert all(any(np.allclose(level, medians[stage]) for level in levels) for stage in ("plm", "sft", "dpo"))
    dashed = [[line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] for axes in figure.axes]
    assert dashed == [[], [], [], [22.9]]
    assert "truth" in texts(figure)
    other = Drawing("top_entropy", "large").draw(tables, replace(context, size="large"))
    assert "truth" not in texts(other)


def test_a_sample_has_its_tokens_below_bars_of_entropy_and_stacks_with_the_drawn_one_marked(
    tables: dict[str, pd.DataFrame], context: FigureContext
) -> None:
    figure = Drawing("top_entropy_sample", "small").draw(tables, context)
    bars, stacks = figure.axes[:2]
    rows = tables["top_entropy_tokens"].query("size == 'small' and stage == 'plm' and rank == 1")
    assert [bar.get_height() for bar in bars.patches] == pytest.approx(list(rows["top_entropy"]))
    assert [label.get_text() for label in bars.get_xticklabels()][:3] == ["⏎", "␣Stories", "$x_1"]
    assert len(stacks.patches) == 6 * 5
    first = [bar.get_y() for bar in stacks.patches if bar.get_x() < 0]
    assert first == pytest.approx([0.0, 0.4, 0.6, 0.4 + 0.2 + 0.4 / 3, 0.4 + 0.2 + 0.4 / 3 + 0.1])
    marked = [bar for bar in stacks.patches if bar.get_linewidth()]
    assert [(bar.get_y(), bar.get_height()) for bar in marked] == [(pytest.approx(0.4), pytest.approx(0.2))] * 6


def test_next_tokens_are_ten_bars_for_each_stage_and_all_ranks_on_logarithmic_axes(
    tables: dict[str, pd.DataFrame], asked: FigureContext
) -> None:
    figure = Drawing("next_tokens", "small").draw(tables, asked)
    assert "integer: Tell me an integer:" in texts(figure)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["PLM", "SFT", "DPO"]
    assert [len(axes.patches) for axes in figure.axes[:3]] == [10] * 3
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:2] == ["␣1", "␣2"]
    curves = figure.axes[3]
    assert (curves.get_xscale(), curves.get_yscale()) == ("log", "log")
    assert [len(line.get_xdata()) for line in curves.lines] == [200] * 3


def test_choices_are_shares_of_their_mass_beside_uniform_and_truth(
    tables: dict[str, pd.DataFrame], asked: FigureContext
) -> None:
    figure = Drawing("choices", "small").draw(tables, asked)
    integers, words = figure.axes[0], figure.axes[3]
    heights = [bar.get_height() for bar in integers.patches]
    assert len(heights) == 101
    assert sum(heights) == pytest.approx(1.0)
    assert np.argmax(heights) == 42
    lines = {line.get_linestyle(): line.get_ydata() for line in integers.lines}
    assert lines["--"] == pytest.approx([1 / 101] * 2)
    true = next(line.get_ydata() for line in words.lines if line.get_marker() == "_")
    assert list(true) == pytest.approx([3 / 18, 4 / 18, 8 / 18, 2 / 18])
    last = figure.axes[5]
    assert [label.get_text() for label in last.get_xticklabels()] == ["fox", "hare", "hedgehog", "ox"]
    assert any("of 2.00 bits; truth 1.80" in text for text in texts(figure))
    assert [to_hex(axes.patches[0].get_facecolor()).upper() for axes in figure.axes[:3]] == [
        mark.colour for mark in style.marks(asked.stages).values()
    ]


def test_choices_without_mass_say_so_and_have_no_bars(tables: dict[str, pd.DataFrame], asked: FigureContext) -> None:
    tables["choices"]["probability"] = 0.0
    tables["choice_summary"]["value"] = math.nan
    figure = Drawing("choices", "small").draw(tables, asked)
    assert not figure.axes[0].patches
    assert "no probability on any choice" in texts(figure)


def test_responses_stand_under_their_stages_with_the_format_where_these_differ(
    tables: dict[str, pd.DataFrame], asked: FigureContext
) -> None:
    shown = texts(Drawing("responses", "small").draw(tables, asked))
    assert {"PLM", "SFT", "DPO", "new-word: Invent a new word."} <= set(shown)
    table = tables["responses"]
    both = {"responses": table.assign(format=table["stage"].map({"plm": "plain"}).fillna("human"), text="")}
    shown = texts(Drawing("responses", "small").draw(both, asked))
    assert {"PLM (plain)", "DPO (human)", "• (empty)"} <= set(shown)
