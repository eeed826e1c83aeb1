"""Attractors: first sentences, cuts behind verbs, and what counts as coming back."""

import math

import numpy as np
import pytest

from modecollapse.measures.attractor import AttractorSettings
from modecollapse.metrics.attractors import after_first_sentence, cut, find_modes, first_sentence, negate, returns

NEGATIONS = AttractorSettings().negations
PAPER = " born on November 9, 1906 in New York City. She was"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (f"{PAPER} an admiral.", " born on November 9, 1906 in New York City."),
        ("She was born in 1906. Then", "She was born in 1906."),
        ("Dr. J. Smith of the U.S. Navy met her! Yes.", "Dr. J. Smith of the U.S. Navy met her!"),
        ("At 5 p.m. it was 3.14 m. Then", "At 5 p.m. it was 3.14 m."),
        ("1. Grace is here. 2. So", "1. Grace is here."),
        ("What?! No.", "What?!"),
        ("Well… no.", "Well…"),
        ("Wait... no.", "Wait..."),
        ('He said "no." Then', 'He said "no."'),
        ("a.b.c no end", "a.b.c no end"),
        ("A title\nShe was", "A title"),
        ("\n\n A title \nShe", "\n\n A title"),
        ("彼女は軍人だった。「はい。」と", "彼女は軍人だった。"),
        ("「はい。」と言った", "「はい。」"),
        ("Es war Dr. Hopper! Ja", "Es war Dr. Hopper!"),
        ("\U0001f600\U0001f600. \U0001f600", "\U0001f600\U0001f600."),
        ("\U0001f600 \U0001f680", "\U0001f600 \U0001f680"),
        ("", ""),
        (" \n ", " \n "),
        (".", "."),
    ],
)
def test_the_first_sentence_ends_at_its_mark_and_not_behind_abbreviations(text: str, first: str) -> None:
    assert first_sentence(text) == (first, text[len(first) :])


def test_what_follows_is_the_text_where_nothing_does() -> None:
    assert after_first_sentence("She was. He is. ") == "He is."
    assert after_first_sentence("She was. ") == "She was. "
    assert after_first_sentence("") == ""


@pytest.mark.parametrize(
    ("text", "prefix", "verb"),
    [
        (f"{PAPER} an admiral. He was.", PAPER, "was"),
        ("born here. They were, and she was", "born here. They were", "were"),
        ("who was and is here. No verb", "who was and is", "is"),
        ("She was not here. She is", "She was not here. She is", "is"),
        ("wasn't his washer's has-been. He had", "wasn't his washer's has-been. He had", "had"),
        ("Was it? It IS", None, None),
        ("She was not.", None, None),
        ("She was nothing.", "She was", "was"),
        ("彼女は軍人だった。はい", None, None),
        ("\U0001f600", None, None),
        ("", None, None),
    ],
)
def test_a_text_is_cut_behind_the_first_verb_after_its_first_sentence(
    text: str, prefix: str | None, verb: str | None
) -> None:
    found = cut(text, NEGATIONS)
    if prefix is None:
        assert found is None
    else:
        assert found is not None
        assert (found.prefix, found.verb) == (prefix, verb)
        assert text.startswith(prefix)
        assert found.negated == f"{prefix} not"


def test_longer_verbs_come_before_those_that_they_begin_with_and_negations_take_their_place() -> None:
    found = cut("born. It had been a day", {"had": "had not", "had been": "had never been"})
    assert found is not None
    assert (found.prefix, found.negated) == ("born. It had been", "born. It had never been")
    assert negate("it was was", "was", {"was": "wasn't"}) == "it was wasn't"
    regular = cut("a. b c", {".*": "x", "c": "d"})
    assert regular is not None
    assert regular.verb == "c"


def at(*degrees: float) -> np.ndarray:
    return np.array([(math.cos(math.radians(each)), math.sin(math.radians(each))) for each in degrees])


