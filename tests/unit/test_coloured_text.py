"""Text coloured by probability: its colours, how it is laid out in a figure, and the page of it."""

import re
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from matplotlib.colors import to_rgb

from modecollapse.analysis.coloured_page import ColouredText, render
from modecollapse.cells import Model
from modecollapse.digests import sha256_file
from modecollapse.figures import style
from modecollapse.figures.coloured_text import LINES, Passage, lay_out
from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import Drawing
from modecollapse.figures.token_colours import INK, STOPS, UNKNOWN, colour
from modecollapse.identities import identity_metadata
from modecollapse.jobs.continuations import tabulate_continuations
from modecollapse.measures.attractor import CONTINUATIONS, MODES
from modecollapse.measures.probes import CONTINUATION_TOKENS
from modecollapse.sealed import read_sealed, write_sealed
from tests.continuation_tables import NEGATIONS, QUESTIONS, continuation, figure_tables, mode
from tests.figure_tables import methods_context, texts

HOSTILE = "<script>alert('x')</script>\"&"


def luminance(colours: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in to_rgb(colours)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_colours_rise_in_lightness_with_probability_and_the_ink_is_read_on_all() -> None:
    assert [colour(each) for each in (0.0, 0.5, 1.0)] == list(STOPS)
    assert (colour(-1.0), colour(2.0), colour(float("nan"))) == (STOPS[0], STOPS[-1], UNKNOWN)
    # Half of the way from E06650 to F2B04A: (E0 + F2) / 2 = E9, (66 + B0) / 2 = 8B, (50 + 4A) / 2 = 4D.
    assert colour(0.25) == "#E98B4D"
    shades = [luminance(colour(each)) for each in np.linspace(0, 1, 21)]
    assert all(np.diff(shades) > 0)
    lightness = [116 * each ** (1 / 3) - 16 for each in (shades[0], shades[10], shades[20])]
    assert lightness == pytest.approx([58, 76, 94], abs=1.5)
    assert (shades[0] + 0.05) / (luminance(INK) + 0.05) > 5


def passage(tokens: list[str], before: str = "It was", **columns: list[float]) -> Passage:
    return Passage("arm", before, tokens, columns.get("probabilities", [0.5] * len(tokens)))


def test_lines_are_no_wider_than_their_room_and_hold_every_token_in_order() -> None:
    tokens = [f" tok{number}" for number in range(60)]
    lines = lay_out(passage(tokens), 3.0)
    assert 1 < len(lines) < LINES
    assert [piece.text.strip() for line in lines for piece in line] == ["It", "was", *(each.strip() for each in tokens)]
    assert [piece.probability for piece in lines[0][:3]] == [None, None, 0.5]
    for line in lines:
        assert line[0].x == 0.0
        assert not line[0].text.startswith(" ")
        ends = [piece.x + piece.width for piece in line]
        assert ends[-1] <= 3.0
        assert [piece.x for piece in line[1:]] == pytest.approx(ends[:-1])
        for piece in line:
            assert piece.width == pytest.approx(style.text_width(piece.text, style.TINY))


def test_what_cannot_be_drawn_or_does_not_fit_is_shown_as_such() -> None:
    tokens = ["\n\n", "\ta", "\ud800", "", "x" * 500, "漢"]
    shown = [piece.text for line in lay_out(passage(tokens, ""), 3.0) for piece in line]
    assert shown[:4] == ["↵↵", "▯a", "▯", " "]
    assert shown[4].endswith("x…")
    assert style.text_width(shown[4], style.TINY) <= 1.6
    assert shown[5] == "▯"
    long = lay_out(passage([" word"] * 1000), 3.0)
    assert len(long) == LINES
    assert long[-1][-1].text == " …"
    assert long[-1][-1].x + long[-1][-1].width <= 3.0
    assert lay_out(passage([], ""), 3.0) == [[]]


def test_of_a_long_text_before_the_tokens_the_end_is_shown_and_time_is_bounded() -> None:
    lines = lay_out(passage([" a"], " word" * 100 + " She was not"), 3.0)
    assert lines[0][0].text == "…"
    assert [piece.text for piece in lines[-1]][-4:] == [" She", " was", " not", " a"]
    began = time.perf_counter()
    lay_out(passage(["y" * 10**6] * 20, "z" * 10**6), 3.0)
    assert time.perf_counter() - began < 2


def test_the_figures_have_every_stage_and_say_what_they_leave_out(context: FigureContext) -> None:
    tables = figure_tables(("small",), ("plm", "sft"))
    shown = texts(Drawing("attractor_tokens", "small").draw(tables, context))
    assert {"PLM · T = 1.0", "SFT · T = 1.0", "PLM · T = 0.3"} <= set(shown)
    assert shown.count("perturbed") == shown.count("unperturbed") == 3
    assert not any("Not drawn" in text for text in shown)
    many = methods_context()
    tables = figure_tables(("small",), list(many.stages)[:10])
    tables = {name: frame[frame.get("position", pd.Series(0, frame.index)) < 9] for name, frame in tables.items()}
    shown = texts(Drawing("attractor_tokens", "small").draw(tables, many))
    assert "PLM · T = 0.3" in shown
    assert sum("· T = " in text for text in shown) == 8
    assert "Not drawn, but on the page of coloured continuations: 3 stages." in " ".join(shown).replace("\n", " ")
    shown = texts(Drawing("confidence", "small").draw(tables, many))
    assert {"bugs", "sea", "PLM", "DPO"} <= set(shown)
    assert any("2 stages." in text for text in shown)


def test_the_figure_of_shares_has_both_arms_beside_each_other_and_the_low_temperature_apart(
    context: FigureContext,
) -> None:
    tables = figure_tables(("small",), ("plm", "sft", "dpo"))
    figure = Drawing("attractor", "small").draw(tables, context)
    axes = figure.axes[0]
    rows = tables["attractor"].query("quantity == 'returned' and arm != 'difference'")
    points = [
        (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() not in ("", "None")
    ]
    assert sorted(y for _, y in points) == pytest.approx(sorted(rows["value"]))
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == ["PLM", "SFT", "DPO", "PLM\nT = 0.3"]
    places = sorted({round(x) for x, _ in points})
    assert places == [0, 1, 2, 4]
    unknown = tables["attractor"].assign(value=np.nan, low=np.nan, high=np.nan, n_modes_without_verb=2)
    shown = texts(Drawing("attractor", "small").draw({"attractor": unknown}, context))
    assert "nothing\nto negate" in shown
    assert any("Up to 2 have nothing to negate; the others hold" in text for text in shown)


def test_all_text_of_the_page_is_escaped() -> None:
    hostile = ColouredText(HOSTILE, HOSTILE, HOSTILE, [HOSTILE, "\ud800", " é\n"], [0.25, float("nan"), 1.0])
    page = render([hostile], HOSTILE, HOSTILE)
    assert "<script" not in page
    assert "alert(&#x27;x&#x27;)" in page
    assert page.count("&lt;script&gt;") == 6 + 1, "title, heading, about, section, heading of the text, before, token"
    assert "<span style='background:#E98B4D' title='0.2500'>&lt;script&gt;" in page
    assert f"background:{UNKNOWN}' title='nan'>?</span>" in page
    assert " é\n</span>" in page
    assert page.encode("utf-8")
    assert not re.search(r"(src|href)=", page), "it needs nothing else"
    assert "prefers-color-scheme: dark" in page


def test_a_page_without_texts_says_so() -> None:
    assert "There is no continuation." in render([], "Title", "About")


SPEC = {
    "analysis": {"resamples": 100, "seed": 0},
    "negations": NEGATIONS,
    "questions": [list(each) for each in QUESTIONS.items()],
    "labels": {"plm": "PLM & co", "sft": "SFT"},
}


def measured(directory: Path, schema: pa.Schema, stage: str, rows: list[dict[str, object]]) -> Path:
    path = directory / f"{stage}.{len(list(directory.iterdir()))}.parquet"
    write_sealed(pa.Table.from_pylist(rows, schema), path, identity_metadata(Model("S", 0, stage)))
    return path


def tabulate(tmp_path: Path, names: tuple[str, ...], *inputs: list[Path]) -> dict[str, Path]:
    outputs = {f"{name}{suffix}": tmp_path / f"{name}{suffix}" for name in names for suffix in ("", "_csv")}
    outputs |= {"page": tmp_path / "page.html", "page_sha256": tmp_path / "page.sha256"}
    tabulate_continuations(SPEC, *inputs, outputs)
    return outputs


def test_tables_and_page_are_made_of_the_files_of_all_models(tmp_path: Path) -> None:
    modes = [mode("1.0", 0, 0.75), mode("1.0", 1, 0.25, prefix=None, verb=None)]
    continued = [
        continuation("1.0", 0, arm, sample, tokens=[HOSTILE], log_probs=[-0.5], returned=arm == "unperturbed")
        for arm in ("perturbed", "unperturbed")
        for sample in range(3)
    ]
    of_modes = [measured(tmp_path, MODES, stage, modes) for stage in ("plm", "sft")]
    of_continuations = [measured(tmp_path, CONTINUATIONS, stage, continued) for stage in ("plm", "sft")]
    row = {"question": "sea", "position": 0, "token": HOSTILE, "log_prob": -0.1, "top_prob": 0.95}
    sure = [measured(tmp_path, CONTINUATION_TOKENS, "sft", [row])]
    names = ("attractor", "attractor_modes", "attractor_tokens", "confidence", "confidence_tokens")
    outputs = tabulate(tmp_path, names, of_modes, of_continuations, sure)
    rows = read_sealed(outputs["attractor"]).to_pylist()
    values = {(row["stage"], row["arm"]): row["value"] for row in rows if row["quantity"] == "returned"}
    assert values == {
        (stage, arm): value
        for stage in ("plm", "sft")
        for arm, value in (("perturbed", 0.0), ("unperturbed", 1.0), ("difference", -1.0))
    }
    assert read_sealed(outputs["attractor_modes"]).num_rows == 4
    assert read_sealed(outputs["attractor_tokens"]).num_rows == 4
    assert read_sealed(outputs["confidence"]).num_rows == 1
    page = outputs["page"].read_text(encoding="utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 5
    assert "Attractors: S, PLM &amp; co, T = 1.0" in page
    assert "mode 1 (75% of outputs), perturbed: did not return" in page
    assert "She was not</span>" in page
    assert "Confidence: S, SFT" in page
    assert "Why is the sea $5 wide?</span>" in page
    assert sha256_file(outputs["page"]) in outputs["page_sha256"].read_text()


def test_a_study_may_have_either_and_files_without_rows_give_empty_tables(tmp_path: Path) -> None:
    sure = [measured(tmp_path, CONTINUATION_TOKENS, "sft", [])]
    outputs = tabulate(tmp_path, ("confidence", "confidence_tokens"), [], [], sure)
    assert read_sealed(outputs["confidence"]).num_rows == 0
    assert "There is no continuation." in outputs["page"].read_text()
    empty = [[measured(tmp_path, schema, "sft", [])] for schema in (MODES, CONTINUATIONS)]
    outputs = tabulate(tmp_path, ("attractor", "attractor_modes", "attractor_tokens"), *empty, [])
    assert read_sealed(outputs["attractor"]).num_rows == 0


def test_outputs_that_are_all_empty_or_equal_give_defined_tables(tmp_path: Path) -> None:
    modes = [mode("1.0", 0, 1.0, text="", prefix=None, verb=None, radius=float("nan"))]
    paths = [[measured(tmp_path, schema, "sft", rows)] for schema, rows in ((MODES, modes), (CONTINUATIONS, []))]
    outputs = tabulate(tmp_path, ("attractor", "attractor_modes", "attractor_tokens"), *paths, [])
    rows = read_sealed(outputs["attractor"]).to_pylist()
    assert {(row["n_modes"], row["n_modes_without_verb"], row["n_continuations"]) for row in rows} == {(1, 1, 0)}
    assert {row["value"] for row in rows} == {None}
    assert read_sealed(outputs["attractor_modes"]).to_pylist()[0]["negated"] is None
