"""Speed of resampling against loops, and of intervals, attribution and tests for a whole study.

    python -m tests.benchmarks bootstrap

A study of the published size with synthetic scores: 3 stages × 2 prompt sets × 15 temperatures (90 cells), 20 prompts,
25 metrics at 2 numbers of words under 2 definitions, one seed, 10,000 resamples. The loops draw units one resample at a
time and take a mean for each row; they are run on a part of the rows and must give the same resampled means.
"""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from modecollapse.analysis import tables
from modecollapse.analysis.attribution import attribution_table
from modecollapse.analysis.bootstrap import Array, Bootstrap, resampled_means
from modecollapse.analysis.matched import ENTROPY, matched_table
from modecollapse.analysis.stage_tests import tests_table
from tests.benchmarks.comparing import Comparison, in_turn, seconds

STAGES = ("plm", "sft", "dpo")
TEMPERATURES = tuple(f"{t / 10:.1f}" for t in range(1, 16))
PROMPTS = 20
RESAMPLES, LOOPED = 10_000, 10


def synthetic(metrics: int, seeds: int) -> list[pd.DataFrame]:
    """The scores of each model of one size."""
    generator = np.random.default_rng(0)
    metrics_named = (f"m{number}" for number in range(metrics))
    names = [*itertools.product(metrics_named, (20, 5), ("corrected", "replica")), (ENTROPY, 0, "corrected")]
    index = pd.MultiIndex.from_product(
        [("creative", "factual"), TEMPERATURES, [f"p{i}" for i in range(PROMPTS)], range(len(names))],
        names=["prompts", "temperature", "prompt", "name"],
    ).to_frame(index=False)
    metric, words, definition = (np.array(column, dtype=object) for column in zip(*names, strict=True))
    number = index.pop("name").to_numpy()
    rows = index.assign(
        metric=metric[number], words=words[number].astype(np.int64), definition=definition[number], format="human", n=25
    )
    return [
        rows.assign(
            value=generator.normal(place, 1, len(rows)) + rows["temperature"].astype(float),
            se=0.1,
            size="S",
            seed=seed,
            stage=stage,
        )
        for seed in range(seeds)
        for place, stage in enumerate(STAGES)
    ]


def looped_means(values: Array, prompts: str, bootstrap: Bootstrap) -> Array:
    """As `resampled_means`, drawing the units of each resample and averaging row by row."""
    seeds = bootstrap.counts("seeds", values.shape[1]).astype(int)
    units = bootstrap.counts(f"prompts/{prompts}", values.shape[2]).astype(int)
    means = np.empty((len(values), bootstrap.resamples))
    for row, of_row in enumerate(values):
        for resample in range(bootstrap.resamples):
            drawn_seeds = np.repeat(np.arange(values.shape[1]), seeds[resample])
            drawn_prompts = np.repeat(np.arange(values.shape[2]), units[resample])
            means[row, resample] = of_row[np.ix_(drawn_seeds, drawn_prompts)].mean()
    return means


def compare(device: str) -> list[Comparison]:
    """Resampled means beside loops, with one seed and with three; and the seconds of a whole study's tables."""
    bootstrap = Bootstrap(RESAMPLES)
    rows = [_compare(seeds, bootstrap, device) for seeds in (1, 3)]
    return [replace(rows[0], more=_tables(bootstrap, device)), *rows[1:]]


def _compare(seeds: int, bootstrap: Bootstrap, device: str) -> Comparison:
    values = np.random.default_rng(1).normal(size=(LOOPED, seeds, PROMPTS))
    many = np.tile(values, (50, 1, 1))
    difference = looped_means(values, "creative", bootstrap) - resampled_means(values, "creative", bootstrap)
    sides: dict[str, Callable[[], object]] = {
        "loops": lambda: looped_means(values, "creative", bootstrap),
        "ours": lambda: resampled_means(many, "creative", bootstrap),
    }
    times = in_turn(sides, device, rounds=2, warm=False)
    return Comparison(
        f"means of rows of {PROMPTS} prompts × {seeds} seed(s), {RESAMPLES:,} resamples",
        "all at once",
        "a loop over resamples",
        times["ours"] / 50,
        times["loops"],
        work=LOOPED,
        unit="rows",
        difference=float(np.abs(difference).max()),
    )


def _tables(bootstrap: Bootstrap, device: str) -> dict[str, float]:
    """Seconds of every table of a study with one seed."""
    frames, path = synthetic(metrics=25, seeds=1), [list(STAGES)]
    made = {
        "diversity": lambda: tables.diversity_table(frames, bootstrap),
        "curves": lambda: tables.curves_table(frames, bootstrap),
        "attribution": lambda: attribution_table(frames, {}, path, bootstrap),
        "matched attribution": lambda: matched_table(frames, path, bootstrap),
        "tests": lambda: tests_table(frames, path, {}),
    }
    return {f"{name} (s)": seconds(make, device) for name, make in made.items()}
