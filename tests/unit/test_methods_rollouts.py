"""Tuning on sampled answers through TRL's trainers: what is scored, what is learned from it, and what is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.methods.layout import Layout
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import write_sealed
from tests.tiny_models import save_neox, save_reward

SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-2,
    "steps": 2,
    "batch_size": 12,
    "samples_per_prompt": 3,
    "max_new_tokens": 8,
    "max_length": 64,
    "dtype": "float32",
}
EOS = 0


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of characters without a padding token: padding is by end of text. Every fifth answer or so ends."""
    from safetensors.torch import load_file, save_file

    directory = save_neox(tmp_path_factory.mktemp("parent"), context=64)
    weights = load_file(directory / "model.safetensors")
    weights["embed_out.weight"] *= 0.5
    weights["embed_out.weight"][EOS] *= 2
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


def _job(method: str, directory: Path, parent: Path, settings: dict[str, Any] | None = None, **changes: Any) -> Any:
    directory.mkdir(exist_ok=True)
    data = directory / "data.parquet"
    prompts = ["a cat", "an old fox that ran", "me", "of owls", "why so"]
    write_sealed(pa.table({"prompt": prompts, "task": ["x", "x", "y", "y", "y"]}), data)
    for name in ("output", "state"):
        (directory / name).mkdir()
    job = TrainingJob(
        settings=METHODS[method].settings.model_validate({**SETTINGS, **(settings or {})}),
        seed=1,
        threads=1,
        output=directory / "output",
        state=directory / "state",
        parent=parent,
        data=data,
        format=PromptFormat("q", "Q: {prompt} A: {start}"),
        reward=RewardSource("words"),
    )
    return dataclasses.replace(job, **changes)


