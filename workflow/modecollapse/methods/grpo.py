"""Group Relative Policy Optimization (Shao et al., 2024, *DeepSeekMath*), through TRL's `GRPOTrainer`."""

from typing import Any, Literal

from pydantic import Field

from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.rollout_settings import ROLLOUT_MODULES, RolloutSettings


class GrpoSettings(RolloutSettings):
    """Reinforcement learning without a critic: an answer's score is standardised among those to its prompt.

    The advantage, of all tokens alike, is score less the group's mean, divided by its standard deviation + 1e-4; the
    loss has, for every token, the clipped surrogate and β times a KL estimate that is never negative. Shao et al.:
    64 answers per prompt, 1,024 per step, one update for each step, β 0.04, learning rate 1e-6.
    """

    batch_size: int = Field(1024, ge=2)
    """Answers per step (Shao et al.: 1,024)."""
    samples_per_prompt: int = Field(64, ge=2)
    """Answers to each prompt of a step, which are compared with each other (Shao et al.: 64); divides `batch_size`."""
    kl_weight: float = Field(0.04, gt=0)
    """β: weight of the KL estimate of every token (Shao et al.: 0.04)."""
    scale_scores: Literal["group", "batch", "none"] = "group"
    """The standard deviation that advantages are divided by: of the answers to the prompt (Shao et al.), of the step's
    (Liu et al., 2025, *Tricks or traps*), or none at all (Liu et al., 2025, *Dr. GRPO*)."""
    loss_type: Literal["grpo", "dapo", "dr_grpo"] = "grpo"
    """What the loss is a mean over: answers, of each the mean over tokens (`grpo`, Shao et al.), all tokens (`dapo`, Yu
    et al., 2025), or answers, of each the sum over tokens divided by `max_new_tokens` (`dr_grpo`)."""


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` to answer the prompts in `job.data` as `job.reward` likes it.

    Curves and errors: see `rollout_training.train`.
    """
    from modecollapse.methods.rollout_trainers import GroupRelativeTrainer
    from modecollapse.methods.rollout_training import train

    settings = job.settings
    assert isinstance(settings, GrpoSettings)
    return train(job, settings, GroupRelativeTrainer, _STATED | {
        "scale_rewards": settings.scale_scores,
        "loss_type": settings.loss_type,
    })  # fmt: skip


_STATED: dict[str, Any] = {
    # As Shao et al. have it.
    "importance_sampling_level": "token",
    "multi_objective_aggregation": "sum_then_normalize",
    "use_bias_correction_kl": False,
    "delta": None,
    # What came after them.
    "top_entropy_quantile": 1.0,
    "entropy_coef": 0.0,
    "use_adaptive_entropy": False,
    "off_policy_mask_threshold": None,
    "cast_lm_head_to_fp32": False,
    # Of vLLM only, which samples with other kernels than those that train.
    "vllm_importance_sampling_correction": False,
}
"""What TRL's defaults, some of which follow later papers, would decide."""

METHOD = Method(
    name="grpo",
    revision=1,
    settings=GrpoSettings,
    run=run,
    needs_parent=True,
    data_columns=("prompt",),
    modules=("methods.grpo", *ROLLOUT_MODULES),
    libraries=("modecollapse.methods.rollout_trainers",),
    needs_reward=True,
)
