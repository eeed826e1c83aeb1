"""Attribution: how much each step of a lineage changes every metric, with joint intervals.

For a path such as plm → sft → dpo the change of a step is the difference of its two stages' means. All steps of a path
use the same observations (those defined at every stage) and the same resamples, so the steps sum to the total, in the
estimate and in each resample.

A share is a ratio of two means, known only where the total is known to differ from zero; elsewhere it is NaN. Its
interval is that of the mean of (step - share * total), divided by the total.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.analysis.bootstrap import Array, Bootstrap, estimate
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import SCHEMAS, joined
from modecollapse.analysis.tokens import UNITS, TokenStatistics, pool
from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.wordings import Across, Wording, path_wordings

NONE: Across = MappingProxyType({})
"""No comparison across prompt formats."""

MEAN_TEMPERATURE = "mean"
"""The `temperature` of rows that average over all temperatures measured at every stage of the path."""

TOTAL = "total"
"""The `step` of rows that compare the last stage of a path with its first."""

_KEYS = ["words", "metric", "definition"]


def attribution_table(
    scores: Iterable[pd.DataFrame],
    tokens: Mapping[Model, TokenStatistics],
    paths: Sequence[Sequence[str]],
    bootstrap: Bootstrap,
    across: Across = NONE,
) -> pd.DataFrame:
    """Steps and totals of every path, at the output level and at the token level.

    `paths` are lines of stages from root to leaf; stages without measurements are left out of their lines, so that a
    step may span a stage that was not measured. Stages are compared under each prompt format that they have in common,
    and in the wordings of `across`, by whose name the column `format` then goes. For rows of level "token",
    `n_prompts` counts documents.

    Raises:
        StudyError: stages of a path were measured under different prompt formats only, or on different documents.
    """
    return joined("attribution", attribution_parts(scores, tokens.items(), paths, bootstrap, across))


def attribution_parts(
    scores: Iterable[pd.DataFrame],
    tokens: Iterable[tuple[Model, TokenStatistics]],
    paths: Sequence[Sequence[str]],
    bootstrap: Bootstrap,
    across: Across = NONE,
) -> Iterator[pd.DataFrame]:
    """The rows of `attribution_table`, a few at a time; models of a size stand together in `scores` and `tokens`."""
    for block in blocks(scores):
        for changed in block_changes(block, paths, across):
            yield output_rows(changed, bootstrap)
    for size, models in groupby(tokens, lambda entry: entry[0].size):
        of_size = dict(models)
        for path in measured_paths(paths, {model.stage for model in of_size}):
            yield _token_rows(size, of_size, path, bootstrap)


@dataclass(frozen=True)
class PathChanges:
    """What every step of one path changes, by seed and prompt."""

    block: Block
    path: Sequence[str]
    keys: list[tuple[Hashable, ...]]
    """(format, temperature, words, metric, definition) of each row; the temperature may be `MEAN_TEMPERATURE`."""
    steps: Array
    """[rows, steps + total, seeds, prompts]; NaN where a stage is undefined."""
    errors: Array
    """Their standard errors over completions, of the same shape; NaN where not known."""
    wordings: Mapping[str, Wording] = field(default_factory=dict)
    """Those that are no common format, by name."""

    def rows(self, **columns: NDArray[Any]) -> pd.DataFrame:
        """A table with one row per key and step, and `columns` [rows, steps + total]."""
        names = step_names(self.path)
        keys = pd.DataFrame(self.keys, columns=["format", "temperature", "words", "metric", "definition"])
        frame = keys.loc[keys.index.repeat(len(names))].reset_index(drop=True)
        sides = [side for form in keys["format"] for side in self._wording(form).before_after]
        return frame.assign(
            format_before=[before for before, _ in sides],
            format_after=[after for _, after in sides],
            size=self.block.size,
            prompts=self.block.prompts,
            path=">".join(self.path),
            step=names * len(self.keys),
            **{name: column.ravel() for name, column in columns.items()},
        )

    def _wording(self, name: str) -> Wording:
        return self.wordings.get(name, Wording(name, (name,) * len(self.path)))


def block_changes(block: Block, paths: Sequence[Sequence[str]], across: Across) -> Iterator[PathChanges]:
    """The changes of a block along every path that is measured in it.

    Raises:
        StudyError: stages of a path were measured under different prompt formats only.
    """
    for path in measured_paths(paths, set(block.rows["stage"])):
        changed = _path_changes(block, path, across)
        if changed.keys:
            yield changed


def step_names(path: Sequence[str]) -> list[str]:
    """The steps of a path and its total, e.g. ["plm>sft", "sft>dpo", "total"]."""
    return [*(f"{before}>{after}" for before, after in pairwise(path)), TOTAL]


def changes(values: Array) -> Array:
    """From [stages, …] to [steps + total, …]: each stage minus the one before, and the last minus the first.

    An observation that is undefined (NaN) at any stage is NaN in all steps.
    """
    values = np.where(np.isnan(values).any(axis=0), np.nan, values)
    return np.concatenate([np.diff(values, axis=0), values[-1:] - values[:1]])


def _path_changes(block: Block, path: Sequence[str], across: Across) -> PathChanges:
    index = row_index(block)
    keys: list[tuple[Hashable, ...]] = []
    steps: list[Array] = []
    errors: list[Array] = []
    wordings = wordings_of_path(block, path, across)
    for wording in wordings:
        asked = list(zip(path, wording.formats, strict=True))
        for (words, metric, definition), group in rows_of(block, *asked[0]).groupby(_KEYS, sort=False):
            first = len(steps)
            for temperature in sorted(group["temperature"], key=float):
                places = [index.get((*stage, temperature, words, metric, definition)) for stage in asked]
                if None not in places:
                    at = np.array(places, dtype=np.intp)
                    keys.append((wording.name, temperature, words, metric, definition))
                    steps.append(changes(block.values[at]))
                    errors.append(_change_errors(block.errors[at]))
            if len(steps) > first:
                change, error = mean_over_temperatures(np.stack(steps[first:]), np.stack(errors[first:]))
                keys.append((wording.name, MEAN_TEMPERATURE, words, metric, definition))
                steps.append(change)
                errors.append(error)
    shape = (0, len(path), *block.values.shape[1:])
    return PathChanges(
        block,
        path,
        keys,
        np.stack(steps) if steps else np.empty(shape),
        np.stack(errors) if errors else np.empty(shape),
        {wording.name: wording for wording in wordings if wording.name in across},
    )


def row_index(block: Block) -> dict[tuple[object, ...], int]:
    """(stage, format, temperature, words, metric, definition) → its row in the block."""
    return {tuple(row): number for number, row in enumerate(block.rows.itertuples(index=False, name=None))}


def wordings_of_path(block: Block, path: Sequence[str], across: Across) -> list[Wording]:
    """The wordings in which all stages of `path` were measured in this block.

    Raises:
        StudyError: there is none.
    """
    return path_wordings(path, {stage: _formats(block, stage) for stage in path}, across)


def rows_of(block: Block, stage: str, form: str) -> pd.DataFrame:
    """The block's rows of one stage under one prompt format."""
    return block.rows[(block.rows["stage"] == stage) & (block.rows["format"] == form)]


