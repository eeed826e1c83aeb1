"""Speed of intervals, attribution and tests for a whole study, and of the same resampling in loops.

    python -m tests.benchmarks.bench_bootstrap [--metrics 25] [--seeds 1] [--resamples 10000]

A study of the published size with synthetic scores: 3 stages × 2 prompt sets × 15 temperatures (90 cells), 20 prompts,
so many metrics at 2 numbers of words under 2 definitions. The loops draw units one resample at a time and take a mean
for each row; they are run on a part of the rows and must give the same resampled means.
"""

import argparse
import itertools
import time
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from modecollapse.analysis import tables
from modecollapse.analysis.attribution import attribution_table
from modecollapse.analysis.bootstrap import Array, Bootstrap, resampled_means
from modecollapse.analysis.matched import ENTROPY, matched_table
from modecollapse.analysis.stage_tests import tests_table

STAGES = ("plm", "sft", "dpo")
TEMPERATURES = tuple(f"{t / 10:.1f}" for t in range(1, 16))
PROMPTS = 20


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


def _timed(title: str, make: Callable[[], Iterable[object]]) -> None:
    start, cpu = time.perf_counter(), time.process_time()
    rows = len(list(make()))
    print(f"{title:45}{rows:10,}{time.perf_counter() - start:10.1f}{time.process_time() - cpu:10.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metrics", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--resamples", type=int, default=10_000)
    parser.add_argument("--looped", type=int, default=20, help="rows that are resampled in loops as well")
    arguments = parser.parse_args()
    frames = synthetic(arguments.metrics, arguments.seeds)
    bootstrap, path = Bootstrap(arguments.resamples), [list(STAGES)]
    print(f"{sum(map(len, frames)):,} scores, {arguments.seeds} seed(s), {arguments.resamples:,} resamples")
    print(f"{'table':45}{'rows':>10}{'seconds':>10}{'CPU':>10}")
    _timed("diversity: intervals of every model", lambda: tables.diversity_table(frames, bootstrap).index)
    _timed("curves: intervals over seeds and prompts", lambda: tables.curves_table(frames, bootstrap).index)
    _timed("attribution with shares", lambda: attribution_table(frames, {}, path, bootstrap).index)
    _timed("attribution at matched entropy", lambda: matched_table(frames, path, bootstrap).index)
    _timed("paired tests", lambda: tests_table(frames, path, {}).index)
    values = np.random.default_rng(1).normal(size=(arguments.looped, arguments.seeds, PROMPTS))
    start = time.process_time()
    slow = looped_means(values, "creative", bootstrap)
    slow_time = time.process_time() - start
    many = np.tile(values, (50, 1, 1))
    start = time.process_time()
    fast = resampled_means(many, "creative", bootstrap)[: len(values)]
    fast_time = (time.process_time() - start) / 50
    print(f"resampling alone, CPU ms per row: loops {1e3 * slow_time / len(values):.1f}, "
          f"here {1e3 * fast_time / len(values):.3f}, ratio {slow_time / fast_time:.0f}, "
          f"largest difference {np.abs(slow - fast).max():.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
