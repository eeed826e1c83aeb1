"""Preference pairs as single answers, each beside an answer to another prompt, of which KTO estimates a divergence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modecollapse.errors import StudyError
from modecollapse.methods import processes
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.examples import Ids
from modecollapse.methods.preferences import PreferenceSettings
from modecollapse.methods.reference_file import ANSWERS, PairSettings, read_reference
from modecollapse.sealed import write_sealed

_KEPT = "mismatched.parquet"
"""The reference's log-probabilities of mismatched answers, in the job's state: computed once, whatever is resumed."""


def mismatched(pairs: Mapping[str, Sequence[Ids]], seed: int, max_length: int) -> dict[str, list[Ids]]:
    """Each prompt with the answers to another one: columns `prompt_ids`, `chosen_ids` and `rejected_ids`.

    The authors shift the answers of a batch by one, and so does TRL. Here they are shifted by one in a random order of
    all pairs that the seed decides: no prompt meets its own answers, every answer is met once, and what an answer is
    compared with depends neither on the order of training nor on how batches are cut. An answer that does not fit
    behind its new prompt loses its end.

    Raises:
        StudyError: there is only one pair.
    """
    count = len(pairs["prompt_ids"])
    if count < 2:
        raise StudyError(
            "kto: the data has 1 pair, but its divergence from the reference is estimated from answers to other "
            "prompts. Ask for a larger n."
        )
    order = np.random.default_rng([seed, count]).permutation(count)
    other = np.empty(count, dtype=np.int64)
    other[order] = np.roll(order, -1)
    rooms = [max_length - len(prompt) for prompt in pairs["prompt_ids"]]
    columns = {"prompt_ids": list(pairs["prompt_ids"])}
    for answer in ANSWERS:
        answers = pairs[f"{answer}_ids"]
        columns[f"{answer}_ids"] = [answers[place][:room] for place, room in zip(other.tolist(), rooms, strict=True)]
    return columns


def mismatched_reference(
    job: TrainingJob, settings: PreferenceSettings, others: Mapping[str, Sequence[Ids]]
) -> dict[str, list[float]]:
    """What `job.parent` gives to mismatched answers: columns as those of `read_reference`.

    Raises:
        StudyError: the parent gives no finite number.
        CorruptFile: what an earlier run of the job has kept is not what it wrote.
    """
    path = job.state / _KEPT
    if not path.exists():
        from modecollapse.methods.reference import score_answers  # slow to import

        assert job.parent is not None
        assert job.data is not None
        assert job.format is not None
        lora = settings.lora
        names = ("max_length", "max_prompt_length", "too_long", "dtype")
        shown = PairSettings(
            **{name: getattr(settings, name) for name in names}, quantization=lora.quantization if lora else None
        )
        device = processes.computes_on(job.layout)
        write_sealed(score_answers(job.parent, others, job.data, job.format, shown, job.threads, device), path)
    return read_reference(path, others)


def taken_apart(pairs: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Columns of `KTOTrainer`: of each pair the chosen answer, desirable, and then the rejected one, each with its
    mismatched answer.

    Where examples are grouped by length, the two kinds thus stay mixed among equal lengths. Both arguments have
    `read_reference`'s columns beside the ids.
    """

    def alternating(columns: Mapping[str, Any], name: str) -> list[Any]:
        answers = (columns[name.format(answer)] for answer in ANSWERS)
        return [value for pair in zip(*answers, strict=True) for value in pair]

    return {
        "prompt_ids": alternating(pairs, "prompt_ids"),
        "completion_ids": alternating(pairs, "{}_ids"),
        "label": [True, False] * len(pairs["prompt_ids"]),
        "ref_logps": alternating(pairs, "ref_{}_logps"),
        "KL_completion_ids": alternating(others, "{}_ids"),
        "ref_KL_logps": alternating(others, "ref_{}_logps"),
    }
