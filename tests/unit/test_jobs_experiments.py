"""What the creativity measures sample from one model: its files, what is kept, and what is undefined."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.cells import Cell, Model
from modecollapse.errors import StudyError
from modecollapse.identities import cell_of_table, model_of_table
from modecollapse.jobs import experiments as module
from modecollapse.jobs.experiments import run_experiments
from modecollapse.jobs.running import Job
from modecollapse.measures import attractor, personas, probes, top_entropy
from modecollapse.measures.asking import KINDS
from modecollapse.sealed import read_sealed
from modecollapse.store import Store
from tests.tiny_models import AgreeingManifest

MODEL = Model("tiny", 0, "plm")
PLAIN = {"name": "plain", "spec": "{prompt} {start}"}
ASKING = {"completions": 8, "max_new_tokens": 10, "temperature": "1.0", "seed": 0}
SEMANTIC = {**ASKING, "format": PLAIN, "asked": {"grace": "Grace Hopper was"}}
SPEC: dict[str, Any] = {
    **{"revision": 1, "threads": 1, "stop": [], "dtype": "float32", "rows_per_batch": None},
    "parts": {
        "personas": {**ASKING, "format": PLAIN, "text": "A form:", "start": "First name:"},
        "semantic": SEMANTIC,
        "top_entropy": {**ASKING, "format": PLAIN, "text": "Steve", "top": 5},
        "attractor": {
            **{"semantic": SEMANTIC, "modes": {"most_clusters": 3, "perplexity": 30.0, "seed": 0}},
            **{"continuations": 2, "negations": {"a": "not a", "e": "not e"}, "temperatures": ["1.0", "0.3"]},
            "embedding": {"embedder": {"model": "all-MiniLM-L6-v2", "batch_size": 8}, "threads": 1},
        },
        "probes": {
            **ASKING, "format": PLAIN, "own_format": PLAIN, "samples": 3,
            "continuations": {"bugs": "are bugs real?"}, "responses": {"word": "Invent a word."},
            "choices": {"digit": {"text": "A digit:", "among": list(map(str, range(10)))}},
        },
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_manifest", lambda _: AgreeingManifest())


def run(directory: Path, weights: Path, spec: dict[str, Any] = SPEC, store: Path | None = None) -> dict[str, pa.Table]:
    outputs = {kind: directory / f"{kind}.parquet" for name in spec["parts"] for kind in KINDS[name]}
    run_experiments(spec, MODEL, (Path("-"), weights), outputs, Store(store or directory / "store"), Job(None))
    return {kind: read_sealed(path) for kind, path in outputs.items()}


def parts(*names: str, **changes: Any) -> dict[str, Any]:
    return {**SPEC, "parts": {name: {**SPEC["parts"][name], **changes} for name in names}}


def test_every_measure_has_its_files_and_they_are_the_same_twice(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = run(tmp_path / "a", weights)
    schemas = {"personas": personas.OUTPUTS, "top_entropy": top_entropy.TOKENS, "modes": attractor.MODES}
    schemas |= {"continuations": attractor.CONTINUATIONS, "confidence": probes.CONTINUATION_TOKENS}
    schemas |= {"next_tokens": probes.NEXT_TOKENS, "choices": probes.CHOICES, "responses": probes.RESPONSES}
    for kind, schema in schemas.items():
        assert tables[kind].schema.remove_metadata() == schema
        assert model_of_table(tables[kind]) == MODEL
    assert cell_of_table(tables["asked"]) == Cell(MODEL, "asked", "plain", "1.0")
    assert tables["personas"].num_rows == tables["asked"].num_rows == 8
    assert tables["responses"].num_rows == 3
    assert set(tables["top_entropy"]["sample"].to_pylist()) == set(range(8))
    assert tables["choices"].num_rows == 10
    assert 0 < sum(tables["choices"]["probability"].to_pylist()) < 1
    assert set(tables["modes"]["temperature"].to_pylist()) == {"1.0", "0.3"}
    shares = zip(tables["modes"]["temperature"].to_pylist(), tables["modes"]["share"].to_pylist(), strict=True)
    assert sum(share for temperature, share in shares if temperature == "1.0") == pytest.approx(1)
    arms = tables["continuations"].to_pylist()
    with_verb = sum(verb is not None for verb in tables["modes"]["verb"].to_pylist())
    assert len(arms) == with_verb * 2 * 2 > 0
    assert all("".join(row["tokens"]).startswith(row["text"][:5]) for row in arms)

    again = run(tmp_path / "b", weights)
    assert all(again[kind].equals(table) for kind, table in tables.items())

    def fail(*_: Any) -> None:
        raise AssertionError("the model is loaded although everything is in the store")

    monkeypatch.setattr(module, "_Experiments", fail)
    restored = run(tmp_path / "c", weights, store=tmp_path / "a" / "store")
    assert all(restored[kind].equals(table) for kind, table in tables.items())


def test_only_what_was_changed_is_sampled_again(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, weights, parts("personas", "top_entropy"))
    made = []
    original = module._Experiments.run
    monkeypatch.setattr(module._Experiments, "run", lambda self, name: made.append(name) or original(self, name))
    changed = parts("personas", "top_entropy")
    changed["parts"]["personas"] = {**changed["parts"]["personas"], "completions": 3}
    assert run(tmp_path, weights, changed)["personas"].num_rows == 3
    assert made == ["personas"]


def test_modes_without_a_verb_are_not_continued(tmp_path: Path, weights: Path) -> None:
    tables = run(tmp_path, weights, parts("attractor", negations={"nowhere": "not nowhere"}))
    assert tables["continuations"].num_rows == 0
    assert tables["modes"]["verb"].to_pylist() == tables["modes"]["prefix"].to_pylist() == [None] * len(tables["modes"])


def test_a_prompt_that_does_not_fit_the_context_is_said_and_writes_nothing(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(StudyError, match="more than the 256 positions of the model"):
        run(tmp_path, weights, parts("top_entropy", text="x" * 300))
    assert not (tmp_path / "top_entropy.parquet").exists()
