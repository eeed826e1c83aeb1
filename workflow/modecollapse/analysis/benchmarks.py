"""Benchmarks: values with intervals, pooled over training seeds, and paired tests between stages on the same documents.

Every seed answers the same documents, so a metric's values follow the two-way layout of `analysis.variance`, with
documents in the place of prompts. Thousands of documents leave no skewness to speak of, so intervals are closed forms
and not bootstrapped. An accuracy may be 0 or 1, where a symmetric interval would have no width: it gets Wilson's (1927)
score interval, with the number of documents that gives the variance at hand (Korn and Graubard 1998) and Student's t.

Perplexity is the exponential of a mean, and its interval that of the mean. Other aggregates are the harness's affair:
they have its standard error, if it gives one.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit
from scipy.stats import binomtest

from modecollapse.analysis.attribution import measured_paths, step_names
from modecollapse.analysis.stage_tests import holm_of_path, signed_rank
from modecollapse.analysis.table_files import SCHEMAS, joined
from modecollapse.analysis.variance import Array, spread_of_mean
from modecollapse.cells import Model

LEVEL = 0.95
LOG_LIKELIHOOD = "log_likelihood"
"""The metric of samples behind a perplexity (nats)."""

METRIC = ["task", "shots", "filter", "metric"]
"""What tells metrics of tasks apart."""
_FAMILY = ["size", "path", "shots"]
"""The rows with equal values here are one family of tests: every task, metric and step that a reader looks at."""

_Z = float(ndtri((1 + LEVEL) / 2))

Results = Mapping[Model, pd.DataFrame]
"""The tables of results of all models (see `modecollapse.measures.harness`)."""
Samples = Mapping[Model, pd.DataFrame]
"""The tables of samples of all models."""


@dataclass(frozen=True)
class Scores:
    """One metric of one task, number of shots, size and stage, per training seed and document."""

    seeds: tuple[int, ...]
    values: pd.DataFrame
    """Documents (their number and hash) × seeds."""

    def array(self) -> Array:
        """[seeds, documents]"""
        return self.values.to_numpy(dtype=np.float64).T


def benchmarks_table(results: Results, samples: Samples) -> pd.DataFrame:
    """One row per model, task, number of shots and metric: its value and its interval over documents."""
    parts = []
    for model, frame in results.items():
        scores = scores_of({model: samples[model]})
        rows = [_with_interval([row], scores) for row in records_of(frame)]
        parts.append(pd.DataFrame(rows).assign(size=model.size, seed=model.seed, stage=model.stage))
    return joined("benchmarks", parts)


def benchmarks_pooled_table(results: Results, samples: Samples) -> pd.DataFrame:
    """As `benchmarks_table`, the mean over training seeds: intervals over seeds and documents.

    A perplexity is pooled as the exponential of the mean over seeds of its logarithm.
    """
    parts = []
    for (size, stage), models in by_stage(results).items():
        scores = scores_of({model: samples[model] for model in models})
        seeds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for model in models:
            for row in records_of(results[model]):
                seeds.setdefault(tuple(row[name] for name in METRIC), []).append(row)
        rows = [{**_with_interval(group, scores), "n_seeds": len(group)} for group in seeds.values()]
        parts.append(pd.DataFrame(rows).assign(size=size, stage=stage))
    return joined("benchmarks_pooled", parts)


def benchmark_tests_table(samples: Samples, paths: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Paired comparison of the stages of every path, step by step and in total, on the documents that both answered.

    The unit is the document: values are averaged over training seeds first, as prompts' are in `analysis.stage_tests`.
    With one seed and values of 0 and 1 the test is McNemar's exact one; otherwise Wilcoxon's signed-rank test.
    """
    parts = []
    for size in dict.fromkeys(model.size for model in samples):
        stages = {
            stage: scores_of({model: samples[model] for model in models})
            for (of, stage), models in by_stage(samples).items()
            if of == size
        }
        for path in measured_paths(paths, set(stages)):
            rows = [
                {"size": size, "path": ">".join(path), "step": step, **dict(zip(METRIC, metric, strict=True)), **found}
                for metric in stages[path[0]]
                for step, before, after in _steps(path)
                if metric in stages[before] and metric in stages[after]
                for found in _compared(stages[before][metric], stages[after][metric])
            ]
            parts.append(_adjusted(pd.DataFrame(rows)))
    return joined("benchmark_tests", [part for part in parts if len(part)])


