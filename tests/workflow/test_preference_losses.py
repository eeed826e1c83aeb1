"""The losses of preference tuning, on fixed log-probabilities, against their published formulas in float64.

The trainer is the one that a method builds from its settings, so what is tested is also what the library is told.
"""

import math
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import Trainer

from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.answer_head import AnswerScores
from modecollapse.methods.dpo import LossType
from modecollapse.methods.unpaired import mismatched

CHOSEN = [[-0.5, -1.2, -0.3], [-2.0, -0.1], [-0.7, -0.9, -0.4, -1.1, -0.2], [-3.0, -0.6, -0.8]]
REJECTED = [[-0.9, -0.2], [-1.5, -1.0, -0.3, -0.2], [-0.1, -0.6], [-0.4, -0.5, -2.2, -1.3, -0.7]]
"""Log-probabilities of the tokens of four pairs of answers."""
REFERENCE = np.array([[-2.4, -1.7, -3.6, -4.0], [-0.8, -3.6, -0.9, -4.1]])
"""What the reference gives to the answers, chosen and rejected."""
PROMPT, LENGTH = 2, 8

LOGPS = np.array([[sum(tokens) for tokens in answers] for answers in (CHOSEN, REJECTED)])
TOKENS = np.array([[len(tokens) for tokens in answers] for answers in (CHOSEN, REJECTED)])
RATIOS = LOGPS - REFERENCE
BETA, EPSILON = 0.7, 0.2


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(values, dtype=np.float64)))


def _log_odds(logps: Any) -> Any:
    return np.log(np.exp(logps) / (1 - np.exp(logps)))


H = BETA * (RATIOS[0] - RATIOS[1])
W, L = BETA * RATIOS
MEANS = RATIOS / TOKENS
LIKELIHOOD = -sum(map(sum, CHOSEN)) / TOKENS[0].sum()
PUBLISHED: dict[str, Any] = {
    # Rafailov et al. (2023), 7.
    "sigmoid": -np.log(_sigmoid(H)),
    # Zhao et al. (2023), as Liu et al. (2024) have it, with margin 1.
    "hinge": np.maximum(0, 1 - H),
    # Azar et al. (2024), 17, of means over tokens.
    "ipo": (MEANS[0] - MEANS[1] - 1 / (2 * BETA)) ** 2,
    # Ji et al. (2024), 16: the KL divergence of (σ(h), σ(−h)) from (1 − ε, ε).
    "exo_pair": _sigmoid(H) * np.log(_sigmoid(H) / (1 - EPSILON)) + _sigmoid(-H) * np.log(_sigmoid(-H) / EPSILON),
    # Chen et al. (2024), NCA of two answers.
    "nca_pair": -np.log(_sigmoid(W)) - 0.5 * (np.log(_sigmoid(-W)) + np.log(_sigmoid(-L))),
    # Chowdhury et al. (2024), 12: unbiased under flipped labels.
    "robust": -((1 - EPSILON) * np.log(_sigmoid(H)) - EPSILON * np.log(_sigmoid(-H))) / (1 - 2 * EPSILON),
    # Jung et al. (2024), without the shift of the reward.
    "bco_pair": -np.log(_sigmoid(W)) - np.log(_sigmoid(-L)),
    # Wu et al. (2024), 4.7, with probabilities of 1 and 0, and η = 1 / β.
    "sppo_hard": (RATIOS[0] - 0.5 / BETA) ** 2 + (RATIOS[1] + 0.5 / BETA) ** 2,
    # Melnyk et al. (2024): quantiles of the batch against each other.
    "aot": -np.log(_sigmoid(BETA * (np.sort(LOGPS[0] - LOGPS[1]) - np.sort(REFERENCE[0] - REFERENCE[1])))),
    "aot_unpaired": -np.log(_sigmoid(np.sort(W) - np.sort(L))),
    # D'Oosterlinck et al. (2024), 7 and 8.
    "apo_zero": 1 - _sigmoid(W) + _sigmoid(L),
    "apo_down": _sigmoid(W) + 1 - _sigmoid(W - L),
    # Lu et al. (2024), 5, with τ = 0.05.
    "discopop": (1 - _sigmoid(H / 0.05)) * -np.log(_sigmoid(H)) + _sigmoid(H / 0.05) * np.exp(-H),
    # Length-normalised DPO: the reference's log-probability is divided as the policy's is.
    "sigmoid_norm": -np.log(_sigmoid(BETA * (MEANS[0] - MEANS[1]))),
}
SIMPO = -np.log(_sigmoid(2.5 * (LOGPS[0] / TOKENS[0] - LOGPS[1] / TOKENS[1]) - 0.6))
ODDS = _log_odds(LOGPS[0] / TOKENS[0]) - _log_odds(LOGPS[1] / TOKENS[1])
CASES: dict[str, tuple[str, dict[str, Any], Any]] = {
    **{name: ("dpo", {"loss_type": name, "beta": BETA}, values) for name, values in PUBLISHED.items()},
    "dpo with likelihood": ("dpo", {"beta": BETA, "sft_weight": 0.2}, PUBLISHED["sigmoid"] + 0.2 * LIKELIHOOD),
    "ipo of means": ("ipo", {"tau": BETA}, PUBLISHED["ipo"]),
    "ipo of sums": ("ipo", {"tau": BETA, "per_token": False}, (RATIOS[0] - RATIOS[1] - 1 / (2 * BETA)) ** 2),
    "simpo": ("simpo", {"beta": 2.5, "gamma": 0.6}, SIMPO),
    "simpo with likelihood": (
        "simpo",
        {"beta": 2.5, "gamma": 0.6, "sft_weight": 0.3},
        SIMPO + 0.3 * LIKELIHOOD,
    ),
    "orpo": ("orpo", {"odds_weight": 0.25}, LIKELIHOOD - 0.25 * np.log(_sigmoid(ODDS))),
}


