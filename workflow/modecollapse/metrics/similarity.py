"""Diversity from a matrix of similarities: mean cosine of sentence vectors, Vendi score."""

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
