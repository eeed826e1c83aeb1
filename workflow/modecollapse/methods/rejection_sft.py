"""Rejection sampling and fine-tuning (RAFT, Dong et al., 2023; Touvron et al., 2023, section 3.2.3).

Answers are sampled from the parent and scored, the best are kept, and the parent is fine-tuned on them.
"""

import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from modecollapse.errors import StudyError
from modecollapse.generation.settings import SAMPLING_MODULES
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.settings import FINE_TUNING_MODULES, FineTuningSettings

if TYPE_CHECKING:
    import pyarrow as pa

    from modecollapse.generation.models import CausalModel
    from modecollapse.methods.selection import Answer

logger = logging.getLogger(__name__)

ANSWERS = "answers.parquet"
"""The sampled and scored answers, in the trainer's state."""


class RejectionSftSettings(FineTuningSettings):
    """Supervised fine-tuning on the parent's own answers, of n to each prompt those that `reward` scores highest.

    The very tokens that were sampled are trained on, with the loss on the answer alone. An answer that did not end
    within `max_new_tokens`, or that says nothing, is never kept; a prompt without any other is left out. Where all
    answers score the same the first are kept. The training curves begin with the mean scores of all and of the kept
    answers, at step 0.
    """

    n: int = Field(8, ge=2)
    """Answers sampled for each prompt."""
    keep: int | None = Field(None, ge=1)
    """How many of them are kept, the best first; 1 if neither this nor `quantile` is given."""
    quantile: float | None = Field(None, gt=0, lt=1)
    """Keep of each prompt's answers those that score at least this quantile of them (interpolated linearly), instead of
    a number of each. Answers that can never be kept do not count; of the others the best is always kept."""
    deduplicate: bool = True
    """Count answers to a prompt that say the same as one."""
    prompts: int | None = Field(None, ge=1)
    """Prompts that are drawn from the data, all alike probable; null takes all."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(70, ge=1)
    """Tokens sampled at most, the end-of-text token included. Prompts that leave no room for them in `max_length` are
    an error, or are left out with `too_long: truncate`."""

    @model_validator(mode="after")
    def _selection(self) -> "RejectionSftSettings":
        if self.keep is not None and self.quantile is not None:
            raise ValueError("keep and quantile are two ways to select. Give one of them")
        if (self.keep or 1) > self.n:
            raise ValueError(f"keep {self.keep} is more than the n {self.n} answers of a prompt. Lower it, or raise n")
        if self.max_new_tokens >= self.max_length:
            raise ValueError(
                f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt in max_length {self.max_length}. "
                "Lower it, or raise max_length"
            )
        return self


def run(job: TrainingJob) -> TrainingRecord:
    """Sample answers of `job.parent` to the prompts of `job.data`, and fine-tune it on those that score best.

    Raises:
        StudyError: as `sft`; no answer can be kept; or as `sample_answers`.
        Stopped: the process was asked to stop; the answers that are finished, or the trainer's state, are kept.
    """
    from modecollapse.methods import finetuning
    from modecollapse.methods.trainers import AnswerTrainer

    settings = job.settings
    assert isinstance(settings, RejectionSftSettings)
    assert job.data is not None
    model = finetuning.load_parent(job, settings)
    table, prompts = _answers(job, settings, model)
    kept = _selected(settings, table, str(job.data))
    tokens, rows = table["tokens"].to_pylist(), table["prompt"].to_pylist()
    examples: dict[str, Any] = {"input_ids": [], "labels": []}
    for answer in kept:
        prompt, ids = prompts[rows[answer.place]], tokens[answer.place]
        examples["input_ids"].append([*prompt, *ids])
        examples["labels"].append([*([-100] * len(prompt)), *ids])
    lengths = [len(ids) for ids in examples["input_ids"]]
    record = finetuning.train(job, settings, AnswerTrainer, model, examples, lengths, lengths)
    scores = table["score"].to_pylist()
    first = {
        "score/sampled": math.fsum(scores) / len(scores),
        "score/kept": math.fsum(answer.score for answer in kept) / len(kept),
    }
    if record.epochs:
        epochs = [_with_first(record.epochs[0], first), *record.epochs[1:]]
        return replace(_with_first(record, first), epochs=epochs)
    return _with_first(record, first)


def _answers(
    job: TrainingJob, settings: RejectionSftSettings, model: "CausalModel"
) -> "tuple[pa.Table, dict[int, list[int]]]":
    """The sampled answers, and the token ids of the prompts by their rows in the data."""
    import torch

    from modecollapse.generation.progress import reporter
    from modecollapse.methods import processes
    from modecollapse.methods.answers_file import kept_in
    from modecollapse.methods.examples import read_texts
    from modecollapse.methods.sampled_answers import Sampling, ask, on_device, sample_answers
    from modecollapse.methods.scoring import open_scorer

    assert job.data is not None
    assert job.format is not None
    assert job.reward is not None
    texts = read_texts(job.data, ("prompt",))["prompt"]
    room = settings.max_length - settings.max_new_tokens
    asked = ask(model, job.format, texts, settings.prompts, job.seed, room, settings.too_long, job.data)
    device = processes.own_device(job.layout)
    scorer = open_scorer(job.reward, job.world, model.tokenizer, job.threads, device)
    sampling = Sampling(
        settings.n, settings.temperature, settings.max_new_tokens, f"rejection_sft/{job.seed}", settings.dtype
    )
    table = sample_answers(
        on_device(model, device),
        scorer,
        asked,
        sampling,
        kept_in(job.state / ANSWERS, 60 * job.layout.save_minutes),
        reporter("sampled answers"),
    )
    del scorer
    if device != "cpu":
        torch.cuda.empty_cache()  # training takes what the reward model had
    return table, dict(zip(asked.rows, asked.ids, strict=True))


def _selected(settings: RejectionSftSettings, table: "pa.Table", data: str) -> "list[Answer]":
    from modecollapse.methods.answers_file import by_prompt
    from modecollapse.methods.selection import keep_above, keep_best

    answers = by_prompt(table)
    if settings.quantile is not None:
        kept, counts = keep_above(answers, settings.quantile, settings.deduplicate)
    else:
        kept, counts = keep_best(answers, settings.keep or 1, settings.deduplicate)
    if not kept:
        raise StudyError(
            f"{data}: nothing is left to train on. {counts}. Raise max_new_tokens, so that answers come to their end, "
            "or tune the parent stage to end them."
        )
    logger.info("%s", counts)
    return kept


def _with_first(record: TrainingRecord, first: dict[str, float]) -> TrainingRecord:
    """The record with a point before the first update."""
    return replace(record, curves=[{"step": 0, **first}, *record.curves])


METHOD = Method(
    name="rejection_sft",
    revision=1,
    settings=RejectionSftSettings,
    run=run,
    needs_parent=True,
    data_columns=("prompt",),
    modules=(
        "methods.rejection_sft",
        "methods.sampled_answers",
        "methods.answers_file",
        "methods.selection",
        "methods.scoring",
        "methods.reward_functions",
        "methods.reward_model",
        "methods.reference_file",
        *SAMPLING_MODULES,
        *FINE_TUNING_MODULES,
    ),
    libraries=("modecollapse.methods.trainers", "modecollapse.methods.sampled_answers"),
    needs_reward=True,
)