def score_interval(share: float, documents: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval of a share of `documents`, which may be an effective number.

    Args:
        quantile: of the standard normal distribution, or of Student's t.
    """
    square = quantile**2 / documents
    middle = (share + square / 2) / (1 + square)
    half = quantile / (1 + square) * np.sqrt(share * (1 - share) / documents + square / (4 * documents))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided exact p of McNemar's test: is a document that changed as likely to be lost as to be gained?"""
    changed = lost + gained
    return float(binomtest(lost, changed, 0.5).pvalue) if changed else 1.0


def paired_interval(lost: int, gained: int, documents: int) -> tuple[float, float]:
    """Interval of the difference of two paired shares, (gained - lost) / documents.

    Bonett and Price's (2012) adjusted Wald interval: one document is added to each cell of changes.
    """
    n = documents + 2
    fell, rose = (lost + 1) / n, (gained + 1) / n
    half = _Z * np.sqrt((fell + rose - (rose - fell) ** 2) / n)
    return max(-1.0, float(rose - fell - half)), min(1.0, float(rose - fell + half))


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dictionaries by column."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def by_stage(models: Mapping[Model, Any]) -> dict[tuple[str, str], list[Model]]:
    """By (size, stage): the models, which differ in their seed."""
    grouped: dict[tuple[str, str], list[Model]] = {}
    for model in models:
        grouped.setdefault((model.size, model.stage), []).append(model)
    return grouped


def scores_of(samples: Samples) -> dict[tuple[Any, ...], Scores]:
    """By (task, shots, filter, metric): the values of models that differ in their seed only."""
    whole = pd.concat([frame.assign(seed=model.seed) for model, frame in samples.items()], ignore_index=True)
    found = {}
    for key, part in whole.groupby(METRIC, sort=False):
        values = part.pivot(index=["document", "hash"], columns="seed", values="value").sort_index()
        found[key] = Scores(tuple(int(seed) for seed in values.columns), values)
    return found


def _with_interval(rows: Sequence[Mapping[str, Any]], scores: Mapping[tuple[Any, ...], Scores]) -> dict[str, Any]:
    """The first of `rows`, which differ in their seed, with the mean value of all, its standard error and interval."""
    first = rows[0]
    given = np.array([row["value"] for row in rows])
    key = [first[name] for name in METRIC]
    if first["aggregation"] == "perplexity":
        key[-1] = LOG_LIKELIHOOD
    known = scores.get(tuple(key))
    if known is None or first["aggregation"] not in ("mean", "perplexity"):
        value, se, low, high = _aggregate(given, np.array([row["se"] for row in rows]))
    elif first["aggregation"] == "perplexity":
        mean, error, below, above = _mean(known.array())
        value, low, high = np.exp([-mean, -above, -below])
        se = value * error
    else:
        value, se, low, high = _mean(known.array())
    if len(rows) == 1:  # the harness's own
        value, se = first["value"], first["se"]
    return {**first, "value": value, "se": se, "low": low, "high": high, "n": min(row["n"] for row in rows)}


def _mean(values: Array) -> tuple[float, float, float, float]:
    """Mean, standard error, low and high of `values` [seeds, documents]."""
    mean = float(np.nanmean(values))
    spread = spread_of_mean(values[None])
    variance, degrees = float(spread.variance[0]), float(spread.degrees[0])
    documents = int((~np.isnan(values)).any(axis=0).sum())
    binary = np.isin(values[~np.isnan(values)], (0.0, 1.0)).all()
    quantile = float(stdtrit(degrees, (1 + LEVEL) / 2)) if np.isfinite(degrees) else _Z
    if binary:
        effective = mean * (1 - mean) / variance if variance > 0 else float(documents)
        return mean, np.sqrt(variance), *score_interval(mean, effective, quantile)
    if variance == 0 and documents < 2:
        return mean, np.nan, np.nan, np.nan
    half = quantile * np.sqrt(variance)
    return mean, np.sqrt(variance), mean - half, mean + half


def _aggregate(values: Array, errors: Array) -> tuple[float, float, float, float]:
    """The same of an aggregate with the harness's standard errors.

    The documents are the same for every seed, so their errors do not average out; what seeds differ by adds to them.
    """
    between = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
    mean, se = float(values.mean()), float(np.sqrt(errors.mean() ** 2 + between))
    return mean, se, mean - _Z * se, mean + _Z * se


def _steps(path: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(name, before, after) of every step of a path, and of the total."""
    ends = [*itertools.pairwise(path), (path[0], path[-1])]
    for name, (before, after) in zip(step_names(path), ends, strict=True):
        yield name, before, after


def paired(before: Scores, after: Scores) -> tuple[Array, Array, int]:
    """The values [seeds, documents] of both on what both answered, of documents answered at all, and the seeds."""
    seeds = [seed for seed in before.seeds if seed in after.seeds]
    documents = before.values.index.intersection(after.values.index)
    old, new = (one.values.loc[documents, seeds].to_numpy(dtype=np.float64).T for one in (before, after))
    answered = (~np.isnan(new - old)).any(axis=0)
    return old[:, answered], new[:, answered], len(seeds)


def _compared(before: Scores, after: Scores) -> Iterator[dict[str, Any]]:
    """One comparison; none if no document of a seed was answered by both stages."""
    old, new, seeds = paired(before, after)
    differences, n = new - old, new.shape[1]
    if not seeds or n == 0:
        return
    by_document = np.nanmean(differences, axis=0)
    lost, gained = int((by_document < 0).sum()), int((by_document > 0).sum())
    if seeds == 1 and np.isin(np.stack([old, new]), (0.0, 1.0)).all():
        test, p, interval = "mcnemar", mcnemar(lost, gained), paired_interval(lost, gained, n)
    else:
        test, p, interval = "signed-rank", signed_rank(by_document)[4], _mean_interval(differences)
    yield {
        "n": n, "n_seeds": seeds, "lost": lost, "gained": gained, "difference": float(np.nanmean(differences)),
        "low": interval[0], "high": interval[1], "test": test, "p": p,
    }  # fmt: skip


def _mean_interval(differences: Array) -> tuple[float, float]:
    """Student's t interval of the mean difference [seeds, documents]; NaN where nothing varies."""
    spread = spread_of_mean(differences[None])
    variance, degrees = float(spread.variance[0]), float(spread.degrees[0])
    if variance <= 0 or not np.isfinite(degrees):
        return np.nan, np.nan
    mean, half = float(np.nanmean(differences)), float(stdtrit(degrees, (1 + LEVEL) / 2) * np.sqrt(variance))
    return mean - half, mean + half


def _adjusted(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds each row's family, its size and Holm's adjusted p."""
    if frame.empty:
        return frame.reindex(columns=SCHEMAS["benchmark_tests"].names)
    parts = []
    for _, members in frame.groupby(_FAMILY, sort=False):
        p = members["p"].to_numpy(dtype=np.float64)
        first = members.iloc[0]
        name = f"{first['size']}/{first['shots']} shots/{first['path']}"
        adjusted, n = holm_of_path(p, members["step"].to_numpy(), first["path"])
        parts.append(members.assign(p_holm=adjusted, family=name, n_family=n))
    return pd.concat(parts).sort_index()
