"""A run that keeps the model of every epoch: what it keeps is what a run of so many epochs ends with."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modecollapse.digests import sha256_directory, sha256_file
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob, TrainingRecord
from tests.workflow.test_resume import kill_in_child

EACH = {"each_epoch": True, "epochs": 3, "schedule": "constant", "save_every": 4}
"""24 examples in batches of 4: epochs end after 6, 12 and 18 updates, checkpoints are made after every fourth."""

Result = tuple[list[dict[str, str]], TrainingRecord]


def run_job(method: str, toy: Any, directory: Path, settings: dict[str, Any], **changes: Any) -> TrainingJob:
    job = toy.job(method, directory, settings, **changes)
    outputs = tuple(directory / f"epoch-{epoch}" for epoch in range(1, settings["epochs"] + 1))
    for output in outputs:
        output.mkdir()
    return replace(job, output=outputs[-1], epoch_outputs=outputs)


def finish(method: str, job: TrainingJob) -> Result:
    record = METHODS[method].run(job)
    return [sha256_directory(output) for output in job.epoch_outputs], record


@pytest.fixture(scope="module")
def undisturbed(toy, tmp_path_factory) -> dict[str, Result]:
    """Method → what an undisturbed run gives."""
    return {
        method: finish(method, run_job(method, toy, tmp_path_factory.mktemp(method), EACH)) for method in ("sft", "dpo")
    }


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_model_of_an_epoch_is_that_of_a_run_of_so_many_epochs(method, epochs, toy, tmp_path, undisturbed):
    digests, record = undisturbed[method]
    ordinary = toy.job(method, tmp_path, {**EACH, "each_epoch": False, "epochs": epochs})
    expected = METHODS[method].run(ordinary)
    assert sha256_directory(ordinary.output) == digests[epochs - 1]
    kept = record.epochs[epochs - 1]
    assert (kept.steps, kept.tokens) == (expected.steps, expected.tokens)
    assert [point for part in record.epochs[:epochs] for point in part.curves] == expected.curves


def test_an_epoch_ends_with_a_smaller_batch_where_the_batch_does_not_divide_the_data(toy, tmp_path):
    settings = {**EACH, "epochs": 2, "batch_size": 10}
    digests, record = finish("sft", run_job("sft", toy, tmp_path / "run", settings))
    assert [part.steps for part in record.epochs] == [3, 6]
    one = toy.job("sft", tmp_path / "one", {**settings, "each_epoch": False, "epochs": 1})
    METHODS["sft"].run(one)
    assert sha256_directory(one.output) == digests[0]
    longer, _ = finish("sft", run_job("sft", toy, tmp_path / "longer", {**settings, "epochs": 3}))
    assert longer[:2] == digests, "what the run does later is of no consequence"


def test_a_cosine_schedule_spans_the_whole_run(toy, tmp_path):
    rates = {}
    for epochs in (2, 3):
        settings = {**EACH, "schedule": "cosine", "epochs": epochs}
        _, record = finish("sft", run_job("sft", toy, tmp_path / str(epochs), settings))
        rates[epochs] = [point["learning_rate"] for point in record.epochs[0].curves]
    assert len(rates[2]) == len(rates[3]) == 6
    assert rates[2][-1] < rates[3][-1]


@pytest.mark.parametrize("method", ["sft", pytest.param("dpo", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "killed_after",
    [
        pytest.param(5, id="before the first epoch ends", marks=pytest.mark.slow),
        pytest.param(7, id="after a snapshot that no checkpoint follows"),
        pytest.param(10, id="after a checkpoint that follows a snapshot"),
        pytest.param(17, id="in the last epoch", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_with_the_models_of_an_undisturbed_one(method, killed_after, toy, tmp_path, undisturbed):
    job = run_job(method, toy, tmp_path / "killed", EACH)
    kill_in_child(method, job, killed_after, tmp_path)
    assert not any(any(output.iterdir()) for output in job.epoch_outputs)
    assert finish(method, job) == undisturbed[method]


@pytest.mark.slow
def test_a_run_whose_snapshot_was_damaged_is_made_again_from_before_it(toy, tmp_path, undisturbed):
    job = run_job("sft", toy, tmp_path / "killed", EACH)
    kill_in_child("sft", job, 10, tmp_path)
    damaged = job.state / "epoch-1" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert finish("sft", job) == undisturbed["sft"]


def test_a_run_that_was_killed_while_it_was_published_trains_nothing_again(toy, tmp_path, undisturbed, monkeypatch):
    job = run_job("sft", toy, tmp_path, EACH)
    assert finish("sft", job) == undisturbed["sft"]
    for output in job.epoch_outputs:
        shutil.rmtree(output)
        output.mkdir()
    half = job.state / ".epoch-2.0.partial"
    half.mkdir()
    before = {path: path.stat().st_ino for path in sorted(job.state.glob("epoch-*/*"))}
    assert finish("sft", job) == undisturbed["sft"]
    assert {path: path.stat().st_ino for path in sorted(job.state.glob("epoch-*/*"))} == before
    assert not half.exists()
    assert sha256_file(job.output / "model.safetensors") == undisturbed["sft"][0][2]["model.safetensors"]
