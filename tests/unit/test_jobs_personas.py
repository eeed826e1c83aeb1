"""Personas from sampled outputs to tables: read, kept, clustered and compared, also where there is nothing to read."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.errors import CorruptFile
from modecollapse.identities import identity_metadata
from modecollapse.jobs import personas as module
from modecollapse.jobs.personas import measure_personas
from modecollapse.jobs.running import Job
from modecollapse.jobs.tables import tabulate_personas
from modecollapse.measures.persona_outputs import QUANTITIES
from modecollapse.measures.personas import FIELDS, OUTPUTS
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store

SPEC: dict[str, Any] = {
    "revision": 1,
    "lead": "First name:",
    "pattern": None,
    "fields": dict(FIELDS),
    "review": "review",
    "clusters": {"most_clusters": 4, "perplexity": 30.0, "seed": 0},
    "embedding": {"embedder": {"model": "all-MiniLM-L6-v2", "batch_size": 8}, "threads": 1},
}
TABLES = ("personas", "persona_values", "persona_reviews", "persona_sentences", "persona_clusters")
COFFEE = ("I love that my coffee stays warm.", "Great coffee at the perfect temperature!")
WATCH = ("The smartwatch cannot find it.", "A terrible app: it crashes all the time.")


def sampled(directory: Path, stage: str, texts: list[str], seed: int = 0) -> Path:
    rows = [
        {"format": "plain", "sample": number, "text": text, "finish_reason": "stop", "n_tokens": 9}
        for number, text in enumerate(texts)
    ]
    path = directory / f"{stage}{seed}.sampled.parquet"
    write_sealed(pa.Table.from_pylist(rows, OUTPUTS), path, identity_metadata(Model("tiny", seed, stage)))
    return path


def persona(first: str, age: object, nationality: str, review: str) -> str:
    return f" {first}\nGender: female\nAge: {age}\nNationality: {nationality}\nReview: {review}"


def measure(tmp_path: Path, stage: str, texts: list[str], seed: int = 0, **changes: Any) -> dict[str, Path]:
    outputs = {kind: tmp_path / f"{stage}{seed}.{kind}.parquet" for kind in module.KINDS}
    path, model = sampled(tmp_path, stage, texts, seed), Model("tiny", seed, stage)
    measure_personas({**SPEC, **changes}, model, path, outputs, Store(tmp_path / "store"), Job(None))
    return outputs


def rows_of(outputs: dict[str, Path], kind: str) -> list[dict[str, Any]]:
    return read_sealed(outputs[kind]).to_pylist()


def clusters_of(outputs: dict[str, Path]) -> dict[str, float]:
    return {row["quantity"]: row["value"] for row in rows_of(outputs, "persona_clusters")}


def tabulated(tmp_path: Path, made: list[dict[str, Path]], **changes: Any) -> dict[str, Path]:
    tables = {f"{name}{suffix}": tmp_path / f"{name}{suffix}" for name in TABLES for suffix in ("", "_csv")}
    spec = {
        "analysis": {"resamples": 200, "seed": 0}, "lineage": {"plm": [], "sft": ["plm"]}, "fields": dict(FIELDS),
        "review": "review", "truth": {}, **changes,
    }  # fmt: skip
    tabulate_personas(json.loads(json.dumps(spec)), *([each[kind] for each in made] for kind in module.KINDS), tables)
    return tables


@pytest.fixture(scope="module")
def varied() -> list[str]:
    reviews = [f"{first} {second}" for first, second in (COFFEE, WATCH)]
    return [persona(f"Ann{n}", 20 + n, ("American", "british", "Thai")[n % 3], reviews[n % 2]) for n in range(12)]


def test_what_outputs_hold_is_read_once_with_reviews_and_their_clusters(
    tmp_path: Path, varied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = measure(tmp_path, "plm", [*varied, ""])
    read = rows_of(outputs, "persona_outputs")
    assert [row["parsed"] for row in read] == [True] * 12 + [False]
    assert (read[12]["reason"], read[12]["words"], read[12]["polarity"]) == ("empty", None, None)
    assert read[0]["words"] == 13
    assert read[0]["characters"] == len(" ".join(COFFEE))
    assert read[0]["polarity"] > 0.5 > 0 > read[1]["polarity"]
    answers = rows_of(outputs, "persona_answers")
    assert len(answers) == 12 * len(FIELDS)
    assert {row["value"] for row in answers if row["field"] == "last_name"} == {None}
    sentences = rows_of(outputs, "persona_sentences")
    assert [row["sentence"] for row in sentences[:4]] == [0, 1, 0, 1]
    assert len(sentences) == 24
    found = clusters_of(outputs)
    assert list(found) == list(QUANTITIES)
    assert found["sentences"] == 24
    assert found["clusters"] == 4
    assert found["stability"] > 0.9

    before = {kind: path.read_bytes() for kind, path in outputs.items()}
    monkeypatch.setattr(module, "read_personas", lambda *given: pytest.fail("it is in the store"))
    again = measure(tmp_path, "plm", [*varied, ""])
    assert {kind: path.read_bytes() for kind, path in again.items()} == before


ODD = {
    "all empty": (["", " ", "\n"], 0, 0, 0),
    "no persona": (["I'm sorry, but I can't.", "Nein.", "\U0001f600"], 0, 0, 0),
    "all identical": ([persona("Ann", 30, "Thai", "It works.")] * 5, 5, 1, 5),
    "fewer outputs than clusters": ([persona("Ann", 30, "Thai", "Good."), persona("Bo", 3, "Thai", "Bad.")], 2, 1, 2),
    "other languages and emoji": (
        [
            persona("愛", "３０", "日本人", "とても良い。\U0001f600\U0001f600"),
            persona("Zoë", 41, "Österreich", "Sehr gut!"),
        ],
        2, 1, 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_odd_outputs_have_defined_results(case: str, tmp_path: Path) -> None:
    texts, personas, clusters, sentences = ODD[case]
    # The lead would give each of them a first name.
    lead = "First name:" if personas else ""
    made = measure(tmp_path, "plm", texts, lead=lead)
    assert sum(row["parsed"] for row in rows_of(made, "persona_outputs")) == personas
    assert clusters_of(made)["sentences"] == len(rows_of(made, "persona_sentences")) == sentences
    assert clusters_of(made)["clusters"] == clusters
    tables = tabulated(tmp_path, [made])
    rows = {(row["field"], row["quantity"]): row for row in read_sealed(tables["personas"]).to_pylist()}
    failures = rows["", "failures"]
    assert failures["value"] == pytest.approx(1 - personas / len(texts))
    assert failures["low"] <= failures["value"] <= failures["high"]
    names = rows["first_name", "entropy"]
    if not personas:
        assert names["value"] is None
        assert names["n"] == 0
    if case == "all identical":
        assert (names["value"], names["low"], names["high"]) == (0, 0, 0)
        assert rows["age", "sd"]["value"] == 0
        assert rows["first_name", "effective"]["value"] == 1
    if case == "other languages and emoji":
        assert rows["age", "mean"]["value"] == 35.5
        assert rows["review", "polarity"]["value"] > 0, "the lexicon has emoji, but no German"
    for name in TABLES:
        assert read_sealed(tables[name]).schema.names == SCHEMAS[name].names


def test_the_tables_have_every_stage_beside_the_one_before(tmp_path: Path, varied: list[str]) -> None:
    poor = [persona("Emily", 30, "AMERICAN", "It works.") for _ in range(12)]
    made = [measure(tmp_path, "plm", varied), measure(tmp_path, "sft", poor)]
    truth = {"plain": {"nationality": {"American": 0.25, "Thai": 0.25, "British": 0.5, "Dutch": 0.0}}}
    tables = tabulated(tmp_path, made, truth=truth)
    table = read_sealed(tables["personas"]).to_pylist()
    rows = {(row["stage"], row["field"], row["quantity"]): row for row in table}
    assert len(rows) == len(table)
    entropy = rows["sft", "nationality", "entropy"]
    assert (entropy["parent"], entropy["value"], entropy["truth"], entropy["n"]) == ("plm", 0.0, 1.5, 12)
    assert entropy["difference"] == -entropy["before"] == -rows["plm", "nationality", "entropy"]["value"]
    assert entropy["test"] == "permutation"
    assert entropy["p"] <= 0.02
    assert entropy["p"] <= entropy["p_holm"]
    assert entropy["n_family"] == 4 + 2 + 4, "fields with values, the age's moments, means of reviews, and one spread"
    assert rows["sft", "age", "sd"]["test"] == "brown-forsythe"
    assert rows["sft", "age", "sd"]["p"] < 0.05
    assert rows["sft", "review", "words"]["test"] == "mann-whitney"
    assert rows["sft", "last_name", "missing"]["value"] == 1
    assert rows["plm", "nationality", "entropy"]["parent"] is None
    assert rows["sft", "nationality", "effective"]["truth"] == pytest.approx(2**1.5)
    values = read_sealed(tables["persona_values"]).to_pylist()
    found = {row["value"]: row for row in values if row["stage"] == "sft" and row["field"] == "nationality"}
    assert {value: (row["n"], row["true_share"]) for value, row in found.items()} == {
        "American": (12, 0.25), "British": (0, 0.5), "Thai": (0, 0.25), "Dutch": (0, 0.0),
    }  # fmt: skip
    assert read_sealed(tables["persona_reviews"]).num_rows == 24
    clusters = read_sealed(tables["persona_clusters"]).to_pandas()
    assert clusters.groupby("stage")["share"].sum().to_numpy() == pytest.approx(1.0)
    assert set(clusters.loc[clusters["stage"] == "sft", "text"]) == {"It works."}
    again = {name: path.read_bytes() for name, path in tables.items()}
    assert {name: path.read_bytes() for name, path in tabulated(tmp_path, made, truth=truth).items()} == again


def test_outputs_that_are_damaged_are_refused(tmp_path: Path, varied: list[str]) -> None:
    path = sampled(tmp_path, "plm", varied)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptFile):
        measure_personas(SPEC, Model("tiny", 0, "plm"), path, {}, Store(tmp_path / "store"), Job(None))
