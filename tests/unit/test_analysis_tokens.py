"""Token-level statistics: sums before ratios, shares of the vocabulary, resamples over blocks of documents."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.tokens import UNITS, pool, token_statistics, vocabulary_cdf, vocabulary_shares

BOOTSTRAP = Bootstrap(resamples=300, seed=0)


def documents(nll: list[float], tokens: list[int], groups: list[int], kl: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "document": range(len(nll)),
            "n_tokens": tokens,
            "n_bytes": [4 * n for n in tokens],
            "nll": nll,
            "entropy": [0.5 * n for n in tokens],
            "confidence": [0.25 * n for n in tokens],
            "kl": [kl * n for n in tokens],
            "group": groups,
        }
    )


def vocabulary(*rows: list[float]) -> pd.DataFrame:
    """Blocks of corrected rows, and a replica row that no test of the corrected definition may notice."""
    return pd.DataFrame(
        {
            "definition": [*["corrected"] * len(rows), "replica"],
            "group": [*range(len(rows)), None],
            "n_distributions": 1,
            "probability_sum": [*rows, [1.0] + [0.0] * (len(rows[0]) - 1)],
        }
    )


def test_every_token_counts_once_whatever_its_document() -> None:
    # 10 tokens at ln 2 and 30 at ln 8: the mean over tokens is (10 ln 2 + 30 ln 8) / 40 = 2.5 ln 2.
    frame = documents([10 * math.log(2), 30 * math.log(8)], [10, 30], [0, 1], kl=0.125)
    found = token_statistics(frame, vocabulary([1, 1], [1, 1]), BOOTSTRAP)
    assert found.values["perplexity"] == pytest.approx(2**2.5)
    assert found.values["bits_per_byte"] == pytest.approx(2.5 / 4)
    assert found.values["entropy"] == pytest.approx(0.5)
    assert found.values["confidence"] == pytest.approx(0.25)
    assert found.values["kl"] == pytest.approx(0.125)
    assert (found.n_documents, found.n_tokens) == (2, 40)
    assert set(found.values) == set(UNITS)


def test_an_unknown_kl_stays_unknown() -> None:
    found = token_statistics(documents([1.0, 2.0], [2, 2], [0, 1], kl=math.nan), vocabulary([1.0], [1.0]), BOOTSTRAP)
    assert math.isnan(found.values["kl"])
    assert math.isfinite(found.values["perplexity"])


def test_a_uniform_vocabulary_needs_its_share_and_a_certain_one_a_single_token() -> None:
    uniform, certain = np.ones((1, 10)), np.eye(1, 10)
    assert vocabulary_shares(uniform, [0.7, 0.9])[0] == pytest.approx([0.7, 0.9])
    assert vocabulary_shares(certain, [0.7, 0.9])[0] == pytest.approx([0.1, 0.1])


def test_the_cdf_rises_from_the_most_probable_token_to_one() -> None:
    rank_share, mass = vocabulary_cdf(vocabulary([1.0, 5.0, 2.0, 2.0]), points=400)
    assert rank_share == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert mass == pytest.approx([0.5, 0.7, 0.9, 1.0])


def test_a_thinned_cdf_keeps_both_ends() -> None:
    rank_share, mass = vocabulary_cdf(vocabulary(list(np.linspace(1, 2, 5_000))), points=400)
    assert len(rank_share) <= 400
    assert rank_share[0] == pytest.approx(1 / 5_000)
    assert rank_share[-1] == mass[-1] == 1.0
    assert (np.diff(rank_share) > 0).all()


def test_one_block_of_documents_has_no_interval() -> None:
    found = token_statistics(documents([1.0, 2.0], [2, 2], [0, 0]), vocabulary([1.0, 2.0]), BOOTSTRAP)
    assert all(math.isnan(bound) for bound in found.interval("perplexity", BOOTSTRAP))


def test_pooling_averages_seeds_and_resamples_them() -> None:
    one = token_statistics(documents([2.0, 2.0], [2, 2], [0, 1]), vocabulary([1.0], [1.0]), BOOTSTRAP)
    two = token_statistics(documents([4.0, 4.0], [2, 2], [0, 1]), vocabulary([1.0], [1.0]), BOOTSTRAP)
    pooled = pool([one, two], "perplexity")
    assert pooled.value == pytest.approx((math.e + math.e**2) / 2)
    # Documents agree, so seeds are all there is to vary: Student's t with one degree of freedom.
    half = 12.706 * np.std([math.e, math.e**2], ddof=1) / math.sqrt(2)
    assert pooled.interval(BOOTSTRAP) == pytest.approx((pooled.value - half, pooled.value + half), rel=1e-3)


def test_the_interval_of_one_model_is_as_wide_as_that_of_students_t_over_blocks_of_documents() -> None:
    nll = np.random.default_rng(0).uniform(1, 3, 12)
    bootstrap = Bootstrap()
    found = token_statistics(documents(list(nll), [1] * 12, list(range(12))), vocabulary(*([1.0],) * 12), bootstrap)
    low, high = found.interval("bits_per_byte", bootstrap)
    bits = nll / 4 / math.log(2)
    assert high - low == pytest.approx(2 * 2.201 * bits.std(ddof=1) / math.sqrt(12), rel=0.03)
