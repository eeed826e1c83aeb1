"""Simple Preference Optimization (Meng et al., 2024): no reference, mean log-probabilities, and a target margin."""

from typing import TYPE_CHECKING

from pydantic import Field

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.preferences import PAIR_LOSS_MODULES, PairLossSettings
from modecollapse.methods.schedule import ScheduleName

if TYPE_CHECKING:
    from modecollapse.methods.pair_losses import PairLoss


class SimpoSettings(PairLossSettings):
    """Preference tuning without a reference.

    Defaults as the authors ran Llama-3-Base on 60,000 pairs: β 2, γ/β 0.5, AdamW at 6e-7, cosine after a tenth of the
    updates as warm-up, batch 128, one epoch. They searched γ/β from 0 to 1 and learning rates from 3e-7 to 1e-6.
    """

    learning_rate: float = Field(6e-7, gt=0)
    """Peak learning rate (paper: 3e-7 to 1e-6, by model)."""
    schedule: ScheduleName = "cosine"
    """`constant`, or `cosine` (paper) down to 10 % of the peak; both after `warmup_steps`."""
    warmup_steps: int = Field(47, ge=0)
    """Updates of linear warm-up (paper: a tenth of its 469)."""
    batch_size: int = Field(128, ge=1)
    """Pairs per update, over all devices and accumulation steps (paper: 128)."""
    beta: float = Field(2.0, gt=0)
    """What mean log-probabilities per token are multiplied by (paper: 2 to 2.5)."""
    gamma: float = Field(1.0, ge=0)
    """The margin by which the chosen answer's reward is to exceed the other's (paper: 0.2 to 1.6)."""
    sft_weight: float = Field(0.0, ge=0)
    """Weight of the chosen answers' mean negative log-likelihood added to the loss. Not the paper's (0): nothing else
    holds the model where it was."""

    def loss(self) -> "PairLoss":
        from modecollapse.methods.pair_losses import simpo

        return simpo(self.beta, self.gamma)

    @property
    def scale(self) -> float:
        return self.beta

    @property
    def likelihood(self) -> float:
        return self.sft_weight


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` on the pairs in `job.data`.

    Raises:
        StudyError: as `methods.pair_trainer.train_pairs`.
    """
    from modecollapse.methods.pair_trainer import train_pairs

    return train_pairs(job)


METHOD = Method(
    name="simpo",
    revision=1,
    settings=SimpoSettings,
    run=run,
    needs_parent=True,
    data_columns=PAIR_COLUMNS,
    modules=("methods.simpo", *PAIR_LOSS_MODULES),
    libraries=("modecollapse.methods.pair_trainer",),
    several_processes=True,
    pairs=True,
)
