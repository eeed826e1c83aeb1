"""Token-level metrics from hand-made sums."""

import math

import numpy as np
import pyarrow as pa
import pytest
from modecollapse.measures.tokens import DOCUMENTS, VOCABULARY
from modecollapse.metrics.tokens import TokenMetric, token_summary, vocabulary_cdf


def documents(n_tokens: list[int], **columns: list[float]) -> pa.Table:
    n = len(n_tokens)
    values = {
        "document": range(n),
        "n_tokens": n_tokens,
        "n_bytes": [4 * count for count in n_tokens],
        **{name: columns.get(name, [0.0] * n) for name in ("nll", "entropy", "confidence", "kl")},
        "group": [i % 2 for i in range(n)],
    }
    return pa.table({name: pa.array(values[name], DOCUMENTS.field(name).type) for name in DOCUMENTS.names})


def vocabulary(*masses: list[float]) -> pa.Table:
    rows = [{"group": i, "n_tokens": round(sum(row)), "probability_sum": row} for i, row in enumerate(masses)]
    return pa.Table.from_pylist(rows, VOCABULARY)


VOCABULARY_OF_TEN = vocabulary([5.0, 2.0, 1.0, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def summary(table: pa.Table, masses: pa.Table = VOCABULARY_OF_TEN, seed: int = 0) -> dict[str, TokenMetric]:
    return {row.metric: row for row in token_summary(table, masses, seed, 200)}


def test_metrics_are_means_over_tokens_worked_by_hand() -> None:
    table = documents([1, 3], nll=[2.0, 2.0], entropy=[1.0, 5.0], confidence=[0.9, 0.3], kl=[0.4, 0.0])
    found = {name: row.value for name, row in summary(table).items()}
    assert found["perplexity"] == pytest.approx(math.e)
    assert found["entropy"] == pytest.approx(1.5)
    assert found["confidence"] == pytest.approx(0.3)
    assert found["kl"] == pytest.approx(0.1)
    assert found["bits_per_byte"] == pytest.approx(4 / math.log(2) / 16)


def test_vocabulary_shares_count_the_tokens_that_hold_the_mass() -> None:
    found = summary(documents([1, 3]))
    assert found["vocabulary_share_70"].value == pytest.approx(0.2)  # 5 + 2 of 10
    assert found["vocabulary_share_90"].value == pytest.approx(0.5)  # 5 + 2 + 1 + .5 + .5
    assert summary(documents([1]), vocabulary([1.0] * 10))["vocabulary_share_70"].value == pytest.approx(0.7)


def test_blocks_are_added_before_tokens_are_ranked() -> None:
    found = summary(documents([1, 1]), vocabulary([1.0, 0.0], [0.0, 1.0]))["vocabulary_share_70"]
    assert (found.value, found.low, found.high) == (1.0, 0.5, 1.0)


def test_rows_carry_unit_definition_and_numbers_of_documents_and_tokens() -> None:
    rows = summary(documents([1, 0, 3]))
    assert set(rows) == {
        "perplexity", "entropy", "confidence", "bits_per_byte", "kl", "vocabulary_share_70", "vocabulary_share_90",
    }  # fmt: skip
    assert {(row.definition, row.n_documents, row.n_tokens) for row in rows.values()} == {("corrected", 3, 4)}
    assert rows["entropy"].unit == "nats/token"


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        n_tokens = generator.integers(5, 50, 60)
        entropy = [float(generator.normal(2.0, 0.3) * n) for n in n_tokens]
        row = summary(documents(n_tokens.tolist(), entropy=entropy))["entropy"]
        covered += row.low <= 2.0 <= row.high
    assert 0.88 <= covered / 200 <= 0.99


def test_intervals_belong_to_the_seed() -> None:
    table = documents(list(range(1, 30)), entropy=[float(i % 7) for i in range(29)])
    assert summary(table) == summary(table)
    one, other = summary(table)["entropy"], summary(table, seed=1)["entropy"]
    assert one.value == other.value
    assert (one.low, one.high) != (other.low, other.high)


def test_without_a_reference_kl_is_undefined_and_the_rest_is_not() -> None:
    found = summary(documents([2, 3], nll=[1.0, 2.0], kl=[math.nan, math.nan]))
    assert all(math.isnan(number) for number in (found["kl"].value, found["kl"].low, found["kl"].high))
    assert math.isfinite(found["perplexity"].low)


def test_empty_documents_do_not_make_intervals_undefined() -> None:
    found = summary(documents([4, 0], nll=[2.0, 0.0]))["perplexity"]
    assert found.value == found.low == found.high == pytest.approx(math.exp(0.5))


def test_the_cdf_of_a_small_vocabulary_is_complete() -> None:
    rank_share, mass = vocabulary_cdf(VOCABULARY_OF_TEN)
    assert np.allclose(rank_share, np.arange(11) / 10)
    assert np.allclose(mass[:4], [0, 0.5, 0.7, 0.8])
    assert mass[-1] == 1


def test_the_cdf_of_a_large_vocabulary_is_thinned_but_fine_where_the_mass_is() -> None:
    masses = (1 / np.arange(1, 50_001) ** 1.5).tolist()
    rank_share, mass = vocabulary_cdf(vocabulary(masses, masses))
    assert len(mass) <= 400
    assert (rank_share[0], mass[0], rank_share[-1], mass[-1]) == (0, 0, 1, pytest.approx(1))
    assert (np.diff(mass) >= 0).all()
    assert (np.diff(rank_share) > 0).all()
    assert np.diff(mass)[1:].max() < 0.14  # the second token alone holds 13.5 %
    assert rank_share[1] == 1 / 50_000
