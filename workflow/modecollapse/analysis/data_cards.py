"""Data cards: what a set of preference pairs is like, in numbers, per kind of task.

Everything is told from the rows, and from what other jobs found of them: no model is loaded.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from modecollapse.analysis.benchmarks import score_interval
from modecollapse.analysis.label_agreement import QUANTITIES, ratings
from modecollapse.analysis.table_files import joined
from modecollapse.data.columns import TASK
from modecollapse.data.task_types import task_types
from modecollapse.data.transformations.base import EQUAL, KEPT, Columns, Given, merge, rows_of
from modecollapse.data.transformations.decontaminate import DecontaminateSettings, decontaminate
from modecollapse.data.transformations.deduplicate import NEAR_DUPLICATE, DeduplicateSettings, deduplicate
from modecollapse.data.transformations.words import normalised

ALL = "all"
"""All tasks together."""
COLUMN, CLASSIFIER = "column", "classifier"
"""What told the tasks: the column `task`, or `data.task_types`."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that are told."""
NEAR = 0.8
"""Jaccard similarity of word 5-grams from which rows are near duplicates."""
LENGTHS = {"characters": len, "words": lambda text: len(text.split())}
"""Unit of length → how it is counted."""

_Z = float(ndtri(0.975))


@dataclass(frozen=True)
class CardSet:
    """A set of preference pairs, and what is known of it besides its rows."""

    data: str
    size: str
    """Empty, as is the seed, of a set that is the same for all models."""
    seed: str
    columns: Columns
    classified: bool = False
    """Whether its column `task` is from the classifier."""
    perplexities: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """Scorer → `chosen` and `rejected` → the perplexity of every row's answer."""
    labels: pd.DataFrame | None = None
    """What annotators say of the candidates (`labelling.labels.SCHEMA`)."""
    report: Mapping[str, Any] | None = None
    """What became of the rows that it was made from (`jobs.derived_data.derive_data`)."""

    def meets(self, other: "CardSet") -> bool:
        """Whether some model may see both: sets of different models have nothing to do with each other."""
        own, theirs = (self.size, self.seed), (other.size, other.seed)
        return self is not other and (own == theirs or ("", "") in (own, theirs))


def data_cards_table(sets: Sequence[CardSet], prompts: Mapping[str, Mapping[str, Sequence[str]]]) -> pd.DataFrame:
    """Rows of the table `data_cards`: one for each set, task and quantity.

    `value` is a count, a share or a quantile; `n` is what it is over. Shares of pairs have the 95 % score interval
    (Wilson) of `n` independent pairs: pairs of one prompt make it too narrow. `other` is what a set is compared with
    (another set, a set of evaluation prompts), or whose perplexity it is. `types` says what told the tasks.

    Args:
        sets: all of a study.
        prompts: its evaluation prompts: set → id → text and accepted answers.
    """
    asked = [set(map(normalised, each.columns["prompt"])) for each in sets]
    return joined("data_cards", (pd.DataFrame(_card(each, sets, asked, prompts)) for each in sets))


def _card(
    each: CardSet,
    sets: Sequence[CardSet],
    asked: Sequence[set[str]],
    prompts: Mapping[str, Mapping[str, Sequence[str]]],
) -> Iterator[dict[str, Any]]:
    columns = each.columns
    own = TASK in columns and not each.classified
    tasks = columns[TASK] if TASK in columns else task_types(columns["prompt"])
    marks = _marks(columns, prompts)
    keys = list(map(normalised, columns["prompt"]))
    met = {_named(other, each): shared for other, shared in zip(sets, asked, strict=True) if each.meets(other)}
    names = list(dict.fromkeys((ALL, *sorted(set(tasks)))))
    identity = {"data": each.data, "size": each.size, "seed": each.seed, "types": COLUMN if own else CLASSIFIER}
    empty = {"other": "", "level": np.nan, "low": np.nan, "high": np.nan}
    for task in names:
        rows = [row for row, of in enumerate(tasks) if task in (ALL, of)]
        found = itertools.chain(
            [{"quantity": "pairs", "value": float(len(rows)), "n": rows_of(columns)}],
            _lengths(columns, rows),
            (_share(quantity, [marked[row] for row in rows], other) for (quantity, other), marked in marks.items()),
            _common({keys[row] for row in rows}, met),
            _perplexities(each.perplexities, rows),
            _before(each.report, task),
            _agreement(each.labels, task),
        )
        for row in found:
            yield {**identity, "task": task, **empty, **row}


