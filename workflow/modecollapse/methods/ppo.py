"""Proximal Policy Optimization against a reward (Schulman et al., 2017; for language models Stiennon et al., 2020)."""

from typing import Literal

from pydantic import Field, model_validator

from modecollapse.generation.settings import SAMPLING_MODULES
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.guard_settings import RunGuards
from modecollapse.methods.lora import LoraSettings
from modecollapse.methods.rollout_settings import AnswerSettings, check_no_dropout
from modecollapse.methods.schedule import ScheduleName
from modecollapse.methods.settings import Betas, check_betas


class PpoSettings(AnswerSettings):
    """Reinforcement learning of the parent from a reward, with the parent itself as the reference.

    An iteration samples answers to prompts, scores them, and makes several updates on them. Where the RL paper states
    no number, defaults are those of Ouyang et al. (2022, InstructGPT): 512 answers per iteration, one update for each
    64 of them, clipping at 0.2, sampling at temperature 1, no discount, β 0.02.
    """

    learning_rate: float = Field(1e-5, gt=0)
    """Peak learning rate of the policy (Ouyang et al. searched 2.55e-6 to 2.55e-5; adapters bear more)."""
    critic_learning_rate: float = Field(1e-5, gt=0)
    """Peak learning rate of the critic and its head, which have parameters, and so losses, of their own."""
    schedule: ScheduleName = "constant"
    """`constant`, or `cosine` down to 10 % of the peak; both after `warmup_steps`."""
    warmup_steps: int = Field(10, ge=0)
    """Iterations of linear warm-up (Ouyang et al.: 10)."""
    steps: int = Field(500, ge=1)
    """Iterations (Ouyang et al.: 256,000 answers)."""
    batch_size: int = Field(512, ge=1)
    """Answers per iteration."""
    samples_per_prompt: int = Field(1, ge=1)
    """Answers to each prompt of an iteration; divides `batch_size`."""
    minibatch_size: int = Field(64, ge=1)
    """Answers per update."""
    minibatch_epochs: int = Field(1, ge=1)
    """Passes over the answers of an iteration (Ouyang et al.: 1; Stiennon et al.: 4)."""
    clip_policy: float = Field(0.2, gt=0, lt=1)
    """ε: beyond 1 ± ε a token's ratio of new to old probability earns nothing more."""
    clip_value: float | None = Field(0.2, gt=0)
    """How far a value may move from the old one to count in the critic's loss; null: as far as it likes, which suits
    scores of a large spread."""
    gamma: float = Field(1.0, gt=0, le=1)
    """Discount per token (1: none)."""
    lam: float = Field(0.95, ge=0, le=1)
    """λ of generalized advantage estimation."""
    kl_weight: float = Field(0.02, ge=0)
    """β: every token is fined β · log(policy / reference)."""
    entropy_weight: float = Field(0.0, ge=0)
    """Weight of the mean entropy per token, which is rewarded."""
    normalise_advantages: bool = True
    """Shift and scale the advantages of each iteration's tokens to mean 0 and standard deviation 1 (the RL paper)."""
    temperature: float = Field(1.0, gt=0)
    """Of sampling. Log-probabilities, of the reference too, are those at this temperature."""
    target_update_kl: float | None = Field(None, gt=0)
    """An iteration makes no more updates once the policy is further than this from the one that answered (nats per
    token); null: never."""
    stop_kl: float | None = Field(None, gt=0)
    """The run ends once answers are further than this from the reference (nats per answer), with the policy of the
    iteration before. Null: never."""
    guard_rails: RunGuards | None = None
    """Benchmarks that end the run once its policy falls below the parent by more than the study's guard rails allow,
    with the policy of the last look that found no fall: the RL paper's early stop. Null: none."""
    limit_kl: float = Field(100.0, gt=0)
    """Beyond this (nats per answer) the run has diverged, which is an error."""
    betas: Betas = (0.9, 0.95)
    """Decay rates of Adam's moments (Ouyang et al.)."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Largest norm of the gradient, of policy and critic each; longer ones are scaled down."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of passes through the networks. What is trained, and its moments, are always float32."""
    lora: LoraSettings | None = None
    """Policy, reference, critic and, where it is an adapter of the same parent, the reward model share one copy of the
    parent, as the RL paper does (rank 128). Null: policy and critic are copies that are trained in full, which takes
    three times the parent's memory and the moments of two."""
    save_every: int = Field(10, ge=1)
    """Iterations between two checkpoints for resuming. The weights do not depend on it."""

    @model_validator(mode="after")
    def _consistent(self) -> "PpoSettings":
        check_betas(self.betas)
        if self.batch_size % self.samples_per_prompt:
            raise ValueError(
                f"samples_per_prompt {self.samples_per_prompt} must divide batch_size {self.batch_size}: it is the "
                "number of answers, not of prompts"
            )
        if self.minibatch_size > self.batch_size:
            raise ValueError(f"minibatch_size {self.minibatch_size} is more than batch_size {self.batch_size}")
        if self.stop_kl is not None and self.stop_kl >= self.limit_kl:
            raise ValueError(f"stop_kl {self.stop_kl} must be below limit_kl {self.limit_kl}, or it would never stop")
        check_no_dropout(self.lora)
        return self


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` to answer the prompts in `job.data` as `job.reward` likes it.

    A point of the curves is measured on an iteration's answers before it updates. Means over answers: `score`, the
    reward's less `unended_penalty`; `score_minus_kl`, less β times `kl` as well; `kl` to the reference, in nats;
    `response_length`, in tokens; `share_ended`; in a world `utility`, of the answers that it can judge. The same all
    along: `baseline_score`, of answers of the reference, one each to `batch_size` prompts. Means over tokens:
    `kl_per_token` and `entropy`, in nats; `advantage_mean` and `advantage_std`, before they are normalised;
    `explained_variance` of the critic. Means over updates, each measured before it is made: `policy_loss`,
    `value_loss`, `clip_share` of the tokens whose ratio is beyond 1 ± ε, `update_kl` to the policy that answered, in
    nats per token. `ratio_first`: the mean ratio before the first update, 1. `updates`: how many were made.
    `learning_rate`: the policy's. `stopped`: 1 where the run ended because of `stop_kl` or of guard rails, whose looks
    are described in `guarding.Guard`.

    Raises:
        StudyError: no prompts, none that fits, a score that is not a finite number, a model that cannot be trained
            here, or a run that diverges (a loss or gradient that is not finite, or a KL above `limit_kl`).
    """
    from modecollapse.methods.ppo_course import train

    assert isinstance(job.settings, PpoSettings)
    return train(job, job.settings)


METHOD = Method(
    name="ppo",
    revision=1,
    settings=PpoSettings,
    run=run,
    needs_parent=True,
    data_columns=("prompt",),
    modules=(
        "methods.ppo",
        "methods.ppo_course",
        "methods.ppo_losses",
        "methods.ppo_models",
        "methods.ppo_state",
        "data.columns",
        "methods.answer_judge",
        "methods.rollout_prompts",
        "methods.sampling_check",
        "methods.rollout_settings",
        "methods.guarding",
        "methods.guard_settings",
        "analysis.noninferiority",
        "analysis.variance",
        "methods.examples",
        "methods.layout",
        "methods.lora",
        "methods.model_files",
        "methods.processes",
        "methods.reference_file",
        "methods.reward_functions",
        "methods.reward_model",
        "methods.schedule",
        "methods.scoring",
        "methods.settings",
        "methods.start",
        "generation.models",
        *SAMPLING_MODULES,
        "prompts",
        "rendering",
    ),
    libraries=("torch", "transformers:AutoModelForCausalLM", "peft"),
    needs_reward=True,
)
