"""The bootstrap: deterministic, paired, vectorised, and honest about what it cannot know."""

import time

import numpy as np
import pytest

from modecollapse.analysis import bootstrap
from modecollapse.analysis.bootstrap import Bootstrap, estimate, resampled_means

BOOTSTRAP = Bootstrap(resamples=2_000, seed=3)


def scores(rows: int, seeds: int, prompts: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, seeds, prompts))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    values = scores(4, 2, 20)
    first, again = (estimate(values, "creative", Bootstrap(500, seed)) for seed in (1, 1))
    other = estimate(values, "creative", Bootstrap(500, 2))
    assert np.array_equal(first.low, again.low)
    assert np.array_equal(first.high, again.high)
    assert not np.array_equal(first.low, other.low)


def test_each_resample_draws_as_many_units_as_there_are() -> None:
    counts = BOOTSTRAP.counts("prompts/creative", 20)
    assert counts.shape == (2_000, 20)
    assert (counts.sum(axis=1) == 20).all()
    assert counts.mean() == 1.0
    assert not np.array_equal(counts, BOOTSTRAP.counts("prompts/factual", 20))


def test_resampled_means_equal_a_plain_loop_over_drawn_units() -> None:
    values = scores(3, 2, 5)
    values[1, 0, 2] = np.nan
    seeds, prompts = BOOTSTRAP.counts("seeds", 2), BOOTSTRAP.counts("prompts/creative", 5)
    means = resampled_means(values, "creative", BOOTSTRAP)
    for resample in range(50):
        drawn = [
            values[1, s, p]
            for s in range(2)
            for _ in range(int(seeds[resample, s]))
            for p in range(5)
            for _ in range(int(prompts[resample, p]))
        ]
        assert means[1, resample] == pytest.approx(np.nanmean(drawn))


def test_a_constant_has_an_interval_of_no_width() -> None:
    result = estimate(np.full((1, 3, 20), 0.25), "creative", BOOTSTRAP)
    assert (result.value[0], result.low[0], result.high[0]) == pytest.approx((0.25, 0.25, 0.25))


def test_undefined_values_are_no_observations() -> None:
    values = scores(1, 1, 20)
    values[0, 0, :4] = np.nan
    result = estimate(values, "creative", BOOTSTRAP)
    assert result.value[0] == pytest.approx(np.nanmean(values))
    assert result.n_prompts[0] == 16
    assert result.low[0] < result.value[0] < result.high[0]


def test_nothing_defined_gives_nothing() -> None:
    result = estimate(np.full((1, 2, 5), np.nan), "creative", BOOTSTRAP)
    assert np.isnan([result.value[0], result.low[0], result.high[0]]).all()
    assert (result.n_prompts[0], result.n_seeds[0]) == (0, 0)


def test_one_observation_has_a_value_but_no_interval() -> None:
    result = estimate(np.full((1, 1, 1), 0.5), "creative", BOOTSTRAP)
    assert result.value[0] == 0.5
    assert np.isnan([result.low[0], result.high[0]]).all()


def test_one_seed_gives_an_interval_over_prompts_and_one_prompt_an_interval_over_seeds() -> None:
    over_prompts = estimate(scores(1, 1, 20), "creative", BOOTSTRAP)
    over_seeds = estimate(scores(1, 4, 1), "creative", BOOTSTRAP)
    assert over_prompts.low[0] < over_prompts.high[0]
    assert over_seeds.low[0] < over_seeds.high[0]


def test_seeds_that_differ_widen_the_interval_although_prompts_agree() -> None:
    values = np.repeat(np.array([0.0, 1.0, 2.0])[None, :, None], 20, axis=2)
    result = estimate(values, "creative", BOOTSTRAP)
    half = 4.303 * 1 / np.sqrt(3)  # Student's t with two degrees of freedom
    assert (result.low[0], result.high[0]) == pytest.approx((1 - half, 1 + half), abs=0.1)


def test_intervals_do_not_depend_on_the_rows_they_are_computed_with() -> None:
    values = scores(600, 2, 20)
    values[::7, 0, 3] = np.nan
    together = estimate(values, "creative", BOOTSTRAP)
    alone = estimate(values[7:8], "creative", BOOTSTRAP)
    assert together.low[7] == pytest.approx(alone.low[0], rel=1e-12)
    assert together.high[7] == pytest.approx(alone.high[0], rel=1e-12)


def test_the_interval_of_a_mean_is_about_that_of_normal_theory() -> None:
    values = scores(1, 1, 400)
    result = estimate(values, "creative", Bootstrap())
    error = values.std() / 20
    assert result.low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert result.high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_nominal_95_percent_intervals_cover_the_truth_about_as_often() -> None:
    rows = 1_500
    generator = np.random.default_rng(5)
    # Prompts that are easy or hard for every seed alike, seeds that differ, and noise.
    values = generator.normal(size=(rows, 1, 30)) + generator.normal(size=(rows, 12, 1)) * 0.5
    values = values + generator.normal(size=(rows, 12, 30)) * 0.3
    result = estimate(values, "creative", BOOTSTRAP)
    covered = np.mean((result.low <= 0) & (result.high >= 0))
    assert 0.92 < covered < 0.97


def test_ten_thousand_resamples_of_thousands_of_cells_take_seconds() -> None:
    values = scores(4_000, 1, 20)
    start = time.process_time()
    estimate(values, "creative", Bootstrap())
    assert time.process_time() - start < 6


def test_counts_in_pieces_are_the_same_draws_so_large_populations_need_little_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = scores(2, 2, 700)
    values[1, 0, :50] = np.nan
    whole, at_once = BOOTSTRAP.counts("prompts/many", 700), resampled_means(values, "many", BOOTSTRAP)
    monkeypatch.setattr(bootstrap, "_KEPT_BYTES", 2**20)
    monkeypatch.setattr(bootstrap, "_CHUNK_BYTES", 2**20)
    pieces = list(BOOTSTRAP.count_pieces("prompts/many", 700))
    assert len(pieces) > 10
    assert np.array_equal(np.concatenate(pieces), whole)
    assert resampled_means(values, "many", BOOTSTRAP) == pytest.approx(at_once, abs=1e-12)
