"""REINFORCE Leave-One-Out (Ahmadian et al., 2024, *Back to Basics*), through TRL's `RLOOTrainer`."""

from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.rollout_settings import ROLLOUT_MODULES, RolloutSettings


class RlooSettings(RolloutSettings):
    """Reinforcement learning without a critic: an answer is compared with the others to its prompt.

    An answer's reward is its score less β times its KL estimate, log(policy / reference); its advantage, of all its
    tokens alike, that reward less the mean of the other answers'. Ahmadian et al.: 2 or 4 answers per prompt, β 0.10 on
    Anthropic-HH (0.03 on TL;DR), learning rate 1e-6, no normalisation.
    """

    normalise_advantages: bool = False
    """Shift and scale the advantages of each step to mean 0 and standard deviation 1 (the paper: no)."""


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` to answer the prompts in `job.data` as `job.reward` likes it.

    Curves and errors: see `rollout_training.train`.
    """
    from modecollapse.methods.rollout_trainers import LeaveOneOutTrainer
    from modecollapse.methods.rollout_training import train

    settings = job.settings
    assert isinstance(settings, RlooSettings)
    options = {"normalize_advantages": settings.normalise_advantages, "reward_clip_range": None}
    return train(job, settings, LeaveOneOutTrainer, options)


METHOD = Method(
    name="rloo",
    revision=1,
    settings=RlooSettings,
    run=run,
    needs_parent=True,
    data_columns=("prompt",),
    modules=("methods.rloo", *ROLLOUT_MODULES),
    libraries=("modecollapse.methods.rollout_trainers",),
    needs_reward=True,
)
