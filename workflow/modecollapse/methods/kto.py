"""Kahneman-Tversky Optimization (Ethayarajh et al., 2024), through TRL's `KTOTrainer`: answers judged one by one."""

from pydantic import Field

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.preferences import PREFERENCE_MODULES, PreferenceSettings
from modecollapse.methods.settings import Betas


class KtoSettings(PreferenceSettings):
    """Tuning on desirable and undesirable answers against the parent as the fixed reference.

    Each pair of the data makes a desirable answer of its chosen and an undesirable one of its rejected answer. They are
    shuffled: a batch holds single answers. Defaults as the authors ran it: β 0.1, both weights 1, AdamW at 5e-6, batch
    32. They advise 5e-7 to 5e-6, and at least so large a batch that the mean of its answers is of use.
    """

    learning_rate: float = Field(5e-6, gt=0)
    """Peak learning rate (paper: 5e-6)."""
    batch_size: int = Field(32, ge=2)
    """Answers per update, over all accumulation steps (paper: 32); a pair has two."""
    warmup_steps: int = Field(150, ge=0)
    """Updates of linear warm-up (authors' code: 150)."""
    betas: Betas | None = (0.9, 0.999)
    """Decay rates of AdamW's moments; null with rmsprop, which has none."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices (not of biases and norms); 0 with rmsprop."""
    beta: float = Field(0.1, gt=0)
    """Strength of the pull towards the reference: how soon gains and losses saturate."""
    desirable_weight: float = Field(1.0, gt=0)
    """Weight of the losses of desirable answers (paper: 1; where one kind is rarer, weights that make up for it)."""
    undesirable_weight: float = Field(1.0, gt=0)
    """Weight of the losses of undesirable answers."""


def run(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` on the answers in `job.data`, with the parent itself as the reference.

    Raises:
        StudyError: missing columns, no data, less than two pairs, a pair that does not fit, log-probabilities of other
            pairs, a first loss that is not the one of two equal models, or a loss that is not finite.
    """
    from modecollapse.generation.models import load_tokenizer
    from modecollapse.methods import finetuning, preferences
    from modecollapse.methods.kto_trainer import KtoTrainer
    from modecollapse.methods.unpaired import mismatched, mismatched_reference, taken_apart

    settings = job.settings
    assert isinstance(settings, KtoSettings)
    assert job.parent is not None
    assert job.reference_scores is not None
    pairs = preferences.read(job, settings, load_tokenizer(job.parent)).columns
    others = mismatched(pairs, job.seed, settings.max_length)
    # Before the model to be trained is loaded: never are two in memory.
    examples = taken_apart(pairs, {**others, **mismatched_reference(job, settings, others)})
    model = finetuning.load_parent(job, settings)
    rows = zip(examples["prompt_ids"], examples["completion_ids"], strict=True)
    lengths = [len(prompt) + len(answer) for prompt, answer in rows]
    options = {
        "loss_type": "kto",
        "beta": settings.beta,
        "desirable_weight": settings.desirable_weight,
        "undesirable_weight": settings.undesirable_weight,
        "precompute_ref_log_probs": True,
    }
    return finetuning.train(job, settings, KtoTrainer, model, examples, lengths, lengths, options)


METHOD = Method(
    name="kto",
    revision=1,
    settings=KtoSettings,
    run=run,
    needs_parent=True,
    data_columns=PAIR_COLUMNS,
    modules=("methods.kto", "methods.kto_trainer", "methods.unpaired", "methods.reference", *PREFERENCE_MODULES),
    libraries=("modecollapse.methods.kto_trainer",),
    needs_reference=True,
    reward_setting="beta",
    takes_pairs_apart=True,
    # The mismatched answer: once in the reference before training begins, and once in the model in every epoch.
    forward_passes=2,
)
