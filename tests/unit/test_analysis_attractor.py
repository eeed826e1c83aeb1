"""Attractors by stage: weighted means of both arms, their difference, and what is shown of them."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.attractor import (
    FIRST,
    attractor_table,
    modes_table,
    shown_continuations,
    tokens_table,
)
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.confidence import confidence_table, confidence_tokens_part
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from tests.continuation_tables import NEGATIONS, continuation, frames, mode

BOOTSTRAP = Bootstrap(resamples=400, seed=0)


def arm(number: int, name: str, returned: str, temperature: str = "1.0", **columns: Any) -> list[dict[str, Any]]:
    """Continuations of a mode, a "+" for each that returned and a "-" for each that did not."""
    return [
        continuation(temperature, number, name, sample, returned=sign == "+", **columns)
        for sample, sign in enumerate(returned)
    ]


def table(measured: dict[Model, Any], bootstrap: Bootstrap = BOOTSTRAP) -> pd.DataFrame:
    return attractor_table(measured, bootstrap).set_index(["stage", "temperature", "arm", "quantity"])


def test_modes_weigh_as_their_shares_and_seeds_alike() -> None:
    modes = [mode("1.0", 0, 0.6), mode("1.0", 1, 0.2), mode("1.0", 2, 0.2, prefix=None, verb=None)]
    first = arm(0, "perturbed", "++--") + arm(1, "perturbed", "----") + arm(0, "unperturbed", "++++")
    first += arm(1, "unperturbed", "+-")
    second = arm(0, "perturbed", "----") + arm(0, "unperturbed", "++++")
    measured = {
        Model("S", 0, "dpo"): frames(modes, first),
        Model("S", 1, "dpo"): frames([mode("1.0", 0, 1.0)], second),
    }
    found = table(measured)
    assert {*found.reset_index().columns} == {*SCHEMAS["attractor"].names}
    pushed = found.loc["dpo", "1.0", "perturbed", "returned"]
    assert pushed["value"] == pytest.approx((0.6 * 0.5 / 0.8 + 0.0) / 2)
    assert tuple(pushed[["n_modes", "n_modes_without_verb", "n_continuations", "n_seeds"]]) == (4, 1, 12, 2)
    assert pushed["covered"] == pytest.approx((0.8 + 1.0) / 2)
    assert found.loc["dpo", "1.0", "unperturbed", "returned"]["value"] == pytest.approx(
        ((0.6 + 0.2 * 0.5) / 0.8 + 1) / 2
    )
    difference = found.loc["dpo", "1.0", "difference", "returned"]
    assert difference["value"] == pytest.approx(0.1875 - 0.9375)
    assert difference["n_continuations"] == 22
    assert difference["low"] < difference["value"] < difference["high"]
    assert 0.0 <= pushed["low"] < pushed["value"] < pushed["high"] <= 1.0


def test_a_single_mode_has_the_interval_of_its_continuations() -> None:
    continued = arm(0, "perturbed", "+-" * 10) + arm(0, "unperturbed", "+" * 20)
    found = table({Model("S", 0, "sft"): frames([mode("1.0", 0, 0.3)], continued)}, Bootstrap(4000))
    row = found.loc["sft", "1.0", "perturbed", "returned"]
    assert row["value"] == 0.5
    # Binomial with n = 20: 2.5 % and 97.5 % are 6 and 14 of 20.
    assert (row["low"], row["high"]) == (pytest.approx(0.3, abs=0.051), pytest.approx(0.7, abs=0.051))
    sure = found.loc["sft", "1.0", "unperturbed", "returned"]
    assert (sure["low"], sure["value"], sure["high"]) == (1.0, 1.0, 1.0)


def test_a_difference_is_paired_over_modes() -> None:
    modes = [mode("1.0", number, 0.25) for number in range(4)]
    same = []
    for number, sign in enumerate("++-+"):
        same += arm(number, "perturbed", sign * 5) + arm(number, "unperturbed", sign * 5)
    found = table({Model("S", 0, "sft"): frames(modes, same)})
    assert found.loc["sft", "1.0", "perturbed", "returned"]["low"] < 0.75
    assert tuple(found.loc["sft", "1.0", "difference", "returned"][["value", "low", "high"]]) == (0.0, 0.0, 0.0)


def test_first_and_later_tokens_are_told_apart_and_short_continuations_have_no_later_ones() -> None:
    logs = np.log([0.1] * FIRST + [0.9, 0.7])
    tokens = [" t"] * len(logs)
    continued = [
        continuation("1.0", 0, "perturbed", 0, tokens=tokens, log_probs=logs),
        continuation("1.0", 0, "perturbed", 1, tokens=[" a"], log_probs=[math.log(0.3)]),
        continuation("1.0", 0, "perturbed", 2, tokens=[], log_probs=[], cosine=math.nan, returned=False),
    ]
    found = table({Model("S", 0, "sft"): frames([mode("1.0", 0, 1.0)], continued)})
    values = {quantity: found.loc["sft", "1.0", "perturbed", quantity] for quantity in found.index.unique(3)}
    assert values["first_probability"]["value"] == pytest.approx((0.1 + 0.3) / 2)
    assert values["later_probability"]["value"] == pytest.approx(0.8)
    assert math.isnan(values["later_probability"]["low"]), "of one continuation"
    assert values["cosine"]["value"] == pytest.approx(0.9)
    assert values["returned"]["value"] == pytest.approx(2 / 3)
    assert math.isnan(found.loc["sft", "1.0", "difference", "returned"]["value"]), "nothing unperturbed"


def test_temperatures_stand_apart_and_a_model_with_nothing_to_negate_has_no_value() -> None:
    modes = [mode("1.0", 0, 1.0, prefix=None, verb=None), mode("0.3", 0, 1.0)]
    found = table({Model("S", 0, "plm"): frames(modes, arm(0, "perturbed", "+-", "0.3"))})
    lost = found.loc["plm", "1.0", "perturbed", "returned"]
    assert math.isnan(lost["value"])
    assert tuple(lost[["n_modes", "n_modes_without_verb", "n_continuations"]]) == (1, 1, 0)
    assert found.loc["plm", "0.3", "perturbed", "returned"]["value"] == 0.5
    assert tokens_table({Model("S", 0, "plm"): frames(modes[:1], [])}, NEGATIONS).empty


def test_the_same_continuations_in_another_order_give_the_same_table() -> None:
    modes = [mode("1.0", 0, 0.7), mode("1.0", 1, 0.3)]
    continued = arm(0, "perturbed", "+--+") + arm(1, "perturbed", "-++-") + arm(0, "unperturbed", "++-+")
    model = Model("S", 0, "sft")
    pd.testing.assert_frame_equal(
        table({model: frames(modes, continued)}), table({model: frames(modes[::-1], continued[::-1])})
    )


def test_modes_have_their_texts_and_how_many_came_back() -> None:
    modes = [mode("1.0", 0, 0.8), mode("1.0", 1, 0.2, prefix=None, verb=None, text="\U0001f600")]
    continued = arm(0, "perturbed", "+---") + arm(0, "unperturbed", "++--")
    found = modes_table({Model("S", 3, "sft"): frames(modes, continued)}, NEGATIONS)
    assert list(found.columns) == SCHEMAS["attractor_modes"].names
    first, second = found.to_dict("records")
    assert (first["seed"], first["share"], first["returned_perturbed"], first["returned_unperturbed"]) == (
        3,
        0.8,
        0.25,
        0.5,
    )
    assert first["negated"] == f"{first['prefix']} not"
    assert pd.isna(second["negated"])
    assert math.isnan(second["returned_perturbed"])


def test_shown_are_first_continuations_of_the_first_seed_and_in_the_table_the_largest_mode_with_a_verb() -> None:
    modes = [mode("1.0", 0, 0.5, prefix=None, verb=None), mode("1.0", 1, 0.3), mode("1.0", 2, 0.2)]
    continued = [
        continuation("1.0", number, name, sample, tokens=[f" {number}{name[0]}{sample}"], log_probs=[math.log(0.25)])
        for number in (2, 1)
        for name in ("unperturbed", "perturbed")
        for sample in (1, 0)
    ]
    other = frames([mode("1.0", 0, 1.0)], [continuation("1.0", 0, "perturbed", 0, tokens=["other"], log_probs=[0.0])])
    measured = {Model("S", 1, "sft"): other, Model("S", 0, "sft"): frames(modes, continued)}
    shown = list(shown_continuations(measured, NEGATIONS))
    assert [each.tokens for each in shown] == [(" 1p0",), (" 1u0",), (" 2p0",), (" 2u0",)]
    assert [each.before.endswith("She was not") for each in shown] == [True, False, True, False]
    found = tokens_table(measured, NEGATIONS)
    assert list(found.columns) == SCHEMAS["attractor_tokens"].names
    assert list(zip(found["seed"], found["mode"], found["token"], found["probability"], strict=True)) == [
        (0, 1, " 1p0", pytest.approx(0.25)),
        (0, 1, " 1u0", pytest.approx(0.25)),
    ]


def test_confidence_is_over_the_tokens_of_all_seeds() -> None:
    def part(seed: int, probabilities: list[float]) -> pd.DataFrame:
        rows = pd.DataFrame({"question": "bugs", "position": range(len(probabilities)), "token": " x"})
        rows = rows.assign(log_prob=np.log(probabilities), top_prob=0.8, size="S", seed=seed, stage="sft")
        return confidence_tokens_part(rows.iloc[::-1], {"bugs": "are bugs real?"})

    parts = [part(0, [0.1, 0.3]), part(1, [0.8, 0.8])]
    assert list(parts[0].columns) == SCHEMAS["confidence_tokens"].names
    assert list(parts[0]["position"]) == [0, 1]
    assert list(parts[0]["probability"]) == pytest.approx([0.1, 0.3])
    assert set(parts[0]["before"]) == {"are bugs real?"}
    (row,) = confidence_table(parts).to_dict("records")
    assert (row["mean"], row["median"], row["top_mean"]) == pytest.approx((0.5, 0.55, 0.8))
    assert (row["n_tokens"], row["n_seeds"]) == (4, 2)
    assert confidence_table([parts[0].iloc[:0]]).empty
