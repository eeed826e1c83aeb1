"""What the stored values say, under their labels and under the prompts that they turned out to be of."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from modecollapse.analysis.attribution import changes, step_names
from modecollapse.analysis.bootstrap import Array, Bootstrap, estimate, resampled_means
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.variance import spread_of_mean
from modecollapse.cells import Model
from modecollapse.comparison.residuals import Assignment
from modecollapse.comparison.stored_results import STORED, Values

CORRECTED = "corrected"
"""`labels` of rows whose prompt sets are those that the comparison established."""


def published_table(
    stored: Mapping[Model, Values],
    formats: Mapping[str, str],
    temperatures: Sequence[str],
    assignments: Mapping[str, Assignment],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """One row per size, stage, key, metric and temperature: the mean over prompts of the stored values.

    Intervals are over seeds and prompts, as in `curves`. `prompts` is what the key turned out to hold, empty where that
    is not established; `formats` the prompt format of each stage.
    """
    rows: list[tuple[object, ...]] = []
    for (size, stage), models in _by_stage(stored).items():
        keys = list(stored[models[0]])
        for key in keys:
            held = assignments[size].prompts(key, keys) if size in assignments else ""
            for entry in STORED.values():
                values = np.stack([_finite(stored[model][key][entry.metric]) for model in models], axis=1)
                mean = estimate(values, held or key, bootstrap)
                for index, temperature in enumerate(temperatures):
                    numbers = (mean.value, mean.low, mean.high, mean.n_seeds, mean.n_prompts)
                    identity = (size, stage, key, held, formats[stage], entry.metric, temperature)
                    rows.append((*identity, *(array[index].item() for array in numbers)))
    return pd.DataFrame(rows, columns=SCHEMAS["published"].names)


def consequence_table(
    stored: Mapping[Model, Values],
    paths: Sequence[Sequence[str]],
    assignments: Mapping[str, Assignment],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """The change of the stored metrics along each path, for both prompt sets and for their difference.

    Values are means over temperatures. A prompt's changes are paired over the stages; the two prompt sets are resampled
    independently, and share the resamples of the seeds. Once with the keys as labels, and once with what the keys hold;
    sizes for which that is not established have the first only. Diversities of order q are left out: many of their
    stored values are undefined.
    """
    rows: list[tuple[object, ...]] = []
    by_stage = _by_stage(stored)
    for size in dict.fromkeys(model.size for model in stored):
        measured = [[stage for stage in path if (size, stage) in by_stage] for path in paths]
        for path in (line for line in dict.fromkeys(map(tuple, measured)) if len(line) > 1):
            for entry in STORED.values():
                if not entry.order:
                    rows += _path_rows(size, path, entry.metric, stored, assignments.get(size), bootstrap)
    return pd.DataFrame(rows, columns=SCHEMAS["consequence"].names)


def _path_rows(
    size: str,
    path: Sequence[str],
    metric: str,
    stored: Mapping[Model, Values],
    assignment: Assignment | None,
    bootstrap: Bootstrap,
) -> list[tuple[object, ...]]:
    by_stage = _by_stage(stored)
    models = [by_stage[size, stage] for stage in path]
    keys = list(stored[models[0][0]])
    steps, resampled, spread = {}, {}, {}
    for key in keys:
        values = np.stack([[_mean_of_defined(stored[model][key][metric]) for model in of] for of in models])
        population = assignment.prompts(key, keys) if assignment else key
        steps[key] = estimate(changes(values), population, bootstrap)
        resampled[key] = resampled_means(changes(values), population, bootstrap)
        spread[key] = spread_of_mean(changes(values))
    # By prompt set, the same numbers under either labelling.
    labellings = {Assignment.LABELLED.value: {key: key for key in keys}}
    if assignment:
        labellings[CORRECTED] = {assignment.prompts(key, keys): key for key in keys}
    rows: list[tuple[object, ...]] = []
    for labels, key_of in labellings.items():
        first, second = keys
        gap = steps[key_of[second]].value - steps[key_of[first]].value
        between = resampled[key_of[second]] - resampled[key_of[first]]
        low, high = bootstrap.stretched(gap, between, spread[key_of[second]].plus(spread[key_of[first]]))
        for index, step in enumerate(step_names(path)):
            identity = (size, ">".join(path), step, metric, labels)
            for prompts in keys:
                one = steps[key_of[prompts]]
                numbers = (one.value, one.low, one.high, one.n_seeds, one.n_prompts)
                rows.append((*identity, prompts, *(array[index].item() for array in numbers)))
            n_prompts = int(sum(steps[key].n_prompts[index] for key in keys))
            difference = (gap[index].item(), low[index].item(), high[index].item())
            rows.append((*identity, difference_of(keys), *difference, len(models[0]), n_prompts))
    return rows


def difference_of(keys: Sequence[str]) -> str:
    """What the difference between two prompt sets is called: "factual − creative"."""
    first, second = keys
    return f"{second} − {first}"


def _by_stage(stored: Mapping[Model, Values]) -> dict[tuple[str, str], list[Model]]:
    grouped: dict[tuple[str, str], list[Model]] = {}
    for model in stored:
        grouped.setdefault((model.size, model.stage), []).append(model)
    return grouped


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _mean_of_defined(values: Array) -> Array:
    """Mean over temperatures (the first axis) of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))
