"""How often 95 % intervals contain the truth, in models where the truth is known.

    python -m tests.benchmarks.bench_coverage [--replications 4000] [--resamples 2000]

A value is mean + seed + prompt + seed-by-prompt + noise of its completions; the settings differ in the number of seeds,
prompts and completions and in how large, and how skewed, these parts are. Prints per cent covered by the plain
percentile interval and by the one in use, per cent of misses on either side, and the standard error of a coverage.
"""

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from modecollapse.analysis.attribution import PathChanges, changes, output_rows
from modecollapse.analysis.bootstrap import Array, Bootstrap, estimate, resampled_means
from modecollapse.analysis.grid import Block
from modecollapse.analysis.variance import Spread, spread_of_mean

Draw = Callable[[np.random.Generator, int], tuple[Array, float]]
"""(generator, replications) → values [replications, seeds, prompts] and the true mean."""


def crossed(
    seeds: int, prompts: int, seed_sd: float, prompt_sd: float = 1.0, both_sd: float = 0.3, completions: int = 25
) -> Draw:
    """Normal parts; a completion's own standard deviation is 2, so 25 of them give a value one of 0.4."""

    def draw(generator: np.random.Generator, n: int) -> tuple[Array, float]:
        values = seed_sd * generator.normal(size=(n, seeds, 1)) + prompt_sd * generator.normal(size=(n, 1, prompts))
        values = values + both_sd * generator.normal(size=(n, seeds, prompts))
        return values + 2 / math.sqrt(completions) * generator.normal(size=values.shape), 0.0

    return draw


def rates(alpha: float, beta: float, seeds: int = 1, prompts: int = 20, completions: int = 25) -> Draw:
    """A share of completions between 0 and 1 whose chance varies from prompt to prompt as a beta distribution."""

    def draw(generator: np.random.Generator, n: int) -> tuple[Array, float]:
        chance = np.broadcast_to(generator.beta(alpha, beta, size=(n, 1, prompts)), (n, seeds, prompts))
        return generator.binomial(completions, chance) / completions, alpha / (alpha + beta)

    return draw


def skewed(shape: float, seeds: int = 1, prompts: int = 20, seed_sd: float = 0.0) -> Draw:
    """Prompts follow a gamma distribution of this shape, scaled to a standard deviation of 1 (skewness 2 / √shape)."""

    def draw(generator: np.random.Generator, n: int) -> tuple[Array, float]:
        values = generator.gamma(shape, size=(n, 1, prompts)) / math.sqrt(shape)
        values = values + seed_sd * generator.normal(size=(n, seeds, 1))
        return values + 0.4 * generator.normal(size=(n, seeds, prompts)), math.sqrt(shape)

    return draw


SETTINGS: Mapping[str, Draw] = {
    "1 seed, 20 prompts": crossed(1, 20, 0.0),
    "1 seed, 40 prompts": crossed(1, 40, 0.0),
    "3 seeds alike, 20 prompts": crossed(3, 20, 0.0),
    "3 seeds, 20 prompts": crossed(3, 20, 0.15),
    "3 seeds, 40 prompts": crossed(3, 40, 0.15),
    "3 seeds that differ much, 20 prompts": crossed(3, 20, 0.5),
    "5 seeds, 20 prompts": crossed(5, 20, 0.15),
    "5 seeds, 40 prompts": crossed(5, 40, 0.15),
    "5 seeds that differ much, 20 prompts": crossed(5, 20, 0.5),
    "5 seeds that differ much, 40 prompts": crossed(5, 40, 0.5),
    "share around 0.2, 1 seed, 20 prompts": rates(2, 8),
    "share around 0.2, 3 seeds, 40 prompts": rates(2, 8, seeds=3, prompts=40),
    "skewness 1, 1 seed, 20 prompts": skewed(4),
    "skewness 1, 3 seeds, 20 prompts": skewed(4, seeds=3, seed_sd=0.15),
}
"""Where 95 % intervals are to cover 93 to 97 %."""

LIMITS: Mapping[str, Draw] = {
    "2 seeds, 20 prompts": crossed(2, 20, 0.15),
    "2 seeds that differ much, 20 prompts": crossed(2, 20, 0.5),
    "3 seeds that differ much, 40 prompts": crossed(3, 40, 0.5),
    "nothing but noise, 3 seeds, 20 prompts": crossed(3, 20, 0.0, prompt_sd=0.0),
    "skewness 2, 1 seed, 20 prompts": skewed(1),
    "share around 0.1, mostly 0, 1 seed, 20 prompts": rates(0.5, 4.5),
    "5 prompts, 1 seed": crossed(1, 5, 0.0),
}
"""Where they do not, and how far off they are."""


@dataclass(frozen=True)
class Coverage:
    """Shares of replications."""

    covered: float
    below: float
    """The truth lies below the interval."""
    above: float
    percentile: float
    """Covered by the plain percentile interval."""
    width: float
    """Median width of the interval."""


