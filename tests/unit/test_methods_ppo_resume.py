"""A PPO run that is killed or stopped anywhere and run again ends with the very bytes of one that nothing disturbed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modecollapse import stopping
from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.methods import ppo_course, ppo_state
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.layout import Layout
from modecollapse.methods.ppo import METHOD
from tests.ppo_jobs import LORA, capitals, name_reward, ppo_job
from tests.tiny_models import save_neox

Result = tuple[dict[str, str], TrainingRecord]
VARIANTS: dict[str, dict[str, Any]] = {
    "adapters": {"lora": LORA, "learning_rate": 5e-3},
    "whole": {"learning_rate": 3e-3, "schedule": "cosine", "samples_per_prompt": 1},
    "early": {"lora": LORA, "steps": 30, "stop_kl": 0.8, "save_every": 1},
}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("parent"))


@pytest.fixture(autouse=True)
def _reward(monkeypatch: pytest.MonkeyPatch) -> None:
    name_reward(monkeypatch, "capitals", capitals)


_undisturbed: dict[str, Result] = {}


@pytest.fixture
def undisturbed(parent: Path, tmp_path: Path) -> Callable[[str], Result]:
    def result(variant: str) -> Result:
        if variant not in _undisturbed:
            _undisturbed[variant] = run(ppo_job(tmp_path / "undisturbed", parent, **VARIANTS[variant]))
        return _undisturbed[variant]

    return result


def run(job: TrainingJob) -> Result:
    record = METHOD.run(job)
    return sha256_directory(job.output), record


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Have the process end before the given call (from 1) of a function."""
    original, calls = getattr(owner, name), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, counted)


def run_and_kill(job: TrainingJob, owner: Any, name: str, call: int) -> None:
    """Run the job until that call."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, owner, name, call)
        with pytest.raises(Killed):
            METHOD.run(job)
    assert not any(job.output.iterdir())


@pytest.mark.parametrize("variant", ["adapters", pytest.param("whole", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("owner", "name", "calls"),
    [
        (ppo_course, "sample_rollouts", (1, 2, 5)),  # before anything, in the first iteration, after a checkpoint
        (ppo_course, "policy_losses", (7, 19)),  # between two updates of the second iteration and of the fifth
        (ppo_state, "save_file", (2, 5)),  # in the middle of the first checkpoint and of the second
        (ppo_state, "remove_older", (2,)),  # with two checkpoints
    ],
)
def test_a_killed_run_ends_with_the_weights_and_curves_of_an_undisturbed_one(
    owner, name, calls, variant, undisturbed, parent, tmp_path
) -> None:
    expected = undisturbed(variant)
    assert expected[1].steps == 6
    job = ppo_job(tmp_path / "killed", parent, **VARIANTS[variant])
    for call in calls:  # one run after the other, each killed once
        run_and_kill(job, owner, name, call)
    assert run(job) == expected
    assert len(list(job.state.glob("checkpoint-*"))) == 1


def test_a_killed_run_without_adapters_does_so_too(undisturbed, parent, tmp_path) -> None:
    job = ppo_job(tmp_path / "killed", parent, **VARIANTS["whole"])
    run_and_kill(job, ppo_course, "policy_losses", 11)
    assert run(job) == undisturbed("whole")


@pytest.mark.parametrize("iteration", [2, pytest.param(99, marks=pytest.mark.slow)])
def test_a_run_that_ends_early_does_so_with_the_same_policy_wherever_it_was_killed(
    iteration, undisturbed, parent, tmp_path
) -> None:
    expected = undisturbed("early")
    steps = len(expected[1].curves)
    assert 3 <= steps < 30
    job = ppo_job(tmp_path / "killed", parent, **VARIANTS["early"])
    # The baseline is sampled first; the last possible kill is in the very iteration that stops the run.
    run_and_kill(job, ppo_course, "sample_rollouts", 1 + min(iteration, steps))
    assert run(job) == expected


@pytest.mark.parametrize("looks", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_stop_keeps_what_it_has_and_goes_on_from_there(
    looks, undisturbed, parent, tmp_path, monkeypatch
) -> None:
    job = ppo_job(tmp_path / "stopped", parent, **{**VARIANTS["adapters"], "save_every": 100})
    expected = run(ppo_job(tmp_path / "other", parent, **{**VARIANTS["adapters"], "save_every": 100}))
    assert expected == undisturbed("adapters"), "how often the state is saved changes nothing"
    seen = 0

    def check() -> None:
        nonlocal seen
        seen += 1
        if seen >= looks:
            raise stopping.Stopped("stopped by SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(stopping, "check", check)
        with pytest.raises(stopping.Stopped):
            METHOD.run(job)
    kept = [int(path.name.rpartition("-")[2]) for path in job.state.glob("checkpoint-*")]
    assert kept == ([] if looks == 3 else kept[:1]), "before the first iteration there is nothing to keep"
    assert bool(kept) == (looks > 3)
    assert run(job) == expected


def test_what_is_kept_on_a_stop_and_proves_to_have_diverged_gives_way_to_the_good_state_before(
    parent, tmp_path, monkeypatch
) -> None:
    job = ppo_job(tmp_path, parent, save_every=1, learning_rate=0.3, limit_kl=5.0)
    gone = ppo_job(tmp_path / "gone", parent, save_every=1, learning_rate=1e-3, limit_kl=5.0)
    run_and_kill(gone, ppo_course, "sample_rollouts", 4)
    job = replace(job, state=gone.state)
    calls = 0

    def asked() -> None:
        nonlocal calls
        calls += 1
        if calls == 1 + job.settings.max_new_tokens:  # the last look of the iteration is between it and the next
            raise stopping.Stopped("stopped by SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(stopping, "check", asked)
        with pytest.raises(stopping.Stopped, match="after 2 of 6"):
            METHOD.run(job)
    assert sorted(path.name for path in job.state.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    with pytest.raises(StudyError, match=r"iteration 3 .* is kept in .*checkpoint-1"):
        METHOD.run(job)
    assert [path.name for path in job.state.glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_damaged_checkpoint_is_not_gone_on_from(undisturbed, parent, tmp_path) -> None:
    job = ppo_job(tmp_path / "killed", parent, **VARIANTS["adapters"])
    run_and_kill(job, ppo_course, "sample_rollouts", 7)
    weights = job.state / "checkpoint-4" / "trained.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert run(job) == undisturbed("adapters")


def test_after_long_without_a_checkpoint_one_is_written_out_of_turn(parent, tmp_path) -> None:
    job = ppo_job(tmp_path, parent, steps=3, save_every=100)
    METHOD.run(replace(job, layout=Layout(save_minutes=0.0)))
    assert [path.name for path in job.state.glob("checkpoint-*")] == ["checkpoint-2"]


def test_passes_of_fewer_rows_give_the_same_run_up_to_rounding(parent, tmp_path) -> None:
    job = ppo_job(tmp_path / "small", parent, **{**VARIANTS["adapters"], "steps": 2})
    curves = METHOD.run(replace(job, layout=Layout(micro_batch=2))).curves
    other = METHOD.run(ppo_job(tmp_path / "large", parent, **{**VARIANTS["adapters"], "steps": 2})).curves
    for point, same in zip(curves, other, strict=True):
        assert point == pytest.approx(same, abs=2e-4)
