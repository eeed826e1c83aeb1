"""Repetitive completions of a model are counted once for each cell, and tabulated along the lineage of the study."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Cell, Model
from modecollapse.errors import CorruptFile
from modecollapse.identities import identity_metadata
from modecollapse.jobs import repetition as module
from modecollapse.jobs.repetition import measure_repetition
from modecollapse.jobs.tables import tabulate_repetition
from modecollapse.measures.repetition import RepetitionSettings
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store

SPEC: dict[str, Any] = {"revision": 1, "settings": RepetitionSettings().model_dump()}
LOOP = "Round and round it goes. " * 12


def cells(directory: Path, stage: str, repetitive: int, temperatures: tuple[str, ...] = ("0.5", "1.0")) -> list[Path]:
    """Ten completions of each of three prompts, of which the first ones go in circles."""
    paths = []
    for temperature in temperatures:
        cell = Cell(Model("tiny", 0, stage), "creative", "human", temperature)
        rows = [
            (prompt, LOOP if sample < repetitive else f"Once {sample} upon a time.")
            for prompt in ("sea", "sky", "sun")
            for sample in range(10)
        ]
        prompts, texts = map(list, zip(*rows, strict=True))
        table = pa.table({"prompt": prompts, "text": texts, "finish_reason": ["length"] * len(rows)})
        paths.append(directory / stage / f"T{temperature}.parquet")
        write_sealed(table, paths[-1], identity_metadata(cell))
    return paths


def test_a_cell_is_counted_once_and_the_file_is_the_same_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, output, seen = cells(tmp_path, "plm", 4), tmp_path / "out.parquet", []
    count = module.count_repetition
    monkeypatch.setattr(module, "count_repetition", lambda *given: seen.append(given) or count(*given))
    measure_repetition(SPEC, Model("tiny", 0, "plm"), paths, output, Store(tmp_path / "store"))
    fresh = output.read_bytes()
    measure_repetition(SPEC, Model("tiny", 0, "plm"), paths, output, Store(tmp_path / "store"))
    assert (len(seen), output.read_bytes()) == (2, fresh)
    looser = {**SPEC, "settings": {**SPEC["settings"], "tandem_longer_than": 9}}
    measure_repetition(looser, Model("tiny", 0, "plm"), paths, output, Store(tmp_path / "store"))
    assert len(seen) == 4, "other thresholds, other counts"
    rows = read_sealed(output).to_pylist()
    assert [row["temperature"] for row in rows] == ["0.5"] * 3 + ["1.0"] * 3
    assert {(row["n"], row["any"]) for row in rows} == {(10, 4)}


def test_the_table_has_every_stage_beside_the_one_before(tmp_path: Path) -> None:
    files = []
    for stage, repetitive in (("plm", 8), ("sft", 2)):
        files.append(tmp_path / f"{stage}.parquet")
        paths = cells(tmp_path, stage, repetitive)
        measure_repetition(SPEC, Model("tiny", 0, stage), paths, files[-1], Store(tmp_path / "store"))
    outputs = {name: tmp_path / f"table.{name}" for name in ("repetition", "repetition_csv")}
    spec = {"analysis": {"resamples": 200, "seed": 0}, "lineage": {"plm": [], "sft": ["plm"]}}
    tabulate_repetition(spec, files, outputs)
    table = read_sealed(outputs["repetition"])
    assert table.schema.names == SCHEMAS["repetition"].names
    [row] = [
        row for row in table.to_pylist() if (row["stage"], row["kind"], row["temperature"]) == ("sft", "cycle", "mean")
    ]
    assert (row["value"], row["before"], row["parent"]) == pytest.approx((0.2, 0.8, "plm"))
    assert row["difference"] == pytest.approx(-0.6)
    assert row["ratio"] == pytest.approx(0.25)


def test_a_cell_that_is_damaged_is_refused(tmp_path: Path) -> None:
    [path] = cells(tmp_path, "plm", 1, ("1.0",))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptFile):
        measure_repetition(SPEC, Model("tiny", 0, "plm"), [path], tmp_path / "out.parquet", Store(tmp_path / "store"))