def test_centres_are_normalised_means_and_radii_what_95_percent_reach() -> None:
    modes = find_modes(at(0, 60, 180, 180), [0, 0, 1, 1])
    assert modes.centres == pytest.approx(at(30, 180))
    assert modes.radii == pytest.approx([math.cos(math.radians(30)), 1.0])
    # 41 vectors on either side of a centre at 0: the 5th percentile of their cosines is the third smallest.
    around = [0.0, *range(1, 21), *range(-20, 0)]
    radius = find_modes(at(*around), [0] * 41).radii[0]
    assert radius == pytest.approx(math.cos(math.radians(19)))
    assert (at(*around)[:, 0] >= radius - 1e-9).mean() >= 0.95


def test_a_continuation_returns_if_its_own_centre_is_nearest_and_within_the_radius() -> None:
    modes = find_modes(at(0, 20, 80, 100), [0, 0, 1, 1])
    found = returns(modes, 0, at(10, 19, 21, 49, 51, 90))
    assert found.nearest.tolist() == [0, 0, 0, 0, 1, 1]
    assert found.cosine == pytest.approx([math.cos(math.radians(each)) for each in (0, 9, 11, 39, 41, 80)])
    assert found.returned.tolist() == [True, True, False, False, False, False]
    assert returns(modes, 1, at(90, 10)).returned.tolist() == [True, False]


def test_within_the_radius_another_centre_may_still_be_nearer() -> None:
    modes = find_modes(at(-60, 60, 30), [0, 0, 1])
    found = returns(modes, 0, at(10, 30, 16))
    assert found.nearest.tolist() == [0, 1, 1]
    assert found.returned.tolist() == [True, False, False]


def test_with_one_mode_only_the_radius_decides() -> None:
    modes = find_modes(at(-10, 10), [0, 0])
    assert returns(modes, 0, at(9, 11)).returned.tolist() == [True, False]


def test_of_one_output_and_of_equal_ones_only_the_same_returns_up_to_the_noise_of_a_batch() -> None:
    for vectors in (at(45), at(45, 45, 45)):
        modes = find_modes(vectors, [0] * len(vectors))
        assert modes.radii == pytest.approx([1.0])
        noisy = vectors[:1] * (1 - 5e-6)
        assert returns(modes, 0, np.vstack([vectors[:1], noisy, at(46)])).returned.tolist() == [True, True, False]


def test_equal_centres_count_as_ones_own() -> None:
    modes = find_modes(at(30, 30), [0, 1])
    for own in (0, 1):
        found = returns(modes, own, at(30))
        assert (found.nearest[0], bool(found.returned[0])) == (own, True)


def test_texts_without_a_direction_neither_count_nor_return() -> None:
    zero = np.zeros((1, 2))
    modes = find_modes(np.vstack([at(0, 60), zero, zero]), [0, 0, 0, 1])
    assert modes.centres == pytest.approx(np.vstack([at(30), zero]))
    assert math.isnan(modes.radii[1])
    found = returns(modes, 0, np.vstack([zero, at(30)]))
    assert found.nearest.tolist() == [-1, 0]
    assert math.isnan(found.cosine[0])
    assert found.returned.tolist() == [False, True]
    lost = returns(modes, 1, np.vstack([zero, at(30)]))
    assert lost.nearest.tolist() == [-1, 0]
    assert np.isnan(lost.cosine).all()
    assert not lost.returned.any()
    nowhere = find_modes(np.zeros((3, 2)), [0, 0, 0])
    assert returns(nowhere, 0, at(30)).nearest.tolist() == [-1]
    opposite = find_modes(at(0, 180), [0, 0])
    assert not returns(opposite, 0, at(0)).returned.any()


def test_no_output_is_no_mode_and_no_continuation_returns_nothing() -> None:
    assert len(find_modes(np.zeros((0, 2)), []).radii) == 0
    assert returns(find_modes(at(0), [0]), 0, np.zeros((0, 2))).returned.tolist() == []


def test_vectors_that_are_not_finite_and_labels_with_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        find_modes([[math.nan, 1.0]], [0])
    with pytest.raises(ValueError, match="finite"):
        returns(find_modes(at(0), [0]), 0, [[math.inf, 1.0]])
    with pytest.raises(ValueError, match=r"0 to 2.*\[0, 2\]"):
        find_modes(at(0, 1), [0, 2])
