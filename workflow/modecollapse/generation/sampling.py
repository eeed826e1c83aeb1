"""From logits to tokens: temperature, top-k, top-p, then the inverse of the cumulative distribution."""

import torch
from torch import Tensor

# Probabilities are summed as integers, in units of 2^-61: integer sums are exact in every order, so that no rounding
# can put the threshold on a token of probability zero, and a parallel scan gives the same bits as a sequential one.
_UNITS = 2.0**61


def draw(logits: Tensor, temperature: float, top_k: int, top_p: float, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """One token per row by inverse CDF.

    Args:
        logits: (rows, vocabulary), any float type; worked on in float32.
        temperature: > 0; applied first, then `top_k` (0 = off), then `top_p` (1 = off) on what `top_k` left.
        uniforms: (rows,) float64 in [0, 1).

    Returns:
        Tokens (rows,) int64, and their log-probabilities (rows,) float32 in nats under the distribution drawn from.
        A row with a logit that is not a number has a log-probability that is not a number.
    """
    logits = logits.float()
    # The maximum goes first: a small temperature would otherwise overflow to infinity.
    scaled = (logits - logits.amax(-1, keepdim=True)) / temperature
    if 0 < top_k < scaled.shape[-1]:
        threshold = scaled.topk(top_k, dim=-1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < threshold, -torch.inf)
    if top_p < 1:
        scaled = scaled.masked_fill(_outside_nucleus(scaled, top_p), -torch.inf)
    probabilities = scaled.softmax(-1)
    cumulative = _units(probabilities).cumsum(-1)
    total = cumulative[:, -1:]
    # The product is rounded to 53 bits and could reach the total, which no token's interval contains.
    threshold = torch.minimum((uniforms.unsqueeze(-1) * total).to(torch.int64), total - 1)
    tokens = torch.searchsorted(cumulative, threshold, right=True)
    tokens = tokens.clamp_(max=scaled.shape[-1] - 1)  # matters only where a logit was not a number
    return tokens.squeeze(-1), probabilities.gather(-1, tokens).squeeze(-1).log()


def _units(probabilities: Tensor) -> Tensor:
    return (probabilities * _UNITS).to(torch.int64)


def _outside_nucleus(scaled: Tensor, top_p: float) -> Tensor:
    """Mask of the tokens before which, in order of falling probability, there is already `top_p` of the mass."""
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    units = _units(ordered.softmax(-1))
    cumulative = units.cumsum(-1)
    outside = (cumulative - units).double() >= top_p * cumulative[:, -1:].double()
    return torch.empty_like(outside).scatter_(-1, order, outside)
