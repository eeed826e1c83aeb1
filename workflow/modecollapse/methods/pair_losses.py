"""Losses of pairs of answers, as functions of their log-probabilities (Azar, Meng, Hong and their colleagues, 2024).

All arguments and results are tensors of shape (pairs,): `chosen` and `rejected` are log-probabilities of answers, in
nats, or differences of them, and `…_tokens` the numbers of their tokens, end-of-text included. Slow to import (torch).
"""

from collections.abc import Callable

import torch
from torch.nn import functional

Losses = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""The loss of each pair, and what the method calls the reward of its chosen and its rejected answer."""
PairLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Losses]
"""(chosen, rejected, chosen_tokens, rejected_tokens) → `Losses`."""

_MOST_CERTAIN = -1e-6
"""Mean log-probability per token above which odds are those of this one: those of a certain answer are infinite."""


def ipo(tau: float, per_token: bool) -> PairLoss:
    """(h − 1/(2τ))² with h the difference of log-ratios to the reference (Azar et al., 2024, equation 17).

    `per_token` divides each log-ratio by the answer's tokens. Takes log-ratios, not log-probabilities.
    """

    def losses(
        chosen: torch.Tensor, rejected: torch.Tensor, chosen_tokens: torch.Tensor, rejected_tokens: torch.Tensor
    ) -> Losses:
        rewards = tau * chosen, tau * rejected
        if per_token:
            chosen, rejected = chosen / chosen_tokens, rejected / rejected_tokens
        return ((chosen - rejected - 1 / (2 * tau)) ** 2, *rewards)

    return losses


def simpo(beta: float, gamma: float) -> PairLoss:
    """−log σ(r(chosen) − r(rejected) − γ) with r the mean log-probability per token times β (Meng et al., 2024)."""

    def losses(
        chosen: torch.Tensor, rejected: torch.Tensor, chosen_tokens: torch.Tensor, rejected_tokens: torch.Tensor
    ) -> Losses:
        rewards = beta * chosen / chosen_tokens, beta * rejected / rejected_tokens
        return (-functional.logsigmoid(rewards[0] - rewards[1] - gamma), *rewards)

    return losses


def odds_ratio(weight: float) -> PairLoss:
    """−λ log σ(log odds(chosen) − log odds(rejected)), of the mean log-probabilities (Hong et al., 2024, equation 7).

    The rewards are λ times the mean log-probability per token.
    """

    def losses(
        chosen: torch.Tensor, rejected: torch.Tensor, chosen_tokens: torch.Tensor, rejected_tokens: torch.Tensor
    ) -> Losses:
        means = chosen / chosen_tokens, rejected / rejected_tokens
        log_odds = _log_odds(means[0]) - _log_odds(means[1])
        return (-weight * functional.logsigmoid(log_odds), weight * means[0], weight * means[1])

    return losses


def _log_odds(log_probability: torch.Tensor) -> torch.Tensor:
    """log(p / (1 − p)), by the branch that is exact in floating point."""
    bounded = log_probability.clamp(max=_MOST_CERTAIN)
    near = bounded > -0.6931
    # Each branch gets values that are harmless in it, as gradients flow through both.
    likely = torch.log(-torch.expm1(torch.where(near, bounded, -0.5)))
    unlikely = torch.log1p(-torch.exp(torch.where(near, -1.0, bounded)))
    return bounded - torch.where(near, likely, unlikely)
