"""One training spread in several ways: passes, processes, shards. Losses agree to the tolerance stated here.

Every quantity on the curves is a mean over the batch, so it must agree as well, also for a smaller last batch. The
sums are added in another order: after six updates, float32 leaves differences of 3e-7 (1e-5 in summed
log-probabilities of about -30).
"""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from modecollapse import stopping
from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS, launching
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.layout import Layout
from tests.workflow.test_epochs import run_job
from tests.workflow.test_resume import run_in_child

TOLERANCE = 2e-6
HOOK = Path(__file__).with_name("worker_hook")
SETTINGS = {"batch_size": 10, "save_every": 2}
"""48 examples: four updates of ten, and one of eight, which is three and three and two, twice."""
TOGETHER = Layout(processes=2, micro_batch=2, accelerator="cpu")


def assert_equal_curves(found: TrainingRecord, expected: TrainingRecord) -> None:
    assert (found.steps, found.tokens) == (expected.steps, expected.tokens)
    assert len(found.curves) == len(expected.curves) > 0
    for point, other in zip(found.curves, expected.curves, strict=True):
        assert point == pytest.approx(other, abs=TOLERANCE, rel=TOLERANCE)


def assert_whole_model(job: TrainingJob, like: TrainingJob) -> None:
    """The output is an ordinary directory of float32 weights, which answer as those of another run do."""
    files = {path.name for path in job.output.iterdir()}
    assert files == {path.name for path in like.output.iterdir()}
    network, loading = AutoModelForCausalLM.from_pretrained(job.output, output_loading_info=True)
    assert not any(loading.values())
    assert {weights.dtype for weights in network.parameters()} == {torch.float32}
    # Not the weights: where a gradient is zero but for rounding (keys' biases), AdamW's updates are those of noise.
    other, ids = AutoModelForCausalLM.from_pretrained(like.output), torch.arange(3, 20)[None]
    with torch.no_grad():
        torch.testing.assert_close(network(ids).logits, other(ids).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sft", {}),
        ("dpo", {"sft_weight": 0.3}),
        ("dpo", {"loss_type": "ipo", "each_epoch": True}),
        ("simpo", {"sft_weight": 0.3}),
        ("orpo", {}),
        ("kto", {"log_every": 2}),
    ],
)
def test_a_batch_in_several_passes_gives_the_curves_of_the_whole_one(method, settings, toy, tmp_path):
    settings = {**SETTINGS, **settings, "epochs": 2}
    records = []
    for name, layout in {"whole": Layout(), "passes": Layout(micro_batch=3)}.items():
        job = run_job(method, toy, tmp_path / name, settings, layout=layout)
        records.append(METHODS[method].run(job))
    assert_equal_curves(records[1], records[0])


def test_passes_of_one_answer_have_the_divergence_of_the_batch(toy, tmp_path):
    jobs = [
        toy.job("kto", tmp_path / name, {"epochs": 1}, layout=layout)
        for name, layout in {"whole": Layout(), "passes": Layout(micro_batch=1)}.items()
    ]
    expected, record = (METHODS["kto"].run(job) for job in jobs)
    assert_equal_curves(record, expected)
    assert max(point["kl"] for point in expected.curves) > 0.01


def test_losses_over_the_batch_refuse_to_be_cut(toy, tmp_path):
    job = toy.job("dpo", tmp_path, {"loss_type": "aot"}, layout=Layout(micro_batch=2))
    with pytest.raises(StudyError, match="loss_type aot compares the pairs of a batch"):
        METHODS["dpo"].run(job)


def test_a_method_for_one_process_refuses_several(toy, tmp_path):
    with pytest.raises(StudyError, match="pretrain trains in one process, and this job was given 2"):
        launching.run(METHODS["pretrain"], toy.job("pretrain", tmp_path, layout=TOGETHER))


@pytest.mark.parametrize("processes", [1, 2])
def test_fewer_gpus_than_processes_are_one_clear_error(processes, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: processes - 1)
    job = toy.job("sft", tmp_path, layout=Layout(processes=processes, accelerator="cuda"))
    with pytest.raises(StudyError, match=f"{processes} processes with a GPU each, but torch .* sees {processes - 1}"):
        launching.run(METHODS["sft"], job)


