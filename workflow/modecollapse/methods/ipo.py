"""Identity Preference Optimization (Azar et al., 2024): a squared loss, which has its best margin at a finite value."""

from typing import TYPE_CHECKING

from pydantic import Field

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.preferences import PAIR_LOSS_MODULES, PairLossSettings

if TYPE_CHECKING:
    from modecollapse.methods.pair_losses import PairLoss


class IpoSettings(PairLossSettings):
    """Preference tuning towards a margin of 1/(2τ) over the parent as the fixed reference.

    The paper has no language models: its bandits take τ 0.1, 0.5 and 1. Optimisation is by default that of the paper
    this project follows, with AdamW.
    """

    tau: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference: log-ratios are to differ by 1/(2τ)."""
    per_token: bool = True
    """Whether log-ratios are divided by the answer's tokens before they are compared, as TRL does, by its account on
    the authors' word (its `dpo` with `loss_type: ipo` is the same loss); false: the sums of the paper's equation."""

    def loss(self) -> "PairLoss":
        from modecollapse.methods.pair_losses import ipo

        return ipo(self.tau, self.per_token)

    @property
    def scale(self) -> float:
        return self.tau


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` on the pairs in `job.data`, with the parent itself as the reference.

    Raises:
        StudyError: as `methods.pair_trainer.train_pairs`.
    """
    from modecollapse.methods.pair_trainer import train_pairs

    assert job.reference_scores is not None
    return train_pairs(job)


METHOD = Method(
    name="ipo",
    revision=1,
    settings=IpoSettings,
    run=run,
    needs_parent=True,
    data_columns=PAIR_COLUMNS,
    modules=("methods.ipo", *PAIR_LOSS_MODULES),
    libraries=("modecollapse.methods.pair_trainer",),
    needs_reference=True,
    reward_setting="tau",
    several_processes=True,
    pairs=True,
)
