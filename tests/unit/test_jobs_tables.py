"""The jobs that read every model: what they read, how much of it they hold, and that parts make the same files."""

import gc
import itertools
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modecollapse import sealed
from modecollapse.analysis import table_files
from modecollapse.analysis.grid import COUNTED_COLUMNS, VALUE_COLUMNS
from modecollapse.analysis.matched import ENTROPY
from modecollapse.analysis.token_replica import REPLICA_COLUMNS
from modecollapse.analysis.tokens import DOCUMENT_COLUMNS, VOCABULARY_COLUMNS
from modecollapse.cells import Model
from modecollapse.identities import identity_metadata
from modecollapse.jobs import table_parts, tables
from modecollapse.measures.harness import RESULTS, SAMPLES
from modecollapse.measures.token_sums import DOCUMENTS, VOCABULARY
from modecollapse.sealed import read_sealed, write_sealed, write_sealed_parts

MODELS = [Model(size, 0, stage) for size in ("S", "M") for stage in ("plm", "sft")]
TOKEN_TABLES = ("tokens", "tokens_pooled", "vocabulary_cdf")
SPEC = {
    "analysis": {"resamples": 50, "seed": 0, "temperature": "1.0"},
    "lineage": {"plm": [], "sft": ["plm"]},
}


def publish(table: pa.Table, path: Path, model: Model) -> Path:
    write_sealed(table, path, identity_metadata(model))
    return path


def scores(model: Model) -> pa.Table:
    shift = 0.1 if model.stage == "sft" else 0.0
    rows = [
        {
            "prompts": "creative", "format": "human", "temperature": temperature, "prompt": prompt, "words": words,
            "metric": metric, "definition": "corrected", "value": shift + float(temperature) + 0.01 * number,
            "se": 0.1, "n": 3, "not_needed": "x" * 50,
        }
        for temperature in ("0.5", "1.0")
        for number, prompt in enumerate(("a", "b", "c"))
        for metric, words in (("self_bleu", 20), (ENTROPY, 0))
    ]  # fmt: skip
    return pa.Table.from_pylist(rows)


def tokens() -> tuple[pa.Table, pa.Table]:
    documents = pa.table(
        {field.name: np.arange(1, 5) if field.name != "group" else [0, 0, 1, 1] for field in DOCUMENTS},
        schema=DOCUMENTS,
    )
    rows = [("corrected", 0), ("corrected", 1), ("replica", None)]
    vocabulary = [
        {"definition": definition, "group": group, "n_distributions": 4, "probability_sum": [0.5, 0.3, 0.2]}
        for definition, group in rows
    ]
    return documents, pa.Table.from_pylist(vocabulary, schema=VOCABULARY)


def outputs(directory: Path, *names: str) -> dict[str, Path]:
    return {f"{name}{suffix}": directory / f"{name}.{kind}" for name in names for suffix, kind in
            (("", "parquet"), ("_csv", "csv"))}  # fmt: skip


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Sequence[str] | None]]:
    """(file's name, columns) of everything that the jobs read, as they go."""
    seen: list[tuple[str, Sequence[str] | None]] = []

    def read(path: Path, columns: Sequence[str] | None = None, **options: Any) -> pa.Table:
        seen.append((path.name, columns))
        return read_sealed(path, columns, **options)

    for module in (tables, table_parts):
        monkeypatch.setattr(module, "read_sealed", read)
    return seen