def _marks(
    columns: Columns, prompts: Mapping[str, Mapping[str, Sequence[str]]]
) -> dict[tuple[str, str], Sequence[bool]]:
    """(quantity, compared with) → whether it holds of each row."""
    exact = deduplicate(columns, DeduplicateSettings(), Given()).outcomes
    near = deduplicate(columns, DeduplicateSettings(near=NEAR), Given()).outcomes
    same = deduplicate(columns, DeduplicateSettings(by="prompt"), Given()).outcomes
    marks: dict[tuple[str, str], Sequence[bool]] = {
        ("equal_answers", ""): [outcome == EQUAL for outcome in merge(columns).outcomes],
        ("duplicates", ""): [outcome != KEPT for outcome in exact],
        ("near_duplicates", ""): [outcome == NEAR_DUPLICATE for outcome in near],
        ("repeated_prompts", ""): [outcome != KEPT for outcome in same],
    }
    for name, of_set in prompts.items():
        outcomes = decontaminate(columns, DecontaminateSettings(), Given(prompts={name: of_set})).outcomes
        marks["overlaps_evaluation", name] = [outcome != KEPT for outcome in outcomes]
    return marks


def _lengths(columns: Columns, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    """How often the better answer is longer, and quantiles of length by length.

    Of the pairs of unequal length the share is that of paper RL (table 2).
    """
    for unit, count in LENGTHS.items():
        pairs = [(count(columns["chosen"][row]), count(columns["rejected"][row])) for row in rows]
        yield _share(f"better_longer_{unit}", [chosen > rejected for chosen, rejected in pairs])
        yield _share(f"better_shorter_{unit}", [chosen < rejected for chosen, rejected in pairs])
        yield _share(f"equal_length_{unit}", [chosen == rejected for chosen, rejected in pairs])
        unequal = [chosen > rejected for chosen, rejected in pairs if chosen != rejected]
        yield _share(f"better_longer_of_unequal_{unit}", unequal)
        ratios = [chosen / rejected for chosen, rejected in pairs if rejected]
        yield from _quantiles(f"length_ratio_{unit}", ratios)


def _share(quantity: str, holds: Sequence[bool], other: str = "") -> dict[str, Any]:
    n = len(holds)
    value = sum(holds) / n if n else np.nan
    low, high = score_interval(value, n, _Z) if n else (np.nan, np.nan)
    return {"quantity": quantity, "other": other, "value": value, "low": low, "high": high, "n": n}


def _quantiles(quantity: str, values: Sequence[float], other: str = "") -> Iterator[dict[str, Any]]:
    for level, value in zip(LEVELS, np.quantile(values, LEVELS) if values else (), strict=False):
        yield {"quantity": quantity, "other": other, "level": level, "value": float(value), "n": len(values)}


def _common(keys: set[str], met: Mapping[str, set[str]]) -> Iterator[dict[str, Any]]:
    """How many of the distinct prompts stand in each other set."""
    for name, theirs in met.items():
        yield _share("prompts_in_common", [key in theirs for key in sorted(keys)], name)


def _named(other: CardSet, each: CardSet) -> str:
    """What a set is called on the card of another: with its model where that has none."""
    return other.data if other.size == "" or each.size else f"{other.data} ({other.size}, seed {other.seed})"


def _perplexities(known: Mapping[str, Mapping[str, Sequence[float]]], rows: Sequence[int]) -> Iterator[dict[str, Any]]:
    for scorer, answers in known.items():
        for answer, values in answers.items():
            yield from _quantiles(f"perplexity_{answer}", [values[row] for row in rows], scorer)


def _before(report: Mapping[str, Any] | None, task: str) -> Iterator[dict[str, Any]]:
    """Perplexities of the pairs that a filter chose among, at the same levels as all others."""
    for answer, known in ((report or {}).get("quantiles", {}).get(task, {})).items():
        last = len(known["values"]) - 1
        for level in LEVELS:
            value = known["values"][round(level * last)]
            yield {"quantity": f"perplexity_{answer}_before_filter", "level": level, "value": value, "n": known["n"]}


def _agreement(labels: pd.DataFrame | None, task: str) -> Iterator[dict[str, Any]]:
    """How far annotators agree on the candidates of the task; their intervals are in the table `label_agreement`."""
    if labels is None:
        return
    of_task = labels if task == ALL else labels[labels["task"] == task]
    if of_task.empty:
        return
    given = ratings(of_task)
    for quantity, (terms, ratio) in QUANTITIES.items() if given.shape[1] > 1 else ():
        value = float(ratio(terms(given).sum(axis=0)))
        yield {"quantity": f"agreement_{quantity}", "value": value, "n": len(given)}


def shown_rows(columns: Columns, number: int) -> Iterable[tuple[str, ...]]:
    """(task, prompt, chosen, rejected) of as many rows, evenly spread over the set."""
    size = rows_of(columns)
    for place in range(min(number, size)):
        row = place * size // min(number, size)
        yield (
            columns[TASK][row] if TASK in columns else "",
            *(columns[name][row] for name in ("prompt", "chosen", "rejected")),
        )
