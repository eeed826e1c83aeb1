"""Settings that methods of fine-tuning share."""

from typing import Literal

from pydantic import Field, model_validator

from modecollapse.methods.lora import LoraSettings
from modecollapse.methods.schedule import ScheduleName
from modecollapse.schema import Strict

Betas = tuple[float, float]

FINE_TUNING_MODULES = (
    "data.columns",
    "methods.examples",
    "methods.finetuning",
    "methods.trainers",
    "methods.resumable",
    "methods.callbacks",
    "methods.answer_head",
    "methods.rows",
    "methods.sharing",
    "methods.layout",
    "methods.lora",
    "methods.model_files",
    "methods.zero",
    "methods.order",
    "methods.processes",
    "methods.schedule",
    "methods.settings",
    "methods.start",
    "generation.models",
    "prompts",
    "rendering",
)
"""Modules whose code decides the weights of every fine-tuned stage."""


def check_betas(betas: Betas | None) -> None:
    """Raises ValueError unless both decay rates are in [0, 1)."""
    if betas is not None and not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas {list(betas)} must both be at least 0 and below 1")


def check_checkpointing(log_every: int, save_every: int) -> None:
    """Raises ValueError unless checkpoints fall on logged steps: a resumed run then logs the very same means."""
    if save_every % log_every:
        raise ValueError(f"save_every {save_every} must be a multiple of log_every {log_every}")


class OptimisationSettings(Strict):
    """How weights are updated, whatever by. Defaults: O'Mahony et al. (2024); where it is silent, their code."""

    learning_rate: float = Field(1e-6, gt=0)
    """Peak learning rate (paper: 1e-6 for all sizes and stages)."""
    schedule: ScheduleName = "constant"
    """`constant` (authors' code), or `cosine` down to 10 % of the peak; both after `warmup_steps`."""
    warmup_steps: int = Field(0, ge=0)
    """Updates of linear warm-up."""
    optimizer: Literal["adamw", "rmsprop"] = "adamw"
    """`adamw`, or `rmsprop` (smoothing 0.99, no momentum)."""
    betas: Betas | None = (0.9, 0.95)
    """Decay rates of AdamW's moments; null with rmsprop, which has none."""
    weight_decay: float = Field(1e-6, ge=0)
    """Decoupled weight decay of matrices (not of biases and norms); 0 with rmsprop."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient; longer ones are scaled down."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of forward and backward passes. Weights and optimizer state are always float32."""
    max_length: int = Field(1024, ge=2)
    """Longest example in tokens, prompt and end-of-text token included."""
    lora: LoraSettings | None = None
    """Train an adapter of the weights instead of the weights themselves; null: the weights."""
    log_every: int = Field(10, ge=1)
    """Updates between two points of the training curves."""
    save_every: int = Field(500, ge=1)
    """Updates between two checkpoints for resuming; a multiple of `log_every`. The weights do not depend on it."""

    @model_validator(mode="after")
    def _consistent(self) -> "OptimisationSettings":
        check_betas(self.betas)
        check_checkpointing(self.log_every, self.save_every)
        if self.optimizer == "adamw" and self.betas is None:
            raise ValueError("optimizer adamw needs betas, e.g. [0.9, 0.95]")
        if self.optimizer == "rmsprop" and (self.betas is not None or self.weight_decay):
            raise ValueError(
                "optimizer rmsprop has no betas or decoupled weight decay: set betas: null, weight_decay: 0"
            )
        return self


class FineTuningSettings(OptimisationSettings):
    """Optimisation of a fine-tuning stage. Defaults: O'Mahony et al. (2024); where it is silent, their code."""

    epochs: int = Field(1, ge=1)
    """Passes over the data (paper: 1)."""
    each_epoch: bool = False
    """Keep the model after every epoch: the stage NAME then stands for the stages NAME-1, NAME-2, … of one training
    run, each continuing the one before. Others name one of these in `from`. No batch spans two epochs: the last one
    of an epoch is smaller where `batch_size` does not divide the data. A cosine schedule spans the whole run."""
    batch_size: int = Field(64, ge=1)
    """Examples (or pairs) per update, over all devices and accumulation steps (authors' code: 64)."""
    too_long: Literal["error", "truncate"] = "truncate"
    """What becomes of a longer example: an error, or the authors' truncation (see the method)."""
    group_by_length: bool = False
    """Put examples of similar length into one batch: less padding, a slightly less random order."""
