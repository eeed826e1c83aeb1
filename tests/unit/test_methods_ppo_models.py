"""The models of PPO over one shared base: what is in memory, what changes, and what is published."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from modecollapse.errors import StudyError
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.methods.lora import DIRECTORY, LoraSettings, adapter_configuration, write_merged
from modecollapse.methods.model_files import copy_tokenizer
from modecollapse.methods.ppo import METHOD, PpoSettings
from modecollapse.methods.ppo_course import Course
from modecollapse.methods.ppo_models import Answers, Role, SharedBase
from modecollapse.methods.reward_model import HEAD, start_reward_model
from modecollapse.methods.scoring import open_scorer
from tests.ppo_jobs import LORA, capitals, name_reward, ppo_job
from tests.tiny_models import save_neox

ANSWERS = [[40, 41, 42, 0], [50, 0], [0], [60, 61, 62, 63, 64]]
ASKED = [[5, 6, 7], [8], [9, 10, 11, 12], [13, 14]]
TEXTS = ["any"] * len(ASKED)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def reward(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model of the parent: merged, and its adapter of rank 3 with the head beside it."""
    directory = tmp_path_factory.mktemp("reward")
    base = start_reward_model(parent, 0, 1, "cpu").network
    lora = LoraSettings(rank=3, alpha=6, target_modules=("query_key_value", "dense"))
    torch.manual_seed(2)
    model = get_peft_model(base, adapter_configuration(lora, base, HEAD))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.normal_(0, 0.3)
    write_merged(model, start_reward_model(parent, 0, 1, "cpu").network, directory)
    copy_tokenizer(parent, directory)
    return directory


@pytest.fixture(autouse=True)
def _reward(monkeypatch: pytest.MonkeyPatch) -> None:
    name_reward(monkeypatch, "capitals", capitals)


def shared_job(directory: Path, parent: Path, reward: Path, **settings: object) -> TrainingJob:
    return replace(ppo_job(directory, parent, lora=LORA, **settings), reward=RewardSource("rm", reward, True))


def course_of(job: TrainingJob) -> Course:
    assert isinstance(job.settings, PpoSettings)
    return Course(job, job.settings)


def storages(network: torch.nn.Module) -> dict[str, int]:
    named = network.named_parameters()
    return {name.replace(".base_layer", ""): weight.data_ptr() for name, weight in named if "lora_" not in name}


def test_all_models_compute_with_one_copy_of_the_parent_s_weights(parent, reward, tmp_path) -> None:
    models = course_of(shared_job(tmp_path, parent, reward)).models
    whole = AutoModelForCausalLM.from_pretrained(parent)
    expected = {name for name, _ in whole.named_parameters()}
    first = storages(models.network(Role.POLICY))
    assert first.keys() == expected
    assert len(set(first.values())) == len(expected)
    for role in Role:
        assert storages(models.network(role)) == first
    trained = {*models.policy.values(), *models.critic.values()}
    owned = sum(weight.numel() for weight in models.network(Role.POLICY).parameters())
    adapters = sum(weight.numel() for weight in trained) - sum(w.numel() for w in models.value_head.parameters())
    assert isinstance(models, SharedBase)
    others = sum(weight.numel() for weight in models._fixed.values())
    assert owned == sum(weight.numel() for weight in whole.parameters()) + adapters + others


def test_training_the_policy_and_the_critic_changes_no_bit_of_the_reference_or_the_reward(
    parent, reward, tmp_path
) -> None:
    course = course_of(shared_job(tmp_path, parent, reward))
    models = course.models
    assert isinstance(models, SharedBase)
    answers = Answers.of(ASKED, ANSWERS, models.device)

    def seen() -> list[np.ndarray]:
        with torch.no_grad():
            policy, reference = (
                models.log_probabilities(role, answers, 1.0)[0] for role in (Role.POLICY, Role.REFERENCE)
            )
            values = models.values(answers)
        return [
            each.numpy() for each in (reference, torch.from_numpy(models.score(TEXTS, ASKED, ANSWERS)), policy, values)
        ]

    before = seen()
    np.testing.assert_array_equal(before[0], before[2])
    weights = {name: weight.clone() for name, weight in models.network(Role.REFERENCE).named_parameters()}
    for _ in range(2):
        course.iterate()
    after = seen()
    for unchanged in (0, 1):
        np.testing.assert_array_equal(after[unchanged], before[unchanged])
    for changed in (2, 3):
        assert np.abs(after[changed] - before[changed]).max() > 1e-3
    for name, weight in models.network(Role.REFERENCE).named_parameters():
        trained = any(f".{role.value}." in name for role in (Role.POLICY, Role.CRITIC))
        assert torch.equal(weight, weights[name]) != trained, name


