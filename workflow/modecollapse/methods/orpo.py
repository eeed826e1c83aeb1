"""Odds Ratio Preference Optimization (Hong et al., 2024): supervised fine-tuning and preference tuning in one."""

from typing import TYPE_CHECKING

from pydantic import Field

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.preferences import PAIR_LOSS_MODULES, PairLossSettings
from modecollapse.methods.schedule import ScheduleName

if TYPE_CHECKING:
    from modecollapse.methods.pair_losses import PairLoss


class OrpoSettings(PairLossSettings):
    """Learning the chosen answers, and that the others are less likely, without a reference.

    Defaults as the authors trained models of up to 7 billion parameters: λ 0.1, AdamW at 8e-6, linear warm-up and
    cosine. They start from pretrained models, without a stage of supervised fine-tuning before.
    """

    learning_rate: float = Field(8e-6, gt=0)
    """Peak learning rate (paper: 8e-6)."""
    schedule: ScheduleName = "cosine"
    """`constant`, or `cosine` (paper) down to 10 % of the peak; both after `warmup_steps`."""
    warmup_steps: int = Field(100, ge=0)
    """Updates of linear warm-up (the paper warms up, and does not say how long)."""
    odds_weight: float = Field(0.1, gt=0)
    """λ, the weight of the odds ratio's loss beside the likelihood's 1 (paper: 0.1, up to 0.25 by model)."""

    def loss(self) -> "PairLoss":
        from modecollapse.methods.pair_losses import odds_ratio

        return odds_ratio(self.odds_weight)

    @property
    def scale(self) -> float:
        return self.odds_weight

    @property
    def likelihood(self) -> float:
        return 1.0


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` on the pairs in `job.data`.

    Raises:
        StudyError: as `methods.pair_trainer.train_pairs`.
    """
    from modecollapse.methods.pair_trainer import train_pairs

    return train_pairs(job)


METHOD = Method(
    name="orpo",
    revision=1,
    settings=OrpoSettings,
    run=run,
    needs_parent=True,
    data_columns=PAIR_COLUMNS,
    modules=("methods.orpo", *PAIR_LOSS_MODULES),
    libraries=("modecollapse.methods.pair_trainer",),
    several_processes=True,
    pairs=True,
)