@pytest.mark.slow
def test_two_processes_train_as_one_and_go_on_after_one_was_killed_and_all_were_stopped(toy, tmp_path, monkeypatch):
    one = toy.job("sft", tmp_path / "one", SETTINGS)
    expected = METHODS["sft"].run(one)
    two = toy.job("sft", tmp_path / "two", SETTINGS, layout=TOGETHER)
    record = launching.run(METHODS["sft"], two)
    assert_equal_curves(record, expected)
    assert_whole_model(two, one)

    job = toy.job("sft", tmp_path / "disturbed", SETTINGS, layout=TOGETHER)
    with monkeypatch.context() as disturbed:
        disturbed.setenv("PYTHONPATH", str(HOOK))
        disturbed.setenv("DISTURB", "1 SIGKILL 4")
        with pytest.raises(StudyError, match=r"(?s)Process 1 of 2 of the training was killed by SIGKILL.*last lines"):
            launching.run(METHODS["sft"], job)
    assert checkpoints(job) == [2]
    add_half_written(job, 4)

    path = f"{HOOK}:{Path(stopping.__file__).parents[1]}"
    child = run_in_child("sft", job, tmp_path, signal.SIGTERM, 0, PYTHONPATH=path, DISTURB="0 SIGTERM 1")
    assert child.returncode == stopping.EXIT_STATUS, child.stderr
    assert checkpoints(job) == [3], "the half-written one is gone, and so is what came before"
    assert not any(job.output.iterdir())

    assert launching.run(METHODS["sft"], job) == record
    assert sha256_directory(job.output) == sha256_directory(two.output)


@pytest.mark.parametrize(
    ("method", "stage"),
    [
        pytest.param("dpo", 2),
        pytest.param("dpo", 0, marks=pytest.mark.slow),
        pytest.param("dpo", 3, marks=pytest.mark.slow),
        pytest.param("sft", 3, marks=pytest.mark.slow),
        pytest.param("ipo", 0, marks=pytest.mark.slow),
        pytest.param("simpo", 2, marks=pytest.mark.slow),
        pytest.param("orpo", 3, marks=pytest.mark.slow),
    ],
)
def test_shards_train_as_one_process(method, stage, toy, tmp_path):
    settings = {**SETTINGS, "epochs": 2, "each_epoch": True}
    one = run_job(method, toy, tmp_path / "one", settings)
    expected = METHODS[method].run(one)
    layout = Layout(processes=2, micro_batch=2, zero_stage=stage, accelerator="cpu")
    job = run_job(method, toy, tmp_path / "sharded", settings, layout=layout)
    record = launching.run(METHODS[method], job)
    assert_equal_curves(record, expected)
    for output, like in zip(job.epoch_outputs, one.epoch_outputs, strict=True):
        assert sorted(sha256_directory(output)) == sorted(sha256_directory(like))
    assert_whole_model(job, one)
    assert not list(job.state.rglob("*.so")), "nothing was compiled"


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_shards_go_on_from_what_they_saved(stage, toy, tmp_path):
    layout = Layout(processes=2, micro_batch=2, zero_stage=stage, accelerator="cpu")
    undisturbed = toy.job("sft", tmp_path / "undisturbed", SETTINGS, layout=layout)
    record = launching.run(METHODS["sft"], undisturbed)
    job = toy.job("sft", tmp_path / "stopped", SETTINGS, layout=layout)
    path = f"{HOOK}:{Path(stopping.__file__).parents[1]}"
    child = run_in_child("sft", job, tmp_path, signal.SIGTERM, 0, PYTHONPATH=path, DISTURB="0 SIGTERM 3")
    assert child.returncode == stopping.EXIT_STATUS, child.stderr
    [step] = checkpoints(job)  # DeepSpeed steps its optimizer once or twice per update
    assert step in (2, 3)
    add_half_written(job, 4)
    assert launching.run(METHODS["sft"], job) == record
    assert sha256_directory(job.output) == sha256_directory(undisturbed.output)


def checkpoints(job: TrainingJob) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in job.state.glob("checkpoint-*"))


def add_half_written(job: TrainingJob, step: int) -> None:
    """What a kill in the middle of saving leaves: a newer checkpoint, its largest file cut off, without its seal."""
    half = job.state / f"checkpoint-{step}"
    shutil.copytree(job.state / f"checkpoint-{checkpoints(job)[-1]}", half)
    (half / "complete.json").unlink()
    largest: Any = max((path for path in half.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
