"""A token measurement that is killed and run again ends with the very bytes of one that nothing disturbed."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse.digests import sha256_directory
from modecollapse.manifest import Manifest, library_versions, write_manifest
from modecollapse.sealed import write_sealed
from tests.tiny_models import save_neox

CHUNKS = 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and documents of some 1,300 characters, one of them long."""
    root = tmp_path_factory.mktemp("tokens")
    weights = save_neox(root / "model" / "weights", context=32)
    files = sha256_directory(weights)
    manifest = Manifest("tiny/s0/plm", {}, {}, files, library_versions({}), seed=0, steps=0, tokens=0)
    write_manifest(manifest, root / "model" / "manifest.json")
    texts = [f"document {i} of some " + "words " * (i % 7) for i in range(20)] + ["", "a long one " * 40, "the end"]
    write_sealed(pa.table({"text": texts}), root / "data.parquet")
    return root


def run(root: Path, outputs: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    package = Path(sys.modules["modecollapse"].__file__ or "").parent.parent
    script = Path(__file__).with_name("tokens_job.py")
    return subprocess.run(
        [sys.executable, str(script), str(root), str(outputs), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def tables(outputs: Path) -> list[bytes]:
    return [(outputs / name).read_bytes() for name in ("documents.parquet", "vocabulary.parquet")]


def test_a_killed_measurement_ends_with_the_bytes_of_an_undisturbed_one(root: Path, tmp_path: Path) -> None:
    undisturbed = run(root, tmp_path / "undisturbed")
    assert undisturbed.returncode == 0, undisturbed.stderr
    chunks = int(undisturbed.stdout)
    assert chunks >= CHUNKS

    killed_after = random.Random("tokens").randint(2, chunks - 2)
    outputs = tmp_path / "killed"
    killed = run(root, outputs, killed_after)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list(outputs.glob("*.parquet"))
    [state] = (path for path in outputs.glob("store/state/*/*") if path.is_file())

    resumed = run(root, outputs)
    assert resumed.returncode == 0, resumed.stderr
    assert int(resumed.stdout) == chunks - killed_after, "chunks that were saved must not be scored again"
    assert tables(outputs) == tables(tmp_path / "undisturbed")
    assert not state.exists()


def test_saved_sums_that_are_damaged_are_not_used(root: Path, tmp_path: Path) -> None:
    assert run(root, tmp_path / "undisturbed").returncode == 0
    outputs = tmp_path / "killed"
    run(root, outputs, 5)
    [state] = (path for path in outputs.glob("store/state/*/*") if path.is_file())
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    assert run(root, outputs).returncode == 0
    assert tables(outputs) == tables(tmp_path / "undisturbed")
