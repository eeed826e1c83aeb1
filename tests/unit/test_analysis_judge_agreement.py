"""Agreement between judges: by hand, beyond chance, and where there is none."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.judge_agreement import judge_agreement_table, kappa
from modecollapse.analysis.win_rates import ALL
from modecollapse.cells import Model

BOOTSTRAP = Bootstrap(resamples=400)
MODEL = Model("tiny", 0, "dpo")


def verdicts(said, task="chat", equal=False):
    return pd.DataFrame(
        {
            **{"prompts": "creative", "prompt": [f"p{n}" for n in range(len(said))], "temperature": "1.0", "sample": 0},
            **{"task": task, "verdict": list(said), "points": 0.0, "equal": equal},
            **{"longer": 0.0, "consistent": 1.0, "first": 0.5},
        }
    )


def row(ours, other, counted=ALL, task=ALL):
    table = judge_agreement_table({("a", MODEL): verdicts(ours), ("b", MODEL): verdicts(other)}, BOOTSTRAP)
    chosen = table[(table["counted"] == counted) & (table["task"] == task)]
    return chosen.iloc[0].to_dict() if len(chosen) else None


def test_kappa_is_cohen_s_by_hand():
    # 20 both win, 5 only a wins, 10 only b wins, 15 both lose: 0.7 observed, 0.5 by chance (Cohen's textbook case).
    assert kappa(np.array([20.0, 5.0, 10.0, 15.0])) == pytest.approx(0.4)
    assert math.isnan(kappa(np.array([5.0, 0.0, 0.0, 0.0])))


def test_agreement_counts_pairs_that_both_decided_and_ties_are_a_verdict_of_their_own():
    ours = ["win", "win", "tie", "loss", "refusal", "win"]
    other = ["win", "loss", "tie", "tie", "win", "unreadable"]
    every = row(ours, other)
    assert (every["n"], every["agreement"]) == (4, 0.5)
    # Chance: ours ½ win, ¼ tie, ¼ loss; the other ¼ win, ½ tie, ¼ loss.
    assert every["chance"] == pytest.approx(5 / 16)
    assert every["kappa"] == pytest.approx((0.5 - 5 / 16) / (11 / 16))
    decided = row(ours, other, "won or lost")
    assert (decided["n"], decided["agreement"]) == (2, 0.5)


def test_judges_that_know_nothing_of_each_other_agree_by_chance_and_it_is_said():
    generator = np.random.default_rng(1)
    ours, other = (generator.choice(["win", "loss"], 200) for _ in range(2))
    found = row(ours, other)
    assert found["kappa_low"] < 0 < found["kappa_high"]
    assert not found["beyond_chance"]
    same = row(ours, ours)
    assert (same["agreement"], same["kappa"], same["beyond_chance"]) == (1.0, 1.0, True)
    assert same["low"] < 1.0, "200 prompts of one opinion are no certainty"
    assert row(ours, np.where(ours == "win", "loss", "win"))["beyond_chance"], "to disagree always is no chance either"


def test_pairs_that_no_judge_was_asked_about_are_no_agreement():
    generator = np.random.default_rng(2)
    equal = np.arange(300) < 90
    said = {name: np.where(equal, "tie", generator.choice(["win", "loss", "tie"], 300)) for name in "ab"}
    judged = {(name, MODEL): verdicts(each, equal=equal) for name, each in said.items()}
    found = judge_agreement_table(judged, BOOTSTRAP).iloc[0]
    assert found["n"] == 210
    assert not found["beyond_chance"]
    assert judge_agreement_table({of: frame[equal] for of, frame in judged.items()}, BOOTSTRAP).empty


def test_no_common_verdict_is_no_row_and_every_two_judges_have_theirs():
    assert row(["refusal"], ["win"]) is None
    judged = {(name, MODEL): verdicts(["win", "loss"]) for name in "abc"}
    table = judge_agreement_table(judged, BOOTSTRAP)
    assert [*zip(table["judge"], table["other"], strict=True)][::4] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert judge_agreement_table({("a", MODEL): verdicts(["win"])}, BOOTSTRAP).empty
