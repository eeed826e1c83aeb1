"""Settings that methods of reinforcement learning share: all of them, and those through TRL's trainers."""

from typing import Literal

from pydantic import Field, model_validator

from modecollapse.generation.settings import SAMPLING_MODULES
from modecollapse.methods.lora import LoraSettings
from modecollapse.methods.settings import FINE_TUNING_MODULES, OptimisationSettings
from modecollapse.schema import Strict

ROLLOUT_MODULES = (
    "methods.rollout_settings",
    "methods.rollout_trainers",
    "methods.rollout_training",
    "methods.answer_judge",
    "methods.rollout_prompts",
    "methods.sampling_check",
    "methods.reference_file",
    "methods.reward_functions",
    "methods.reward_model",
    "methods.scoring",
    *SAMPLING_MODULES,
    *(module for module in FINE_TUNING_MODULES if module != "methods.trainers"),
)
"""Modules whose code decides the weights of a stage that is tuned on answers it samples."""


def check_no_dropout(lora: LoraSettings | None) -> None:
    """Raises ValueError if an adapter would make two passes of the same weights differ."""
    if lora is not None and lora.dropout:
        raise ValueError("lora.dropout must be 0: policy, old policy and reference have to be compared alike")


class AnswerSettings(Strict):
    """Which prompts are asked, how long their answers are, and how these are scored."""

    max_new_tokens: int = Field(128, ge=1)
    """Where answers that do not end are cut; the end-of-text token counts."""
    max_length: int = Field(512, ge=2)
    """Longest prompt with its answer, in tokens."""
    too_long: Literal["error", "drop"] = "drop"
    """What becomes of a prompt that leaves no room for `max_new_tokens`: an error, or it is not asked."""
    unended_penalty: float = Field(1.0, ge=0)
    """Taken off the score of an answer that was cut off before its end, which rewards have not seen. An answer that
    ends at once, with no text, is scored as any other."""
    balance_tasks: bool = True
    """Ask as many prompts of each task at a time as can be, where the data has a column `task` (the RL paper)."""

    @model_validator(mode="after")
    def _room(self) -> "AnswerSettings":
        if self.max_new_tokens >= self.max_length:
            raise ValueError(
                f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt in max_length {self.max_length}. "
                "Lower it, or raise max_length"
            )
        return self


class RolloutSettings(AnswerSettings, OptimisationSettings):
    """Tuning on answers that the model samples and a reward scores, with the parent as the fixed reference.

    A step samples `samples_per_prompt` answers to each of its prompts at temperature 1, without top-k or top-p: from
    the very distribution that is tuned. An answer is scored and trained with its end-of-text token.
    """

    steps: int = Field(500, ge=1)
    """Steps: batches of answers."""
    batch_size: int = Field(256, ge=2)
    """Answers per step."""
    samples_per_prompt: int = Field(4, ge=2)
    """Answers to each prompt of a step, which are compared with each other; divides `batch_size`."""
    minibatch_size: int | None = Field(None, ge=1)
    """Answers per update; divides `batch_size`. Null: all of a step's, so that the model that answered is updated."""
    minibatch_epochs: int = Field(1, ge=1)
    """Passes over the answers of a step (1: every answer is used once)."""
    clip_policy: float = Field(0.2, gt=0, lt=1)
    """ε: beyond 1 ± ε the ratio of new to old probability earns nothing more. Of no effect in a step's first update."""
    kl_weight: float = Field(0.1, gt=0)
    """β: strength of the pull towards the reference."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices (not of biases and norms); 0 with rmsprop."""
    log_every: int = Field(1, ge=1)
    """Steps between two points of the training curves, which are means over them."""
    save_every: int = Field(10, ge=1)
    """Steps between two checkpoints for resuming; a multiple of `log_every`. The weights do not depend on it."""

    @property
    def prompts_per_step(self) -> int:
        """Prompts of a step."""
        return self.batch_size // self.samples_per_prompt

    @property
    def update_size(self) -> int:
        """Answers per update."""
        return self.minibatch_size or self.batch_size

    @property
    def updates_per_step(self) -> int:
        """Updates on the answers of a step, all passes."""
        return self.batch_size // self.update_size * self.minibatch_epochs

    @model_validator(mode="after")
    def _batches(self) -> "RolloutSettings":
        for name, value in (("samples_per_prompt", self.samples_per_prompt), ("minibatch_size", self.update_size)):
            if self.batch_size % value:
                raise ValueError(
                    f"{name} {value} must divide batch_size {self.batch_size}, which is a number of answers, e.g. "
                    f"batch_size {max(1, self.batch_size // value) * value}"
                )
        check_no_dropout(self.lora)
        return self
