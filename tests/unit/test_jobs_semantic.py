"""Semantic modes of a model's completions: what is found, kept, and drawn."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Cell, Model
from modecollapse.errors import CorruptFile
from modecollapse.identities import identity_metadata
from modecollapse.jobs import semantic as module
from modecollapse.jobs.running import Job
from modecollapse.jobs.semantic import measure_semantic
from modecollapse.jobs.tables import tabulate_semantic
from modecollapse.measures.semantic import QUANTITIES, ModeSettings
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store

SPEC: dict[str, Any] = {
    "revision": 1,
    "settings": ModeSettings().model_dump(),
    "embedding": {"embedder": {"model": "all-MiniLM-L6-v2", "batch_size": 8}, "threads": 1},
}
SEA = tuple(f"The {colour} sea is {size} and {mood}." for colour in ("blue", "grey") for size, mood in (
    ("wide", "calm"), ("deep", "rough"), ("cold", "still"), ("warm", "bright"),
))  # fmt: skip
TAX = tuple(f"{what} tax returns are due {when}." for what in ("Your", "All company") for when in (
    "in April", "on Monday", "by the end of June", "within two weeks",
))  # fmt: skip
ODD = ("", "", "\U0001f600 \U0001f601", "海はとても広い。", "Das Meer ist weit.")


def cell(directory: Path, stage: str, asked: dict[str, tuple[str, ...]]) -> Path:
    rows = [(prompt, sample, text) for prompt, texts in asked.items() for sample, text in enumerate(texts)]
    prompts, samples, texts = map(list, zip(*rows, strict=True))
    table = pa.table({"prompt": prompts, "sample": pa.array(samples, pa.int32()), "text": texts})
    path = directory / stage / "T1.0.parquet"
    write_sealed(table, path, identity_metadata(Cell(Model("tiny", 0, stage), "creative", "human", "1.0")))
    return path


def measure(tmp_path: Path, stage: str, path: Path, spec: dict[str, Any] = SPEC) -> dict[str, Path]:
    outputs = {kind: tmp_path / f"{stage}.{kind}.parquet" for kind in module.KINDS}
    measure_semantic(spec, Model("tiny", 0, stage), [path], outputs, Store(tmp_path / "store"), Job(None))
    return outputs


def values(outputs: dict[str, Path]) -> dict[tuple[str, str], float]:
    """(prompt, quantity) → value."""
    rows = read_sealed(outputs["semantic_values"]).to_pylist()
    return {(row["prompt"], row["quantity"]): row["value"] for row in rows}


def test_outputs_about_two_things_are_two_clusters_and_each_is_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cell(tmp_path, "plm", {"p0": SEA + TAX, "p1": ("The same.",) * 6, "p2": ODD})
    outputs = measure(tmp_path, "plm", path)
    rows = read_sealed(outputs["semantic_outputs"]).to_pylist()
    first = [row for row in rows if row["prompt"] == "p0"]
    assert len({row["cluster"] for row in first[:8]}) == 1
    assert {row["cluster"] for row in first} == {0, 1}
    assert sum(row["central"] for row in first) == 2
    assert all(row["similarity"] > 0.1 for row in first)
    found = values(outputs)
    assert {quantity for _, quantity in found} == set(QUANTITIES)
    assert found["p0", "clusters"] == 2
    assert found["p0", "silhouette"] > 0.3
    assert found["p0", "distinct_outputs"] == 1
    assert found["p1", "distinct_outputs"] == pytest.approx(1 / 6)
    assert found["p1", "clusters"] == 1
    assert found["p1", "tfidf_similarity"] == pytest.approx(1)
    assert found["p1", "sbert_similarity"] == pytest.approx(1)

    before = {kind: output.read_bytes() for kind, output in outputs.items()}
    monkeypatch.setattr(module, "semantic_modes", lambda *given: pytest.fail("it is in the store"))
    assert {kind: output.read_bytes() for kind, output in measure(tmp_path, "plm", path).items()} == before


def test_texts_without_words_count_as_outputs_and_have_no_similarity(tmp_path: Path) -> None:
    outputs = measure(tmp_path, "plm", cell(tmp_path, "plm", {"p0": ODD, "p1": ("", "")}))
    rows = read_sealed(outputs["semantic_outputs"]).to_pylist()
    assert [math.isnan(row["similarity"]) for row in rows] == [True] * 2 + [False] * 3 + [True] * 2
    assert not any(math.isnan(row["x"]) for row in rows)
    found = values(outputs)
    assert found["p1", "clusters"] == 1
    assert math.isnan(found["p1", "tfidf_similarity"])


def test_the_tables_have_every_stage_beside_the_one_before(tmp_path: Path) -> None:
    made = [
        measure(tmp_path, stage, cell(tmp_path, stage, asked))
        for stage, asked in (("plm", {"p0": SEA + TAX, "p1": TAX + SEA}), ("sft", {"p0": SEA * 2, "p1": TAX * 2}))
    ]
    names = ("semantic", "semantic_outputs", "semantic_clusters")
    tables = {f"{name}{suffix}": tmp_path / f"{name}{suffix}" for name in names for suffix in ("", "_csv")}
    spec = {"analysis": {"resamples": 200, "seed": 0}, "lineage": {"plm": [], "sft": ["plm"]}}
    tabulate_semantic(spec, *([each[kind] for each in made] for kind in reversed(module.KINDS)), tables)
    for name in names:
        assert read_sealed(tables[name]).schema.names == SCHEMAS[name].names
    rows = {(row["stage"], row["quantity"]): row for row in read_sealed(tables["semantic"]).to_pylist()}
    changed = rows["sft", "sbert_similarity"]
    assert changed["parent"] == "plm"
    assert changed["difference"] > 0.1, "all about one thing"
    assert rows["sft", "tfidf_similarity"]["difference"] > 0.1
    assert read_sealed(tables["semantic_outputs"]).num_rows == 2 * 2 * 16
    shares = read_sealed(tables["semantic_clusters"]).to_pandas().groupby(["stage", "prompt"])["share"].sum()
    assert shares.to_numpy() == pytest.approx(1.0)


def test_a_cell_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = cell(tmp_path, "plm", {"p0": SEA})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptFile):
        measure(tmp_path, "plm", path)
