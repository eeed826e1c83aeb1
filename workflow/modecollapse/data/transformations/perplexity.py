"""The perplexity filter of paper RL (section 4.3): pairs that a model could have written itself.

For each kind of task the bound is a percentile of the perplexities of the scorer's own responses, and a pair is kept
only if both of its responses are strictly below. The perplexity of a response is exp of the mean negative
log-likelihood of its tokens, the end-of-text token included, given the prompt.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data.transformations.balance import TaskRatio, balance_tasks
from modecollapse.data.transformations.base import KEPT, SELECTING, Columns, Given, Selection, Transformation, tasks_of
from modecollapse.schema import Name, Strict

UNKNOWN_TASK, TOO_FEW = "unknown task", "too few own responses"
"""Outcomes of pairs whose task has no bound."""
CHOSEN_ABOVE, REJECTED_ABOVE, BOTH_ABOVE = "chosen above", "rejected above", "both above"

LEVELS = 100
"""Quantiles of perplexities are kept at 0, 1, …, `LEVELS` percent."""

_LARGEST = 700.0


class PerplexitySettings(Strict):
    """Pairs both of whose responses a stage finds likely: the bound, for each task, is a percentile of the perplexity
    of that stage's own responses to prompts of the task.

    The set exists per size and seed, of that size and seed's own model. The perplexity of a response is the exponential
    of the mean negative log-likelihood per token, end-of-text token included, after the prompt in the stage's
    `train_format`, at temperature 1 and in `generation.dtype`; of an own response that of its text, read anew as
    responses of pairs are. Own responses that did not end or say nothing do not count. Tasks are told by the column
    `task` of the pairs and of the prompts; without it there is one bound for all. A pair of a task that no prompt is of
    is dropped and counted, and so is a pair of a task with fewer own responses than have one on either side of the
    percentile (20 for 95).
    """

    scorer: Name
    """The stage whose own responses set the bounds, e.g. `sft`."""
    percentile: float = Field(95, gt=0, lt=100)
    """Percentile of its own responses' perplexity, interpolated linearly, that both responses have to be below."""
    prompts: Name | None = None
    """The data set whose prompts it answers; null: those of the set itself."""
    n: int = Field(1, ge=1)
    """Own responses to each prompt."""
    count: int | None = Field(1000, ge=1)
    """Prompts that are answered, drawn from the set with all alike probable; null takes all."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of its own responses."""
    max_new_tokens: int = Field(70, ge=1)
    """Tokens sampled at most, the end-of-text token included. Prompts that leave no room for them in `max_length` are
    left out."""
    task_ratio: TaskRatio | None = 2.0
    """Of what is left, no task has more than this many times the pairs of the smallest; null: sizes stay as they are.
    """
    max_length: int = Field(512, ge=2)
    """Longest prompt with response, in tokens, end-of-text token included."""
    max_prompt_length: int = Field(256, ge=1)
    """Longest prompt, in tokens, of a pair that has to be truncated."""
    too_long: Literal["error", "truncate"] = "truncate"
    """What becomes of a longer pair: an error, or the truncation of preference tuning."""

    @model_validator(mode="after")
    def _room(self) -> "PerplexitySettings":
        if self.max_new_tokens >= self.max_length:
            raise ValueError(
                f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt in max_length {self.max_length}"
            )
        if self.too_long == "truncate" and self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} leaves no room for a response in max_length "
                f"{self.max_length}; lower it, or set too_long: error"
            )
        return self


def filter_by_perplexity(columns: Columns, settings: PerplexitySettings, given: Given) -> Selection:
    """Which pairs stay.

    `found["bounds"]` has for each task the bound and how many own responses it is from; `found["quantiles"]` for each
    task, and for `own`, `chosen` and `rejected`, how many perplexities there are and their quantiles at 0 to 100 %.
    """
    assert given.perplexities is not None
    tasks, own = tasks_of(columns), given.perplexities.own
    bounds = _bounds(own, sorted(set(tasks)), settings.percentile)
    pairs = zip(tasks, given.perplexities.chosen, given.perplexities.rejected, strict=True)
    outcomes = [
        _outcome(bounds[task], chosen, rejected) if task in bounds else TOO_FEW if task in own else UNKNOWN_TASK
        for task, chosen, rejected in pairs
    ]
    balance_tasks(outcomes, tasks, settings.task_ratio, given.seed)
    found = {
        "bounds": {task: {"bound": bound, "n": len(own[task])} for task, bound in bounds.items()},
        "quantiles": _quantiles(tasks, given.perplexities.chosen, given.perplexities.rejected, own),
    }
    return Selection.of(outcomes, found)


def perplexity_of(logp: NDArray[Any], tokens: NDArray[Any]) -> NDArray[np.float64]:
    """exp of the mean negative log-likelihood per token, at most e^700, which is still a number."""
    values: NDArray[np.float64] = np.exp(np.minimum(-logp.astype(np.float64) / tokens, _LARGEST))
    return values


def least(percentile: float) -> int:
    """Responses that a percentile is told from at least: so many that one is expected on either side of it."""
    return math.ceil(round(100 / min(percentile, 100 - percentile), 6))


def _bounds(own: Mapping[str, Sequence[float]], tasks: Sequence[str], percentile: float) -> dict[str, float]:
    told = [task for task in tasks if len(own.get(task, ())) >= least(percentile)]
    return {task: float(np.percentile(own[task], percentile)) for task in told}


def _outcome(bound: float, chosen: float, rejected: float) -> str:
    above = (not chosen < bound, not rejected < bound)
    return {(False, False): KEPT, (True, False): CHOSEN_ABOVE, (False, True): REJECTED_ABOVE}.get(above, BOTH_ABOVE)


def _quantiles(
    tasks: Sequence[str], chosen: Sequence[float], rejected: Sequence[float], own: Mapping[str, Sequence[float]]
) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, list[float]]] = {
        task: {"own": list(own.get(task, ())), "chosen": [], "rejected": []} for task in sorted({*tasks, *own})
    }
    for task, better, worse in zip(tasks, chosen, rejected, strict=True):
        values[task]["chosen"].append(better)
        values[task]["rejected"].append(worse)
    levels = np.linspace(0, 1, LEVELS + 1)
    return {
        task: {
            text: {"n": len(given), "values": np.quantile(given, levels).tolist()}
            for text, given in texts.items()
            if given
        }
        for task, texts in values.items()
    }


PERPLEXITY = Transformation(
    name="perplexity",
    settings=PerplexitySettings,
    select=filter_by_perplexity,
    needs=lambda _: PAIR_COLUMNS,
    relax=(
        "Raise percentile or temperature, or name prompts whose tasks are those of the pairs. Where own responses are "
        "too few, raise count, n or max_new_tokens, or put rare tasks together (classify: {least: 0.05})"
    ),
    draws=True,
    # 2: tasks with too few own responses are dropped instead of being an error.
    revision=2,
    elsewhere=(
        *("scorer", "prompts", "n", "count", "temperature", "max_new_tokens"),
        *("max_length", "max_prompt_length", "too_long"),
    ),
    modules=("data.transformations.perplexity", "data.transformations.balance", *SELECTING),
)
