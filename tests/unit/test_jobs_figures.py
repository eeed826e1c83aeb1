"""What a figure is given of its tables."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest

from modecollapse.analysis.table_files import write_table
from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import Drawing
from modecollapse.jobs.figures import plot


class Drawn(Exception):
    """The figure would be drawn now."""


@pytest.mark.parametrize(
    ("kind", "size", "given"), [("samples", "M", {"M", "", "none"}), ("training_curves", None, {"S", "M", "", "none"})]
)
def test_a_figure_of_one_size_is_given_the_rows_of_that_size_and_of_all(
    kind: str, size: str | None, given: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"seed": 0, "stage": "plm", "step": 1, "quantity": "loss", "value": 0.5}
    frame = pd.DataFrame([{"size": of, **row} for of in ("S", "M", "", None)])
    write_table("training", [frame], tmp_path / "t.parquet", tmp_path / "t.csv")
    seen: list[set[str]] = []

    def draw(self: Drawing, tables: Mapping[str, pd.DataFrame], context: FigureContext) -> None:
        seen.append(set(tables["training"]["size"].fillna("none")))
        raise Drawn

    monkeypatch.setattr(Drawing, "draw", draw)
    context = {
        "title": "", "labels": {"plm": "PLM"}, "methods": {"plm": "pretrain"}, "data": {"plm": None},
        "lineage": {"plm": []}, "temperature": "1.0", "prompts": {},
    }  # fmt: skip
    spec = {"kind": kind, "size": size, "sizes": ["S", "M"], "context": context}
    with pytest.raises(Drawn):
        plot(spec, {"training": tmp_path / "t.parquet"}, {"svg": tmp_path / "f.svg"})
    assert seen == [given]