def mean_over_temperatures(values: Array, errors: Array) -> tuple[Array, Array]:
    """Means over the first axis of what is defined, and their standard errors; both [temperatures, …]."""
    number = np.maximum((~np.isnan(values)).sum(axis=0), 1)
    return _mean_of_defined(values), np.sqrt(np.where(np.isnan(values), 0.0, errors**2).sum(axis=0)) / number


def output_rows(changed: PathChanges, bootstrap: Bootstrap) -> pd.DataFrame:
    """Rows of the table `attribution` for the changes along one path."""
    count, names, *units = changed.steps.shape
    flat = changed.steps.reshape(-1, *units)
    result = estimate(flat, changed.block.prompts, bootstrap, changed.errors.reshape(-1, *units))
    delta, low, high = (array.reshape(count, names) for array in (result.value, result.low, result.high))
    share, share_low, share_high = shares_of(changed.steps, delta, low, high, changed.block.prompts, bootstrap)
    return changed.rows(
        delta=delta, low=low, high=high, share=share, share_low=share_low, share_high=share_high,
        completion_se=result.completion_se, n_prompts=result.n_prompts, n_seeds=result.n_seeds,
    ).assign(level="output")  # fmt: skip


def _token_rows(
    size: str, tokens: Mapping[Model, TokenStatistics], path: Sequence[str], bootstrap: Bootstrap
) -> pd.DataFrame:
    of_size = {model: one for model, one in tokens.items() if model.stage in path}
    by_stage = {stage: {m.seed: one for m, one in of_size.items() if m.stage == stage} for stage in path}
    seeds = sorted(set.intersection(*(set(by_seed) for by_seed in by_stage.values())))
    groups = {one.groups for one in of_size.values()}
    if len(groups) > 1:
        raise StudyError(
            f"attribution along {' > '.join(path)} for {size}: token statistics are of different documents. "
            "Delete the study's tokens directory and run again."
        )
    rows: list[dict[str, Any]] = []
    for metric in UNITS if seeds else ():
        pooled = [pool([by_stage[stage][seed] for seed in seeds], metric) for stage in path]
        steps = [after.combined([1, -1], before) for before, after in pairwise(pooled)]
        steps.append(pooled[-1].combined([1, -1], pooled[0]))
        delta = np.array([[step.value for step in steps]])
        low, high = np.array([step.interval(bootstrap) for step in steps]).T[:, None]
        share = shares(delta, low, high)
        if np.isnan(share[0, -1]):
            share_low = share_high = np.full_like(share, np.nan)
        else:
            off = [step.combined([1, -part], steps[-1]) for step, part in zip(steps, share[0], strict=True)]
            below, above = np.array([one.interval(bootstrap) for one in off]).T[:, None]
            share_low, share_high = share_interval(share, delta[:, -1:], below, above)
        columns = {"delta": delta, "low": low, "high": high}
        columns |= {"share": share, "share_low": share_low, "share_high": share_high}
        rows += [
            {"step": name, "metric": metric, **{column: array[0, i] for column, array in columns.items()}}
            for i, name in enumerate(step_names(path))
        ]
    fixed: dict[str, Any] = {"size": size, "level": "token", "temperature": "", "words": 0}
    fixed |= dict.fromkeys(("prompts", "format", "format_before", "format_after"), "")
    return pd.DataFrame(rows, columns=SCHEMAS["attribution"].names).assign(
        **fixed,
        definition="corrected",
        path=">".join(path),
        completion_se=np.nan,
        n_prompts=next(iter(of_size.values())).n_documents,
        n_seeds=len(seeds),
    )


