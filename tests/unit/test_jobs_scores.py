"""The scores of a model are kept cell by cell, and nothing but the output is written beside it."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.cells import Model
from modecollapse.digests import canonical
from modecollapse.jobs import scores as module
from modecollapse.jobs.scores import score_model
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store

MODEL = Model("tiny", 0, "plm")
SPEC: dict[str, Any] = {
    "metrics": ["distinct_1", "empty_rate"],
    "words": [2],
    "controlled": None,
    "markers": {"human": ["Human:"]},
    "prompts": {"creative": [["sea", None, None, []]]},
}


@pytest.fixture
def cells(tmp_path: Path) -> list[Path]:
    paths = []
    for temperature in ("0.5", "1.0"):
        path = tmp_path / f"T{temperature}.parquet"
        identity = {"prompts": "creative", "format": "human", "temperature": temperature}
        columns = {"prompt": ["sea", "sea"], "text": [f"The sea at {temperature}", ""]}
        table = pa.table({**columns, "log_probs": [[-1.0, -0.5], [-0.75]]})
        write_sealed(table, path, {"cell": canonical(identity)})
        paths.append(path)
    return paths


def score(cells: list[Path], output: Path, store: Path) -> bytes:
    score_model(SPEC, MODEL, cells, [], output, Store(store))
    return output.read_bytes()


def test_cells_that_were_scored_before_are_not_scored_again_and_give_the_same_bytes(
    cells: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, scored = tmp_path / "scores" / "plm.parquet", []
    score_cell = module.score_cell
    monkeypatch.setattr(
        module, "score_cell", lambda texts, **settings: scored.append(texts) or score_cell(texts, **settings)
    )
    fresh = score(cells, output, tmp_path / "store")
    assert len(scored) == 2
    assert score(cells, output, tmp_path / "store") == fresh
    assert len(scored) == 2
    score(cells[:1], tmp_path / "other.parquet", tmp_path / "other store")
    assert score(cells, output, tmp_path / "other store") == fresh, "one from the store, one anew"
    assert len(scored) == 4
    assert set(read_sealed(output).column("temperature").to_pylist()) == {"0.5", "1.0"}


def test_no_other_file_is_written_or_removed_beside_the_output(cells: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "scores" / "plm.parquet"
    output.parent.mkdir()
    others = output.parent / ".plm.parquet.cell"
    others.write_text("of a job that runs at the same time")
    score(cells, output, tmp_path / "store")
    assert others.read_text() == "of a job that runs at the same time"
    assert sorted(output.parent.iterdir()) == [others, output]


def test_the_entropy_of_sampled_tokens_is_a_score_where_the_cells_know_it(cells: list[Path], tmp_path: Path) -> None:
    score(cells, tmp_path / "scores.parquet", tmp_path / "store")
    rows = read_sealed(tmp_path / "scores.parquet").to_pylist()
    assert [row["value"] for row in rows if row["metric"] == "token_entropy"] == [0.75, 0.75]
    unknown = read_sealed(cells[0]).drop_columns("log_probs").append_column("log_probs", pa.array([None, None]))
    write_sealed(unknown, cells[0], {"cell": unknown.schema.metadata[b"cell"].decode()})
    score(cells[:1], tmp_path / "finished.parquet", tmp_path / "store")
    names = set(read_sealed(tmp_path / "finished.parquet").column("metric").to_pylist())
    assert names == {"distinct_1", "empty_rate"}
