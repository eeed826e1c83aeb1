"""Attribution: how much each step of a lineage changes every metric, with joint intervals.

For a path such as plm → sft → dpo the change of a step is the difference of its two stages' means. All steps of a path
use the same observations (those defined at every stage) and the same resamples, so the steps sum to the total, in the
estimate and in each resample.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from modecollapse.analysis.bootstrap import Array, Bootstrap, estimate
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.tokens import UNITS, TokenStatistics, pool
from modecollapse.cells import Model
from modecollapse.errors import StudyError

MEAN_TEMPERATURE = "mean"
"""The `temperature` of rows that average over all temperatures measured at every stage of the path."""

_KEYS = ["format", "words", "metric", "definition"]


def attribution_table(
    scores: Iterable[pd.DataFrame],
    tokens: Mapping[Model, TokenStatistics],
    paths: Sequence[Sequence[str]],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """Steps and totals of every path, at the output level and at the token level.

    `paths` are lines of stages from root to leaf; stages without measurements are left out of their lines, so that a
    step may span a stage that was not measured. For rows of level "token", `n_prompts` counts documents.

    Raises:
        StudyError: stages of a path were measured under different prompt formats only, or on different documents.
    """
    rows: list[tuple[object, ...]] = []
    for block in blocks(scores):
        for path in _measured(paths, set(block.rows["stage"])):
            rows += _block_rows(block, path, bootstrap)
    for size in dict.fromkeys(model.size for model in tokens):
        stages = {model.stage for model in tokens if model.size == size}
        for path in _measured(paths, stages):
            rows += _token_rows(size, tokens, path, bootstrap)
    return pd.DataFrame(rows, columns=SCHEMAS["attribution"].names)


def common_formats(formats: Mapping[str, Iterable[str]], path: Sequence[str]) -> list[str]:
    """The prompt formats under which every stage of `path` is measured; `formats` gives them per stage.

    Raises:
        StudyError: there is none. A difference between stages asked in different words is no effect of training.
    """
    common = [name for name in formats[path[0]] if all(name in formats[stage] for stage in path)]
    if not common:
        found = "; ".join(f"{stage}: {', '.join(formats[stage])}" for stage in path)
        raise StudyError(
            f"attribution along {' > '.join(path)}: its stages were measured under different prompt formats only "
            f"({found}). Generate all of them under at least one common format."
        )
    return common


def step_names(path: Sequence[str]) -> list[str]:
    """The steps of a path and its total, e.g. ["plm>sft", "sft>dpo", "total"]."""
    return [*(f"{before}>{after}" for before, after in pairwise(path)), "total"]


def changes(values: Array) -> Array:
    """From [stages, …] to [steps + total, …]: each stage minus the one before, and the last minus the first.

    An observation that is undefined (NaN) at any stage is NaN in all steps.
    """
    values = np.where(np.isnan(values).any(axis=0), np.nan, values)
    return np.concatenate([np.diff(values, axis=0), values[-1:] - values[:1]])


def _block_rows(block: Block, path: Sequence[str], bootstrap: Bootstrap) -> list[tuple[object, ...]]:
    formats = {stage: _formats(block, stage) for stage in path}
    allowed = set(common_formats(formats, path))
    index = {tuple(row): number for number, row in enumerate(block.rows.itertuples(index=False, name=None))}
    keys: list[tuple[object, ...]] = []
    steps: list[Array] = []
    rows = block.rows[block.rows["format"].isin(allowed) & (block.rows["stage"] == path[0])]
    for (form, words, metric, definition), group in rows.groupby(_KEYS, sort=False):
        temperatures: list[str] = []
        measured: list[Array] = []
        for temperature in sorted(group["temperature"], key=float):
            places = [index.get((stage, form, temperature, words, metric, definition)) for stage in path]
            if None not in places:
                temperatures.append(temperature)
                measured.append(changes(block.values[np.array(places, dtype=np.intp)]))
        if not measured:
            continue
        for temperature, change in zip(temperatures, measured, strict=True):
            keys.append((form, temperature, words, metric, definition))
            steps.append(change)
        keys.append((form, MEAN_TEMPERATURE, words, metric, definition))
        steps.append(_mean_of_defined(np.stack(measured)))
    if not steps:
        return []
    stacked = np.stack(steps)
    names = step_names(path)
    result = estimate(stacked.reshape(-1, *stacked.shape[2:]), block.prompts, bootstrap)
    value, low, high = (array.reshape(-1, len(names)) for array in (result.value, result.low, result.high))
    prompts, seeds = (array.reshape(-1, len(names)) for array in (result.n_prompts, result.n_seeds))
    share = _shares(value, low, high)
    return [
        (
            *(block.size, "output", block.prompts, *key, ">".join(path), name),
            *(array[row, column].item() for array in (value, low, high, share, prompts, seeds)),
        )
        for row, key in enumerate(keys)
        for column, name in enumerate(names)
    ]


def _token_rows(
    size: str, tokens: Mapping[Model, TokenStatistics], path: Sequence[str], bootstrap: Bootstrap
) -> list[tuple[object, ...]]:
    of_size = {model: one for model, one in tokens.items() if model.size == size and model.stage in path}
    by_stage = {stage: {m.seed: one for m, one in of_size.items() if m.stage == stage} for stage in path}
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in by_stage.values())))
    if not seeds:
        return []
    groups = {one.groups for one in of_size.values()}
    if len(groups) > 1:
        raise StudyError(
            f"attribution along {' > '.join(path)} for {size}: token statistics are of different documents. "
            "Delete the study's tokens directory and run again."
        )
    names = step_names(path)
    rows: list[tuple[object, ...]] = []
    for metric in UNITS:
        pooled = [pool([by_stage[stage][seed] for seed in seeds], metric, bootstrap) for stage in path]
        value = changes(np.array([value for value, _ in pooled]))
        low, high = bootstrap.interval(changes(np.stack([resampled for _, resampled in pooled])))
        if len(seeds) < 2 and len(next(iter(groups))) < 2:
            low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
        share = _shares(value[None], low[None], high[None])[0]
        documents = next(iter(of_size.values())).n_documents
        rows += [
            (
                *(size, "token", "", "", "", 0, metric, "corrected", ">".join(path), name),
                *(value[i].item(), low[i].item(), high[i].item(), share[i].item(), documents, len(seeds)),
            )
            for i, name in enumerate(names)
        ]
    return rows


def _mean_of_defined(values: Array) -> Array:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))


def _shares(value: Array, low: Array, high: Array) -> Array:
    """Each step's part of the total (last column), NaN unless the total's interval excludes 0."""
    total, excludes = value[:, -1:], (low[:, -1:] > 0) | (high[:, -1:] < 0)
    return np.divide(value, total, out=np.full_like(value, np.nan), where=excludes)


def _formats(block: Block, stage: str) -> list[str]:
    return list(dict.fromkeys(block.rows.loc[block.rows["stage"] == stage, "format"]))


def _measured(paths: Sequence[Sequence[str]], stages: set[str]) -> list[list[str]]:
    """The paths cut down to measured stages, without repeats and without those that have no step left."""
    lines = (tuple(stage for stage in path if stage in stages) for path in paths)
    return [list(line) for line in dict.fromkeys(lines) if len(line) > 1]