@pytest.fixture
def measured(tmp_path: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Files of scores, of documents and of vocabularies."""
    documents, vocabulary = tokens()
    return (
        [publish(scores(model), tmp_path / str(model) / "scores", model) for model in MODELS],
        [publish(documents, tmp_path / str(model) / "documents", model) for model in MODELS],
        [publish(vocabulary, tmp_path / str(model) / "vocabulary", model) for model in MODELS],
    )


def test_tables_read_only_the_columns_that_they_need(
    measured: tuple[list[Path], list[Path], list[Path]],
    reads: list[tuple[str, Sequence[str] | None]],
    tmp_path: Path,
) -> None:
    of_scores, documents, vocabularies = measured
    tables.tabulate(SPEC, of_scores, [], [], outputs(tmp_path, "diversity", "curves", "samples"))
    assert {columns for _, columns in reads} == {COUNTED_COLUMNS}
    reads.clear()
    tables.attribute(SPEC, of_scores, documents, vocabularies, outputs(tmp_path, "attribution"))
    assert {columns for name, columns in reads if name == "scores"} == {COUNTED_COLUMNS}
    assert {columns for name, columns in reads if name == "documents"} == {DOCUMENT_COLUMNS}
    reads.clear()
    tables.compare_steps(SPEC, of_scores, outputs(tmp_path, "tests", "matched_attribution"))
    assert {columns for _, columns in reads} == {VALUE_COLUMNS}
    reads.clear()
    tables.tabulate_tokens(
        SPEC, documents, vocabularies, outputs(tmp_path, "tokens", "tokens_pooled", "vocabulary_cdf")
    )
    assert {columns for name, columns in reads if name == "documents"} == {(*DOCUMENT_COLUMNS, *REPLICA_COLUMNS)}
    assert {columns for name, columns in reads if name == "vocabulary"} == {VOCABULARY_COLUMNS}


def test_tables_are_the_same_without_the_columns_that_they_do_not_need(
    measured: tuple[list[Path], list[Path], list[Path]], tmp_path: Path
) -> None:
    of_scores, documents, vocabularies = measured
    names = ("attribution", "tests", "matched_attribution")

    def write(directory: Path) -> None:
        tables.attribute(SPEC, of_scores, documents, vocabularies, outputs(directory, names[0]))
        tables.compare_steps(SPEC, of_scores, outputs(directory, *names[1:]))

    write(tmp_path / "all")
    for model, path in zip(MODELS, of_scores, strict=True):
        publish(scores(model).drop_columns(["n", "not_needed"]), path, model)
    write(tmp_path / "needed")
    for name in names:
        assert (tmp_path / "all" / f"{name}.csv").read_bytes() == (tmp_path / "needed" / f"{name}.csv").read_bytes()


def test_one_size_at_a_time_is_read_and_summarised(
    measured: tuple[list[Path], list[Path], list[Path]],
    reads: list[tuple[str, Sequence[str] | None]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    _, documents, vocabularies = measured
    summarised: list[tuple[int, list[str]]] = []

    def tokens_table(statistics: Any, bootstrap: Any) -> pd.DataFrame:
        summarised.append((len(reads), sorted({model.size for model, _ in statistics})))
        return original(statistics, bootstrap)

    original = tables.tables.tokens_table
    monkeypatch.setattr(tables.tables, "tokens_table", tokens_table)
    tables.tabulate_tokens(
        SPEC, documents, vocabularies, outputs(tmp_path, "tokens", "tokens_pooled", "vocabulary_cdf")
    )
    # groupby looks one model ahead to see that a size has ended.
    assert summarised == [(6, ["S"]), (8, ["M"])]


def test_benchmarks_of_one_size_at_a_time_are_read_and_summarised(
    reads: list[tuple[str, Sequence[str] | None]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = {"task": "t", "shots": 0, "filter": "none", "metric": "acc"}
    result = {**pair, "value": 0.5, "se": 0.1, "n": 2, "aggregation": "mean", "higher_is_better": True, "chance": 0.5,
              "n_truncated": 0, "version": "1"}  # fmt: skip
    samples = [{**pair, "document": number, "hash": str(number), "value": float(number)} for number in (0, 1)]
    results = [publish(pa.Table.from_pylist([result], schema=RESULTS), tmp_path / f"{m}" / "r", m) for m in MODELS]
    answers = [publish(pa.Table.from_pylist(samples, schema=SAMPLES), tmp_path / f"{m}" / "s", m) for m in MODELS]
    sizes: list[tuple[int, list[str]]] = []

    def benchmarks_table(read: Any, answered: Any) -> pd.DataFrame:
        sizes.append((len(reads), sorted({model.size for model in answered})))
        return original(read, answered)

    original = tables.benchmarks_table
    monkeypatch.setattr(tables, "benchmarks_table", benchmarks_table)
    names = ("benchmarks", "benchmarks_pooled", "benchmark_tests")
    tables.tabulate_benchmarks(SPEC, results, answers, outputs(tmp_path, *names))
    assert sizes == [(6, ["S"]), (8, ["M"])]
    table = read_sealed(tmp_path / "benchmarks.parquet").to_pylist()
    assert [(row["size"], row["stage"], row["value"]) for row in table] == [(m.size, m.stage, 0.5) for m in MODELS]
    assert read_sealed(tmp_path / "benchmark_tests.parquet").num_rows == 4


@pytest.mark.parametrize("cuts", [(), (1,), (3, 3, 7), (10,)])
def test_a_table_in_parts_has_the_bytes_of_the_whole(cuts: tuple[int, ...], tmp_path: Path) -> None:
    table = pa.table({"name": [f"{number % 3}" for number in range(10)], "value": np.arange(10) / 7})
    write_sealed(table, tmp_path / "whole.parquet", {"a": "b"})
    edges = [0, *cuts, 10]
    parts = [table.slice(start, end - start) for start, end in itertools.pairwise(edges)]
    write_sealed_parts(table.schema, parts, tmp_path / "parts.parquet", lambda: {"a": "b"})
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_table_without_rows_has_the_bytes_of_the_whole(tmp_path: Path) -> None:
    table = pa.table({"name": pa.array([], pa.string())})
    write_sealed(table, tmp_path / "whole.parquet", {})
    write_sealed_parts(table.schema, [], tmp_path / "parts.parquet", dict)
    assert (tmp_path / "parts.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_large_table_is_written_in_row_groups_and_never_held_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sealed, "GROUP_ROWS", 10)
    alive: list[weakref.ref[pd.DataFrame]] = []
    most = 0

    def parts() -> Iterator[pd.DataFrame]:
        nonlocal most
        for number in range(12):
            frame = pd.DataFrame(
                {"size": "S", "seed": 0, "stage": "plm", "step": range(4), "quantity": f"q{number}", "value": 0.5}
            )
            alive.append(weakref.ref(frame))
            gc.collect()
            most = max(most, sum(reference() is not None for reference in alive))
            yield frame
            del frame

    gc.freeze()  # or each collection would look through all the libraries
    try:
        table_files.write_table("training", parts(), tmp_path / "t.parquet", tmp_path / "t.csv")
    finally:
        gc.unfreeze()
    assert most <= 2
    assert sealed.pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 5
    table = read_sealed(tmp_path / "t.parquet").to_pandas()
    assert table["quantity"].tolist() == [f"q{number}" for number in range(12) for _ in range(4)]
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), table, check_dtype=False)
    table_files.verify_table(tmp_path / "t.parquet", tmp_path / "t.csv")


def test_a_table_whose_parts_fail_leaves_neither_file(tmp_path: Path) -> None:
    def parts() -> Iterator[pd.DataFrame]:
        yield pd.DataFrame(
            {"size": ["S"], "seed": [0], "stage": ["plm"], "step": [1], "quantity": ["q"], "value": [0.5]}
        )
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        table_files.write_table("training", parts(), tmp_path / "t.parquet", tmp_path / "t.csv")
    assert list(tmp_path.iterdir()) == []


def test_tables_about_stages_name_those_that_fail_their_guard_rails_and_others_are_as_ever(tmp_path: Path) -> None:
    def written(name: str, **columns: object) -> list[dict[str, object]]:
        row = {field.name: None for field in table_files.SCHEMAS[name]} | columns
        files = (tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv")
        table_files.write_table(name, [pd.DataFrame([row])], *files, {"S": frozenset({"sft", "dpo"})})
        table_files.verify_table(*files)
        return read_sealed(files[0]).to_pylist()

    assert written("tests", size="S", path="plm>dpo>sft", step="plm>dpo")[0]["failing"] == "dpo,sft"
    assert written("format_effect", size="S", step="plm>sft")[0]["failing"] == "sft"
    assert written("training", size="M", stage="sft")[0]["failing"] == ""
    assert "failing" not in written("judge_agreement", size="S", judge="rm", other="words")[0]
