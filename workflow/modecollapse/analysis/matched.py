"""Attribution at matched mean token entropy: what a step changes beside making the distribution sharper.

Training often lowers the entropy of the sampling distribution, which a lower temperature would have done as well. So
each stage's metric is taken as a function of its mean token entropy, by linear interpolation over temperature, and
averaged over the range of entropies that all stages of the path reach. A stage that is its parent at a lower
temperature changes nothing here; what remains is what no temperature could have done.

The average of a piecewise linear function over a range is a weighted mean of its values at the temperatures, with
weights that only the entropies decide. The weights, and the range, are computed anew in every resample.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.analysis.attribution import (
    NONE,
    measured_paths,
    row_index,
    rows_of,
    share_interval,
    shares,
    step_names,
    wordings_of_path,
)
from modecollapse.analysis.bootstrap import Bootstrap, resampled_means
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import joined
from modecollapse.analysis.variance import Array, spread_of_mean
from modecollapse.wordings import Across

ENTROPY = "token_entropy"
"""The score that is matched; it is found at words 0 under the definition "corrected"."""

NO_RANGE = "the stages have no range of entropy in common"
NO_OBSERVATIONS = "no prompt is defined at every stage and temperature"
UNSTABLE = "no interval: the stages have no range of entropy in common in {:.0%} of the resamples"

_TOLERATED = 0.05
"""Share of resamples without a common range up to which there is an interval, over the others."""

_ROUNDING = 1e-13
"""Changes below this, relative to the metric's largest mean, are none."""

_NUDGE = 1e-3
"""By how much the weight of one observation is changed to see its influence."""


def matched_table(
    scores: Iterable[pd.DataFrame], paths: Sequence[Sequence[str]], bootstrap: Bootstrap, across: Across = NONE
) -> pd.DataFrame:
    """Steps and totals of every path at matched entropy, compared as in `attribution_table`.

    There are no rows for paths with a stage whose entropy is not known.

    Raises:
        StudyError: stages of a path were measured under different prompt formats only.
    """
    return joined("matched_attribution", matched_parts(scores, paths, bootstrap, across))


def matched_parts(
    scores: Iterable[pd.DataFrame], paths: Sequence[Sequence[str]], bootstrap: Bootstrap, across: Across = NONE
) -> Iterator[pd.DataFrame]:
    """The rows of `matched_table`, a few at a time. Of the scores it needs no more than `VALUE_COLUMNS`."""
    for block in blocks(scores):
        for path in measured_paths(paths, set(block.rows["stage"])):
            yield from _path_rows(block, path, bootstrap, across)


def matched_weights(entropies: Sequence[Array]) -> tuple[list[Array], Array, Array]:
    """Weights of the temperatures that average each stage over the entropies that all stages reach.

    Args:
        entropies: mean token entropy of each stage, [temperatures of the stage, draws], in any order.

    Returns:
        For each stage the weights, of the same shape, that sum to 1; and the ends of the common range, [draws]. Weights
        are NaN where there is no common range.
    """
    low = np.max([stage.min(axis=0) for stage in entropies], axis=0)
    high = np.min([stage.max(axis=0) for stage in entropies], axis=0)
    width = np.where(high > low, high - low, np.nan)
    weights = []
    for stage in entropies:
        order = np.argsort(stage, axis=0, kind="stable")
        at = np.take_along_axis(stage, order, axis=0)
        # Of each piece between two entropies the part within the range counts, as its length and its middle say.
        ends = np.clip(at, low, np.maximum(low, high))
        length, middle, piece = np.diff(ends, axis=0), (ends[1:] + ends[:-1]) / 2, np.diff(at, axis=0)
        upper = np.divide(length * (middle - at[:-1]), piece, out=np.zeros_like(piece), where=piece > 0)
        placed = np.zeros_like(at)
        placed[1:] += upper
        placed[:-1] += length - upper
        weight = np.empty_like(at)
        np.put_along_axis(weight, order, placed / width, axis=0)
        weights.append(weight)
    return weights, low, high


def _path_rows(block: Block, path: Sequence[str], bootstrap: Bootstrap, across: Across) -> Iterator[pd.DataFrame]:
    index = row_index(block)
    for wording in wordings_of_path(block, path, across):
        asked = list(zip(path, wording.formats, strict=True))
        temperatures = [_temperatures(block, *stage) for stage in asked]
        if not all(temperatures):
            continue
        at = [(*stage, t) for stage, of_stage in zip(asked, temperatures, strict=True) for t in of_stage]
        entropy = block.values[[index[*place, 0, ENTROPY, "corrected"] for place in at]]
        known = _Entropies(entropy, [len(of_stage) for of_stage in temperatures], block.prompts, bootstrap)
        of_format = rows_of(block, *asked[0])
        of_format = of_format[of_format["metric"] != ENTROPY]
        for words, metric, definition in dict.fromkeys(
            zip(of_format["words"], of_format["metric"], of_format["definition"], strict=True)
        ):
            places = [index.get((*place, words, metric, definition)) for place in at]
            if None in places:
                continue
            columns = known.changes(block.values[np.array(places, dtype=np.intp)])
            yield pd.DataFrame(
                columns
                | {
                    "size": block.size, "prompts": block.prompts, "format": wording.name, "words": words,
                    "metric": metric, "definition": definition, "path": ">".join(path), "step": step_names(path),
                    "n_temperatures": min(known.counts),
                    "format_before": [before for before, _ in wording.before_after],
                    "format_after": [after for _, after in wording.before_after],
                }
            )  # fmt: skip


