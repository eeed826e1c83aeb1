"""Measurements that are stopped or killed go on from what they kept, and end with the bytes of undisturbed ones."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse import stopping
from modecollapse.digests import sha256_directory
from modecollapse.jobs.models import library_versions
from modecollapse.manifest import Manifest, write_manifest
from modecollapse.sealed import write_sealed
from tests.tiny_models import save_neox

KINDS = ("generate", "choose", "pairs", "own", "embed", "tokens", "reference")
STOPPED_AFTER, KILLED_AFTER = 3, 2
"""Pieces of work that are computed before the signal."""
# A batch of completions under way when the job is asked to stop is lost, one of texts, windows or pairs is not.
SAMPLES = ("generate", "choose", "pairs", "own")
KEPT = {kind: STOPPED_AFTER if kind in SAMPLES else STOPPED_AFTER + 1 for kind in KINDS}
"""Pieces of work that are not lost by the stop; nothing that is computed before the kill is."""

TWICE = ("generate", "embed")

Runs = dict[str, list[tuple[int, int | None, str]]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, documents, and a cell of completions."""
    root = tmp_path_factory.mktemp("stopped")
    weights = save_neox(root / "model" / "weights", context=64)
    files = sha256_directory(weights)
    manifest = Manifest("tiny/s0/plm", {}, {}, files, library_versions({}), seed=0, steps=0, tokens=0)
    write_manifest(manifest, root / "model" / "manifest.json")
    texts = [f"document {i} of some " + "words " * (i % 7) for i in range(20)]
    write_sealed(pa.table({"text": texts}), root / "data.parquet")
    pairs = {"prompt": [f"ask {i}" for i in range(20)]}
    pairs |= {answer: [f"{answer} " + "words " * (i % 4) for i in range(20)] for answer in ("chosen", "rejected")}
    write_sealed(pa.table(pairs), root / "pairs.parquet")
    write_sealed(pa.table({"text": [f"{i} words of a text with words" for i in range(40)]}), root / "cell.parquet")
    return root


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Runs]:
    """Each job undisturbed; stopped, then killed, then run to its end; some also twice at once."""
    outputs = tmp_path_factory.mktemp("outputs")
    scenarios = {}
    for kind in KINDS:
        scenarios[f"{kind} undisturbed"] = (kind, f"{kind}-undisturbed", "", 0, 1)
        scenarios[f"{kind} stopped"] = (kind, kind, "SIGTERM", STOPPED_AFTER, 1)
        scenarios[f"{kind} killed"] = (kind, kind, "SIGKILL", KILLED_AFTER, 1)
        scenarios[f"{kind} resumed"] = (kind, kind, "", 0, 1)
    for kind in TWICE:
        scenarios[f"{kind} twice"] = (kind, f"{kind}-twice", "", 0, 2)
    asked = [(kind, str(outputs / name), *rest) for kind, name, *rest in scenarios.values()]
    package = Path(sys.modules["modecollapse"].__file__ or "").parent.parent
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("stopped_job.py")), str(root)],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    ended = [[(status, computed, errors) for status, computed, errors in each] for each in json.loads(done.stdout)]
    return outputs, dict(zip(scenarios, ended, strict=True))


def results(outputs: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in outputs.glob("*.parquet")}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_stopped_or_killed_job_has_kept_is_not_computed_again(runs: tuple[Path, Runs], kind: str) -> None:
    outputs, ended = runs
    [(status, pieces, errors)] = ended[f"{kind} undisturbed"]
    assert status == 0, errors
    assert pieces is not None

    [(status, computed, errors)] = ended[f"{kind} stopped"]
    assert status == stopping.EXIT_STATUS, errors
    assert f"{kind}: stopped by SIGTERM; what was finished is kept" in errors
    assert computed == STOPPED_AFTER + 1
    [(status, _, errors)] = ended[f"{kind} killed"]
    assert status == -signal.SIGKILL, errors

    [(status, left, errors)] = ended[f"{kind} resumed"]
    assert status == 0, errors
    assert left == pieces - KEPT[kind] - KILLED_AFTER
    assert results(outputs / kind) == results(outputs / f"{kind}-undisturbed")
    state = (outputs / kind / "store" / "state").glob("*/*")
    assert not [path for path in state if path.is_file()], "what was kept to go on from is removed"


@pytest.mark.parametrize("kind", TWICE)
def test_two_jobs_that_make_the_same_at_once_do_no_harm(runs: tuple[Path, Runs], kind: str) -> None:
    outputs, ended = runs
    for status, _, errors in ended[f"{kind} twice"]:
        assert status == 0, errors
    assert results(outputs / f"{kind}-twice") == results(outputs / f"{kind}-undisturbed")
    assert not list((outputs / f"{kind}-twice").rglob("*.partial"))


def test_of_two_jobs_that_need_the_same_vectors_at_once_each_text_is_embedded_by_one(runs: tuple[Path, Runs]) -> None:
    _, ended = runs
    [(_, alone, _)] = ended["embed undisturbed"]
    assert alone is not None
    assert sum(computed or 0 for _, computed, _ in ended["embed twice"]) == alone
