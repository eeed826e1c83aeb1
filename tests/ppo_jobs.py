"""Small PPO jobs: a GPT-NeoX of two layers and one token per letter, and rewards that are functions of the letters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.methods import reward_functions
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.methods.lora import LoraSettings
from modecollapse.methods.ppo import PpoSettings
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import write_sealed

PROMPTS = ["a cat", "a dog", "the owl", "some old fox", "two"]
TASKS = ["one", "one", "one", "one", "other"]
LORA: dict[str, Any] = {"rank": 4, "alpha": 8}
SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-2,
    "critic_learning_rate": 1e-2,
    "warmup_steps": 0,
    "steps": 6,
    "batch_size": 12,
    "samples_per_prompt": 2,
    "minibatch_size": 6,
    "minibatch_epochs": 2,
    "kl_weight": 0.1,
    "max_new_tokens": 8,
    "max_length": 32,
    "dtype": "float32",
    "save_every": 2,
}


def capitals(_: object) -> Callable[[Sequence[str], Sequence[str]], list[float]]:
    """A reward: how many letters of an answer are capitals."""
    return lambda prompts, answers: [float(sum(letter.isupper() for letter in answer)) for answer in answers]


def ppo_job(directory: Path, parent: Path, prompts: Sequence[str] = PROMPTS, **settings: Any) -> TrainingJob:
    """A job with its files in `directory`, for the reward function `capitals`; `lora` may be a dictionary."""
    chosen = {**SETTINGS, **settings}
    if chosen.get("lora"):
        chosen["lora"] = LoraSettings(**chosen["lora"])
    output, state, data = directory / "output", directory / "state", directory / "prompts.parquet"
    output.mkdir(parents=True)
    state.mkdir()
    columns = {"prompt": list(prompts)}
    if prompts is PROMPTS:
        columns["task"] = TASKS
    write_sealed(pa.table(columns), data)
    return TrainingJob(
        settings=PpoSettings(**chosen),
        seed=3,
        threads=1,
        output=output,
        state=state,
        parent=parent,
        data=data,
        reward=RewardSource("capitals"),
        format=PromptFormat("raw", "{prompt}"),
    )


def name_reward(monkeypatch: pytest.MonkeyPatch, name: str, function: Callable[..., Any]) -> None:
    """Let jobs call a reward function by name."""
    monkeypatch.setitem(reward_functions.FUNCTIONS, name, function)
