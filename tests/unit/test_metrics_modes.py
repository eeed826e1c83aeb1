"""TF-IDF similarities and their summary, the clusters of sentence vectors, what is typical of each, and their map."""

import itertools
import math
import re
import statistics
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import adjusted_rand_score, silhouette_score

from modecollapse.metrics.modes import (
    Clusters,
    closest,
    find_clusters,
    project,
    summarise,
    tfidf_similarity,
)

TEXTS = [
    "I was born",
    "i was a, A coder",
    "She was born in 1906",
    "",
    "🎉🎉 7",
    "7 🎉",
    "她是程序员",
    "是她！",
    "… !?",
    " ",
]


def groups(number: int, clusters: int, spread: float = 0.4, dimensions: int = 64, seed: int = 0) -> NDArray[np.float64]:
    """Vectors around random centres, row i around centre i modulo their number."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(clusters, dimensions))
    return centres[np.arange(number) % clusters] + spread * generator.normal(size=(number, dimensions))


def same_bytes(one: Clusters, other: Clusters) -> bool:
    return one.labels.tobytes() == other.labels.tobytes() and (
        repr((one.k, one.k_gap, one.silhouette, one.stability, one.by_k))
        == repr((other.k, other.k_gap, other.silhouette, other.stability, other.by_k))
    )


def test_tfidf_similarities_have_the_values_worked_by_hand() -> None:
    # Of three texts, "a" is in two (weight ln(4/3) + 1) and "b", "c" and "d" are in one (ln 2 + 1).
    common, rare = math.log(4 / 3) + 1, math.log(2) + 1
    first = math.hypot(2 * common, rare)
    second = math.hypot(common, rare)
    expected = 2 * common * common / (first * second)
    found = tfidf_similarity(["A b a", "a, c", "d"])
    np.testing.assert_allclose(found, [[1, expected, 0], [expected, 1, 0], [0, 0, 1]], atol=1e-15)


def cosine_by_formula(texts: list[list[str]], i: int, j: int) -> float:
    """The formula written out for two of the tokenised texts."""

    def weights(words: list[str]) -> dict[str, float]:
        return {
            word: count * (math.log((1 + len(texts)) / (1 + sum(word in other for other in texts))) + 1)
            for word, count in Counter(words).items()
        }

    a, b = weights(texts[i]), weights(texts[j])
    dot = math.fsum(a[word] * b[word] for word in a.keys() & b.keys())
    return dot / math.hypot(*a.values()) / math.hypot(*b.values())


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=6), min_size=1, max_size=6))
def test_tfidf_similarities_agree_with_the_formula(tokens: list[list[str]]) -> None:
    found = tfidf_similarity([" ".join(words) for words in tokens])
    for i, j in itertools.product(range(len(tokens)), repeat=2):
        assert found[i, j] == pytest.approx(cosine_by_formula(tokens, i, j), abs=1e-12)
    assert (found == found.T).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(TEXTS), max_size=7), st.randoms(use_true_random=False))
def test_the_order_of_texts_does_not_change_their_similarities(texts: list[str], random) -> None:
    order = random.sample(range(len(texts)), len(texts))
    found, moved = tfidf_similarity(texts), tfidf_similarity([texts[row] for row in order])
    np.testing.assert_allclose(moved, found[np.ix_(order, order)], atol=1e-14)


def test_texts_of_longer_words_have_the_similarities_of_the_default_vectorizer() -> None:
    texts = ["Grace Hopper was born in 1906.", "Grace was an admiral", "Hopper, in 1906: COBOL!"]
    vectors = TfidfVectorizer().fit_transform(texts)
    np.testing.assert_allclose(tfidf_similarity(texts), (vectors @ vectors.T).toarray(), atol=1e-15)


@pytest.mark.parametrize(
    ("one", "other"), [("I", "i!"), ("7 🎉", "🎉7"), ("她是。", "是她"), ("カナ", "ナ、カ"), ("naïve ß", "NAÏVE ß")]
)
def test_letters_digits_emoji_and_han_characters_are_words(one: str, other: str) -> None:
    np.testing.assert_allclose(tfidf_similarity([one, other]), np.ones((2, 2)), atol=1e-15)


@pytest.mark.parametrize(("one", "other"), [("1906", "1907"), ("🎉", "🎂"), ("ab", "a b"), ("她", "他")])
def test_different_words_have_nothing_in_common(one: str, other: str) -> None:
    np.testing.assert_array_equal(tfidf_similarity([one, other]), np.eye(2))


def test_texts_without_words_are_undefined_and_change_no_other_similarity() -> None:
    found = tfidf_similarity(["a b", "", "b c", "… ?! \n"])
    assert np.isnan(found[[1, 3]]).all()
    assert np.isnan(found[:, [1, 3]]).all()
    np.testing.assert_array_equal(found[np.ix_([0, 2], [0, 2])], tfidf_similarity(["a b", "b c"]))


def test_no_text_one_text_and_only_empty_texts_have_similarities() -> None:
    assert tfidf_similarity([]).shape == (0, 0)
    assert tfidf_similarity(["a"]).tolist() == [[1.0]]
    found = tfidf_similarity(["", " ", "…"])
    assert found.shape == (3, 3)
    assert np.isnan(found).all()


def test_a_summary_has_the_values_worked_by_hand() -> None:
    # The outputs' means are 0.3, 0.5 and 0.4; the pairs 0.4, 0.2 and 0.6.
    summary = summarise(np.array([[1, 0.4, 0.2], [0.4, 1, 0.6], [0.2, 0.6, 1]]))
    assert summary.of_output == pytest.approx([0.3, 0.5, 0.4])
    assert (summary.mean, summary.sd_outputs, summary.sd_pairs) == pytest.approx((0.4, 0.1, 0.2))
    assert summary.n == 3


def test_a_summary_leaves_out_what_is_undefined() -> None:
    texts = ["a b", "", "b c", "a c d", "d e f"]
    summary, without = summarise(tfidf_similarity(texts)), summarise(tfidf_similarity(list(filter(None, texts))))
    assert math.isnan(summary.of_output[1])
    assert np.delete(summary.of_output, 1).tolist() == without.of_output.tolist()
    assert (summary.n, summary.mean, summary.sd_pairs) == (4, without.mean, without.sd_pairs)
    kernel = tfidf_similarity(texts)
    pairs = [kernel[i, j] for i, j in itertools.combinations((0, 2, 3, 4), 2)]
    assert summary.mean == pytest.approx(statistics.mean(pairs))
    assert summary.sd_pairs == pytest.approx(statistics.stdev(pairs))
    assert summary.sd_outputs == pytest.approx(statistics.stdev(without.of_output))


def test_a_summary_of_few_outputs_is_undefined() -> None:
    assert summarise(np.empty((0, 0))).n == 0
    one, two = summarise(np.ones((1, 1))), summarise(np.array([[1, 0.25], [0.25, 1]]))
    assert math.isnan(one.mean)
    assert np.isnan(one.of_output).all()
    assert (two.n, two.mean, two.of_output.tolist()) == (2, 0.25, [0.25, 0.25])
    assert math.isnan(two.sd_outputs)
    assert math.isnan(two.sd_pairs)


def test_well_separated_clusters_are_found_whatever_the_length_of_vectors() -> None:
    vectors = groups(60, 3)
    found = find_clusters(vectors * np.linspace(1, 9, 60)[:, None])
    assert (found.k, found.k_gap) == (3, 3)
    assert found.labels.tolist() == [0, 1, 2] * 20
    assert found.labels.dtype == np.int64
    assert found.stability == pytest.approx(1)
    assert list(found.by_k) == list(range(2, 11))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert found.silhouette == found.by_k[3] == pytest.approx(silhouette_score(unit, found.labels))


def test_noise_without_direction_is_one_cluster() -> None:
    found = find_clusters(np.random.default_rng(4).normal(size=(40, 64)), most=4)
    assert (found.k, found.k_gap, set(found.labels.tolist())) == (1, 1, {0})
    assert math.isnan(found.silhouette)
    assert math.isnan(found.stability)
    assert list(found.by_k) == [2, 3, 4]


@pytest.mark.parametrize("spread", [0, 0.05])
@pytest.mark.parametrize("clusters", [3, 5])
def test_few_vectors_in_tight_clusters_are_not_taken_for_one(clusters: int, spread: float) -> None:
    found = find_clusters(groups(25, clusters, spread, 384), 6, references=10, resamples=3)
    assert (found.k, found.k_gap) == (clusters, clusters)


def test_clusters_are_numbered_by_size_and_then_by_first_occurrence() -> None:
    centres = groups(4, 4, 0)
    members = [2, 0, 0, 1, 2, 1, 1, *([0, 1, 2, 1] * 8)]
    vectors = centres[members] + 0.3 * np.random.default_rng(1).normal(size=(len(members), 64))
    assert Counter(members) == {1: 19, 0: 10, 2: 10}
    assert find_clusters(vectors, most=5).labels.tolist() == [{1: 0, 2: 1, 0: 2}[member] for member in members]


def gap_by_loops(points: NDArray[np.float64], most: int, seed: int, references: int) -> int:
    """The gap statistic written out, from the distances of pairs within clusters, along the principal components."""
    centred = points - points.mean(axis=0)
    axes = np.linalg.svd(centred)[2][: len(points) - 1]
    scores = centred @ axes.T
    generator = np.random.default_rng(seed)
    sets = [generator.uniform(scores.min(axis=0), scores.max(axis=0), scores.shape) for _ in range(references)]

    def log_scatter(data: NDArray[np.float64], k: int) -> float:
        labels = KMeans(k, n_init=10, random_state=seed).fit(data).labels_
        total = 0.0
        for label in range(k):
            members = data[labels == label]
            total += sum(float(((a - b) ** 2).sum()) for a in members for b in members) / (2 * len(members))
        return math.log(total)

    gaps, errors = {}, {}
    for k in range(1, most + 1):
        logs = [log_scatter(each, k) for each in sets]
        gaps[k] = statistics.mean(logs) - log_scatter(scores, k)
        errors[k] = statistics.pstdev(logs) * math.sqrt(1 + 1 / references)
    largest = max(gaps, key=lambda k: gaps[k])
    return min(k for k in gaps if gaps[k] >= gaps[largest] - errors[largest])


@pytest.mark.parametrize(("clusters", "spread"), [(1, 1.0), (2, 0.3), (3, 0.5), (4, 0.1)])
def test_the_gap_statistic_agrees_with_loops_over_pairs(clusters: int, spread: float) -> None:
    vectors = groups(16, clusters, spread, dimensions=3, seed=5)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ordered = unit[np.lexsort(unit.T[::-1])]
    assert find_clusters(unit, 5, references=6, resamples=1).k_gap == gap_by_loops(ordered, 5, 0, 6)


def test_clusters_are_the_same_twice_whatever_the_global_random_state() -> None:
    vectors = groups(30, 3)
    np.random.seed(1)
    first = find_clusters(vectors, most=4, references=3, resamples=3)
    np.random.seed(2)
    assert same_bytes(find_clusters(vectors, most=4, references=3, resamples=3), first)


@settings(max_examples=6, deadline=None)
@given(st.permutations(range(20)), st.sampled_from([0.3, 1.5]))
def test_the_order_of_vectors_does_not_change_the_clusters(order: list[int], spread: float) -> None:
    vectors = groups(20, 3, spread)
    found, moved = (find_clusters(each, 4, references=3, resamples=3) for each in (vectors, vectors[order]))
    assert adjusted_rand_score(found.labels[order], moved.labels) == 1
    assert (found.k, found.k_gap, found.by_k) == (moved.k, moved.k_gap, moved.by_k)
    assert found.stability == pytest.approx(moved.stability, nan_ok=True)


@pytest.mark.parametrize(
    ("vectors", "k"),
    [
        (np.empty((0, 3)), 0),
        (np.empty((0, 0)), 0),
        (np.ones((1, 3)), 1),
        (np.ones((2, 3)), 1),
        (np.eye(2), 1),
        (np.ones((9, 3)), 1),
        (np.ones((9, 1)) + 1e-7 * np.random.default_rng(0).normal(size=(9, 5)), 1),
    ],
)
def test_too_few_different_vectors_are_at_most_one_cluster(vectors: NDArray[np.float64], k: int) -> None:
    found = find_clusters(vectors)
    assert (found.k, found.k_gap, found.by_k, found.labels.tolist()) == (k, k, {}, [0] * len(vectors))
    assert math.isnan(found.silhouette)
    assert math.isnan(found.stability)


def test_two_different_vectors_with_copies_are_two_clusters() -> None:
    found = find_clusters(np.eye(2)[[0, 1, 1, 0, 1]])
    assert (found.k, found.k_gap, found.by_k, found.labels.tolist()) == (2, 2, {2: 1.0}, [1, 0, 0, 1, 0])
    lone = find_clusters(np.eye(2)[[0, 1, 1]])
    assert (lone.k, lone.labels.tolist()) == (2, [1, 0, 0])
    assert lone.silhouette == pytest.approx(2 / 3)
    # A bootstrap sample without the lone vector cannot tell it from the others.
    assert 0 < lone.stability < 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_vectors_without_a_direction_are_refused(bad: float) -> None:
    vectors = np.ones((3, 2))
    vectors[1] = bad
    for measure in (find_clusters, project, lambda each: closest(each, np.zeros(3, np.int64))):
        with pytest.raises(ValueError, match=re.escape("finite and not zero")):
            measure(vectors)


def test_the_closest_vector_to_the_mean_is_found_per_cluster() -> None:
    angles = np.radians([0, 40, 20, 90, 100, 170])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]) * np.array([[1], [9], [1], [1], [2], [1]])
    # The means point to 20°; and to about 117°, so that 100° is closer than 90° and 170°.
    assert closest(vectors, np.array([1, 1, 1, 0, 0, 0])).tolist() == [4, 2]
    assert closest(np.eye(3)[[0, 1, 2, 0]], np.array([0, 0, 1, 1])).tolist() == [0, 2]
    assert closest(np.empty((0, 3)), np.empty(0, np.int64)).tolist() == []


def test_a_map_keeps_clusters_apart_and_is_the_same_twice() -> None:
    vectors = groups(30, 3)
    places = project(vectors)
    assert places.shape == (30, 2)
    assert silhouette_score(places, [0, 1, 2] * 10) > 0.5
    assert project(vectors).tobytes() == places.tobytes()
    np.testing.assert_array_equal(project(vectors[::-1]), places[::-1])


def test_a_map_of_fewer_than_four_vectors_has_their_principal_components() -> None:
    assert project(np.empty((0, 3))).shape == (0, 2)
    assert project(np.ones((1, 3))).tolist() == [[0, 0]]
    for number in (2, 3):
        places = project(np.eye(number))
        distances = [math.dist(places[i], places[j]) for i, j in itertools.combinations(range(number), 2)]
        assert distances == pytest.approx([math.sqrt(2)] * len(distances))


@pytest.mark.parametrize("number", [2, 4, 9])
def test_a_map_of_identical_vectors_is_a_point(number: int) -> None:
    assert project(np.ones((number, 3))).tolist() == [[0, 0]] * number


@pytest.mark.parametrize(
    "vectors",
    [np.array([[1.0], [-2.0], [3.0], [4.0]]), np.eye(2)[[0, 1, 0, 0, 0, 1]], np.eye(3)[[0, 1, 2, 2] * 3], np.eye(4)],
)
def test_a_map_of_few_different_vectors_is_finite(vectors: NDArray[np.float64]) -> None:
    places = project(vectors, perplexity=50)
    assert places.shape == (len(vectors), 2)
    assert np.isfinite(places).all()
