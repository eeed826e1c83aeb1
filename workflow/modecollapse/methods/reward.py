"""A reward (preference) model: a scalar head on the parent's backbone, through TRL's `RewardTrainer`."""

from typing import Literal

from pydantic import Field, model_validator

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.errors import StudyError
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.settings import FINE_TUNING_MODULES, FineTuningSettings


class RewardSettings(FineTuningSettings):
    """A reward (preference) model: the parent with a head for one score, trained to score better answers higher.

    The papers state the shape of the training (an adapter of rank 128 with the head in full, or everything after a
    warm-up of the head alone), not its numbers: the defaults are ours. Where a pair does not fit, the prompt keeps its
    last `max_prompt_length` tokens, and then answers their first `max_length - max_prompt_length`.
    """

    learning_rate: float = Field(1e-5, gt=0)
    """Peak learning rate of the head and of all else. The papers give none, and TRL's default is 1e-4; adapters usually
    take ten times as much as training in full."""
    max_length: int = Field(1024, ge=2)
    """Longest prompt with answer, in tokens, end-of-text token included."""
    max_prompt_length: int = Field(512, ge=1)
    """Longest prompt, in tokens, of a pair that has to be truncated."""
    head_warmup_steps: int = Field(0, ge=0)
    """Updates at the beginning that train the new head alone, all else being frozen; 0 with `lora`. The learning
    rate follows one schedule over all updates."""
    balance_length: bool = False
    """Train on as many pairs whose better answer is longer (in tokens) as pairs whose better answer is shorter, in each
    task where the data has a column `task`: of the more frequent kind a part is left out, by chance."""
    equal_answers: Literal["error", "drop"] = "error"
    """What becomes of pairs of two equal answers, which teach nothing: an error, or they are left out."""

    @model_validator(mode="after")
    def _shape(self) -> "RewardSettings":
        if self.lora is not None and self.head_warmup_steps:
            raise ValueError(
                "head_warmup_steps is for training the whole model; an adapter starts as no change at all. Set "
                "head_warmup_steps: 0, or lora: null"
            )
        if self.lora is not None and self.lora.dropout:
            raise ValueError("lora.dropout must be 0: reward models are trained without dropout")
        if self.too_long == "truncate" and self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} leaves no room for an answer in max_length "
                f"{self.max_length}; lower it, or set too_long: error"
            )
        return self


def run(job: TrainingJob) -> TrainingRecord:
    """Train a reward model from `job.parent` on the pairs in `job.data`.

    Raises:
        StudyError: missing columns, no data, pairs that do not fit or are of two equal answers, no pairs left where
            lengths are balanced, or a loss that is not finite.
    """
    from modecollapse.methods import finetuning, processes
    from modecollapse.methods.examples import encode, paired, read_texts
    from modecollapse.methods.reward_model import start_reward_model
    from modecollapse.methods.reward_pairs import balanced, different_pairs, distinguishable
    from modecollapse.methods.reward_trainer import ScoreTrainer
    from modecollapse.methods.start import check_start

    settings = job.settings
    assert isinstance(settings, RewardSettings)
    assert job.parent is not None
    assert job.data is not None
    assert job.format is not None
    texts = read_texts(job.data, PAIR_COLUMNS, optional=("task",))
    rows = different_pairs(texts, settings.equal_answers, job.data)
    device = processes.own_device(job.layout) if settings.lora and settings.lora.quantization else "cpu"
    model = start_reward_model(job.parent, job.seed, job.threads, device, settings.lora, settings.dtype)
    check_start(job.parent, model.tokenizer, model.context, settings.max_length)
    encoded = encode(model.tokenizer, job.format, texts["prompt"], [texts["chosen"], texts["rejected"]])
    pairs = paired(encoded, settings.max_length, settings.max_prompt_length, settings.too_long, job.data)
    rows = distinguishable(pairs, rows)
    if settings.balance_length:
        rows = balanced(pairs, texts.get("task"), rows, job.seed)
    if not rows:
        raise StudyError(
            f"{job.data}: no pairs are left to train on: in no task is the better answer now longer and now shorter. "
            "Set balance_length: false, or use other data."
        )
    examples = {
        f"{answer}_ids": [[*pairs["prompt_ids"][row], *pairs[f"{answer}_ids"][row]] for row in rows]
        for answer in PAIR_COLUMNS[1:]
    }
    sizes = [(len(chosen), len(rejected)) for chosen, rejected in zip(*examples.values(), strict=True)]
    lengths, tokens = [max(size) for size in sizes], [sum(size) for size in sizes]
    return finetuning.train(job, settings, ScoreTrainer, model, examples, lengths, tokens)


METHOD = Method(
    name="reward",
    revision=1,
    settings=RewardSettings,
    run=run,
    needs_parent=True,
    data_columns=PAIR_COLUMNS,
    modules=(
        "methods.reward",
        "methods.reward_model",
        "methods.reward_pairs",
        "methods.reward_trainer",
        *FINE_TUNING_MODULES,
    ),
    libraries=("modecollapse.methods.reward_trainer",),
    several_processes=True,
    pairs=True,
    scores=True,
)