@dataclasses.dataclass
class Step:
    """What was seen of a step: the judge's arguments and scores, TRL's batch, and our own log-probabilities."""

    prompt_ids: list[list[int]]
    answer_ids: list[list[int]]
    scores: np.ndarray
    batch: dict[str, Any]
    policy: list[np.ndarray]
    reference: list[np.ndarray]
    entropies: list[np.ndarray]
    """Of the policy."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, parent: Path) -> list[Step]:
    """The steps of the runs of a test."""
    import torch
    from transformers import AutoModelForCausalLM

    from modecollapse.methods.answer_judge import AnswerJudge
    from modecollapse.methods.rollout_trainers import RolloutTrainer

    reference = AutoModelForCausalLM.from_pretrained(parent)
    seen: list[Step] = []
    judged: list[dict[str, Any]] = []
    judge, generate = AnswerJudge.__call__, RolloutTrainer._generate_and_score_completions

    def judging(self: Any, *args: Any, **kwargs: Any) -> list[float]:
        scores = judge(self, *args, **kwargs)
        judged.append({**kwargs, "scores": np.array(scores)})
        return scores

    def one_by_one(model: Any, call: dict[str, Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Log-probabilities of answers and entropies, by token."""
        chosen, entropies = [], []
        for prompt, answer in zip(call["prompt_ids"], call["completion_ids"], strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
            scores = logits.double().log_softmax(-1)
            chosen.append(scores.gather(1, torch.tensor(answer)[:, None]).squeeze(1).numpy())
            entropies.append(-(scores.exp() * scores).sum(-1).numpy())
        return chosen, entropies

    def generating(self: Any, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = generate(self, inputs)
        call = judged[-1]
        (policy, entropies), (parents, _) = (one_by_one(model, call) for model in (self.model, reference))
        told = call["prompt_ids"], call["completion_ids"], call["scores"]
        seen.append(Step(*told, batch, policy, parents, entropies))
        return batch

    monkeypatch.setattr(AnswerJudge, "__call__", judging)
    monkeypatch.setattr(RolloutTrainer, "_generate_and_score_completions", generating)
    return seen


def _kl(step: Step) -> np.ndarray:
    return np.array([(ours - theirs).sum() for ours, theirs in zip(step.policy, step.reference, strict=True)])


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_what_was_sampled_is_scored_and_trained_with_its_end_of_text(method, parent, steps, tmp_path):
    METHODS[method].run(_job(method, tmp_path / "run", parent, {"unended_penalty": 0.0}))
    assert len(steps) == 2
    for step in steps:
        ended = [ids[-1] == EOS for ids in step.answer_ids]
        assert 0 < sum(ended) < 12
        assert all(EOS not in ids[:-1] for ids in step.answer_ids)
        assert {len(ids) for ids, end in zip(step.answer_ids, ended, strict=True) if not end} == {8}
        for row, ids in enumerate(step.answer_ids):
            mask = step.batch["completion_mask"][row].bool()
            assert step.batch["completion_ids"][row][mask].tolist() == ids, "its end is trained, what follows is not"
            real = step.batch["prompt_mask"][row].bool()
            assert step.batch["prompt_ids"][row][real].tolist() == step.prompt_ids[row]


def test_rloo_compares_an_answer_less_its_kl_with_the_mean_of_the_others(parent, steps, tmp_path):
    record = METHODS["rloo"].run(_job("rloo", tmp_path / "run", parent, {"kl_weight": 0.5}))
    for step, point in zip(steps, record.curves, strict=True):
        groups = (step.scores - 0.5 * _kl(step)).reshape(4, 3)
        by_hand = [[own - (row.sum() - own) / 2 for own in row] for row in groups]
        assert step.batch["advantages"].numpy() == pytest.approx(np.ravel(by_hand), abs=1e-4)
        assert step.batch["old_logps"].numpy() == pytest.approx([row.sum() for row in step.policy], abs=1e-4)
        assert point["score"] == pytest.approx(step.scores.mean(), abs=1e-6)
        assert point["kl"] == pytest.approx(_kl(step).mean(), abs=1e-4)
        assert point["kl_per_token"] == pytest.approx(_kl(step).sum() / sum(map(len, step.answer_ids)), abs=1e-4)
        assert point["score_minus_kl"] == pytest.approx(point["score"] - 0.5 * point["kl"])
        assert point["baseline_score"] == record.curves[0]["baseline_score"]
    assert record.curves[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert abs(record.curves[1]["kl"]) > 1e-3


@pytest.mark.parametrize("minibatch_size", [12, 6])
def test_grpo_standardises_scores_within_the_answers_to_a_prompt(minibatch_size, parent, steps, tmp_path):
    record = METHODS["grpo"].run(_job("grpo", tmp_path / "run", parent, {"minibatch_size": minibatch_size}))
    for step, point in zip(steps, record.curves, strict=True):
        groups = step.scores.reshape(4, 3)
        by_hand = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
        assert step.batch["advantages"].numpy() == pytest.approx(by_hand.ravel(), abs=1e-4)
        ours = [row[: len(ids)] for row, ids in zip(step.batch["ref_per_token_logps"], step.answer_ids, strict=True)]
        assert np.concatenate(ours) == pytest.approx(np.concatenate(step.reference), abs=1e-4)
        assert point["kl"] == pytest.approx(_kl(step).mean(), abs=1e-4)
        if minibatch_size == 12:  # later updates are of another policy than the one that answered
            assert point["entropy"] == pytest.approx(np.concatenate(step.entropies).mean(), abs=1e-4)
    assert record.curves[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert [point["step"] for point in record.curves] == [1, 2]


def test_hand_values_of_both_advantages(parent, steps, tmp_path, monkeypatch):
    """Scores 1, 2, 6: leave-one-out 1 − 4, 2 − 3.5, 6 − 1.5; standardised by the deviation √7 about 3."""
    _reward(monkeypatch, [1.0, 2.0, 6.0] * 4)
    for method, expected in (("rloo", [-3, -1.5, 4.5]), ("grpo", [-0.75593, -0.37796, 1.13389])):
        METHODS[method].run(_job(method, tmp_path / method, parent, {"steps": 1, "unended_penalty": 0.0}))
        assert steps[-1].batch["advantages"].numpy().reshape(4, 3) == pytest.approx(np.tile(expected, (4, 1)), abs=1e-3)


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_answers_that_all_score_the_same_teach_nothing(method, parent, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    _reward(monkeypatch, [7.0] * 12)
    job = _job(method, tmp_path / "run", parent, {"steps": 1, "unended_penalty": 0.0})
    (point,) = METHODS[method].run(job).curves
    assert point["share_tied"] == 1
    assert point["score"] == point["baseline_score"] == 7
    after, before = (load_file(path / "model.safetensors") for path in (job.output, parent))
    assert all(after[name].equal(before[name]) for name in after)
    for name in ("config.json", "generation_config.json"):
        assert "pad_token_id" not in (job.output / name).read_text().replace('"pad_token_id": null', ""), name


def test_answers_that_do_not_end_are_fined_and_those_that_end_at_once_are_scored(parent, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    _reward(monkeypatch, [2.0] * 12)
    for name, pull, expected in (("endless", -10.0, (0, -3, 8)), ("empty", 10.0, (1, 2, 1))):
        directory = _copied(parent, tmp_path / name)
        weights = load_file(directory / "model.safetensors")
        # A normalised state sums to 0, so with a bias of 1 its product with equal weights is theirs.
        weights["gpt_neox.final_layer_norm.bias"][:] = 1
        weights["embed_out.weight"][EOS] = pull
        save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
        record = METHODS["rloo"].run(_job("rloo", tmp_path / f"{name} run", directory, {"unended_penalty": 5.0}))
        for point in record.curves:
            assert (point["share_ended"], point["score"], point["response_length"]) == expected


def test_a_reward_that_is_no_number_is_refused_with_the_number_of_updates(parent, tmp_path, monkeypatch):
    calls = iter([[0.0] * 12, [1.0, 2.0, 3.0] * 4, [float("nan")] * 12])
    _reward(monkeypatch, lambda: next(calls))
    with pytest.raises(StudyError, match="After 1 updates: reward: words gives nan"):
        METHODS["rloo"].run(_job("rloo", tmp_path / "run", parent))


@pytest.mark.parametrize("method", ["rloo", "grpo"])
def test_weights_that_overflow_are_a_divergence_that_says_when_and_what_helps(method, parent, tmp_path):
    job = _job(method, tmp_path / "run", parent, {"learning_rate": 1e30})
    told = r"diverged in step 2 of 2: The model predicts values .* No state was kept .*raise kl_weight"
    with pytest.raises(StudyError, match=told):
        METHODS[method].run(job)


def test_dropout_that_the_parent_states_changes_nothing_and_is_published(parent, tmp_path):
    import json

    from safetensors.torch import load_file

    stated = _copied(parent, tmp_path / "stated")
    config = json.loads((parent / "config.json").read_text())
    (stated / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.5, "hidden_dropout": 0.5}))
    with_it, without = (_job("rloo", tmp_path / f"run {path.name}", path) for path in (stated, parent))
    for job in (with_it, without):
        METHODS["rloo"].run(job)
    after, other = (load_file(job.output / "model.safetensors") for job in (with_it, without))
    assert all(after[name].equal(other[name]) for name in after)
    published = json.loads((with_it.output / "config.json").read_text())
    assert (published["attention_dropout"], published["hidden_dropout"]) == (0.5, 0.5)


def test_prompts_that_do_not_fit_and_models_of_too_little_context_are_refused_before_training(parent, tmp_path):
    settings = {"max_length": 24, "max_new_tokens": 12, "too_long": "error"}
    with pytest.raises(StudyError, match=r"prompts in .* have more than 12 tokens"):
        METHODS["rloo"].run(_job("rloo", tmp_path / "long", parent, settings))
    with pytest.raises(StudyError, match="max_length 65 is longer than the context"):
        METHODS["grpo"].run(_job("grpo", tmp_path / "context", parent, {"max_length": 65}))
    with pytest.raises(StudyError, match="2 processes, but it samples and trains in one"):
        METHODS["rloo"].run(_job("rloo", tmp_path / "two", parent, layout=Layout(processes=2)))


def test_a_reward_model_scores_token_ids_and_the_utility_is_logged_beside_it(tmp_path):
    settings = WorldSettings()
    prompts = [row["prompt"] for row in World(settings).preferences(6, seed=3).to_pylist()]
    parent = save_neox(tmp_path / "parent")
    reward = RewardSource("rm", save_reward(parent, tmp_path / "reward"))
    job = _job("grpo", tmp_path / "run", parent, {"max_length": 128}, world=settings, reward=reward)
    write_sealed(pa.table({"prompt": prompts}), job.data)
    record = METHODS["grpo"].run(job)
    assert all(np.isfinite(point["utility"]) and point["utility"] != point["score"] for point in record.curves)


def test_an_adapter_starts_at_the_reference_and_is_merged(parent, tmp_path):
    record = METHODS["rloo"].run(_job("rloo", tmp_path / "run", parent, {"lora": {"rank": 2}}))
    assert record.curves[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert abs(record.curves[1]["kl"]) > 1e-4
    assert {"model.safetensors", "adapter"} <= {path.name for path in (tmp_path / "run" / "output").iterdir()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples_per_prompt": 5}, "samples_per_prompt 5 must divide batch_size 12.*e.g. batch_size 10"),
        ({"minibatch_size": 7}, "minibatch_size 7 must divide batch_size 12"),
        ({"max_length": 8}, "max_new_tokens 8 leaves no room"),
        ({"log_every": 3}, "save_every 10 must be a multiple of log_every 3"),
        ({"lora": {"dropout": 0.1}}, "lora.dropout must be 0"),
        ({"kl_weight": 0}, "greater than 0"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(settings, message):
    for method in ("rloo", "grpo"):
        with pytest.raises(ValidationError, match=message):
            METHODS[method].settings.model_validate({**SETTINGS, **settings})


def _reward(monkeypatch: pytest.MonkeyPatch, scores: Any) -> None:
    """Have the function `words` give these scores to any answers."""
    from modecollapse.methods import reward_functions

    given = scores if callable(scores) else lambda: scores
    monkeypatch.setitem(reward_functions.FUNCTIONS, "words", lambda world: lambda prompts, answers: given())


def _copied(source: Path, target: Path) -> Path:
    import shutil

    return Path(shutil.copytree(source, target))
