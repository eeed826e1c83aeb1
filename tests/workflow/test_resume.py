"""A training that is killed and run again ends with the very weights of one that nothing disturbed."""

import itertools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from modecollapse import stopping
from modecollapse.digests import sha256_directory
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.job_files import write_job
from modecollapse.methods.layout import Layout
from modecollapse.methods.resume import checkpoint_path, newest_complete, remove_of_other_kind, seal
from tests.workflow import train_job

STEPS = 12
SAVE_EVERY = 3


def _run(method: str, job: TrainingJob) -> tuple[dict[str, str], TrainingRecord]:
    record = METHODS[method].run(job)
    return sha256_directory(job.output), record


def run_in_child(
    method: str, job: TrainingJob, directory: Path, number: signal.Signals, updates: int, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run `job` in a process of its own, which gets a signal after so many updates (0: none)."""
    path = directory / "job.json"
    write_job(METHODS[method], job, path)
    package = Path(sys.modules["modecollapse"].__file__ or "").parent.parent
    return subprocess.run(
        [sys.executable, train_job.__file__, path, number.name, str(updates)],
        env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_in_fork(
    method: str, job: TrainingJob, directory: Path, number: signal.Signals, updates: int
) -> tuple[int, str]:
    """As `run_in_child`, without loading the libraries once more; returns the exit status and what was printed."""
    path, output = directory / "job.json", directory / "output.txt"
    write_job(METHODS[method], job, path)
    fork = multiprocessing.get_context("fork").Process(target=_train, args=(path, number, updates, output))
    fork.start()
    fork.join(timeout=300)
    fork.kill()
    said = output.read_text()
    assert fork.exitcode is not None, f"it did not end: {said}"
    return fork.exitcode, said


def _train(path: Path, number: signal.Signals, updates: int, output: Path) -> None:
    with output.open("w", buffering=1) as file:
        sys.stdout = sys.stderr = file
        try:
            train_job.main(path, number, updates)
        except Exception:
            traceback.print_exc()
            raise


def kill_in_child(method: str, job: TrainingJob, updates: int, directory: Path) -> None:
    """Run `job` in a process of its own that is killed after so many updates."""
    status, said = run_in_fork(method, job, directory, signal.SIGKILL, updates)
    assert status == -signal.SIGKILL, said


def _checkpoints(job: TrainingJob) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in job.state.glob("checkpoint-*"))


def _add_half_written(job: TrainingJob) -> None:
    """What a kill in the middle of saving leaves: a newer checkpoint without its last files, its weights cut off."""
    newest = job.state / f"checkpoint-{max(_checkpoints(job))}"
    half = job.state / f"checkpoint-{STEPS - 1}"
    shutil.copytree(newest, half)
    (half / "complete.json").unlink()
    weights = max(half.glob("*.safetensors"), key=lambda path: path.stat().st_size)
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


PREFERENCE_METHODS = ["dpo", "ipo", "simpo", "orpo", "kto"]


@pytest.mark.parametrize(
    "method",
    ["pretrain", "sft", "dpo", "ppo", *(pytest.param(name, marks=pytest.mark.slow) for name in PREFERENCE_METHODS[1:])],
)
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


@pytest.mark.parametrize("method", ["pretrain", "sft", pytest.param("dpo", marks=pytest.mark.slow)])
def test_a_training_that_is_asked_to_stop_saves_between_two_points_of_its_curve_and_goes_on_from_there(
    method, toy, tmp_path
):
    settings = {"log_every": 3}
    undisturbed = _run(method, toy.job(method, tmp_path / "undisturbed", settings))
    job = toy.job(method, tmp_path / "stopped", settings)
    status, said = run_in_fork(method, job, tmp_path, signal.SIGTERM, 5)
    assert status == stopping.EXIT_STATUS, said
    assert "the state after 5 of 12 updates is kept" in said
    assert _checkpoints(job) == [5]
    assert not any(job.output.iterdir())
    assert _run(method, job) == undisturbed


@pytest.mark.parametrize("method", PREFERENCE_METHODS)
def test_preference_tuning_that_is_stopped_between_two_points_of_its_curve_ends_as_an_undisturbed_one(
    method, toy, tmp_path, monkeypatch
):
    settings = {"log_every": 3, "batch_size": 10, "save_every": 6}
    undisturbed = _run(method, toy.job(method, tmp_path / "undisturbed", settings))
    job = toy.job(method, tmp_path / "stopped", settings)
    updates = itertools.count(1)
    with monkeypatch.context() as asked:
        asked.setattr(stopping, "requested", lambda: next(updates) == 2)
        with pytest.raises(stopping.Stopped):
            METHODS[method].run(job)
    assert _checkpoints(job) == [2]
    assert _run(method, job) == undisturbed


@pytest.mark.parametrize("method", ["pretrain", "sft"])
def test_how_often_the_state_is_saved_changes_nothing_but_what_is_lost(method, toy, tmp_path):
    often = toy.job(method, tmp_path / "often", {"save_every": 12}, layout=Layout(save_minutes=0.0))
    result = _run(method, often)
    assert result == _run(method, toy.job(method, tmp_path / "rarely", {"save_every": 12}))
    assert min(_checkpoints(often)) >= STEPS - 1


def test_a_training_goes_on_under_another_layout(toy, tmp_path, monkeypatch):
    settings = {"log_every": 3, "batch_size": 10, "save_every": 6, "epochs": 4}
    _, expected = _run("sft", toy.job("sft", tmp_path / "undisturbed", settings))
    job = toy.job("sft", tmp_path / "stopped", settings)
    updates = itertools.count(1)
    with monkeypatch.context() as asked:
        asked.setattr(stopping, "requested", lambda: next(updates) == 5)
        with pytest.raises(stopping.Stopped):
            METHODS["sft"].run(job)
    assert _checkpoints(job) == [5]
    _, record = _run("sft", replace(job, layout=Layout(micro_batch=3)))
    for point, other in zip(record.curves, expected.curves, strict=True):
        assert point == pytest.approx(other, abs=2e-6, rel=2e-6)


def test_shards_that_as_many_processes_would_have_to_read_are_not_gone_on_from(tmp_path):
    def write() -> None:
        checkpoint_path(tmp_path, 3).mkdir()
        seal(checkpoint_path(tmp_path, 3))

    four = Layout(processes=4, zero_stage=2).kind_of_state
    remove_of_other_kind(tmp_path, four)
    write()
    remove_of_other_kind(tmp_path, four)
    assert newest_complete(tmp_path) == checkpoint_path(tmp_path, 3)
    remove_of_other_kind(tmp_path, Layout(processes=8, zero_stage=2).kind_of_state)
    assert newest_complete(tmp_path) is None
    remove_of_other_kind(tmp_path, Layout(processes=4).kind_of_state)
    write()
    remove_of_other_kind(tmp_path, Layout().kind_of_state)
    assert newest_complete(tmp_path) == checkpoint_path(tmp_path, 3)
