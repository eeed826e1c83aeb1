"""Guard rails while PPO runs: looks change nothing, and a fall ends the run with the last good policy."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modecollapse.digests import sha256_directory
from modecollapse.generation.models import load_causal_model
from modecollapse.measures.benchmarks import BenchmarkSettings, find_tasks
from modecollapse.measures.guard_rails import Rail
from modecollapse.measures.harness import Harness, load_data
from modecollapse.methods import guarding, ppo_course
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.guard_settings import GuardSource, RunGuards
from modecollapse.methods.ppo import METHOD
from tests.ppo_jobs import LORA, capitals, name_reward, ppo_job
from tests.tasks import CHOICE, write_tasks
from tests.tiny_models import save_neox

LIKELIHOOD = (
    CHOICE.replace("task: sums", "task: last")
    .replace("multiple_choice", "loglikelihood")
    .replace("doc_to_choice: choices\n", "")
    .replace("doc_to_target: answer", 'doc_to_target: "{{choices[0]}}"')
    .replace("{metric: acc, aggregation: mean, higher_is_better: true}", "{metric: perplexity}, {metric: acc}")
)
"""The log-likelihood of right answers: what moves with every update."""
VARIANTS: dict[str, dict[str, Any]] = {"adapters": {"lora": LORA}, "whole": {"learning_rate": 3e-3}}


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def _reward(monkeypatch: pytest.MonkeyPatch) -> None:
    name_reward(monkeypatch, "capitals", capitals)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("benchmarks")
    write_tasks(directory / "tasks", last=LIKELIHOOD)
    return directory


def source(directory: Path, margin: float, sign: int = 1, limit: int = 8) -> GuardSource:
    """Of the likelihood of right answers, of which more is better if `sign` is 1, and less if it is -1.

    With next to no confidence: a few iterations on a few documents are to be enough for a fall.
    """
    content = {"tasks": {"last": {"shots": [0], "limit": limit}}, "include": "tasks", "batch_size": 4}
    settings = BenchmarkSettings.model_validate(content, strict=False)
    (task,) = find_tasks(settings, directory / "own.yaml", directory)
    rail = Rail("last", 0, "none", "perplexity", margin, higher_is_better=False)
    return GuardSource(((task, None, {**rail.spec, "sign": sign}),), settings, 0.51, chat=False)


def guarded(
    directory: Path,
    parent: Path,
    benchmarks: Path,
    margin: float,
    every: int = 1,
    variant: str = "adapters",
    sign: int = 1,
) -> TrainingJob:
    job = ppo_job(directory, parent, guard_rails=RunGuards(every=every), **VARIANTS[variant])
    return replace(job, guard=source(benchmarks, margin, sign))


def test_a_look_leaves_random_generators_and_the_tokenizer_as_they_were(parent: Path, benchmarks: Path) -> None:
    model = load_causal_model(parent, "float32", 1, "cpu")
    guard = guarding.Guard(source(benchmarks, 1.0), RunGuards(), 10)
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state(), repr(model.tokenizer)
    guard.begin(model, {})
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state(), repr(model.tokenizer)
    assert all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in zip(before, after, strict=True))


def test_a_look_sees_what_the_benchmarks_of_the_finished_model_will(parent: Path, benchmarks: Path) -> None:
    given = source(benchmarks, 1.0)
    guard = guarding.Guard(given, RunGuards(), 10)
    model = load_causal_model(parent, "float32", 1, "cpu")
    guard.begin(model, {})
    (task, _, rail) = given.tasks[0]
    _, samples = Harness.load(parent, given.settings, 1, "cpu").run(task, 0, load_data(task, None), False)
    rows = [row for row in samples.to_pylist() if row["metric"] == rail["metric"]]
    values = {f"{row['document']}/{row['hash']}": row["value"] for row in rows}
    assert guard.state()[1]["parent"] == {"last": values}
    assert len(values) == 8
    told = guard.look(3, model, {})
    assert told == {"guard/last": 0.0, "guard_low/last": 0.0, "guard_high/last": 0.0}
    assert not guard.failed


def test_a_model_whose_weights_are_no_numbers_has_fallen(parent: Path, benchmarks: Path) -> None:
    guard = guarding.Guard(source(benchmarks, 100.0), RunGuards(), 10)
    model = load_causal_model(parent, "float32", 1, "cpu")
    weights = dict(model.network.named_parameters())
    guard.begin(model, weights)
    name, weight = next(iter(weights.items()))
    with torch.no_grad():
        weight.fill_(torch.nan)
    assert guard.look(1, model, weights) == {}
    assert guard.failed
    assert torch.equal(weights[name], guard.good[name])
    assert weights[name].isfinite().all()


def test_looks_are_made_so_often_and_after_the_last_iteration() -> None:
    guard = object.__new__(guarding.Guard)
    guard._every, guard._steps = 4, 10
    assert [step for step in range(1, 11) if guard.is_due(step)] == [4, 8, 10]


@pytest.mark.parametrize("variant", ["adapters", "whole"])
def test_a_run_that_is_looked_at_and_does_not_fall_has_the_weights_and_curves_of_one_that_is_not(
    variant: str, parent: Path, benchmarks: Path, tmp_path: Path
) -> None:
    plain = ppo_job(tmp_path / "plain", parent, **VARIANTS[variant])
    expected = METHOD.run(plain)
    job = guarded(tmp_path / "guarded", parent, benchmarks, margin=100.0, every=2, variant=variant)
    record = METHOD.run(job)
    assert sha256_directory(job.output) == sha256_directory(plain.output)
    kept = [{name: value for name, value in point.items() if "guard" not in name} for point in record.curves]
    assert (kept, record.steps) == (expected.curves, 6)
    looked = [point["step"] for point in record.curves if "guard/last" in point]
    assert looked == [2, 4, 6]
    for point in record.curves:
        if "guard/last" in point:
            assert point["guard_low/last"] < point["guard/last"] < point["guard_high/last"]


def fallen(tmp_path: Path, parent: Path, benchmarks: Path, variant: str) -> tuple[float, int, int]:
    """A margin that a run crosses, the iteration after which it has, and which way."""
    record = METHOD.run(guarded(tmp_path / "free", parent, benchmarks, margin=100.0, variant=variant))
    bounds = {1: [point["guard_high/last"] for point in record.curves]}
    bounds[-1] = [-point["guard_low/last"] for point in record.curves]
    for sign, highs in bounds.items():
        for step in range(2, 7):
            before = min([0.0, *highs[: step - 1]])
            if highs[step - 1] < before:
                return -(highs[step - 1] + before) / 2, step, sign
    raise AssertionError(f"the likelihood never moves far enough: {bounds}")


@pytest.mark.parametrize("variant", ["adapters", "whole"])
def test_a_fall_ends_the_run_with_the_policy_of_the_last_look_wherever_it_was_killed(
    variant: str, parent: Path, benchmarks: Path, tmp_path: Path
) -> None:
    margin, step, sign = fallen(tmp_path, parent, benchmarks, variant)
    job = guarded(tmp_path / "stopped", parent, benchmarks, margin, variant=variant, sign=sign)
    record = METHOD.run(job)
    assert [point["stopped"] for point in record.curves] == [0.0] * (step - 1) + [1.0]
    assert record.steps == step - 1, "the policy before the iteration whose look found the fall"
    short = ppo_job(tmp_path / "short", parent, **VARIANTS[variant], steps=step - 1)
    METHOD.run(short)
    assert sha256_directory(job.output) == sha256_directory(short.output)

    again = guarded(tmp_path / "killed", parent, benchmarks, margin, variant=variant, sign=sign)
    again = replace(again, settings=again.settings.model_copy(update={"save_every": 1}))
    # In the second iteration, with which the next run begins; and in the one whose look will find the fall.
    for call in (5, 4 * (step - 2) + 2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ppo_course, "policy_losses", killing(ppo_course.policy_losses, call))
            with pytest.raises(Killed):
                METHOD.run(again)
    assert METHOD.run(again) == record
    assert sha256_directory(again.output) == sha256_directory(job.output)


def killing(original: Callable[..., Any], call: int) -> Callable[..., Any]:
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise Killed
        return original(*arguments, **options)

    return counted
