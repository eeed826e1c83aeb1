"""Nominal 95 % intervals cover 93 to 97 % where the truth is known."""

import math

import pytest

from tests.benchmarks.bench_coverage import (
    LIMITS,
    SETTINGS,
    attribution_coverage,
    completions_only,
    counted_twice,
    coverage,
)

REPLICATIONS = 2_000
ERROR = 2.6 * math.sqrt(0.95 * 0.05 / REPLICATIONS)
"""What chance may take a coverage beyond a limit, at 99 %."""


@pytest.mark.parametrize("setting", SETTINGS)
def test_intervals_of_means_cover_as_often_as_they_say(setting: str) -> None:
    found = coverage(SETTINGS[setting], REPLICATIONS, resamples=1_000)
    assert 0.93 - ERROR <= found.covered <= 0.97 + ERROR
    assert found.below < 0.04
    assert found.above < 0.05


@pytest.mark.parametrize(("seeds", "prompts", "seed_sd"), [(1, 20, 0.0), (3, 20, 0.15), (5, 40, 0.15)])
def test_intervals_of_steps_totals_and_shares_cover_as_often_as_they_say(
    seeds: int, prompts: int, seed_sd: float
) -> None:
    for found in attribution_coverage(REPLICATIONS, seeds, prompts, seed_sd, resamples=1_000):
        assert 0.93 - ERROR <= found <= 0.97 + ERROR


def test_one_seed_says_nothing_of_other_training_runs() -> None:
    step, total, _ = attribution_coverage(1_000, 1, 20, seed_sd=0.15, resamples=500)
    assert step < 0.92
    assert total < 0.92


def test_two_seeds_that_differ_much_are_too_few_as_documented() -> None:
    found = coverage(LIMITS["2 seeds that differ much, 20 prompts"], REPLICATIONS, resamples=1_000)
    assert 0.88 < found.covered < 0.94
    assert found.percentile < found.covered - 0.05


def test_drawing_completions_again_below_prompts_would_count_their_noise_twice() -> None:
    covered, width = counted_twice(REPLICATIONS, resamples=1_000)
    assert covered > 0.975
    assert width == pytest.approx(math.sqrt(1.5), abs=0.03)


def test_one_prompt_of_one_model_has_an_interval_over_completions() -> None:
    assert 0.93 - ERROR <= completions_only(REPLICATIONS) <= 0.97