class _Built(Exception):
    """Instead of training."""


@pytest.fixture
def build(toy, tmp_path, monkeypatch):
    """The trainer that a method builds from settings."""

    def train(trainer: Trainer, **_: Any) -> None:
        raise _Built(trainer)

    def built(method: str, settings: dict[str, Any]) -> Any:
        monkeypatch.setattr(Trainer, "train", train)
        with pytest.raises(_Built) as caught:
            METHODS[method].run(toy.job(method, tmp_path, settings))
        trainer = caught.value.args[0]
        trainer.model.train()
        return trainer

    return built


def _scores(answers: list[list[float]]) -> AnswerScores:
    """What a model gives that has exactly these log-probabilities."""
    logps = torch.zeros(len(answers), LENGTH - 1)
    for row, tokens in enumerate(answers):
        logps[row, PROMPT - 1 : PROMPT - 1 + len(tokens)] = torch.tensor(tokens)
    return AnswerScores(log_probs=logps, entropy=-logps, mean_logits=logps, is_top1=logps < -1)


def _inputs(answers: list[list[float]]) -> dict[str, torch.Tensor]:
    places = torch.arange(LENGTH).expand(len(answers), LENGTH)
    ends = PROMPT + torch.tensor([[len(tokens)] for tokens in answers])
    return {
        "input_ids": torch.ones(len(answers), LENGTH, dtype=torch.long),
        "attention_mask": (places < ends).long(),
        "completion_mask": ((places >= PROMPT) & (places < ends)).long(),
    }


@pytest.mark.parametrize("case", CASES)
def test_a_loss_is_that_of_its_publication(case, build):
    method, settings, expected = CASES[case]
    smoothing = {"label_smoothing": EPSILON} if settings.get("loss_type") in ("robust", "exo_pair") else {}
    trainer = build(method, {**settings, **smoothing})
    inputs = _inputs(CHOSEN + REJECTED)
    if METHODS[method].needs_reference:
        inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), torch.tensor(REFERENCE).float(), strict=True))
    loss = trainer._compute_loss(lambda **_: _scores(CHOSEN + REJECTED), inputs, False)
    assert loss.item() == pytest.approx(float(np.mean(expected)), rel=1e-5)


@pytest.mark.parametrize("divergence", [1.3, -0.4])
def test_kto_weighs_gains_and_losses_from_the_divergence_of_other_answers(divergence, build):
    trainer = build("kto", {"beta": BETA, "desirable_weight": 1.5, "undesirable_weight": 0.5})
    answers, logps = [*CHOSEN, *REJECTED], torch.tensor(REFERENCE).float().flatten()
    other = {f"KL_{name}": values for name, values in _inputs(answers).items()}
    label = torch.tensor([True] * 4 + [False] * 4)
    inputs = {**_inputs(answers), **other, "label": label, "ref_logps": logps, "ref_KL_logps": logps}
    # Ethayarajh et al. (2024), 8, where z0 is no less than 0.
    trainer._divergence = torch.tensor(divergence)
    z0 = max(0.0, divergence)
    desirable, undesirable = 1.5 * (1 - _sigmoid(W - BETA * z0)), 0.5 * (1 - _sigmoid(BETA * z0 - L))
    trainer.state.global_step = 1
    loss = trainer._compute_loss(lambda **_: _scores(answers), inputs, False)
    assert loss.item() == pytest.approx(np.mean([*desirable, *undesirable]), rel=1e-5)


def test_a_prompt_never_meets_its_own_answers_and_every_answer_is_met_once():
    pairs = {"prompt_ids": [[n] for n in range(5)]}
    pairs |= {f"{name}_ids": [[n, 9, 9] for n in range(5)] for name in ("chosen", "rejected")}
    others = mismatched(pairs, seed=3, max_length=3)
    met = [ids[0] for ids in others["chosen_ids"]]
    assert sorted(met) == list(range(5))
    assert all(prompt != [answer] for prompt, answer in zip(pairs["prompt_ids"], met, strict=True))
    assert [len(ids) for ids in others["rejected_ids"]] == [2] * 5, "what does not fit is cut off"
    assert others != mismatched(pairs, seed=4, max_length=3)
    with pytest.raises(StudyError, match="the data has 1 pair"):
        mismatched({name: values[:1] for name, values in pairs.items()}, seed=3, max_length=3)


def test_the_losses_that_are_tested_are_all_that_there_are():
    assert set(get_args(LossType)) == PUBLISHED.keys()


def test_an_answer_that_is_certain_has_finite_odds_and_gradients(build):
    trainer = build("orpo", {})
    means = torch.tensor([0.0, -1e-9, -20.0], requires_grad=True)
    ones = torch.ones(3)
    losses, *_ = trainer.loss(means, torch.tensor([-1.0, 0.0, 0.0]), ones, ones)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert means.grad is not None
    assert means.grad.isfinite().all()
    assert losses[2].item() == pytest.approx(0.1 * (20 - math.log(1e-6)), rel=1e-2)