class _Entropies:
    """The entropies of a path's stages, and metrics matched at them. Weights are shared by metrics with equal gaps."""

    def __init__(self, entropies: Array, counts: Sequence[int], prompts: str, bootstrap: Bootstrap) -> None:
        """`entropies` is [temperatures of all stages in turn, seeds, prompts]; `counts` says how many a stage has."""
        self.counts = counts
        self._entropies, self._prompts, self._bootstrap = entropies, prompts, bootstrap
        self._weights: dict[bytes, tuple[list[Array], Array, Array]] = {}

    def changes(self, values: Array) -> dict[str, object]:
        """The columns of one metric's rows: what each step and the total change at matched entropy.

        Only observations that are defined at every stage and temperature count, so that all entropies are of the same
        prompts. `values` are laid out as the entropies are.
        """
        used: NDArray[np.bool_] = np.asarray(~np.isnan(values + self._entropies).any(axis=0))
        steps = len(self.counts)
        columns: dict[str, object] = {
            **{name: np.full(steps, np.nan) for name in ("delta", "low", "high", "share", "share_low", "share_high")},
            **{"entropy_low": np.nan, "entropy_high": np.nan, "note": NO_OBSERVATIONS},
            **{"n_seeds": int(used.any(axis=1).sum()), "n_prompts": int(used.any(axis=0).sum())},
        }
        if not used.any():
            return columns
        weights, low, high = self._weights_of(used)
        if not high[0] > low[0]:
            return {**columns, "note": NO_RANGE}
        matched = self._step(weights, self._draws(values, used))
        nudged = matched[:, 1 : used.sum() + 1]
        influence = np.full((steps, *used.shape), np.nan)
        influence[:, used] = (nudged - matched[:, :1]) / _NUDGE
        delta, resampled = matched[:, 0], matched[:, used.sum() + 1 :]
        columns |= {"delta": delta, "entropy_low": low[0], "entropy_high": high[0], "note": ""}
        missing = np.isnan(resampled[0]).mean()
        if missing > _TOLERATED:
            return {**columns, "note": UNSTABLE.format(missing)}
        if used.sum() < 2:
            return columns
        below, above = self._bootstrap.stretched(delta, resampled, spread_of_mean(influence))
        share = shares(delta[None], below[None], above[None])[0]
        columns |= {"low": below, "high": above, "share": share}
        if not np.isnan(share[-1]):
            # As in `attribution`: how far the mean of (step - share * total) may be from zero.
            off = resampled - share[:, None] * resampled[-1:]
            spread = spread_of_mean(influence - share[:, None, None] * influence[-1:])
            ends = self._bootstrap.stretched(np.zeros(steps), off, spread)
            columns["share_low"], columns["share_high"] = share_interval(share, delta[-1:], *ends)
        return columns

    def _weights_of(self, used: NDArray[np.bool_]) -> tuple[list[Array], Array, Array]:
        key = used.tobytes()
        if key not in self._weights:
            self._weights[key] = matched_weights(self._by_stage(self._draws(self._entropies, used)))
        return self._weights[key]

    def _draws(self, values: Array, used: NDArray[np.bool_]) -> Array:
        """Means of each row over what is `used`: the estimate, one for each nudged observation, one per resample."""
        kept = np.where(used, values, np.nan)
        mean = values[:, used].mean(axis=1, keepdims=True)
        nudged = mean + _NUDGE * (values[:, used] - mean)
        return np.concatenate([mean, nudged, resampled_means(kept, self._prompts, self._bootstrap)], axis=1)

    def _by_stage(self, rows: Array) -> list[Array]:
        return np.split(rows, np.cumsum(self.counts)[:-1])

    def _step(self, weights: Sequence[Array], means: Array) -> Array:
        """[steps + total, draws]"""
        stages = [(weight * mean).sum(axis=0) for weight, mean in zip(weights, self._by_stage(means), strict=True)]
        steps = np.stack([*(after - before for before, after in pairwise(stages)), stages[-1] - stages[0]])
        # Weights sum to 1 up to rounding only, so a metric that is the same everywhere would seem to change.
        return np.where(np.abs(steps) < _ROUNDING * np.abs(means).max(), 0.0, steps)


def _temperatures(block: Block, stage: str, form: str) -> list[str]:
    rows = block.rows
    found = rows[(rows["stage"] == stage) & (rows["format"] == form) & (rows["metric"] == ENTROPY)]
    return sorted(found["temperature"], key=float)
