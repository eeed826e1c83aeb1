"""Tuning on sampled answers that is stopped or killed at any moment ends as if nothing had happened."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from modecollapse import stopping
from modecollapse.digests import sha256_directory
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.layout import Layout
from tests.workflow.test_resume import kill_in_child

MINIBATCHES: dict[str, Any] = {"steps": 6, "minibatch_size": 6, "minibatch_epochs": 2, "log_every": 2, "save_every": 2}
"""Four updates on every step's answers, a point of the curves for every other step."""


def _run(method: str, job: TrainingJob) -> tuple[dict[str, str], TrainingRecord]:
    record = METHODS[method].run(job)
    return sha256_directory(job.output), record


def _checkpoints(job: TrainingJob) -> list[int]:
    return sorted(int(path.name.rpartition("-")[2]) for path in job.state.glob("checkpoint-*"))


@pytest.mark.parametrize(
    ("method", "settings"),
    [("grpo", MINIBATCHES), pytest.param("rloo", {}, marks=pytest.mark.slow)],
)
def test_a_killed_run_ends_with_the_weights_and_curves_of_an_undisturbed_one(method, settings, toy, tmp_path):
    undisturbed = _run(method, toy.job(method, tmp_path / "undisturbed", settings))
    job = toy.job(method, tmp_path / "killed", settings)
    kill_in_child(method, job, 11, tmp_path)
    assert _checkpoints(job) == ([8] if settings else [9])
    assert _run(method, job) == undisturbed


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_a_run_that_is_asked_to_stop_between_updates_on_one_step_s_answers_stops_after_the_last(
    method, toy, tmp_path, monkeypatch
):
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from modecollapse.methods import processes

    undisturbed = _run(method, toy.job(method, tmp_path / "undisturbed", MINIBATCHES))
    job = toy.job(method, tmp_path / "stopped", MINIBATCHES)
    made: list[Any] = []
    hook = register_optimizer_step_post_hook(lambda *optimizer: made.append(optimizer))
    with monkeypatch.context() as patched:
        patched.setattr(processes, "asked_to_stop", lambda state: lambda: len(made) >= 10)
        with pytest.raises(stopping.Stopped, match="the state after 12 of 24 updates is kept"):
            METHODS[method].run(job)
    hook.remove()
    assert _checkpoints(job) == [12], "in the middle of a point of the curves, too"
    assert _run(method, job) == undisturbed


def test_a_run_that_is_asked_to_stop_while_it_samples_keeps_the_step_before(toy, tmp_path, monkeypatch):
    settings = {"steps": 5, "log_every": 2, "save_every": 4}
    undisturbed = _run("rloo", toy.job("rloo", tmp_path / "undisturbed", settings))
    job = toy.job("rloo", tmp_path / "stopped", settings)
    # Every token looks whether it is to stop, 12 of an answer: first among the parent's answers, then in steps 2 and 4.
    for looks, kept in ((5, []), (12 + 12 + 5, [1]), (12 + 12 + 5, [3])):
        with monkeypatch.context() as asked:
            asked.setattr(stopping, "check", _stopping_at(looks))
            with pytest.raises(stopping.Stopped):
                METHODS["rloo"].run(job)
        assert _checkpoints(job) == kept
    assert _run("rloo", job) == undisturbed


def test_a_state_that_is_kept_already_is_not_written_again_on_a_request_to_stop(toy, tmp_path, monkeypatch):
    from modecollapse.methods import resumable

    sealed: list[str] = []
    seal = resumable.seal
    monkeypatch.setattr(resumable, "seal", lambda checkpoint: (sealed.append(checkpoint.name), seal(checkpoint)))
    monkeypatch.setattr(stopping, "check", _stopping_at(12 + 12 + 5))
    with pytest.raises(stopping.Stopped):
        METHODS["rloo"].run(toy.job("rloo", tmp_path, {"steps": 3, "save_every": 1}))
    assert sealed == ["checkpoint-1"]


def test_passes_through_the_model_and_how_often_is_saved_change_nothing_but_rounding(toy, tmp_path):
    (_, whole), (_, parts) = (
        _run("grpo", toy.job("grpo", tmp_path / name, {"steps": 3, **settings}, layout=layout))
        for name, settings, layout in (
            ("whole", {}, Layout()),
            ("parts", {"save_every": 1}, Layout(micro_batch=5, save_minutes=0.0)),
        )
    )
    for point, other in zip(whole.curves, parts.curves, strict=True):
        assert point == pytest.approx(other, abs=1e-5, rel=1e-5)


def _stopping_at(looks: int) -> Callable[[], None]:
    made = itertools.count(1)

    def check() -> None:
        if next(made) == looks:
            raise stopping.Stopped("asked to stop")

    return check
