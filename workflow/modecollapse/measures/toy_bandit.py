"""A bandit with few answers, whose logits get the advantages of what was sampled: what a KL penalty is good for.

The example of Mohammadi (2024), "Creativity Has Left the Chat: The Price of Debiasing Language Models", Table 1. Of the
answer that is sampled the logit grows by its advantage, and the value, which the next advantage is measured from,
becomes this answer's reward. Each change of answer adds to the better one again, so its probability goes to 1, however
small the difference of rewards is. With the penalty the reward of an answer falls as its probability grows, and the
policy ends where all answers have the same reward: at the reference tilted by exp(reward / weight).

The table has two misprints. After its fourth update, the probability is 0.90, σ(2.2), and not 0.93; and the reward of
the other answer, which the text and the advantages have as 0.4, is printed as 0.8.
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from modecollapse.schema import Strict

Array = NDArray[np.float64]

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("part", "answer", "sampled")),
        *((name, pa.float64()) for name in ("kl_weight", "reward", "advantage", "baseline", "value", "low", "high")),
        *((name, pa.float64()) for name in ("limit", "printed")),
        *((name, pa.int64()) for name in ("update", "n_runs")),
    ]
)
"""One row per answer after each update. `part` is "example", the given updates with their reward, advantage and value
(`baseline`) and, for the paper's own example, the probability that it prints; or "simulation", sampled answers: mean
and central 90 % of `value` over runs, and its limit. `value` is the answer's probability."""

EXAMPLE, SIMULATION = "example", "simulation"

_REWARDS = {"Jeepiti": 1.0, "Chats and Giggles": 0.4}
_UPDATES = ("Jeepiti", "Chats and Giggles", "Chats and Giggles", "Jeepiti")
_PRINTED = {"Jeepiti": (0.5, 0.73, 0.83, 0.83, 0.93), "Chats and Giggles": (0.5, 0.27, 0.17, 0.17, 0.07)}
"""Table 1 of the paper, misprint included."""

_TAIL = 0.05


class ToyBanditSettings(Strict):
    """Policy updates that add an answer's advantage to its logit, without and with a KL penalty: the CR paper's
    Table 1, and where it leads. It is about no stage."""

    rewards: Annotated[dict[str, float], Field(min_length=2)] = _REWARDS
    """Answers and their rewards; at first all are equally likely."""
    updates: tuple[str, ...] = _UPDATES
    """The answers that are sampled in the worked example, in order."""
    kl_weights: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1)] = (
        0.3,
        0.6,
        1.0,
    )
    """Weights of the KL penalty that are simulated, beside none."""
    simulated_updates: int = Field(400, ge=1)
    """Updates of a simulated run, each with one sampled answer."""
    runs: int = Field(1000, ge=2)
    """Simulated runs."""
    seed: int = Field(0, ge=0)
    """Seed of the sampled answers; runs of different weights see the same random numbers."""

    @model_validator(mode="after")
    def _known(self) -> "ToyBanditSettings":
        if not np.isfinite(list(self.rewards.values())).all():
            raise ValueError("`rewards` must be finite numbers")
        if unknown := sorted(set(self.updates) - self.rewards.keys()):
            raise ValueError(f"`updates` names {', '.join(unknown)}. Allowed: {', '.join(self.rewards)}")
        return self


def toy_bandit(settings: ToyBanditSettings) -> pa.Table:
    """The worked example and the simulation, a table of `SCHEMA`."""
    simulated = (row for weight in (0.0, *settings.kl_weights) for row in _simulated(settings, weight))
    return pa.Table.from_pylist([*_example(settings), *simulated], SCHEMA)


def run(rewards: Array, kl_weight: float, draws: Array) -> Iterator[Array]:
    """The probabilities of the answers [runs, answers], first before any update and then after each.

    Args:
        rewards: [answers].
        kl_weight: of the penalty: an answer's reward is less by this times the logarithm of how much more likely it
            is than at first.
        draws: uniform random numbers, [updates, runs]: which answer is sampled.
    """
    runs = np.arange(draws.shape[1])
    logits, value = np.zeros((len(runs), len(rewards))), np.zeros(len(runs))
    yield np.exp(_log_softmax(logits))
    for drawn in draws:
        log_probability = _log_softmax(logits)
        sampled = (drawn[:, None] >= np.exp(log_probability).cumsum(axis=1)[:, :-1]).sum(axis=1)
        reward = rewards[sampled] - kl_weight * (log_probability[runs, sampled] + np.log(len(rewards)))
        logits[runs, sampled] += reward - value
        value = reward
        yield np.exp(_log_softmax(logits))


def limit(rewards: Array, kl_weight: float) -> Array:
    """Where the probabilities go: to the reference, tilted by exp(reward / weight); without a penalty to the best.

    NaN without a penalty if several answers are best: chance decides between them.
    """
    if kl_weight:
        return np.exp(_log_softmax(rewards / kl_weight))
    best = rewards == rewards.max()
    return np.where(best.sum() == 1, best, np.nan)


def _log_softmax(logits: Array) -> Array:
    return np.asarray(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))


def _example(settings: ToyBanditSettings) -> Iterator[dict[str, object]]:
    answers = list(settings.rewards)
    logits, value = np.zeros(len(answers)), 0.0
    of_paper = (settings.rewards, settings.updates) == (_REWARDS, _UPDATES)
    for update, sampled in enumerate(("", *settings.updates)):
        row: dict[str, object] = {"part": EXAMPLE, "kl_weight": 0.0, "update": update, "sampled": sampled, "n_runs": 1}
        if sampled:
            reward = settings.rewards[sampled]
            row |= {"reward": reward, "advantage": reward - value}
            logits[answers.index(sampled)] += reward - value
            value = reward
        for answer, probability in zip(answers, np.exp(_log_softmax(logits)).tolist(), strict=True):
            printed = _PRINTED[answer][update] if of_paper else None
            yield {**row, "answer": answer, "baseline": value, "value": probability, "printed": printed}


def _simulated(settings: ToyBanditSettings, kl_weight: float) -> Iterator[dict[str, object]]:
    rewards = np.array(list(settings.rewards.values()), dtype=np.float64)
    draws = np.random.default_rng(settings.seed).random((settings.simulated_updates, settings.runs))
    limits = limit(rewards, kl_weight)
    for update, found in enumerate(run(rewards, kl_weight, draws)):
        low, high = np.quantile(found, [_TAIL, 1 - _TAIL], axis=0)
        for place, answer in enumerate(settings.rewards):
            yield {
                "part": SIMULATION, "kl_weight": kl_weight, "update": update, "answer": answer, "sampled": "",
                "value": float(found[:, place].mean()), "low": float(low[place]), "high": float(high[place]),
                "limit": float(limits[place]), "n_runs": settings.runs,
            }  # fmt: skip
