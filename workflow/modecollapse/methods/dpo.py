"""Direct Preference Optimization (Rafailov et al., 2023), through TRL's `DPOTrainer`."""

from typing import Any, Literal

from pydantic import Field, model_validator

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.errors import StudyError
from modecollapse.methods import preferences
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.preferences import PREFERENCE_MODULES, PreferenceSettings
from modecollapse.methods.settings import Betas
from modecollapse.schema import Strict

LossType = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sigmoid_norm",
]
"""TRL's preference losses; `sigmoid` is DPO itself. `sigmoid_norm` divides the log-ratio of each answer to the
reference (the answer's log-probability and the reference's alike) by the answer's tokens, end-of-text included, before
β: a β of 0.1 is then some hundred times weaker. (TRL's `sft` is `sft_weight`.)"""


class DpoSettings(PreferenceSettings):
    """Preference tuning against the parent as the fixed reference.

    Defaults as the authors ran it: β 0.1, RMSprop at 1e-6 after 150 warm-up steps, 512 tokens of which at most 256 for
    the prompt, clip 10, batch 64. Truncation is that of Rafailov et al.: where a pair does not fit, the prompt keeps
    its last `max_prompt_length` tokens, and then answers their first `max_length - max_prompt_length`.
    """

    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference (for `ipo`: its τ)."""
    loss_type: LossType = "sigmoid"
    """The preference loss; `sigmoid` is the paper's."""
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    """Assumed share of flipped labels: for `robust`, and above 0 for `exo_pair` (its paper: 1e-3). 0 otherwise."""
    sft_weight: float = Field(0.0, ge=0)
    """Weight of the chosen answers' mean negative log-likelihood added to the loss. Not the paper's (0): it holds
    likelihood displacement back."""
    warmup_steps: int = Field(150, ge=0)
    """Updates of linear warm-up (authors' code: 150)."""
    optimizer: Literal["adamw", "rmsprop"] = "rmsprop"
    """`rmsprop` (authors' code: smoothing 0.99, no momentum) or `adamw`."""
    betas: Betas | None = None
    """Decay rates of AdamW's moments; null with rmsprop, which has none."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices (not of biases and norms); 0 with rmsprop."""
    clip: float = Field(10.0, gt=0)
    """Largest norm of the gradient; longer ones are scaled down."""

    @model_validator(mode="after")
    def _losses(self) -> "DpoSettings":
        if self.label_smoothing and self.loss_type not in ("robust", "exo_pair"):
            raise ValueError(
                f"label_smoothing has no effect with loss_type {self.loss_type}: set it to 0, or use loss_type robust"
            )
        if self.loss_type == "exo_pair" and not self.label_smoothing:
            raise ValueError("loss_type exo_pair needs a label_smoothing above 0, e.g. 0.001")
        return self


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` on the pairs in `job.data`, with the parent itself as the reference.

    What the reference gives to the pairs stands in `job.reference_scores`: it never changes, so it is computed once, by
    a job of its own, and not in every epoch of every stage that has it.

    Raises:
        StudyError: missing columns, no data, a pair that does not fit, log-probabilities of other pairs, a first loss
            that is not the one of two equal models (ln 2 for `sigmoid`), or a loss that is not finite.
    """
    from modecollapse.methods import finetuning
    from modecollapse.methods.trainers import PreferenceTrainer

    settings = job.settings
    assert isinstance(settings, DpoSettings)
    assert job.reference_scores is not None
    if compares_pairs(settings) and not job.layout.is_whole(settings.batch_size):
        raise StudyError(
            f"loss_type {settings.loss_type} compares the pairs of a batch with each other, so one process has to take "
            f"all {settings.batch_size} at once, but this job was given {job.layout.processes} processes and "
            f"micro_batch {job.layout.micro_batch}. Lower batch_size until it fits one GPU, set machine.training_gpus: "
            "1, or use another loss_type."
        )
    model = finetuning.load_parent(job, settings)
    pairs = preferences.read(job, settings, model.tokenizer)
    arguments = (model, pairs.columns, pairs.lengths, pairs.tokens, options(settings))
    return finetuning.train(job, settings, PreferenceTrainer, *arguments)


def options(settings: DpoSettings) -> dict[str, Any]:
    """What TRL is told of the loss."""
    options = {
        "loss_type": [settings.loss_type],
        "label_smoothing": settings.label_smoothing,
        "beta": settings.beta,
        "precompute_ref_log_probs": True,
    }
    if settings.sft_weight:
        options |= {"loss_type": [settings.loss_type, "sft"], "loss_weights": [1.0, settings.sft_weight]}
    return options


def compares_pairs(settings: Strict) -> bool:
    """Whether the loss is no mean over pairs: it sorts what the batch holds."""
    assert isinstance(settings, DpoSettings)
    return settings.loss_type in ("aot", "aot_unpaired")


METHOD = Method(
    name="dpo",
    # 2: the reference's log-probabilities are computed in batches of their own, and a pair's prompt only once, so the
    # last bits of their sums are others.
    revision=2,
    settings=DpoSettings,
    run=run,
    needs_parent=True,
    data_columns=PAIR_COLUMNS,
    modules=("methods.dpo", *PREFERENCE_MODULES),
    libraries=("modecollapse.methods.trainers",),
    several_processes=True,
    needs_reference=True,
    reward_setting="beta",
    pairs=True,
    needs_whole_batch=compares_pairs,
)
