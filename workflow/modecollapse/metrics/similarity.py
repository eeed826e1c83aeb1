"""Diversity from a matrix of similarities: mean cosine of sentence vectors, Vendi score, diversity of order q."""

import math

import numpy as np

from modecollapse.metrics.lexical import mean_off_diagonal


def cosine_kernel(embeddings: np.ndarray) -> np.ndarray:
    """Cosines between all pairs of rows, shape (n, n), float64; the rows (n, d) need not have unit length.

    A row of zeros has no direction: its cosines are NaN.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = vectors / norms
    kernel = unit @ unit.T
    np.fill_diagonal(kernel, np.where(norms[:, 0] > 0, 1.0, math.nan))
    return kernel


def mean_pairwise_cosine(embeddings: np.ndarray) -> float:
    """Mean cosine of the sentence vectors (n, d) over unordered pairs; range [−1, 1]; higher = less diverse.

    Each pair once and no text with itself (a U-statistic); Reimers & Gurevych 2019 for the vectors. Corrected equals
    replica, up to the embedder. Fewer than two texts: NaN. Identical texts: 1. The empty text has a vector, too.
    """
    return mean_off_diagonal(cosine_kernel(embeddings))


def vendi(kernel: np.ndarray) -> float:
    """Vendi score: the effective number of different texts; range [1, n]; higher = more diverse.

    ``exp(−Σ λ ln λ)`` over the eigenvalues of K / n, for a positive semidefinite kernel K with unit diagonal (Friedman
    & Dieng 2023). It is bounded by the number of texts and biased downwards, so compare only at equal numbers of them.

    No text, or a kernel with undefined entries: NaN. One text or identical texts: 1. n texts with nothing in common: n.
    The replica's Jaccard kernel has zeros on its diagonal for texts without n-grams: they count as nothing.
    """
    number = len(kernel)
    if number == 0 or not np.isfinite(kernel).all():
        return math.nan
    eigenvalues = np.linalg.eigvalsh(kernel / number)
    positive = eigenvalues[eigenvalues > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def diversity_of_order(kernel: np.ndarray, q: int) -> float:
    """Similarity-sensitive diversity of order q ≥ 2: the effective number of different texts; higher = more diverse.

    ``D_q = μ^{1/(1−q)}`` with ``μ = 1/n Σ_i (1/n Σ_j K_ij)^{q−1}``, pairs i = j included (Leinster & Cobbold 2012 for n
    equally common species). μ is the mean product of the similarities of one text, drawn at random, to q − 1 others,
    drawn with replacement; a larger q looks more at what is common. Range [1, n] for similarities in [0, 1] with a
    unit diagonal. It is bounded by the number of texts, so compare only at equal numbers of them.

    One text or identical texts: 1. n texts with nothing in common: n. No text, undefined entries, or μ ≤ 0 (no text has
    any similarity, not even to itself, or negative cosines prevail): NaN.
    """
    if len(kernel) == 0 or not np.isfinite(kernel).all():
        return math.nan
    mean = float((kernel.mean(axis=1) ** (q - 1)).mean())
    return mean ** (1 / (1 - q)) if mean > 0 else math.nan
