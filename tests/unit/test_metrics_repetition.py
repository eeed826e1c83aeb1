"""Detectors of repetition: the definitions at their thresholds, and agreement with slow, direct references."""

import random
import re
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modecollapse.metrics import repetition
from modecollapse.metrics.repetition import Repetition, find_repetition
from tests.repetitive_texts import TEXTS, letters, square_free

WORDS = "abcdefghijklmnopqrstu"
NONE = Repetition(multiple=False, tandem=False, cycle=False)

search = partial(settings, deadline=None, derandomize=True)


def occurs(text: str, longer_than: int, times: int) -> bool:
    """Every substring of every length that counts, each counted from every place of the text."""
    return any(
        text.count(text[start:stop]) >= times
        for start in range(len(text))
        for stop in range(start + longer_than + 1, len(text) + 1)
    )


def holds_square(text: str, longer_than: int) -> bool:
    return any(
        text[start : start + root] == text[start + root : start + 2 * root]
        for root in range(longer_than + 1, len(text) // 2 + 1)
        for start in range(len(text) - 2 * root + 1)
    )


def ends_in_cycle(text: str, longer_than: int) -> bool:
    ends = (text[start:] for start in range(len(text)))
    return any(
        len(end) > longer_than and len(end) >= 2 * period and end[period:] == end[:-period]
        for end in ends
        for period in range(1, len(end))
    )


_SHORT = st.one_of(
    st.text("ab", max_size=60),
    st.text("abc", max_size=60),
    st.text("a\U0001f600\ud800", max_size=40),
    # A word again and again, with faults: what random texts hardly are.
    st.tuples(st.text("ab", min_size=1, max_size=9), st.integers(1, 8), st.text("abc", max_size=6)).map(
        lambda parts: parts[0] * parts[1] + parts[2] + parts[0] * 2
    ),
    st.integers(0, 60).map(square_free),
)


@search(max_examples=1500)
@given(
    text=_SHORT,
    multiple=st.integers(0, 6),
    times=st.integers(1, 7),
    tandem=st.integers(0, 12),
    cycle=st.integers(0, 25),
)
def test_verdicts_are_those_of_the_definitions(text: str, multiple: int, times: int, tandem: int, cycle: int) -> None:
    found = find_repetition(
        text,
        False,
        multiple_longer_than=multiple,
        multiple_times=times,
        tandem_longer_than=tandem,
        cycle_longer_than=cycle,
    )
    assert found.multiple == occurs(text, multiple, times)
    assert found.tandem == holds_square(text, tandem)
    assert found.cycle == ends_in_cycle(text, cycle)


@search(max_examples=300)
@given(text=_SHORT, tandem=st.integers(0, 12), cycle=st.integers(0, 25))
def test_verdicts_do_not_rest_on_fingerprints(text: str, tandem: int, cycle: int) -> None:
    """Where all fingerprints are equal they rule nothing out, and what they let pass is compared itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repetition, "_powers", lambda base, number: np.zeros(number, np.int64))
        found = find_repetition(text, False, tandem_longer_than=tandem, cycle_longer_than=cycle)
    assert found.tandem == holds_square(text, tandem)
    assert found.cycle == ends_in_cycle(text, cycle)


@pytest.mark.parametrize(
    ("text", "multiple"),
    [
        ((WORDS + "1") * 6 + WORDS, True),
        ((WORDS + "1") * 6, False),
        (WORDS * 7, True),
        ((WORDS[:20] + "1") * 6 + WORDS[:20], False),  # 20 characters are not more than 20
        (" 7 ".join(["".join(map(chr, range(0x1F600, 0x1F600 + 21)))] * 7), True),
        (" ".join(f"{WORDS[:19]}{i}" for i in range(9)), False),
    ],
)
def test_a_substring_of_more_than_20_characters_seven_times_is_multiple(text: str, multiple: bool) -> None:
    assert find_repetition(text).multiple == multiple


def test_occurrences_that_overlap_count_once() -> None:
    assert len(re.findall("(?=a{21})", "a" * 27)) == 7
    assert not find_repetition("a" * 27).multiple
    assert not find_repetition("a" * 146).multiple
    assert find_repetition("a" * 147).multiple


@pytest.mark.parametrize(("root", "tandem"), [(100, False), (101, True), (150, True), (999, True)])
def test_more_than_100_characters_twice_in_a_row_are_tandem(root: int, tandem: bool) -> None:
    word = letters(root, 26, seed=1)
    for before in (0, 1, 57, 400):
        found = find_repetition(letters(before, 26, seed=2) + word + word + letters(300, 26, seed=3))
        assert found == Repetition(multiple=False, tandem=tandem, cycle=False)
    broken = word + word[:-1] + "!" + letters(300, 26, seed=3)
    assert find_repetition(broken) == NONE
    assert find_repetition(word + "!" + word) == NONE


def test_a_text_that_goes_on_in_a_circle_until_it_is_cut_off_is_a_cycle() -> None:
    word = letters(40, 26, seed=1)
    text = letters(500, 26, seed=2) + (word * 9)[:101]
    assert find_repetition(text, False) == Repetition(multiple=False, tandem=False, cycle=True)
    assert find_repetition(text, True) == find_repetition(text) == NONE
    assert not find_repetition(text[:-1], False).cycle, "100 characters are not more than 100"
    assert not find_repetition(text + "!", False).cycle
    once = letters(500, 26, seed=3)
    assert not find_repetition(once + once[:400], False).cycle, "no two whole rounds"


@pytest.mark.parametrize("text", ["", " ", "a", "\n\t \u00a0", "\ud800", "\U0001f600", "\0" * 30])
@pytest.mark.parametrize("ended", [True, False, None])
def test_short_and_empty_texts_are_not_repetitive(text: str, ended: bool | None) -> None:
    assert find_repetition(text, ended) == NONE


def test_white_space_is_text() -> None:
    assert find_repetition(" " * 300, False) == Repetition(multiple=True, tandem=True, cycle=True)
    assert find_repetition("\ud800" * 300, False).any
    assert not NONE.any


@pytest.mark.parametrize(
    "thresholds", [{"multiple_times": 0}, {"multiple_longer_than": -1}, {"tandem_longer_than": -1}]
)
def test_thresholds_without_a_meaning_are_refused(thresholds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="lengths are 0 or more"):
        find_repetition("text", **thresholds)


@pytest.mark.parametrize("name", TEXTS)
def test_known_verdicts_on_texts_that_are_hard_to_judge(name: str) -> None:
    make, expected = TEXTS[name]
    assert find_repetition(make(20_000), False) == Repetition(**expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one letter", "square-free word", "long period", "long period, broken"])
def test_verdicts_on_ten_megabytes(name: str) -> None:
    make, expected = TEXTS[name]
    assert find_repetition(make(10_000_000), False) == Repetition(**expected)


def test_a_fault_anywhere_in_a_long_period_is_seen() -> None:
    period = letters(7_000, 4, seed=1)
    text = period * 2
    assert find_repetition(text).tandem
    generator = random.Random(0)
    for place in (0, 6_999, 7_000, 13_999, *(generator.randrange(14_000) for _ in range(20))):
        assert not find_repetition(text[:place] + "!" + text[place + 1 :]).tandem


@pytest.mark.parametrize("name", TEXTS)
def test_time_grows_with_the_text_and_not_with_its_square(name: str) -> None:
    make, _ = TEXTS[name]
    seconds = []
    for size in (30_000, 600_000):
        text = make(size)
        start = time.process_time()
        find_repetition(text, False)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 100 * max(seconds[0], 0.01)
