"""The formulas of PPO against values worked out by hand."""

import math

import pytest
import torch

from modecollapse.methods.ppo_losses import (
    advantages_and_returns,
    entropies,
    explained_variance,
    kl_of_answers,
    kl_of_update,
    masked_mean,
    normalised,
    policy_losses,
    token_rewards,
    value_losses,
)

NAN = math.nan
MASK = torch.tensor([[True, True, True], [True, True, False]])
REWARDS = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, NAN]])
VALUES = torch.tensor([[0.5, 0.4, 0.3], [0.5, 0.4, NAN]])


def close(found: torch.Tensor, expected: list, tolerance: float = 1e-6) -> bool:
    return torch.allclose(found, torch.tensor(expected), rtol=0, atol=tolerance)


def test_advantages_are_those_of_a_calculation_by_hand_and_padding_is_never_looked_at() -> None:
    advantages, returns = advantages_and_returns(REWARDS, VALUES, MASK, gamma=0.9, lam=0.8)
    # Row 1: δ = 1 + .9·.4 − .5 = .86, 2 + .9·.3 − .4 = 1.87, 3 − .3 = 2.7; γλ = .72: 1.87 + .72·2.7 = 3.814 and
    # .86 + .72·3.814 = 3.60608. Row 2 ends a token sooner: 2 − .4 = 1.6 and .86 + .72·1.6 = 2.012.
    assert close(advantages, [[3.60608, 3.814, 2.7], [2.012, 1.6, 0.0]])
    assert close(returns, [[4.10608, 4.214, 3.0], [2.512, 2.0, 0.0]])


def test_with_lambda_1_returns_are_the_discounted_rewards_to_come_and_with_0_they_bootstrap_one_step() -> None:
    _, returns = advantages_and_returns(REWARDS, VALUES, MASK, gamma=0.5, lam=1.0)
    assert close(returns, [[1 + 0.5 * 2 + 0.25 * 3, 2 + 0.5 * 3, 3.0], [2.0, 2.0, 0.0]])
    _, returns = advantages_and_returns(REWARDS, VALUES, MASK, gamma=0.5, lam=0.0)
    assert close(returns, [[1 + 0.5 * 0.4, 2 + 0.5 * 0.3, 3.0], [1.2, 2.0, 0.0]])


def test_the_score_is_paid_on_an_answer_s_last_token_and_the_kl_on_all_of_them() -> None:
    log_ratios = torch.tensor([[0.1, -0.2, 0.3], [0.4, 0.5, NAN]])
    scores = torch.tensor([2.0, -1.0])
    rewards = token_rewards(scores, log_ratios, MASK, kl_weight=0.5)
    assert close(rewards, [[-0.05, 0.1, 1.85], [-0.2, -1.25, 0.0]])
    kl = kl_of_answers(log_ratios, MASK)
    assert close(kl, [0.2, 0.9])
    assert close(rewards.sum(-1) - (scores - 0.5 * kl), [0.0, 0.0])


def test_normalised_advantages_have_mean_0_and_deviation_1_over_the_tokens_of_the_batch() -> None:
    advantages = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, NAN]])  # mean 3, variance 2
    expected = [[-2 / 2**0.5, -1 / 2**0.5, 0.0], [1 / 2**0.5, 2 / 2**0.5, 0.0]]
    assert close(normalised(advantages, MASK), expected)
    assert close(normalised(torch.full((1, 2), 7.0), torch.tensor([[True, True]])), [[0.0, 0.0]])
    assert close(normalised(torch.tensor([[7.0, NAN]]), torch.tensor([[True, False]])), [[0.0, 0.0]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.5, 2.0, -2.4, 0.0),  # clipped at 1.2: nothing more is earned
        (1.5, -2.0, 3.0, 3.0),  # not clipped: it can only get better
        (0.5, 2.0, -1.0, -1.0),
        (0.5, -2.0, 1.6, 0.0),
    ],
)
def test_the_surrogate_is_clipped_where_a_further_change_would_pay(ratio, advantage, loss, slope) -> None:
    old = torch.tensor(-1.5)
    log_prob = (old + math.log(ratio)).requires_grad_()
    losses, ratios = policy_losses(log_prob, old, torch.tensor(advantage), clip=0.2)
    losses.backward()
    assert losses.item() == pytest.approx(loss)
    assert ratios.item() == pytest.approx(ratio)
    assert log_prob.grad is not None
    assert log_prob.grad.item() == pytest.approx(slope)


@pytest.mark.parametrize(
    ("value", "target", "loss", "slope"),
    [
        (1.1, 2.0, 0.5 * 0.9**2, -0.9),  # within the clip
        (1.5, 2.0, 0.5 * 0.8**2, 0.0),  # clipped at 1.2, which is further away: no gradient
        (1.5, 0.0, 0.5 * 1.5**2, 1.5),  # the clipped one is nearer: the larger loss counts
    ],
)
def test_a_value_far_from_the_old_one_counts_as_if_it_had_moved_no_further_than_the_clip(value, target, loss, slope):
    values = torch.tensor(value, requires_grad=True)
    found = value_losses(values, torch.tensor(1.0), torch.tensor(target), clip=0.2)
    found.backward()
    assert found.item() == pytest.approx(loss)
    assert values.grad is not None
    assert values.grad.item() == pytest.approx(slope, abs=1e-6)
    free = value_losses(values.detach(), torch.tensor(1.0), torch.tensor(target), clip=None)
    assert free.item() == pytest.approx(0.5 * (value - target) ** 2)


def test_the_kl_of_an_update_is_never_negative_and_its_expectation_is_the_kl() -> None:
    assert kl_of_update(torch.tensor(math.log(2))).item() == pytest.approx(1 - math.log(2))
    old, new = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.2, 0.6])
    each = kl_of_update((new / old).log())
    assert (each >= 0).all()
    assert (old * each).sum().item() == pytest.approx((old * (old / new).log()).sum().item(), rel=1e-5)


def test_entropy_is_in_nats_and_has_a_gradient_where_a_probability_underflows() -> None:
    assert entropies(torch.zeros(2, 8).log_softmax(-1)).tolist() == pytest.approx([math.log(8)] * 2)
    logits = torch.tensor([0.0, -500.0], requires_grad=True)
    entropy = entropies(logits.log_softmax(-1))
    entropy.backward()
    assert entropy.item() == 0
    assert logits.grad is not None
    assert logits.grad.tolist() == [0, 0]


def test_explained_variance_is_1_for_a_perfect_critic_0_for_a_constant_one_and_0_where_nothing_varies() -> None:
    returns = torch.tensor([[1.0, 3.0, 5.0], [7.0, 4.0, NAN]])
    assert explained_variance(returns, returns, MASK).item() == 1
    assert explained_variance(torch.full((2, 3), 9.0), returns, MASK).item() == 0
    # Returns have mean 4 and variance 4; errors −1, 1, −1, 1, 0 have variance .8.
    errors = torch.tensor([[-1.0, 1.0, -1.0], [1.0, 0.0, 0.0]])
    assert explained_variance(returns - errors, returns, MASK).item() == pytest.approx(0.8)
    assert explained_variance(returns, torch.ones(2, 3), MASK).item() == 0
    assert masked_mean(returns, MASK).item() == 4