def _change_errors(errors: Array) -> Array:
    """Standard errors of `changes`, from those of the stages [stages, …], whose completions are independent."""
    squares = errors**2
    return np.sqrt(np.concatenate([squares[1:] + squares[:-1], squares[-1:] + squares[:1]]))


def _mean_of_defined(values: Array) -> Array:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))


def shares(value: Array, low: Array, high: Array) -> Array:
    """Each step's part of the total (last column), NaN unless the total's interval excludes 0."""
    total, excludes = value[:, -1:], (low[:, -1:] > 0) | (high[:, -1:] < 0)
    return np.divide(value, total, out=np.full_like(value, np.nan), where=excludes)


def shares_of(
    values: Array, delta: Array, low: Array, high: Array, prompts: str, bootstrap: Bootstrap
) -> tuple[Array, Array, Array]:
    """Shares of the total (last column) and their intervals, each [rows, columns]; NaN where the total may be zero.

    Args:
        values: [rows, columns, seeds, prompts].
        delta: their means with interval `low` to `high`, each [rows, columns].
    """
    share = shares(delta, low, high)
    known = np.flatnonzero(~np.isnan(share[:, -1]))
    share_low, share_high = np.full_like(share, np.nan), np.full_like(share, np.nan)
    # The mean of (step - share * total) is zero; how far it may be from zero is how far the share may be off.
    rest = values[known] - share[known, :, None, None] * values[known, -1:]
    off = estimate(rest.reshape(-1, *values.shape[2:]), prompts, bootstrap)
    ends = (array.reshape(-1, values.shape[1]) for array in (off.low, off.high))
    share_low[known], share_high[known] = share_interval(share[known], delta[known, -1:], *ends)
    return share, share_low, share_high


def share_interval(share: Array, total: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Interval of each share from that of the mean of (step - share * total), `low` to `high`."""
    ends = share + np.stack([low, high]) / total
    return ends.min(axis=0), ends.max(axis=0)


def _formats(block: Block, stage: str) -> list[str]:
    return list(dict.fromkeys(block.rows.loc[block.rows["stage"] == stage, "format"]))


def measured_paths(paths: Sequence[Sequence[str]], stages: set[str]) -> list[list[str]]:
    """The paths cut down to measured stages, without those that are the beginning of another or have no step left."""
    lines = list(dict.fromkeys(tuple(stage for stage in path if stage in stages) for path in paths))
    begun = {line[:length] for line in lines for length in range(len(line))}
    return [list(line) for line in lines if len(line) > 1 and line not in begun]
