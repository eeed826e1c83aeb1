"""How many completions of each stage repeat themselves, before and after its training.

A rate is the mean over prompts of the share of their completions; its interval and that of the difference to the parent
stage, paired over seeds and prompts, are those of `analysis.bootstrap`. Where every prompt gives the same, resamples
cannot tell how far from certain that is: a rate then has Wilson's interval of a share of that many prompts, a
difference Bonett and Price's of as many pairs (`analysis.benchmarks`).

The ratio, after by before, is known where the interval of the rate before lies above 0. Its interval is that of the
mean of (after − ratio · before), divided by the rate before, as for costs and shares; it does not reach below 0.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import ndtri

from modecollapse.analysis.attribution import MEAN_TEMPERATURE, mean_over_temperatures, row_index
from modecollapse.analysis.benchmarks import paired_interval, score_interval
from modecollapse.analysis.bootstrap import Array, Bootstrap, Estimate, estimate, within
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.lineage import Lineage, nearest_before
from modecollapse.measures.repetition import KINDS

_WHOLE, _DEFINITION = 0, "corrected"


def repetition_parts(counts: Iterable[pd.DataFrame], lineage: Lineage, bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    """The rows of the table `repetition`, those of one size and prompt set at a time.

    Args:
        counts: of each model its file (`jobs.repetition.measure_repetition`) with size, seed and stage; those of a size
            together.
        lineage: a stage is compared with its first parent, or the next one up the line that was measured, under the
            same prompt format.
    """
    for block in blocks(_shares(frame) for frame in counts):
        before = nearest_before(lineage, set(block.rows["stage"]))
        yield pd.DataFrame(_rows(block, before, bootstrap), columns=SCHEMAS["repetition"].names)


def _shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Shares of each prompt's completions as `analysis.grid` reads scores, the kinds in the place of metrics."""
    parts = []
    for kind in KINDS:
        n = counts["n_known" if kind == "cycle" else "n"].to_numpy(dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = counts[kind].to_numpy(dtype=np.float64) / n
            error = np.sqrt(share * (1 - share) / (n - 1))
        kept = counts.drop(columns=["n_known", *KINDS]).assign(words=_WHOLE, metric=kind, definition=_DEFINITION)
        parts.append(kept.assign(value=share, se=error, n=n.astype(np.int64)))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class _Rates:
    """Shares of one stage and kind at one temperature, or their means over all; each array is [seeds, prompts]."""

    stage: str
    form: str
    temperature: str
    kind: str
    every: Array
    """NaN where undefined."""
    errors: Array
    """Their standard errors over completions."""
    completions: int
    after: Array
    """As `every`, and NaN where the stage before is undefined, too."""
    before: Array
    """The stage before, in the same places."""

    def mean(self, others: "list[_Rates]") -> "_Rates":
        """The mean over the temperatures of all these, of which this is the first."""

        def stacked(name: str) -> Array:
            return np.stack([getattr(one, name) for one in (self, *others)])

        every, errors = mean_over_temperatures(stacked("every"), stacked("errors"))
        after, before = (mean_over_temperatures(stacked(name), stacked("errors"))[0] for name in ("after", "before"))
        total = sum(one.completions for one in (self, *others))
        return _Rates(self.stage, self.form, MEAN_TEMPERATURE, self.kind, every, errors, total, after, before)


def _rates(block: Block, befores: Mapping[str, str]) -> Iterator[_Rates]:
    index = row_index(block)
    asked = block.rows.groupby(["stage", "format", "metric"], sort=False)["temperature"]
    for names, temperatures in asked:
        stage, form, kind = map(str, names)
        found = []
        for temperature in sorted(temperatures, key=float):
            at = index[stage, form, temperature, _WHOLE, kind, _DEFINITION]
            base = index.get((befores.get(stage), form, temperature, _WHOLE, kind, _DEFINITION))
            every = block.values[at]
            before = np.full_like(every, np.nan) if base is None else block.values[base]
            undefined = np.isnan(every + before)
            pair = (np.where(undefined, np.nan, values) for values in (every, before))
            completions = int(block.completions[at].sum())
            found.append(_Rates(stage, form, temperature, kind, every, block.errors[at], completions, *pair))
        yield from (*found, found[0].mean(found[1:]))


def _rows(block: Block, befores: Mapping[str, str], bootstrap: Bootstrap) -> Iterator[dict[str, object]]:
    rates = [one for one in _rates(block, befores) if not np.isnan(one.every).all()]
    every, errors, after, before = (
        np.stack([getattr(one, name) for one in rates]) for name in ("every", "errors", "after", "before")
    )
    rate = estimate(every, block.prompts, bootstrap, errors)
    later, former, change = (estimate(each, block.prompts, bootstrap) for each in (after, before, after - before))
    known = former.low > 0
    ratio = np.divide(later.value, former.value, out=np.full_like(later.value, np.nan), where=known)
    off = estimate(after - ratio[:, None, None] * before, block.prompts, bootstrap)
    wilson = partial(score_interval, quantile=float(ndtri((1 + bootstrap.level) / 2)))
    for place, one in enumerate(rates):
        low, high = within(*(_ends(rate, place) or wilson(rate.value[place], rate.n_prompts[place])))
        row: dict[str, object] = {"size": block.size, "stage": one.stage, "prompts": block.prompts, "format": one.form}
        row |= {"temperature": one.temperature, "kind": one.kind, "value": rate.value[place]}
        row |= {"low": low, "high": high}
        row |= {"n_seeds": rate.n_seeds[place], "n_prompts": rate.n_prompts[place], "n_completions": one.completions}
        pairs = int(change.n_prompts[place])
        if pairs:
            moved, base = float(change.value[place]), float(former.value[place])
            lost, gained = (round(max(share, 0.0) * pairs) for share in (-moved, moved))
            row |= {"parent": befores[one.stage], "before": base, "difference": moved}
            low, high = _ends(change, place) or paired_interval(lost, gained, pairs)
            row |= {"difference_low": low, "difference_high": high}
            if known[place]:
                apart, share = _ends(off, place), float(ratio[place])
                low, high = (base * share + end for end in apart) if apart else wilson(later.value[place], pairs)
                row |= {"ratio": share, "ratio_low": max(0.0, low / base), "ratio_high": high / base}
        yield row


def _ends(of: Estimate, place: int) -> tuple[float, float] | None:
    """The interval; None where nothing varies."""
    low, high = float(of.low[place]), float(of.high[place])
    return None if low == high else (low, high)
