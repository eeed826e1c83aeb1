"""Every figure, drawn from small tables: it shows what the tables hold, and holds on where they have gaps."""

import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import FIGURES, Drawing, figures_of
from modecollapse.lineage import paths
from tests.figure_tables import SIZES

CAPTIONS = Path(__file__).parents[2] / "workflow" / "report"


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
    ticks = [
        label.get_text()
        for axes in figure.axes
        for label in (*axes.get_xticklabels(which="both"), *axes.get_yticklabels(which="both"))
    ]
    assert not [text for text in ticks if "\\" in text], "typeset as mathematics, which figures are not"


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


CROWDED = ["lineage", "training_curves", "self_bleu_cosine", "samples", "token_attribution"]


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
