"""Scores as dense arrays: one block per size and prompt set, ready for the bootstrap."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.errors import StudyError

CELL_COLUMNS = ("stage", "format", "temperature", "words", "metric", "definition")
"""What tells the rows of a block apart."""

SCORE_COLUMNS = ("size", "seed", "stage", "prompts", "format", "temperature", "prompt", "words", "metric", "definition")
"""What tells the rows of a scores table apart; `value`, `n` and perhaps `se` belong to it as well."""

VALUE_COLUMNS = ("prompts", "prompt", "format", "temperature", "words", "metric", "definition", "value")
"""The columns of a scores file that every table needs."""

COUNTED_COLUMNS = (*VALUE_COLUMNS, "n", "se")
"""Those of tables that also say how many completions a value has, and its error over them."""

_TEXTS = ("prompts", "prompt", *CELL_COLUMNS)


@dataclass(frozen=True)
class Block:
    """All scores of one size on one prompt set."""

    size: str
    prompts: str
    rows: pd.DataFrame
    """One row per (stage, format, temperature, words, metric, definition), in the order of first appearance."""
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    """Prompt ids, sorted, so that a resample does not depend on the order in the files."""
    values: NDArray[np.float64]
    """[rows, seeds, prompts]; NaN where undefined or not measured."""
    errors: NDArray[np.float64]
    """[rows, seeds, prompts]; standard error of each value over its completions; NaN where not known, or not read."""
    completions: NDArray[np.int64]
    """[rows, seeds, prompts]; completions behind each value; 0 where not measured, or not read."""
    measured: NDArray[np.bool_]
    """[rows, seeds, prompts]; whether there is a score, be it undefined."""


def blocks(scores: Iterable[pd.DataFrame]) -> Iterator[Block]:
    """The blocks of the scores of all models (one frame each, with size, seed and stage), in order of appearance.

    Only one size is in memory at a time, so the models of a size must stand together.

    Raises:
        StudyError: the same value was measured twice.
        ValueError: the models of a size do not stand together.
    """
    seen = set()
    for size, frames in groupby((frame for frame in scores if len(frame)), lambda frame: str(frame["size"].iloc[0])):
        if size in seen:
            raise ValueError(f"scores of {size} come in two places")
        seen.add(size)
        yield from _blocks_of_size(size, frames)


def codes(values: pd.Series, seen: dict[str, dict[Hashable, int]], name: str) -> NDArray[np.int32]:
    """The number of each value in the order of first appearance, those of `seen[name]` first, which is added to."""
    known = seen.setdefault(name, {})
    places, distinct = pd.factorize(values)
    return np.array([known.setdefault(value, len(known)) for value in distinct], dtype=np.int32)[places]


def _blocks_of_size(size: str, frames: Iterable[pd.DataFrame]) -> Iterator[Block]:
    # Categories make grouping millions of rows by ten keys an affair of integers; only these are held of all models.
    seen: dict[str, dict[Hashable, int]] = {}
    held = []
    for frame in frames:
        numbers = {name: frame[name] for name in ("seed", "value", "n", "se") if name in frame}
        held.append(pd.DataFrame({**numbers, **{name: codes(frame[name], seen, name) for name in _TEXTS}}))
    every = pd.concat(held, ignore_index=True)
    del held
    for name in _TEXTS:
        every[name] = pd.Categorical.from_codes(every[name].to_numpy(), pd.Index(list(seen[name])))
    for prompts, part in every.groupby("prompts", sort=False, observed=True):
        yield _block(size, str(prompts), part)


def _block(size: str, prompts: str, part: pd.DataFrame) -> Block:
    keys = [part[column] for column in CELL_COLUMNS]
    row = part.groupby(keys, sort=False, observed=True).ngroup().to_numpy()
    _, first = np.unique(row, return_index=True)
    rows = part.iloc[first][list(CELL_COLUMNS)].reset_index(drop=True)
    for column in CELL_COLUMNS:
        rows[column] = rows[column].astype(part[column].cat.categories.dtype)
    ids, prompt = np.unique(part["prompt"].astype(str).to_numpy(dtype=object), return_inverse=True)
    seeds, seed = np.unique(part["seed"].to_numpy(), return_inverse=True)
    shape = (len(rows), len(seeds), len(ids))
    place = np.ravel_multi_index((row, seed, prompt), shape)
    if len(np.unique(place)) < len(place):
        twice = part[part.duplicated([name for name in SCORE_COLUMNS if name != "size"])].iloc[0]
        raise StudyError(
            f"scores: {size}/s{twice['seed']}/{twice['stage']} has two values of {twice['metric']} for prompt "
            f"{twice['prompt']!r} at T{twice['temperature']}. Only one is allowed; delete that scores file and rerun."
        )
    values = np.full(shape, np.nan)
    values.flat[place] = part["value"].to_numpy(dtype=np.float64)
    errors = np.full(shape, np.nan)
    if "se" in part:
        errors.flat[place] = part["se"].to_numpy(dtype=np.float64)
    completions = np.zeros(shape, dtype=np.int64)
    if "n" in part:
        completions.flat[place] = part["n"].to_numpy(dtype=np.int64)
    measured = np.zeros(shape, dtype=np.bool_)
    measured.flat[place] = True
    return Block(
        size=size,
        prompts=prompts,
        rows=rows,
        seeds=tuple(int(value) for value in seeds),
        ids=tuple(str(value) for value in ids),
        values=values,
        errors=errors,
        completions=completions,
        measured=measured,
    )