def coverage(draw: Draw, replications: int, resamples: int = 2_000, seed: int = 0) -> Coverage:
    """Of the interval of the mean."""
    bootstrap = Bootstrap(resamples)
    values, truth = draw(np.random.default_rng(seed), replications)
    result = estimate(values, "simulated", bootstrap)
    parts = np.array_split(values, max(1, replications // 500))
    plain = [bootstrap.interval(resampled_means(part, "simulated", bootstrap)) for part in parts]
    low, high = (np.concatenate([each[side] for each in plain]) for side in (0, 1))
    return Coverage(
        covered=float(np.mean((result.low <= truth) & (truth <= result.high))),
        below=float(np.mean(truth < result.low)),
        above=float(np.mean(truth > result.high)),
        percentile=float(np.mean((low <= truth) & (truth <= high))),
        width=float(np.median(result.high - result.low)),
    )


def counted_twice(replications: int, resamples: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """Coverage, and the width relative to the interval in use, if completions were drawn again below the prompts.

    One seed, 20 prompts, 25 completions; completions contribute as much to a value's variance as prompts do.
    """
    bootstrap = Bootstrap(resamples)
    values, truth = crossed(1, 20, 0.0, prompt_sd=0.4, both_sd=0.0)(np.random.default_rng(seed), replications)
    result = estimate(values, "simulated", bootstrap, np.full_like(values, 0.4))
    resampled = resampled_means(values, "simulated", bootstrap)
    noise = np.random.default_rng(seed + 1).normal(size=resampled.shape) * result.completion_se[:, None]
    once = spread_of_mean(values)
    twice = Spread(once.variance + result.completion_se**2, once.degrees)
    low, high = bootstrap.stretched(result.value, resampled + noise, twice)
    covered = np.mean((low <= truth) & (truth <= high))
    return float(covered), float(np.median(high - low) / np.median(result.high - result.low))


def completions_only(replications: int, completions: int = 25, seed: int = 0) -> float:
    """Coverage of the interval of one prompt and one seed, over completions: the truth is that prompt's own value."""
    sample = np.random.default_rng(seed).normal(size=(replications, completions))
    errors = sample.std(axis=1, ddof=1) / math.sqrt(completions)
    result = estimate(sample.mean(axis=1)[:, None, None], "simulated", Bootstrap(), errors[:, None, None])
    return float(np.mean((result.low <= 0) & (result.high >= 0)))


def attribution_coverage(
    replications: int,
    seeds: int,
    prompts: int,
    seed_sd: float = 0.15,
    steps: tuple[float, ...] = (0.9, 0.6),
    resamples: int = 2_000,
) -> tuple[float, float, float]:
    """Coverage of the first step, of the total, and of the first step's share, where there is one.

    Prompts differ by 1 at every stage alike, steps by 0.5 from prompt to prompt and by `seed_sd` from seed to seed.
    """
    generator = np.random.default_rng(1)
    values = np.broadcast_to(generator.normal(size=(replications, 1, prompts)), (replications, seeds, prompts))
    stages = [values + 0.4 * generator.normal(size=values.shape)]
    base = values
    for step in steps:
        base = base + step + 0.5 * generator.normal(size=(replications, 1, prompts))
        base = base + seed_sd * generator.normal(size=(replications, seeds, 1))
        stages.append(base + 0.4 * generator.normal(size=values.shape))
    changed = np.moveaxis(changes(np.stack(stages)), 0, 1)
    none = np.zeros((0, 0, 0))
    block = Block("S", "simulated", pd.DataFrame(), (), (), none, none, none.astype(np.int64), none.astype(np.bool_))
    path = [f"s{i}" for i in range(len(stages))]
    keys = [("", str(number), 0, "", "") for number in range(replications)]
    frame = output_rows(PathChanges(block, path, keys, changed, np.full_like(changed, np.nan)), Bootstrap(resamples))
    first, total = frame[frame["step"] == "s0>s1"], frame[frame["step"] == "total"]
    shared = first.dropna(subset=["share"])
    share = steps[0] / sum(steps)
    return (
        float(((first["low"] <= steps[0]) & (steps[0] <= first["high"])).mean()),
        float(((total["low"] <= sum(steps)) & (sum(steps) <= total["high"])).mean()),
        float(((shared["share_low"] <= share) & (share <= shared["share_high"])).mean()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=4_000)
    parser.add_argument("--resamples", type=int, default=2_000)
    arguments = parser.parse_args()
    n = arguments.replications
    print(f"{n} replications: a coverage of 95 % has a standard error of {100 * math.sqrt(0.95 * 0.05 / n):.2f} %")
    for title, settings in (("to cover 93 to 97 %", SETTINGS), ("limits", LIMITS)):
        print(f"\n{title:50}{'percentile':>12}{'in use':>10}{'below':>8}{'above':>8}")
        for name, draw in settings.items():
            found = coverage(draw, n, arguments.resamples)
            columns = (found.percentile, found.covered, found.below, found.above)
            print(f"{name:50}{columns[0]:12.1%}{columns[1]:10.1%}{columns[2]:8.1%}{columns[3]:8.1%}")
    print(f"\n{'attribution':50}{'step':>12}{'total':>10}{'share':>8}")
    for seeds, prompts, seed_sd in ((1, 20, 0.0), (3, 20, 0.15), (5, 40, 0.15), (1, 20, 0.15)):
        step, total, share = attribution_coverage(n, seeds, prompts, seed_sd, resamples=arguments.resamples)
        print(
            f"{f'seeds: {seeds}, differing by {seed_sd}; prompts: {prompts}':50}{step:12.1%}{total:10.1%}{share:8.1%}"
        )
    covered, width = counted_twice(n, arguments.resamples)
    print(f"\ncompletions drawn again below prompts: {covered:.1%} covered, {width:.2f} times as wide")
    print(f"one prompt, one seed, 25 completions: {completions_only(n):.1%}")


if __name__ == "__main__":
    main()
