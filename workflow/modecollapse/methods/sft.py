"""Supervised fine-tuning on answers, through TRL's `SFTTrainer`."""

from typing import Literal

from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.settings import FINE_TUNING_MODULES, FineTuningSettings


class SftSettings(FineTuningSettings):
    """Supervised fine-tuning; the loss is on the answer and its end-of-text token, never on the prompt.

    Defaults as the authors ran it: AdamW (0.9, 0.95), weight decay 1e-6, constant 1e-6, 1024 tokens, clip 1, batch 64.
    Truncation drops tokens from the left, so an over-long conversation keeps its last turn and its answer.
    """

    column: Literal["completion", "chosen"] = "completion"
    """The data's column that holds the answer; `chosen` trains on a preference set, as the paper does."""


def run(job: TrainingJob) -> TrainingRecord:
    """Fine-tune `job.parent` on `job.data`.

    Raises:
        StudyError: missing columns, no data, an example that does not fit, or a loss that is not finite.
    """
    from modecollapse.methods import finetuning
    from modecollapse.methods.examples import encode, labelled, read_texts
    from modecollapse.methods.trainers import AnswerTrainer

    settings = job.settings
    assert isinstance(settings, SftSettings)
    assert job.parent is not None
    assert job.data is not None
    assert job.format is not None
    model = finetuning.load_parent(job, settings)
    texts = read_texts(job.data, ("prompt", settings.column))
    encoded = encode(model.tokenizer, job.format, texts["prompt"], [texts[settings.column]])
    examples = labelled(encoded, settings.max_length, settings.too_long, job.data)
    lengths = [len(ids) for ids in examples["input_ids"]]
    return finetuning.train(job, settings, AnswerTrainer, model, examples, lengths, lengths)


METHOD = Method(
    name="sft",
    # 2: of uneven examples several are laid out in one row, so the last bits of their sums are others.
    revision=2,
    settings=SftSettings,
    run=run,
    needs_parent=True,
    data_columns=("prompt",),
    column_setting="column",
    modules=("methods.sft", *FINE_TUNING_MODULES),
    libraries=("modecollapse.methods.trainers",),
    several_processes=True,
)
