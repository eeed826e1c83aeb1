"""The style that all figures share, and how a figure becomes files."""

from pathlib import Path

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import StageInfo


@style.styled
def drawn(text: str) -> style.Figure:
    sheet = style.sheet([1.0, 2.0], [1.0], [0.5], [], (0.25, 0.25, 0.5, 0.5))
    sheet.panels[0][0].plot([0, 1], [0, 1])
    sheet.figure.text(0.1, 0.1, text)
    return sheet.figure


def test_the_same_figure_has_the_same_bytes_in_both_formats(tmp_path: Path) -> None:
    for run in ("a", "b"):
        style.save(drawn("text"), tmp_path / run / "figure")
    for suffix in ("svg", "png"):
        first, again = ((tmp_path / run / f"figure.{suffix}").read_bytes() for run in ("a", "b"))
        assert first == again
    assert b"date" not in (tmp_path / "a" / "figure.svg").read_bytes()


def test_figures_do_not_depend_on_the_callers_settings_nor_change_them(tmp_path: Path) -> None:
    style.save(drawn("text"), tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 10}):
        style.save(drawn("text"), tmp_path / "loud")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "loud.png").read_bytes()


def test_a_size_with_a_dot_in_its_name_keeps_it(tmp_path: Path) -> None:
    style.save(drawn("text"), tmp_path / "curves_pythia-2.8b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curves_pythia-2.8b.png", "curves_pythia-2.8b.svg"]


def test_panels_have_the_sizes_that_were_asked_for_in_inches() -> None:
    figure = drawn("")
    width, height = figure.get_size_inches()
    assert (width, height) == pytest.approx((4.0, 2.0))
    assert [axes.get_position().width * width for axes in figure.axes] == pytest.approx([1.0, 2.0])


def test_stages_differ_in_marker_so_that_grey_print_is_legible() -> None:
    marks = style.marks({name: StageInfo(name) for name in map(str, range(7))})
    assert len({mark.marker for mark in marks.values()}) == 7
    assert len({mark.colour for mark in marks.values()}) == 7


def test_epochs_of_a_run_share_a_colour_and_a_marker_and_grow_darker() -> None:
    runs = {run: [f"{run}-{epoch}" for epoch in (1, 2, 3)] for run in ("sft", "dpo0", "dpo1", "dpo2", "dpo3")}
    epochs = {stage: StageInfo(stage, run=run) for run, stages in runs.items() for stage in stages}
    marks = style.marks({"plm": StageInfo("plm"), **epochs})
    assert len({mark.colour for mark in marks.values()}) == 16
    for stages in runs.values():
        assert len({marks[stage].marker for stage in stages}) == 1
        lightness = [sum(int(marks[stage].colour[at : at + 2], 16) for at in (1, 3, 5)) for stage in stages]
        assert lightness == sorted(lightness, reverse=True)
    assert len({marks[stages[0]].marker for stages in runs.values()}) == 5


def test_a_legend_that_is_too_long_for_one_row_makes_room_for_several() -> None:
    figure = drawn("")
    style.heading(figure, "a heading")
    before = [axes.get_position().height * figure.get_figheight() for axes in figure.axes]
    handles = [Line2D([], [], label=f"a stage {number}") for number in range(9)]

    @style.styled
    def with_legend() -> style.Figure:
        style.top_legend(figure, handles)
        return figure

    with_legend()
    assert figure.get_figheight() > 2.3
    after = [axes.get_position().height * figure.get_figheight() for axes in figure.axes]
    assert after == pytest.approx(before)
    FigureCanvasAgg(figure).draw()
    renderer = FigureCanvasAgg(figure).get_renderer()
    legend = figure.legends[0].get_window_extent(renderer)
    assert 0 <= legend.x0 < legend.x1 <= figure.bbox.width
    assert legend.y1 <= figure.texts[-1].get_window_extent(renderer).y0
    assert legend.y0 >= max(axes.get_window_extent(renderer).y1 for axes in figure.axes)


def test_dollar_signs_are_text_and_what_cannot_be_drawn_is_shown_as_a_box(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    odd = "costs $5 and $x_{1$ \\frac \U0001f9a9 中文 \x00\x1b \ud800 naïve"
    shown = style.printable(odd)
    assert shown == "costs $5 and $x_{1$ \\frac ▯ ▯▯ ▯▯ ▯ naïve"
    style.save(drawn(shown), tmp_path / "odd")
    assert not [str(warning.message) for warning in recwarn]


def test_wrapped_lines_fit_and_lose_no_word() -> None:
    text = "a story about a lighthouse " * 10 + "Donaudampfschifffahrtsgesellschaft" * 4
    lines = style.wrapped(text, inches=1.5, points=6)
    assert all(style.text_width(line, 6) <= 1.5 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_shortened_text_fits_and_says_that_it_was_cut() -> None:
    cut = style.shortened("a very long name of a stage", inches=0.8, points=8)
    assert cut.endswith("…")
    assert style.text_width(cut, 8) <= 0.8
    assert style.shortened("short", inches=0.8, points=8) == "short"


def test_the_width_of_text_is_what_matplotlib_draws() -> None:
    figure = drawn("")
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        text = figure.text(0, 0, "Hamburgefonstiv", fontsize=8)
        inches = text.get_window_extent(FigureCanvasAgg(figure).get_renderer()).width / figure.dpi
    assert style.text_width("Hamburgefonstiv", 8) == pytest.approx(inches, rel=0.05)


def test_counts_say_their_range_and_their_noun() -> None:
    assert style.counted([1, 1], "seed") == "1 seed"
    assert style.counted([19, 20, 20], "prompt") == "19–20 prompts"
    assert style.counted([1500], "completion") == "1,500 completions"
