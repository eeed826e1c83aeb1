"""The formulas of PPO for language models, as pure functions of tensors. Slow to import (torch).

Quantities per token are (rows, steps): step t of a row is the choice of its t-th answer token, and `mask` is true where
there is one, from the left. What stands elsewhere is never looked at.

References: Schulman et al. (2016), *High-dimensional continuous control using generalized advantage estimation*, "GAE";
Schulman et al. (2017), *Proximal policy optimization algorithms*, "PPO"; Ziegler et al. (2019), *Fine-tuning language
models from human preferences*, Stiennon et al. (2020), *Learning to summarize from human feedback*, and Ouyang et al.
(2022), *Training language models to follow instructions with human feedback*, on rewards per token and clipped values.
"""

import torch
from torch import Tensor


def token_rewards(scores: Tensor, log_ratios: Tensor, mask: Tensor, kl_weight: float) -> Tensor:
    """(rows, steps): −β log(π/π_ref) for every token, and the score of the answer on its last one (Stiennon, Ouyang).

    Their sum over an answer is its score minus β times `kl_of_answers`.

    Args:
        scores: (rows,).
        log_ratios: (rows, steps) of the tokens that π chose: log π − log π_ref.
        mask: (rows, steps), at least one step in every row.
        kl_weight: β.
    """
    rewards = torch.where(mask, -kl_weight * log_ratios, 0.0)
    last = mask.sum(-1, keepdim=True) - 1
    return rewards.scatter_add(-1, last, scores.to(rewards.dtype)[:, None])


def advantages_and_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimates, and the returns that values are fitted to, each (rows, steps); 0 beyond answers.

    GAE eq. 16: A_t = Σ_l (γλ)^l δ_{t+l} with δ_t = r_t + γ V_{t+1} − V_t, where nothing follows the last token
    (V = 0: an answer that is cut off at the length is over as well). Returns are A_t + V_t.
    """
    advantages = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(following)
    for step in reversed(range(rewards.shape[1])):
        inside = mask[:, step]
        delta = rewards[:, step] + gamma * next_value - values[:, step]
        following = torch.where(inside, delta + gamma * lam * following, 0.0)
        next_value = torch.where(inside, values[:, step], 0.0)
        advantages[:, step] = following
    return advantages, torch.where(mask, advantages + values, 0.0)


def normalised(advantages: Tensor, mask: Tensor) -> Tensor:
    """Advantages with mean 0 and standard deviation 1 over all tokens of the batch; 0 if all of them are equal."""
    mean = masked_mean(advantages, mask)
    deviation = masked_mean((advantages - mean) ** 2, mask).sqrt()
    return torch.where(mask, (advantages - mean) / (deviation + 1e-8), 0.0)


def policy_losses(log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """The negative clipped surrogate of every token (PPO eq. 7), and its ratio π/π_old; shapes as the arguments.

    −min(ratio · A, clamp(ratio, 1 − ε, 1 + ε) · A), with ε = `clip`.
    """
    ratios = (log_probs - old_log_probs).exp()
    return -torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages), ratios


def value_losses(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """½ max((V − R)², (V_clipped − R)²) of every token, V_clipped within `clip` of V_old (Stiennon's code).

    Without `clip`, ½ (V − R)².
    """
    squares = (values - returns) ** 2
    if clip is not None:
        clipped = torch.clamp(values, old_values - clip, old_values + clip)
        squares = torch.maximum(squares, (clipped - returns) ** 2)
    return 0.5 * squares


def kl_of_answers(log_ratios: Tensor, mask: Tensor) -> Tensor:
    """(rows,): Σ log(π/π_ref) over an answer that π sampled: an unbiased estimate of the KL, may be negative."""
    return torch.where(mask, log_ratios, 0.0).sum(-1)


def kl_of_update(log_ratios: Tensor) -> Tensor:
    """ρ − 1 − log ρ of every token that the old policy sampled, ρ = π/π_old and `log_ratios` = log ρ.

    Its mean is an estimate of KL(π_old ‖ π) per token that is unbiased and never negative (Schulman, *Approximating KL
    divergence*, 2020: k3).
    """
    return log_ratios.expm1() - log_ratios


def entropies(log_probabilities: Tensor) -> Tensor:
    """−Σ p log p in nats over the last dimension, of log-probabilities, all finite."""
    return -(log_probabilities.exp() * log_probabilities).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of `values` where `mask` is true, which must be somewhere."""
    return torch.where(mask, values, 0.0).sum() / mask.sum()


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> Tensor:
    """1 − Var(R − V) / Var(R) over the tokens of the batch: 1 for a perfect critic, 0 for a constant one.

    0 where all returns are equal.
    """
    kept_returns, errors = returns[mask], (returns - values)[mask]
    variance = kept_returns.var(correction=0)
    if variance == 0:
        return torch.zeros_like(variance)
    return 1 - errors.var(correction=0) / variance
