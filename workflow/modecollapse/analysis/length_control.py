"""Win rates as they would be between answers of equal length.

The model is that of Dubois et al. (2024), "Length-Controlled AlpacaEval", without its term for the difficulty of
instructions, which is estimated from many models there: logit P(win) = θ + φ · tanh(Δ / s), with Δ the difference of
the two answers' lengths and s its root mean square. The win rate at Δ = 0 is σ(θ). A tie is half a win and half a loss.

It adjusts for what a linear predictor can tell from the difference alone, and supposes that the preference for length
is the same for all prompts and that lengths have no cause in common with quality; where one stage's answers are all
longer than the other's, it extrapolates, and where they are longer by the same, it is the plain rate. A normal prior of
standard deviation 1 / √`PENALTY` on φ keeps it finite where length and verdict can be separated, and θ is kept within
±`_LARGEST`.
"""

import numpy as np

from modecollapse.analysis.variance import Array

PENALTY = 1.0
_LARGEST = 30.0
_STEPS = 100
_CLOSE = 1e-10


def length_features(differences: Array) -> Array:
    """tanh(Δ / s) of differences of lengths (pairs,), s their root mean square; zeros if all are 0."""
    scale = float(np.sqrt(np.mean(differences**2))) if len(differences) else 0.0
    features: Array = np.tanh(differences / scale) if scale > 0 else np.zeros(len(differences))
    return features


def controlled_rates(wins: Array, features: Array, weights: Array) -> Array:
    """The win rate at equal length for every row of weights: (rows,); NaN for one without any weight.

    Newton's method with steps that are halved until the penalised likelihood rises.

    Args:
        wins: 1, ½ or 0 for each pair, (pairs,).
        features: `length_features`, (pairs,).
        weights: how often each pair counts, (rows, pairs).
    """
    theta, phi = np.zeros((2, len(weights)))
    value = _likelihood(theta, phi, wins, features, weights)
    moving = np.arange(len(weights))
    for _ in range(_STEPS):
        of = weights[moving]
        p = _sigmoid(theta[moving, None] + phi[moving, None] * features)
        curvature = of * p * (1 - p)
        gradient = np.stack([(of * (wins - p)).sum(1), (of * (wins - p) * features).sum(1) - PENALTY * phi[moving]])
        # A trace of ridge: with all verdicts alike the likelihood of θ alone has no curvature left.
        a, b, d = curvature.sum(1) + 1e-9, (curvature * features).sum(1), (curvature * features**2).sum(1) + PENALTY
        determinant = a * d - b * b
        steps = np.stack([d * gradient[0] - b * gradient[1], a * gradient[1] - b * gradient[0]]) / determinant
        size = np.ones(len(moving))
        for _ in range(30):
            new_theta = np.clip(theta[moving] + size * steps[0], -_LARGEST, _LARGEST)
            new_phi = phi[moving] + size * steps[1]
            new = _likelihood(new_theta, new_phi, wins, features, of)
            worse = new < value[moving] - 1e-12
            if not worse.any():
                break
            size = np.where(worse, size / 2, size)
        change = np.maximum(np.abs(new_theta - theta[moving]), np.abs(new_phi - phi[moving]))
        theta[moving], phi[moving], value[moving] = new_theta, new_phi, new
        moving = moving[change > _CLOSE]
        if not len(moving):
            break
    return np.where(weights.sum(1) > 0, _sigmoid(theta), np.nan)


def _likelihood(theta: Array, phi: Array, wins: Array, features: Array, weights: Array) -> Array:
    """The penalised log-likelihood, (rows,)."""
    logits = theta[:, None] + phi[:, None] * features
    value: Array = (weights * (wins * logits - np.logaddexp(0.0, logits))).sum(1) - PENALTY / 2 * phi**2
    return value


def _sigmoid(logits: Array) -> Array:
    probabilities: Array = 1 / (1 + np.exp(-np.clip(logits, -_LARGEST * 2, _LARGEST * 2)))
    return probabilities
