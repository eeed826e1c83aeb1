"""A training that is killed and run again ends with the very weights of one that nothing disturbed."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from modecollapse.digests import sha256_directory
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob, TrainingRecord

STEPS = 12
SAVE_EVERY = 3


def _run(method: str, job: TrainingJob) -> tuple[dict[str, str], TrainingRecord]:
    record = METHODS[method].run(job)
    return sha256_directory(job.output), record


def kill_in_child(method: str, job: TrainingJob, updates: int, directory: Path) -> None:
    """Run `job` in a process of its own that is killed after so many updates."""
    description = {
        **{key: None if value is None else str(value) for key, value in vars(job).items() if key != "settings"},
        "epoch_outputs": [str(output) for output in job.epoch_outputs],
        "method": method,
        "settings": json.loads(job.settings.model_dump_json()),
        "seed": job.seed,
        "threads": job.threads,
        "architecture": job.architecture.model_dump() if job.architecture else None,
        "format": asdict(job.format) if job.format else None,
    }
    path = directory / "job.json"
    path.write_text(json.dumps(description))
    package = Path(sys.modules["modecollapse"].__file__ or "").parent.parent
    child = subprocess.run(
        [sys.executable, Path(__file__).with_name("train_job.py"), path, str(updates)],
        env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr


def _checkpoints(job: TrainingJob) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in job.state.glob("checkpoint-*"))


def _add_half_written(job: TrainingJob) -> None:
    """What a kill in the middle of saving leaves: a newer checkpoint without its last files, its weights cut off."""
    newest = job.state / f"checkpoint-{max(_checkpoints(job))}"
    half = job.state / f"checkpoint-{STEPS - 1}"
    shutil.copytree(newest, half)
    (half / "complete.json").unlink()
    weights = half / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


@pytest.mark.parametrize("method", ["pretrain", "sft", "dpo"])
def test_a_killed_training_ends_with_the_weights_and_curves_of_an_undisturbed_one(method, toy, tmp_path):
    undisturbed, expected = _run(method, toy.job(method, tmp_path / "undisturbed"))
    assert expected.steps == STEPS
    assert "model.safetensors" in undisturbed

    killed_after = random.Random(f"resume {method}").randint(SAVE_EVERY + 1, STEPS - 2)
    print(f"{method}: killed after {killed_after} of {STEPS} updates")
    job = toy.job(method, tmp_path / "killed")
    kill_in_child(method, job, killed_after, tmp_path)
    assert not any(job.output.iterdir())
    assert _checkpoints(job) == [(killed_after - 1) // SAVE_EVERY * SAVE_EVERY]

    _add_half_written(job)
    files, record = _run(method, job)
    assert files == undisturbed
    assert record == expected
    assert len(_checkpoints(job)) <= 2, "the state directory must stay small"
