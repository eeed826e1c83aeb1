"""PPO on tiny models: against an independent calculation, a bandit whose optimum is known, and bad rewards."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from transformers import AutoModelForCausalLM

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.methods.ppo import METHOD, PpoSettings
from modecollapse.methods.ppo_course import Course
from modecollapse.methods.ppo_models import Role
from modecollapse.methods.resume import newest_complete
from modecollapse.methods.rollout_prompts import prompt_order
from tests.ppo_jobs import LORA, TASKS, capitals, name_reward, ppo_job
from tests.tiny_models import save_neox

END = 0
SCALE = LORA["alpha"] / LORA["rank"]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("parent"))


@pytest.fixture(autouse=True)
def _reward(monkeypatch: pytest.MonkeyPatch) -> None:
    name_reward(monkeypatch, "capitals", capitals)


def course_of(job: TrainingJob) -> Course:
    assert isinstance(job.settings, PpoSettings)
    return Course(job, job.settings)


@pytest.mark.parametrize("lora", [LORA, None])
def test_before_the_first_update_the_ratio_is_1_and_the_kl_0(lora, parent, tmp_path) -> None:
    record = METHOD.run(ppo_job(tmp_path, parent, lora=lora, steps=3))
    first = record.curves[0]
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert first["explained_variance"] == pytest.approx(0, abs=1e-5), "the critic begins at zero"
    assert [point["ratio_first"] for point in record.curves] == pytest.approx([1.0] * 3, abs=1e-5)
    assert [point["updates"] for point in record.curves] == [4, 4, 4]
    assert record.curves[1]["kl"] != first["kl"]
    assert record.curves[1]["update_kl"] > 0
    assert next(iter(first)) == "step"
    assert len({tuple(point) for point in record.curves}) == 1, "all points have the same columns"


def shaken(weights: dict[str, torch.nn.Parameter], seed: int, size: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in weights.values():
            weight += size * torch.randn(weight.shape, generator=generator)


class Plain:
    """One answer at a time in float64, with adapters added to the weights."""

    def __init__(self, parent: Path) -> None:
        self.network = AutoModelForCausalLM.from_pretrained(parent).double()
        self.weights = {name: weight.detach() for name, weight in self.network.named_parameters()}

    def adapted(self, matrices: dict[str, Tensor], role: str) -> dict[str, Tensor]:
        changed = dict(self.weights)
        for name, a in matrices.items():
            module, found, _ = name.partition(f".lora_A.{role}")
            if found:
                b = matrices[f"{module}.lora_B.{role}.weight"]
                changed[f"{module}.weight"] = self.weights[f"{module}.weight"] + SCALE * b @ a
        return changed

    def log_probs(self, weights: dict[str, Tensor], prompt: list[int], answer: list[int], temperature: float) -> Tensor:
        logits = functional_call(self.network, weights, (torch.tensor([prompt + answer]),)).logits[0]
        every = torch.log_softmax(logits / temperature, -1)
        return torch.stack([every[len(prompt) - 1 + place, token] for place, token in enumerate(answer)])

    def values(
        self, weights: dict[str, Tensor], head: dict[str, Tensor], prompt: list[int], answer: list[int]
    ) -> Tensor:
        named = (name.partition("gpt_neox.") for name in weights)
        body = {name: weights[prefix + name] for _, prefix, name in named if prefix}
        hidden = functional_call(self.network.gpt_neox, body, (torch.tensor([prompt + answer]),)).last_hidden_state[0]
        value = hidden @ head["head.weight"][0] + head["head.bias"]
        return value[len(prompt) - 1 : -1]


def test_losses_and_gradients_are_those_of_a_plain_calculation_in_float64(parent, tmp_path) -> None:
    job = ppo_job(tmp_path, parent, lora=LORA, temperature=0.7, gamma=0.98, lam=0.9, entropy_weight=0.0, kl_weight=0.3,
                  clip_value=0.05, unended_penalty=0.5, minibatch_size=12)  # fmt: skip
    course = course_of(job)
    course.rows = 5  # passes of 5, 5 and 2 rows make one minibatch
    shaken(course.models.policy, 0, 0.1)
    shaken(course.models.critic, 1, 0.1)
    course.step = 1  # past the check that the policy is the model that is sampled from the parent
    plain = Plain(parent)

    def doubled() -> dict[str, Tensor]:
        named = {**course.models.policy, **course.models.critic}
        return {name: weight.detach().double().requires_grad_() for name, weight in named.items()}

    experience = course.experience()
    before = doubled()
    answers = experience.answers
    rows = []
    for row in range(len(answers)):
        tokens = answers.tokens[row][answers.mask[row]].tolist()
        prompt = answers.input_ids[row, : int(answers.lengths[row]) - len(tokens)].tolist()
        rows.append((prompt, tokens))
    assert len({len(tokens) for _, tokens in rows}) > 1, "answers of several lengths"

    advantages, returns, olds, old_values, kls, scores = [], [], [], [], [], []
    decode = course.models.sampler(Role.POLICY).tokenizer.decode
    for prompt, answer in rows:
        old = plain.log_probs(plain.adapted(before, "default"), prompt, answer, 0.7).detach().numpy()
        reference = plain.log_probs(plain.weights, prompt, answer, 0.7).detach().numpy()
        value = plain.values(plain.adapted(before, "critic"), before, prompt, answer).detach().numpy()
        reward = -0.3 * (old - reference)
        scores.append(sum(map(str.isupper, decode(answer))) - 0.5 * (answer[-1] != END))
        reward[-1] += scores[-1]
        deltas = reward + 0.98 * np.append(value[1:], 0) - value
        weights = (0.98 * 0.9) ** np.arange(len(answer))
        advantages.append(np.array([deltas[t:] @ weights[: len(answer) - t] for t in range(len(answer))]))
        returns.append(advantages[-1] + value)
        olds.append(old)
        old_values.append(value)
        kls.append((old - reference).sum())
    flat = np.concatenate(advantages)
    measured = experience.measured
    assert measured["score"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert measured["kl"] == pytest.approx(np.mean(kls), abs=1e-4)
    assert abs(measured["kl"]) > 0.1
    assert measured["score_minus_kl"] == pytest.approx(np.mean(scores) - 0.3 * np.mean(kls), abs=1e-4)
    assert measured["advantage_mean"] == pytest.approx(flat.mean(), abs=1e-4)
    assert measured["advantage_std"] == pytest.approx(flat.std(), abs=1e-4)
    spread = np.concatenate(returns)
    explained = 1 - flat.var() / spread.var()  # advantages are the errors of the values
    assert measured["explained_variance"] == pytest.approx(explained, abs=1e-4)

    shaken(course.models.policy, 2, 0.02)
    shaken(course.models.critic, 3, 0.02)
    leaves = doubled()
    policy_loss = value_loss = torch.zeros((), dtype=torch.float64)
    clipped, parts = 0, zip(rows, advantages, returns, olds, old_values, strict=True)
    for (prompt, answer), advantage, target, old, old_value in parts:
        new = plain.log_probs(plain.adapted(leaves, "default"), prompt, answer, 0.7)
        value = plain.values(plain.adapted(leaves, "critic"), leaves, prompt, answer)
        for t in range(len(answer)):
            a = (advantage[t] - flat.mean()) / flat.std()
            ratio = torch.exp(new[t] - old[t])
            clipped += bool(abs(ratio - 1) > 0.2)
            policy_loss = policy_loss + torch.maximum(-a * ratio, -a * torch.clip(ratio, 0.8, 1.2))
            near = torch.clip(value[t], old_value[t] - 0.05, old_value[t] + 0.05)
            value_loss = value_loss + torch.maximum((value[t] - target[t]) ** 2, (near - target[t]) ** 2) / 2
    (policy_loss / len(flat)).backward()
    (value_loss / len(flat)).backward()

    found = course.gradients(experience, np.arange(12))
    assert found["policy_loss"] == pytest.approx(policy_loss.item() / len(flat), abs=1e-5)
    assert found["value_loss"] == pytest.approx(value_loss.item() / len(flat), abs=1e-5)
    assert found["clip_share"] == pytest.approx(clipped / len(flat))
    assert 0 < clipped < len(flat)
    for name, weight in {**course.models.policy, **course.models.critic}.items():
        expected = leaves[name].grad
        assert weight.grad is not None
        assert expected is not None
        assert expected.abs().max() > 0
        torch.testing.assert_close(weight.grad.double(), expected, rtol=1e-3, atol=2e-6, msg=name)


def test_a_bandit_is_led_to_the_optimum_that_the_kl_penalty_leaves(parent, tmp_path, monkeypatch) -> None:
    # One prompt and answers of one token: the best policy is π_ref exp(r / β), normalised.
    reward = {letter: (ord(letter) % 7) / 6 for letter in map(chr, range(33, 127))}
    name_reward(monkeypatch, "capitals", lambda _: lambda prompts, answers: [reward.get(text, 0.0) for text in answers])
    job = ppo_job(
        tmp_path, parent, ["a cat"], steps=30, batch_size=256, samples_per_prompt=256, minibatch_size=128,
        minibatch_epochs=2, max_new_tokens=1, kl_weight=0.5, unended_penalty=0.0, schedule="cosine",
        learning_rate=3e-3, critic_learning_rate=1e-2, clip_value=None, save_every=60,
    )  # fmt: skip
    record = METHOD.run(job)

    def distribution(directory: Path) -> tuple[Tensor, Any]:
        network = AutoModelForCausalLM.from_pretrained(directory)
        model = course_of(job).models.sampler(Role.POLICY).tokenizer
        with torch.no_grad():
            return network(torch.tensor([model("a cat")["input_ids"]])).logits[0, -1].double().softmax(-1), model

    reference, tokenizer = distribution(parent)
    policy, _ = distribution(job.output)
    rewards = torch.tensor([reward.get(tokenizer.decode([token]), 0.0) for token in range(len(reference))])
    best = reference * (rewards / 0.5).exp()
    best /= best.sum()

    def objective(chosen: Tensor) -> float:
        return float((chosen * (rewards - 0.5 * (chosen / reference).log())).sum())

    gained = (objective(policy) - objective(reference)) / (objective(best) - objective(reference))
    print(f"gained {gained:.4f} of what there is to gain")
    far = 0.5 * (reference - best).abs().sum().item()
    near = 0.5 * (policy - best).abs().sum().item()
    print(f"total variation from the optimum {near:.3f}, of the reference {far:.3f}")
    assert far > 0.25
    assert near < 0.25 * far
    assert gained > 0.95
    assert record.curves[-1]["score"] > record.curves[0]["score"] + 0.1


def test_the_score_rises_above_that_of_the_reference(parent, tmp_path) -> None:
    record = METHOD.run(ppo_job(tmp_path, parent, lora=LORA, steps=12, batch_size=48, minibatch_size=24))
    last = record.curves[-3:]
    print([round(point["score"], 2) for point in record.curves], record.curves[0]["baseline_score"])
    assert all(point["score_minus_kl"] > point["baseline_score"] + 1 for point in last)
    assert len({point["baseline_score"] for point in record.curves}) == 1


def ending(parent: Path, directory: Path, sooner: float) -> Path:
    """The parent with another liking for the end-of-text token."""
    network = AutoModelForCausalLM.from_pretrained(parent)
    head = network.get_output_embeddings()
    network.gpt_neox.final_layer_norm.bias.data += 1.0
    head.weight.data -= head.weight.data.mean(1, keepdim=True)  # what is added moves no other token
    head.weight.data[END] += sooner
    network.save_pretrained(directory)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).write_bytes((parent / name).read_bytes())
    return directory


def test_answers_that_never_end_are_fined_and_those_that_end_at_once_scored_as_others(parent, tmp_path) -> None:
    job = ppo_job(tmp_path / "never", ending(parent, tmp_path / "a", -9.0), steps=1, unended_penalty=2.5)
    never = METHOD.run(job).curves[0]
    assert (never["share_ended"], never["response_length"]) == (0, 8)
    free = ppo_job(tmp_path / "free", tmp_path / "a", steps=1, unended_penalty=0.0)
    assert never["score"] == pytest.approx(METHOD.run(free).curves[0]["score"] - 2.5)

    at_once = METHOD.run(ppo_job(tmp_path / "once", ending(parent, tmp_path / "b", 9.0), steps=2, unended_penalty=2.5))
    first = at_once.curves[0]
    assert (first["share_ended"], first["response_length"], first["score"]) == (1, 1, 0)
    assert all(np.isfinite(list(point.values())).all() for point in at_once.curves)


def test_a_reward_that_is_no_number_is_an_error_that_says_when_and_what_is_kept(parent, tmp_path, monkeypatch) -> None:
    calls = iter(range(99))

    def sometimes(_: object) -> Any:
        return lambda prompts, answers: [float("nan") if next(calls) == 40 else 1.0 for _ in answers]

    name_reward(monkeypatch, "capitals", sometimes)
    job = ppo_job(tmp_path, parent)
    told = r"In iteration 3 of 6: reward: capitals gives nan .* is kept in .*checkpoint-2\.$"
    with pytest.raises(StudyError, match=told):
        METHOD.run(job)
    assert newest_complete(job.state) == job.state / "checkpoint-2"
    assert not any(job.output.iterdir())


def test_a_run_whose_losses_are_no_numbers_says_so(parent, tmp_path) -> None:
    with pytest.raises(StudyError, match=r"PPO diverged in iteration 1 of 6: the losses are nan .*No state was kept"):
        METHOD.run(ppo_job(tmp_path, parent, learning_rate=1e30))


def test_a_run_that_diverges_says_when_and_keeps_its_last_good_state(parent, tmp_path) -> None:
    job = ppo_job(tmp_path, parent, save_every=1, learning_rate=0.1, limit_kl=20.0)
    with pytest.raises(StudyError, match=r"the KL to the reference is [\d.]+ nats per answer \(limit_kl\)") as refused:
        METHOD.run(job)
    kept = newest_complete(job.state)
    assert kept is not None
    assert f"is kept in {kept}" in str(refused.value)
    assert "raise kl_weight" in str(refused.value)
    assert not any(job.output.iterdir())
    course = course_of(job)
    assert course.experience().measured["kl"] <= 20


def test_an_update_that_goes_beyond_the_limit_at_once_leaves_no_state(parent, tmp_path) -> None:
    job = ppo_job(tmp_path, parent, save_every=1, learning_rate=0.3, limit_kl=5.0)
    with pytest.raises(StudyError, match=r"iteration 2 of 6: .*\(limit_kl\)\. No state was kept"):
        METHOD.run(job)
    assert not list(job.state.glob("checkpoint-*"))


def test_a_run_that_goes_too_far_stops_with_the_policy_of_the_iteration_before(parent, tmp_path) -> None:
    job = ppo_job(tmp_path / "long", parent, lora=LORA, steps=30, stop_kl=1.5, save_every=1)
    record = METHOD.run(job)
    assert 1 <= record.steps < 28
    assert [point["stopped"] for point in record.curves] == [0.0] * (record.steps + 1) + [1.0]
    assert [point["kl"] > 1.5 for point in record.curves] == [False] * (record.steps + 1) + [True]
    assert record.curves[-1]["updates"] == 0
    short = ppo_job(tmp_path / "short", parent, lora=LORA, steps=record.steps)
    METHOD.run(short)
    assert sha256_directory(job.output) == sha256_directory(short.output)


def test_what_the_last_updates_have_made_is_measured_before_it_is_published(parent, tmp_path) -> None:
    job = ppo_job(tmp_path / "far", parent, learning_rate=1e30, steps=1, minibatch_size=12, minibatch_epochs=1)
    with pytest.raises(StudyError, match=r"PPO diverged in iteration 1 of 1: .*No state was kept"):
        METHOD.run(job)
    assert not any(job.output.iterdir())

    free = METHOD.run(ppo_job(tmp_path / "free", parent, steps=6, lora=LORA))
    limit = free.curves[-1]["kl"] + 1e-3  # below that of the policy after the last updates
    stopped = ppo_job(tmp_path / "stopped", parent, steps=6, lora=LORA, stop_kl=limit)
    record = METHOD.run(stopped)
    assert record.steps == 5
    assert [point["stopped"] for point in record.curves] == [0.0] * 5 + [1.0]
    short = ppo_job(tmp_path / "short", parent, steps=5, lora=LORA)
    METHOD.run(short)
    assert sha256_directory(stopped.output) == sha256_directory(short.output)


def test_an_iteration_makes_no_more_updates_than_the_target_of_its_kl_allows(parent, tmp_path) -> None:
    record = METHOD.run(ppo_job(tmp_path, parent, steps=2, target_update_kl=1e-9))
    assert [point["updates"] for point in record.curves] == [1, 1]


def test_prompts_that_leave_no_room_for_an_answer_are_left_out_or_refused(parent, tmp_path) -> None:
    course = course_of(ppo_job(tmp_path / "drop", parent, max_length=15))
    assert course.prompts.texts == ["a cat", "a dog", "the owl", "two"]
    with pytest.raises(StudyError, match=r"1 of 5 prompts in .* have more than 7 tokens \(the longest 12"):
        course_of(ppo_job(tmp_path / "error", parent, max_length=15, too_long="error"))
    with pytest.raises(StudyError, match="5 of 5 prompts"):
        course_of(ppo_job(tmp_path / "none", parent, max_length=10))


def test_tasks_take_turns_and_all_prompts_of_one_come_before_any_comes_again() -> None:
    order = prompt_order(TASKS, 24, seed=5)
    for start in range(0, 24, 6):
        assert sum(TASKS[place] == "other" for place in order[start : start + 6]) == 3
    first = [place for place in order if TASKS[place] == "one"]
    assert sorted(first[:4]) == sorted(first[4:8]) == [0, 1, 2, 3]
    assert order[:10] == prompt_order(TASKS, 10, seed=5)
    assert order != prompt_order(TASKS, 24, seed=6)
    assert sorted(prompt_order([""] * 5, 5, seed=0)) == [0, 1, 2, 3, 4]


def test_a_prompt_that_is_asked_twice_in_an_iteration_gets_different_answers(parent, tmp_path) -> None:
    course = course_of(ppo_job(tmp_path, parent))
    assert len(set(course.asked[0])) < len(course.asked[0]), "the one prompt of its task is asked three times"
    tokens = course.experience().answers.tokens
    assert len({tuple(row) for row in tokens.tolist()}) == len(tokens)


def test_bfloat16_passes_give_finite_losses_and_weights_in_float32(parent, tmp_path) -> None:
    job = ppo_job(tmp_path, parent, lora=LORA, dtype="bfloat16", steps=2)
    record = METHOD.run(job)
    assert all(np.isfinite(list(point.values())).all() for point in record.curves)
    assert record.curves[0]["ratio_first"] == pytest.approx(1, abs=0.02)
    network = AutoModelForCausalLM.from_pretrained(job.output)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"samples_per_prompt": 5}, "samples_per_prompt 5 must divide batch_size 12"),
        ({"minibatch_size": 13}, "minibatch_size 13 is more than batch_size 12"),
        ({"max_new_tokens": 32}, "leaves no room for a prompt"),
        ({"stop_kl": 200.0}, "must be below limit_kl"),
        ({"lora": {"rank": 4, "dropout": 0.1}}, "lora.dropout must be 0"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, told, parent, tmp_path) -> None:
    with pytest.raises(ValueError, match=told):
        ppo_job(tmp_path, parent, **settings)


def test_a_reward_that_is_no_function_is_refused(parent, tmp_path) -> None:
    job = replace(ppo_job(tmp_path, parent), reward=RewardSource("beauty"))
    with pytest.raises(StudyError, match="beauty"):
        METHOD.run(job)
