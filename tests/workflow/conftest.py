"""A toy world for the tests of training: a tokenizer of two dozen words, three data sets and a two-layer GPT-NeoX."""

import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from transformers import PreTrainedTokenizerFast

from modecollapse.methods import METHODS
from modecollapse.methods.architecture import ArchitectureSettings, neox_config, new_model
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import write_sealed
from tests.references import write_reference

WORDS = [
    "Human",
    "Assistant",
    ":",
    ".",
    "?",
    "tell",
    "me",
    "of",
    "a",
    "red",
    "green",
    "old",
    "young",
    "fox",
    "owl",
    "cat",
    "ran",
    "sat",
    "slept",
    "and",
    "then",
]
ARCHITECTURE = ArchitectureSettings(hidden_size=16, layers=2, heads=2, context=32)
HUMAN = PromptFormat("human", "Human: {prompt} Assistant: {start}")

PRETRAIN: dict[str, Any] = {
    "learning_rate": 3e-3,
    "tokens": 12 * 4 * 16,
    "batch_size": 4,
    "sequence_length": 16,
    "warmup": 0.1,
    "log_every": 1,
    "save_every": 3,
}
SFT: dict[str, Any] = {
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "warmup_steps": 2,
    "epochs": 2,
    "batch_size": 4,
    "max_length": 32,
    "too_long": "error",
    "dtype": "float32",
    "group_by_length": True,
    "log_every": 1,
    "save_every": 3,
}
ROLLOUTS: dict[str, Any] = {
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "steps": 12,
    "batch_size": 12,
    "samples_per_prompt": 3,
    "max_new_tokens": 12,
    "max_length": 32,
    "dtype": "float32",
    "save_every": 3,
}
REJECTION_SFT: dict[str, Any] = {**SFT, "n": 4, "max_new_tokens": 12}
DPO: dict[str, Any] = {**SFT, "optimizer": "adamw", "betas": (0.9, 0.98)}
REWARD: dict[str, Any] = {**SFT, "max_prompt_length": 16}
PPO: dict[str, Any] = {
    "learning_rate": 3e-3,
    "warmup_steps": 2,
    "steps": 12,
    "batch_size": 4,
    "minibatch_size": 4,
    "max_new_tokens": 8,
    "max_length": 32,
    "dtype": "float32",
    "save_every": 3,
}
"""As many iterations as the others make updates, each of one update."""

KTO: dict[str, Any] = {**DPO, "batch_size": 8}
"""A pair makes two examples: as many updates as in the others."""

SETTINGS: dict[str, dict[str, Any]] = {
    "pretrain": PRETRAIN,
    "sft": SFT,
    "rejection_sft": REJECTION_SFT,
    "reward": REWARD,
    "ppo": PPO,
    "rloo": ROLLOUTS,
    "grpo": ROLLOUTS,
    "kto": KTO,
    "checkpoint": {"source": {"path": "here"}},
}
"""Those of other methods are `DPO`."""
DATA = {"pretrain": "pretrain", "sft": "sft", "rejection_sft": "sft"}
"""Other methods take the pairs."""


@dataclass(frozen=True)
class Toy:
    """Where the toy world's files are, and jobs on them."""

    root: Path

    def job(self, method: str, directory: Path, settings: dict[str, Any] | None = None, **changes: Any) -> TrainingJob:
        """A job of `method` with its files below `directory`."""
        output, state = directory / "output", directory / "state"
        output.mkdir(parents=True)
        state.mkdir(exist_ok=True)
        tuning = method not in ("pretrain", "checkpoint", "adapter")
        job = TrainingJob(
            settings=METHODS[method].settings(**{**SETTINGS.get(method, DPO), **(settings or {})}),
            seed=3,
            threads=1,
            output=output,
            state=state,
            parent=None if method == "pretrain" else self.root / "parent",
            architecture=ARCHITECTURE if method == "pretrain" else None,
            tokenizer=self.root / "tokenizer" if method == "pretrain" else None,
            data=None if method in ("checkpoint", "adapter") else self.root / f"{DATA.get(method, 'dpo')}.parquet",
            reward=RewardSource("words") if METHODS[method].needs_reward else None,
            format=HUMAN if tuning else None,
        )
        job = replace(job, **changes)
        if METHODS[method].needs_reference and job.reference_scores is None:
            return replace(job, reference_scores=write_reference(job, directory / "reference.parquet"))
        return job


def _sentence(chance: random.Random) -> str:
    words = ["a", chance.choice(["red", "green", "old", "young"]), chance.choice(["fox", "owl", "cat"])]
    for _ in range(chance.randint(1, 3)):
        words += [chance.choice(["ran", "sat", "slept"]), "and", "then"]
    return " ".join([*words, chance.choice(["ran", "sat", "slept"]), "."])


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The toy world, made once."""
    root = tmp_path_factory.mktemp("toy")
    chance = random.Random(0)
    tokenizer = _tokenizer(root / "tokenizer")
    prompts = [f"tell me of a {chance.choice(['fox', 'owl', 'cat'])} ." for _ in range(24)]
    columns = {
        "pretrain": {"text": [_sentence(chance) for _ in range(40)]},
        "sft": {"prompt": prompts, "completion": [_sentence(chance) for _ in prompts]},
        "dpo": {
            "prompt": prompts,
            "chosen": [_sentence(chance) for _ in prompts],
            "rejected": [_sentence(chance) for _ in prompts],
        },
    }
    for name, values in columns.items():
        write_sealed(pa.table(values), root / f"{name}.parquet")
    _save_parent(ARCHITECTURE, tokenizer, root / "parent")
    return Toy(root)


@pytest.fixture(scope="session")
def wide_toy(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The toy world with a parent as wide as a block of four-bit weights is long."""
    root = shutil.copytree(toy.root, tmp_path_factory.mktemp("wide") / "toy")
    shutil.rmtree(root / "parent")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(root / "tokenizer")
    _save_parent(ARCHITECTURE.model_copy(update={"hidden_size": 64}), tokenizer, root / "parent")
    return Toy(root)


def _save_parent(architecture: ArchitectureSettings, tokenizer: Any, directory: Path) -> None:
    eos = tokenizer.eos_token_id
    new_model(neox_config(architecture, len(tokenizer), eos, eos), seed=1).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def _tokenizer(directory: Path) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(["<eos>", "<pad>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<eos>", bos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(directory)
    return tokenizer
