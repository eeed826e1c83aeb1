"""In how many ways one prompt is answered: TF-IDF similarities, clusters of sentence vectors, and a map of them.

The second experiment of Mohammadi (2024, "Creativity Has Left the Chat") reads them off many outputs of one prompt. It
leaves open, and this module states, what its standard deviation is over and how clusters are counted.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

Vectors = NDArray[np.float64]
Labels = NDArray[np.int64]

_ALONE = "\u2600-\u27bf\u3040-\u30ff\u3400-\u9fff\U0001f000-\U0001faff"
"""Pictograms, kana and Han characters: not set apart by spaces, each is a word of its own."""
WORD = rf"[{_ALONE}]|(?:(?![{_ALONE}])\w)+"

SAME = 1e-5
"""Unit vectors closer than this are one: the batch in which a text is embedded changes its vector by less."""
STARTS = 10
"""Random starts of k-means, of which the best counts; fewer for reference sets alone would make their gap larger."""


def tfidf_similarity(texts: Sequence[str]) -> Vectors:
    """Cosine similarities (texts, texts) of the TF-IDF vectors of `texts`; range [0, 1]; higher = less diverse.

    ``tf · (ln((1 + n) / (1 + df)) + 1)`` of lower-cased words, with n texts of which df have the word: scikit-learn's
    `TfidfVectorizer` (Salton & Buckley 1988, Spärck Jones 1972) with its defaults, except for what a word is. Its
    default drops words of one letter: "I" and single digits, a Chinese word between two commas, pieces into which vowel
    signs split Indic words. Here a word is any run of letters, digits and underscores, or one emoji, kana or Han
    character; the default drops emoji, and takes a Chinese clause for one word that no other text has.

    A text without words has no direction: its row and column are NaN, the diagonal included, and the others are as
    without it. No text: shape (0, 0). One text: 1.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(token_pattern=WORD)
    analyse = vectorizer.build_analyzer()
    counted = [row for row, text in enumerate(texts) if analyse(text)]
    similarities = np.full((len(texts), len(texts)), math.nan)
    if counted:
        vectors = vectorizer.fit_transform([texts[row] for row in counted])
        vectors.sort_indices()  # products are then summed in the same order for (i, j) and (j, i)
        kernel = np.minimum((vectors @ vectors.T).toarray(), 1.0)
        np.fill_diagonal(kernel, 1.0)
        similarities[np.ix_(counted, counted)] = kernel
    return similarities


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar n outputs are to each other.

    `of_output[i]` is the mean similarity of output i to all others, `mean` their mean, which is also that of all pairs.
    A standard deviation (n − 1 in the denominator) is either that of the outputs' means (`sd_outputs`) or that of all
    pairs (`sd_pairs`), which is larger: the first averages over n − 1 others.
    """

    mean: float
    sd_outputs: float
    sd_pairs: float
    of_output: Vectors
    n: int


def summarise(similarities: Vectors) -> Similarity:
    """Mean and standard deviations of symmetric `similarities` (outputs, outputs), no output with itself.

    Outputs with NaN on the diagonal do not count, and have NaN in `of_output`; so has a single one. The mean is NaN for
    fewer than two that count, the standard deviations for fewer than three (which make three pairs).
    """
    counted = np.flatnonzero(~np.isnan(similarities.diagonal()))
    n = len(counted)
    of_output = np.full(len(similarities), math.nan)
    if n < 2:
        return Similarity(math.nan, math.nan, math.nan, of_output, n)
    kernel = similarities[np.ix_(counted, counted)]
    of_output[counted] = means = kernel[~np.eye(n, dtype=bool)].reshape(n, n - 1).mean(axis=1)
    pairs = kernel[np.triu_indices(n, 1)]
    sd_outputs, sd_pairs = (float(each.std(ddof=1)) if n > 2 else math.nan for each in (means, pairs))
    return Similarity(float(pairs.mean()), sd_outputs, sd_pairs, of_output, n)


@dataclass(frozen=True, eq=False)
class Clusters:
    """A partition of vectors into `k` clusters, with what speaks for it.

    `labels` (n,) are numbered from 0 by size, the largest first, and of equally large ones the one that occurs first.
    `k_gap` is the number that the gap statistic finds, `by_k` the mean silhouette of each k that was tried, and
    `silhouette` that of the chosen one (NaN for a single cluster). `stability` is the mean adjusted Rand index, at most
    1 and 0 for chance, between `labels` and what k-means makes of bootstrap samples (NaN for a single cluster).
    """

    labels: Labels
    k: int
    k_gap: int
    silhouette: float
    stability: float
    by_k: dict[int, float]


def find_clusters(
    vectors: NDArray, most: int = 10, seed: int = 0, references: int = 20, resamples: int = 20
) -> Clusters:
    """Clusters of `vectors` (n, d), at most `most`, by k-means on the vectors at unit length.

    The criterion: one cluster if the gap statistic says so (Tibshirani, Walther & Hastie 2001; `references` uniform
    sets in the box of the principal components; the smallest k with ``gap(k) ≥ gap(m) − s(m)``, m of the largest gap,
    as Dudoit & Fridlyand 2002 have it), else the k with the largest mean silhouette (Rousseeuw 1987; Euclidean; of
    equal ones the smallest k). Tibshirani et al. take k + 1 for m, by which 25 vectors in three tight, equally distant
    clusters are one.

    k goes up to the number of different vectors, with an infinite gap there, and stays below n. The order of vectors
    changes nothing but which of equally large clusters comes first. Identical vectors, one, or two different ones are
    one cluster, none is no cluster (k = k_gap = 0). Two different vectors with copies are two clusters, of silhouette 1
    if both have copies (what is alone in its cluster counts 0).

    Raises:
        ValueError: a vector is zero or has entries that are not finite.
    """
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    scores, group, order = _arranged(vectors)
    n, distinct = len(scores), np.unique(group).size
    limit = min(most, distinct, n - 1)
    if limit < 2:
        return Clusters(np.zeros(n, np.int64), min(n, 1), min(n, 1), math.nan, math.nan, {})
    partitions, scatter = {distinct: group}, {1: _scatter(scores)}
    for k in range(2, min(limit + 1, distinct)):
        fitted = _k_means(scores, k, seed)
        partitions[k], scatter[k] = fitted.labels_, fitted.inertia_
    scatter |= {distinct: 0.0} if limit == distinct else {}
    by_k = {k: float(silhouette_score(scores, partitions[k])) for k in range(2, limit + 1)}
    generator = np.random.default_rng(seed)
    sets = generator.uniform(scores.min(axis=0), scores.max(axis=0), (references, *scores.shape))
    k_gap = _gap_number(scores, scatter, sets, seed)
    if k_gap == 1:
        return Clusters(np.zeros(n, np.int64), 1, 1, math.nan, math.nan, by_k)
    k = max(by_k, key=lambda tried: by_k[tried])
    samples = generator.integers(n, size=(resamples, n))
    fits = (_k_means(scores[rows], min(k, np.unique(group[rows]).size), seed) for rows in samples)
    stability = float(np.mean([adjusted_rand_score(partitions[k], fit.predict(scores)) for fit in fits]))
    labels = np.empty(n, np.int64)
    labels[order] = partitions[k]
    return Clusters(_numbered(labels), k, k_gap, by_k[k], stability, by_k)


def closest(vectors: NDArray, labels: Labels) -> Labels:
    """For each cluster, in the order of its label, the row of the vector with the largest cosine to the cluster's mean.

    `vectors` (n, d) count at unit length, `labels` (n,). Of equally close ones the first. No vector: empty.

    Raises:
        ValueError: a vector is zero or has entries that are not finite.
    """
    unit = _unit(vectors)
    rows = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        nearness = unit[members] @ unit[members].mean(axis=0)
        rows.append(members[np.argmax(nearness >= nearness.max() - 1e-12)])
    return np.array(rows, dtype=np.int64)


def project(vectors: NDArray, perplexity: float = 30.0, seed: int = 0) -> Vectors:
    """A map (n, 2) of `vectors` (n, d) by t-SNE (van der Maaten & Hinton 2008), without unit.

    Euclidean distances at unit length, started from principal components, with exact gradients (reproducible; time
    grows with n²); `perplexity` is capped at (n − 1) / 3. On the map, sizes of and distances between clusters mean
    nothing. Fewer than four vectors: their first two principal components, 0 where there is none. Identical vectors: 0.

    Raises:
        ValueError: a vector is zero or has entries that are not finite.
    """
    from sklearn.manifold import TSNE

    scores, group, order = _arranged(vectors)
    n = len(scores)
    places = np.zeros((n, 2))
    if not group.any():
        return places
    flat = np.pad(scores, ((0, 0), (0, max(0, 2 - scores.shape[1]))))
    model = TSNE(init="pca", perplexity=min(perplexity, (n - 1) / 3), method="exact", random_state=seed)
    places[order] = flat[:, :2] if n < 4 else model.fit_transform(flat)
    return places


def _unit(vectors: NDArray) -> Vectors:
    points = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ValueError("vectors have to be finite and not zero")
    return np.asarray(points / lengths)


def _arranged(vectors: NDArray) -> tuple[Vectors, Labels, NDArray[np.intp]]:
    """What does not depend on the order of `vectors` (n, d): unit vectors in an order of their own.

    Returns their coordinates (n, at most n − 1) along their principal components, at the same distances; a number (n,)
    for each different vector, from 0; and the rows that they come from (n,).
    """
    points = _unit(vectors)
    if not len(points):
        return points, np.zeros(0, np.int64), np.zeros(0, np.intp)
    order = np.lexsort(points.T[::-1])
    points = points[order]
    first = (points @ points.T > 1 - SAME**2 / 2).argmax(axis=1)
    rows, group = np.unique(first, return_inverse=True)
    centre = points[first].mean(axis=0)
    axes = np.linalg.svd(points[first] - centre, full_matrices=False)[2][: max(len(points) - 1, 1)]
    # Each different vector once, so that the coordinates of copies agree to the last bit.
    return ((points[rows] - centre) @ axes.T)[group], group, order


def _k_means(points: Vectors, k: int, seed: int) -> "KMeans":
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=STARTS, random_state=seed).fit(points)


def _scatter(points: Vectors) -> float:
    return float(((points - points.mean(axis=0)) ** 2).sum())


def _gap_number(points: Vectors, scatter: Mapping[int, float], sets: Vectors, seed: int) -> int:
    """Number of clusters by the gap of `scatter`, within 1, 2, … clusters of `points`, to that of reference `sets`."""
    gaps, errors = [], []
    for k, within in scatter.items():
        logs = np.log([_scatter(each) if k == 1 else _k_means(each, k, seed).inertia_ for each in sets])
        gaps.append(logs.mean() - math.log(within) if within else math.inf)
        errors.append(logs.std() * math.sqrt(1 + 1 / len(sets)))
    best = int(np.argmax(gaps))
    return 1 + next(row for row, gap in enumerate(gaps) if row == best or gap >= gaps[best] - errors[best])


def _numbered(labels: Labels) -> Labels:
    """`labels` renumbered by size, the largest cluster first; of equally large ones, the one that occurs first."""
    _, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(sizes), np.int64)
    number[np.lexsort((first, -sizes))] = np.arange(len(sizes))
    return np.asarray(number[inverse])
