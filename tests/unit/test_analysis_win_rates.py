"""Win rates per task: by hand, pooled over seeds, with what is no verdict beside them."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.win_rates import ALL, verdicts_of, win_rates_table
from modecollapse.cells import Model
from modecollapse.judging.verdicts import NO_ORDER, REFERENCE_FIRST, STAGE_FIRST

BOOTSTRAP = Bootstrap(resamples=400)


def judgement(prompt, verdict, order=NO_ORDER, **changes):
    return {
        **{"prompts": "creative", "prompt": prompt, "task": "chat", "temperature": "1.0", "sample": 0},
        **{"order": order, "verdict": verdict, "text": "three words here", "reference_text": "one"},
        **changes,
    }


def frame(*rows):
    return verdicts_of(pd.DataFrame(list(rows)))


def both(prompt, first, second, **changes):
    return [judgement(prompt, first, STAGE_FIRST, **changes), judgement(prompt, second, REFERENCE_FIRST, **changes)]


def test_orders_are_put_together_and_the_position_s_part_is_told():
    found = frame(
        *both("a", "win", "win"), *both("b", "win", "loss"), *both("c", "tie", "tie"), *both("d", "win", "refusal")
    )
    assert found["verdict"].tolist() == ["win", "tie", "tie", "refusal"]
    assert found["points"].tolist()[:3] == [1.0, 0.5, 0.5]
    assert math.isnan(found["points"][3])
    assert found["consistent"].tolist()[:3] == [1, 0, 1]
    # b: the first answer won in both orders; a: in one of the two.
    assert found["first"].tolist()[:2] == [0.5, 1.0]
    assert found["first"].isna().tolist() == [False, False, True, True]
    assert found["longer"].tolist() == [2.0] * 4


def test_equal_answers_are_told_apart_and_are_ties_of_the_win_rate():
    found = frame(*both("a", "win", "win"), judgement("b", "tie", text="one"))
    assert found["equal"].tolist() == [False, True]
    table = win_rates_table({("gpt", Model("tiny", 0, "dpo")): found}, "sft", BOOTSTRAP)
    assert table[["n", "ties", "value"]].iloc[0].tolist() == [2, 1, 0.75]


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (["win", "win", "loss"], "win"),
        (["win", "loss", "tie"], "tie"),
        (["loss", "refusal", "loss"], "loss"),
        (["win", "loss"], "tie"),
        (["refusal", "refusal"], "refusal"),
    ],
)
def test_of_several_annotators_more_than_half_of_those_who_decide_count(said, verdict):
    assert frame(*(judgement("a", each) for each in said))["verdict"].tolist() == [verdict]


def test_a_win_rate_counts_ties_half_and_leaves_out_what_is_no_verdict():
    rows = [judgement(f"p{n}", verdict) for n, verdict in enumerate(["win", "win", "win", "tie", "loss"])]
    rows += [judgement("p5", "refusal"), judgement("p6", "unreadable")]
    judged = {("gpt", Model("tiny", 0, "dpo")): frame(*rows)}
    (every, chat) = win_rates_table(judged, "sft", BOOTSTRAP).to_dict("records")
    assert (every["task"], chat["task"]) == (ALL, "chat")
    assert every["value"] == pytest.approx(3.5 / 5)
    assert every["low"] < every["value"] < every["high"]
    counts = [every[name] for name in ("wins", "ties", "losses", "refusals", "unreadable", "n", "n_prompts", "n_seeds")]
    assert counts == [3, 1, 1, 1, 1, 5, 5, 1]
    assert every["reference"] == "sft"
    # All lengths differ alike: there is nothing to tell length from quality by.
    assert every["controlled"] == pytest.approx(every["value"])
    assert every["controlled_low"] <= every["controlled"] <= every["controlled_high"]
    # Wilcoxon by hand: +½ +½ +½ 0 −½, ranks 2.5 each: W+ = 7.5 of 10, and 10 of 16 assignments are as far from 5.
    assert every["p"] == pytest.approx(10 / 16)
    assert every["p_holm"] == chat["p_holm"] == every["p"], "one task is all tasks: a single test"
    assert every["n_family"] == 1


def test_a_prompt_s_completions_count_together_and_seeds_are_pooled():
    first = frame(*(judgement("a", "win", sample=n) for n in range(9)), judgement("b", "loss"))
    second = frame(judgement("a", "win"), judgement("b", "win"))
    judged = {("gpt", Model("tiny", seed, "dpo")): found for seed, found in enumerate((first, second))}
    row = win_rates_table(judged, "sft", BOOTSTRAP).to_dict("records")[0]
    assert row["value"] == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert (row["n_seeds"], row["n_prompts"], row["n"]) == (2, 2, 12)


def test_tests_are_adjusted_over_stages_and_tasks_of_a_judge():
    generator = np.random.default_rng(0)

    def of(share):
        rows = []
        for n in range(16):
            verdict = "win" if generator.random() < share else "loss"
            rows.append(judgement(f"p{n}", verdict, task="chat" if n % 2 else "poem"))
        return frame(*rows)

    judged = {("gpt", Model("tiny", 0, stage)): of(share) for stage, share in (("dpo", 0.95), ("ppo", 0.5))}
    judged[("rm", Model("tiny", 0, "dpo"))] = of(0.9)
    table = win_rates_table(judged, "sft", BOOTSTRAP)
    assert table[table["judge"] == "gpt"]["n_family"].tolist() == [6] * 6
    assert table[table["judge"] == "rm"]["n_family"].tolist() == [3] * 3
    assert (table["p_holm"] >= table["p"]).all()
    best = table[(table["judge"] == "gpt") & (table["stage"] == "dpo") & (table["task"] == ALL)].iloc[0]
    assert best["p_holm"] == pytest.approx(min(1.0, 6 * best["p"]))


@pytest.mark.parametrize("verdict", ["win", "loss", "tie", "refusal"])
def test_verdicts_that_are_all_alike_have_an_interval_that_is_not_a_point_or_none(verdict):
    judged = {("gpt", Model("tiny", 0, "dpo")): frame(*(judgement(f"p{n}", verdict) for n in range(6)))}
    row = win_rates_table(judged, "sft", BOOTSTRAP).to_dict("records")[0]
    if verdict == "refusal":
        assert all(math.isnan(row[name]) for name in ("value", "low", "high", "controlled", "p", "p_holm"))
        assert (row["n"], row["refusals"]) == (0, 6)
        return
    assert row["high"] - row["low"] > 0.2
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1


def test_intervals_of_rates_end_where_rates_do():
    won = {
        ("rm", Model("tiny", seed, "dpo")): frame(
            *(judgement(f"p{number}", "win" if number or seed else "loss") for number in range(9))
        )
        for seed in (0, 1)
    }
    row = win_rates_table(won, "sft", BOOTSTRAP).set_index("task").loc[ALL]
    assert 0 < row["low"] < row["value"] < row["high"] == 1
    assert 0 <= row["controlled_low"] <= row["controlled_high"] <= 1


def test_the_table_is_the_same_twice():
    judged = {("gpt", Model("tiny", 0, "dpo")): frame(*both("a", "win", "win"), *both("b", "tie", "loss"))}
    pd.testing.assert_frame_equal(*(win_rates_table(judged, "sft", BOOTSTRAP) for _ in range(2)))