def test_the_shared_reward_gives_the_scores_of_the_merged_one_and_the_critic_begins_as_it(
    parent, reward, tmp_path
) -> None:
    course = course_of(shared_job(tmp_path, parent, reward))
    models = course.models
    assert isinstance(models, SharedBase)
    tokenizer = models.sampler(Role.POLICY).tokenizer
    merged = open_scorer(RewardSource("rm", reward), None, tokenizer, 1, "cpu").score(TEXTS, ASKED, ANSWERS)
    np.testing.assert_allclose(models.score(TEXTS, ASKED, ANSWERS), merged, atol=1e-4)
    assert np.ptp(merged) > 0.1
    # The value before a token is the score of what stands before it.
    longer = Answers.of(
        [[*prompt, *answer] for prompt, answer in zip(ASKED, ANSWERS, strict=True)], [[0]] * 4, models.device
    )
    with torch.no_grad():
        np.testing.assert_allclose(models.values(longer)[:, 0].numpy(), merged, atol=1e-4)


def test_sharing_the_reward_s_base_or_loading_it_whole_gives_the_same_curves(parent, reward, tmp_path) -> None:
    shared = METHOD.run(shared_job(tmp_path / "shared", parent, reward, steps=1)).curves[0]
    whole = replace(ppo_job(tmp_path / "whole", parent, lora=LORA, steps=1), reward=RewardSource("rm", reward))
    other = METHOD.run(whole).curves[0]
    for name in ("score", "baseline_score", "kl", "entropy", "response_length"):
        assert shared[name] == pytest.approx(other[name], abs=1e-4)


def test_a_shared_reward_that_gives_no_number_is_named(parent, reward, tmp_path) -> None:
    broken = shutil.copytree(reward, tmp_path / "reward")
    adapter = broken / DIRECTORY / "adapter_model.safetensors"
    weights = load_file(adapter)
    save_file({name: each * torch.nan if "score" in name else each for name, each in weights.items()}, adapter)
    with pytest.raises(StudyError, match=r"reward: rm gives nan to the answer of row 0"):
        METHOD.run(shared_job(tmp_path / "job", parent, broken))


def test_what_is_published_is_the_parent_with_the_policy_s_adapter_and_nothing_of_the_critic(
    parent, reward, tmp_path
) -> None:
    job = shared_job(tmp_path, parent, reward, steps=2)
    course = course_of(job)
    while not course.finished:
        course.iterate()
    course.models.write(job)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected = course.models.network(Role.POLICY)(ids).logits
        merged, loading = AutoModelForCausalLM.from_pretrained(job.output, output_loading_info=True)
        beside = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(parent), job.output / "adapter")
        assert not any(loading.values())
        torch.testing.assert_close(merged(ids).logits, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(beside(ids).logits, expected, rtol=0, atol=1e-5)
        assert (expected - AutoModelForCausalLM.from_pretrained(parent)(ids).logits).abs().max() > 1e-3
    assert (job.output / "tokenizer.json").read_bytes() == (parent / "tokenizer.json").read_bytes()
    assert sorted(path.name for path in (job.output / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_an_adapter_of_another_model_is_refused_as_a_shared_reward(reward, tmp_path) -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    other = save_neox(tmp_path / "other")
    config = GPTNeoXConfig.from_pretrained(other, num_hidden_layers=3)
    GPTNeoXForCausalLM(config).save_pretrained(other)
    with pytest.raises(StudyError, match="Train the reward stage from the stage that is tuned"):
        course_of(shared_job(tmp_path / "job", other, reward))


def test_without_adapters_policy_reference_and_critic_are_models_of_their_own(parent, tmp_path) -> None:
    models = course_of(ppo_job(tmp_path, parent)).models
    places = [set(storages(models.network(role)).values()) for role in (Role.POLICY, Role.REFERENCE, Role.CRITIC)]
    assert not places[0] & places[1]
    assert not places[0] & places[2]
    assert not places[1] & places[2]
    assert not any(weight.requires_grad for weight in models.network(Role.REFERENCE).parameters())
