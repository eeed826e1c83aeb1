"""One-sided confidence bounds of a mean paired difference, and the verdict that follows from them and a margin.

Values of documents are right or wrong, or numbers. Of one training run's right and wrong answers the bound is that of
Tango's (1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
design") score test, with Edwards' (1948) correction for continuity, one document: all discordant documents may have
fallen, so a bound from the estimated variance would be wrong just where it matters, and Tango's alone errs on the side
of passing by up to a fifth of the error that is allowed. With the correction the probability that a candidate which
is worse by exactly the margin passes is at most what is stated, whatever the share of documents that rise (enumerated
for 10 to 600 documents and errors of 0.005 to 0.2 in `tests/unit/test_analysis_noninferiority.py`, in part).

Of several training runs the share of documents that fell and that rose is the mean over runs, and their number the one
that gives the variance at hand (Korn and Graubard 1998) in the two-way layout of seeds and documents, with the
quantile of Student's t. Numbers, such as log-likelihoods, have the bound of Student's t.
"""

from enum import StrEnum

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from modecollapse.analysis.variance import Array, spread_of_mean


class Verdict(StrEnum):
    """What the bounds of a difference, positive where the candidate is better, say of a margin."""

    PASSES = "passes"
    """The lower bound is above −margin: that the candidate is worse by the margin or more is refuted."""
    FAILS = "fails"
    """The upper bound is below −margin: that it is worse by the margin at most is refuted."""
    UNDECIDED = "undecided"
    """Neither is."""


def verdict(low: float, high: float, margin: float) -> Verdict:
    """The verdict of one-sided bounds; `undecided` where they are NaN."""
    if low > -margin:
        return Verdict.PASSES
    return Verdict.FAILS if high < -margin else Verdict.UNDECIDED


def bounds(candidate: Array, reference: Array, low: float, high: float) -> tuple[float, float]:
    """One-sided bounds of the mean of candidate − reference.

    Args:
        candidate: its values, [seeds, documents], NaN where a document was not answered.
        reference: those of the reference, of the same seeds and documents.
        low: confidence of the lower bound.
        high: confidence of the upper bound.

    Returns:
        The lower and the upper bound; NaN with fewer than two documents, or with one value only of each seed.
    """
    differences = candidate - reference
    defined = ~np.isnan(differences)
    documents = int(defined.any(axis=0).sum())
    if documents < 2:
        return np.nan, np.nan
    spread = spread_of_mean(differences[None])
    variance, degrees = float(spread.variance[0]), float(spread.degrees[0])
    single = defined.any(axis=1).sum() == 1
    pairs = np.stack([candidate[defined], reference[defined]])
    if np.isin(pairs, (0.0, 1.0)).all():
        rose, fell = float((differences[defined] > 0).mean()), float((differences[defined] < 0).mean())
        of_one = rose + fell - (rose - fell) ** 2
        number = float(documents)
        if not single and variance > 0:
            number = min(of_one / variance, float(defined.sum()))
        degrees = np.nan if single or variance <= 0 else degrees
        below = score_bound(fell * number, rose * number, number, _quantile(low, degrees))
        above = -score_bound(rose * number, fell * number, number, _quantile(high, degrees))
        return below, above
    mean, error = float(differences[defined].mean()), float(np.sqrt(max(variance, 0.0)))
    if error == 0:  # the same difference of every document: nothing else was ever seen
        return mean, mean
    return mean - _quantile(low, degrees) * error, mean + _quantile(high, degrees) * error


def score_bound(fell: float, rose: float, documents: float, quantile: float) -> float:
    """Lower bound of the difference of two paired shares: the least that the corrected score test does not refute.

    Args:
        fell: documents that only the reference got right; may be an effective number, as the others.
        rose: documents that only the candidate got right.
        documents: all of them.
        quantile: of the standard normal distribution, or of Student's t.
    """
    largest = (rose - fell - 1) / documents
    if largest <= -1:
        return -1.0

    def excess(difference: float) -> float:
        # Given the difference, the most likely probability of a fall solves 2n·p² + b·p + c = 0.
        b = (2 * documents - rose + fell) * difference - rose - fell
        c = -fell * difference * (1 - difference)
        falls = (np.sqrt(max(b * b - 8 * documents * c, 0.0)) - b) / (4 * documents)
        variance = documents * (2 * falls + difference * (1 - difference))
        return float(rose - fell - documents * difference - 1 - quantile * np.sqrt(max(variance, 0.0)))

    return float(brentq(excess, -1.0, largest, xtol=1e-12)) if excess(-1.0) > 0 else -1.0


def _quantile(confidence: float, degrees: float) -> float:
    return float(stdtrit(degrees, confidence)) if np.isfinite(degrees) else float(ndtri(confidence))
