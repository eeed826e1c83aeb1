"""Settings of pretraining."""

from pydantic import Field, model_validator

from modecollapse.methods.schedule import ScheduleName
from modecollapse.methods.settings import Betas, check_betas, check_checkpointing
from modecollapse.schema import Strict


class PretrainSettings(Strict):
    """Next-token prediction in float32. Defaults: Pythia-70m (Biderman et al., 2023, Table 6 and its configuration)."""

    learning_rate: float = Field(1e-3, gt=0)
    """Peak learning rate (Pythia-70m: 1e-3)."""
    schedule: ScheduleName = "cosine"
    """`cosine` down to 10 % of the peak, or `constant`; both after the warm-up."""
    warmup: float = Field(0.01, ge=0, lt=1)
    """Share of the run that warms up linearly."""
    tokens: int = Field(299_892_736_000, gt=0)
    """Tokens to train on, rounded up to whole updates; more than the corpus has means several passes over it."""
    batch_size: int = Field(1024, ge=1)
    """Sequences per update."""
    sequence_length: int = Field(2048, ge=2)
    """Tokens per sequence; at most the architecture's context."""
    betas: Betas = (0.9, 0.95)
    """Decay rates of AdamW's moments."""
    weight_decay: float = Field(0.1, ge=0)
    """Decoupled weight decay of matrices (not of biases and norms)."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient; longer ones are scaled down."""
    log_every: int = Field(10, ge=1)
    """Updates between two points of the training curve."""
    save_every: int = Field(1000, ge=1)
    """Updates between two checkpoints for resuming; a multiple of `log_every`. The weights do not depend on it."""

    @model_validator(mode="after")
    def _consistent(self) -> "PretrainSettings":
        check_betas(self.betas)
        check_checkpointing(self.log_every, self.save_every)
        return self
