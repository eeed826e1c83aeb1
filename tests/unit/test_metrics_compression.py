"""Normalised compression distance and the two leave-one-out compression ratios."""

import gzip
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modecollapse.metrics import compression

TEXTS = st.lists(
    st.one_of(
        st.text(max_size=60), st.sampled_from(["the cat sat on the mat", "the cat sat on a hat", "شلوم 🙂 \x00"])
    ),
    min_size=2,
    max_size=6,
)


def gzipped(text: str) -> int:
    return len(gzip.compress(text.encode()))


def ncd_of_pairs(texts: list[str]) -> float:
    values = []
    for one, two in itertools.permutations(texts, 2):
        sizes = gzipped(one), gzipped(two)
        values.append((gzipped(f"{one} {two}") - min(sizes)) / max(sizes))
    return math.fsum(values) / len(values)


def ratio(text: str) -> float:
    return gzipped(text) / len(text.encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000))
def test_compressed_size_is_that_of_gzip(data: bytes) -> None:
    assert compression.compressed_size(data) == len(gzip.compress(data))


@settings(max_examples=80, deadline=None)
@given(TEXTS)
def test_ncd_equals_the_mean_over_ordered_pairs_of_gzipped_texts(texts: list[str]) -> None:
    assert compression.ncd(texts) == pytest.approx(ncd_of_pairs(texts), abs=1e-12)


def test_ncd_of_empty_texts_has_the_value_worked_by_hand() -> None:
    # gzip makes 20 bytes of nothing and 21 of the space that joins two empty texts.
    assert compression.ncd(["", ""]) == (21 - 20) / 20


def test_ncd_of_identical_texts_is_small_and_of_different_ones_larger() -> None:
    one, two = "The old ship left the harbour at dawn.", "My grandmother bakes excellent plum pies."
    assert 0 < compression.ncd([one, one, one]) < 0.1
    assert compression.ncd([one, two]) > 0.4


@settings(max_examples=60, deadline=None)
@given(TEXTS.map(compression.without_empty).filter(lambda texts: len(texts) > 1))
def test_both_ratios_equal_their_definition_on_gzipped_strings(texts: list[str]) -> None:
    full, target = [], []
    for index, text in enumerate(texts):
        others = texts[:index] + texts[index + 1 :]
        together = ratio(" ".join([*others, text]))
        full.append(ratio(" ".join(others)) - together)
        target.append(ratio(text) - together)
    for replica in (True, False):
        value = compression.compression_ratio_full(texts, replica=replica)
        assert value == pytest.approx(math.fsum(full) / len(full), abs=1e-12)
        value = compression.compression_ratio_target(texts, replica=replica)
        assert value == pytest.approx(math.fsum(target) / len(target), abs=1e-12)


def test_an_empty_text_is_left_out_of_the_ratios_and_undefined_in_the_replica() -> None:
    texts = ["the cat sat on the mat", "the dog sat on the mat", "a rainy day in spring"]
    with_empty = [texts[0], "", *texts[1:]]
    assert compression.compression_ratio_target(with_empty) == compression.compression_ratio_target(texts)
    assert compression.compression_ratio_full(with_empty) == compression.compression_ratio_full(texts)
    assert math.isnan(compression.compression_ratio_target(with_empty, replica=True))
    assert not math.isnan(compression.compression_ratio_full(with_empty, replica=True))


@pytest.mark.parametrize("texts", [[], ["one text"], ["one text", ""]])
def test_fewer_than_two_texts_have_no_ratio(texts: list[str]) -> None:
    assert math.isnan(compression.compression_ratio_full(texts))
    assert math.isnan(compression.compression_ratio_target(texts))


def test_fewer_than_two_texts_have_no_distance() -> None:
    assert math.isnan(compression.ncd([]))
    assert math.isnan(compression.ncd(["one text"]))


def test_repetitive_texts_compress_better_behind_each_other() -> None:
    same = ["the quick brown fox jumps over the lazy dog"] * 5
    different = [
        "the quick brown fox jumps over the lazy dog",
        "pack my box with five dozen liquor jugs today",
        "sphinx of black quartz judge my vow at noon",
        "how vexingly quick daft zebras jump at night",
        "bright vixens jump while dozy fowl quack on",
    ]
    target = compression.compression_ratio_target
    assert target(same) > target(different)


def test_lone_surrogates_have_a_defined_size() -> None:
    assert compression.encode("\ud800") == b"\xed\xa0\x80"
    assert not math.isnan(compression.ncd(["\ud800 a", "b"]))
