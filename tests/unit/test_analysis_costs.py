"""What stages cost: losses, gains and their ratio, beside the divergence and the world's own curve."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.costs import BOUND, costs_parts, divergence_table
from modecollapse.cells import Model

BOOTSTRAP = Bootstrap(resamples=500, seed=0)
PROMPTS = [f"p{number}" for number in range(8)]


def _scores(
    stage: str, bleu: list[float], utility: list[float], temperatures: tuple[str, ...] = ("1.0",)
) -> pd.DataFrame:
    rows = []
    for temperature in temperatures:
        for prompt, one, other in zip(PROMPTS, bleu, utility, strict=True):
            cell = {"prompts": "creative", "prompt": prompt, "format": "human", "temperature": temperature}
            cell |= {"definition": "corrected"}
            rows.append({**cell, "words": 20, "metric": "self_bleu", "value": one})
            rows.append({**cell, "words": 0, "metric": "utility", "value": other})
    return pd.DataFrame(rows).assign(size="s", seed=0, stage=stage)


def _distances(**of_stages: float) -> pd.DataFrame:
    fixed = {"size": "s", "prompts": "creative", "format": "human"}
    rows = [{**fixed, "stage": stage, "value": kl} for stage, kl in of_stages.items()]
    return pd.DataFrame(rows, columns=[*fixed, "stage", "value"])


def _costs(*frames: pd.DataFrame, truth: pd.DataFrame | None = None, **kl: float) -> pd.DataFrame:
    return pd.concat(costs_parts(frames, _distances(**kl), ["dpo"], "sft", BOOTSTRAP, truth))


BASE = [0.2, 0.3, 0.4, 0.5, 0.2, 0.3, 0.4, 0.5]
USEFUL = [1.0, 1.5, 2.0, 1.0, 1.5, 2.0, 1.0, 1.5]


def test_the_cost_is_the_diversity_lost_per_unit_of_quality_gained() -> None:
    gains = np.array([0.4, 0.5, 0.6, 0.5, 0.4, 0.5, 0.6, 0.5])
    after = _scores("dpo", list(np.add(BASE, 0.2 * gains)), list(np.add(USEFUL, gains)))
    row = _costs(_scores("sft", BASE, USEFUL), after, dpo=1.5).iloc[0]
    assert (row["temperature"], row["quality"], row["kl"]) == ("1.0", "utility", 1.5)
    assert row["loss"] == pytest.approx(0.1)
    assert row["gain"] == pytest.approx(0.5)
    # The loss is exactly a fifth of the gain for every prompt, so the ratio is known without error.
    assert [row[name] for name in ("cost", "cost_low", "cost_high")] == pytest.approx([0.2, 0.2, 0.2])


def test_the_interval_of_the_cost_holds_what_the_prompts_disagree_about() -> None:
    lost = np.array([0.0, 0.2, 0.1, 0.1, 0.0, 0.2, 0.05, 0.15])
    row = _costs(
        _scores("sft", BASE, USEFUL), _scores("dpo", list(np.add(BASE, lost)), list(np.add(USEFUL, 0.5)))
    ).iloc[0]
    assert row["cost"] == pytest.approx(0.2)
    # With a gain that is the same everywhere it is the interval of the loss, divided by the gain.
    assert (row["cost_low"], row["cost_high"]) == pytest.approx((row["loss_low"] / 0.5, row["loss_high"] / 0.5))
    assert row["cost_low"] < 0.2 < row["cost_high"]


@pytest.mark.parametrize("gain", [0.0, -0.5])
def test_there_is_no_cost_per_unit_where_nothing_is_gained(gain: float) -> None:
    row = _costs(
        _scores("sft", BASE, USEFUL), _scores("dpo", list(np.add(BASE, 0.1)), list(np.add(USEFUL, gain)))
    ).iloc[0]
    assert row["loss"] == pytest.approx(0.1)
    assert math.isnan(row["cost"])


def test_the_mean_over_temperatures_is_a_row_of_its_own_without_divergence() -> None:
    both = ("0.5", "1.0")
    frame = _costs(_scores("sft", BASE, USEFUL, both), _scores("dpo", BASE, USEFUL, both), dpo=1.0)
    assert frame["temperature"].tolist() == ["0.5", "1.0", "mean"]
    assert frame["kl"].isna().tolist() == [True, False, True]


def test_a_divergence_stands_beside_its_own_format_alone() -> None:
    frames = [_scores("sft", BASE, USEFUL), _scores("dpo", BASE, USEFUL)]
    both = [pd.concat([frame, frame.assign(format="qa")]) for frame in frames]
    frame = _costs(*both, dpo=1.0).query("temperature == '1.0'")
    assert dict(zip(frame["format"], frame["kl"].isna(), strict=True)) == {"human": False, "qa": True}


def test_a_mean_over_temperatures_is_over_those_at_which_both_are_defined() -> None:
    cold, warm = ("0.5",), ("1.0",)
    gains = [
        _scores("dpo", list(np.add(BASE, lost)), list(np.add(USEFUL, gained)), at)
        for lost, gained, at in ((0.1, 1.0, cold), (np.nan, 3.0, warm))
    ]
    frame = _costs(_scores("sft", BASE, USEFUL, ("0.5", "1.0")), pd.concat(gains))
    mean = frame[frame["temperature"] == "mean"].iloc[0]
    assert (mean["loss"], mean["gain"]) == pytest.approx((0.1, 1.0))


def test_true_answers_at_the_same_divergence_are_interpolated_and_not_extrapolated() -> None:
    curve = {"kl": [0.0, 1.0, 3.0], "self_bleu": [0.6, 0.7, 0.8], "utility": [1.0, 2.0, 4.0]}
    truth = pd.DataFrame(
        [
            {"task": "creative", "quantity": quantity, "lambda": float(place), "value": value}
            for quantity, values in curve.items()
            for place, value in enumerate(values)
        ]
    )
    sft, dpo = _scores("sft", BASE, USEFUL), _scores("dpo", BASE, USEFUL)
    within, beyond = (_costs(sft, dpo, truth=truth, dpo=kl).iloc[0] for kl in (2.0, 3.5))
    assert (within["tilted_loss"], within["tilted_gain"]) == pytest.approx((0.15, 2.0))
    assert math.isnan(beyond["tilted_loss"])


def test_the_divergence_is_the_mean_over_prompts_and_that_of_best_of_n_its_bound() -> None:
    frame = pd.DataFrame(
        {"prompts": "creative", "prompt": ["a", "a", "b", "b"], "n_tokens": [1, 3, 2, 4], "kl": [1.0, 3.0, 0.0, 1.0]}
    )
    table = divergence_table(
        [(Model("s", 0, "dpo"), frame)],
        "sft",
        {"s": {"bon": 4}},
        {"dpo": "human", "bon": "human"},
        ["creative"],
        BOOTSTRAP,
    )
    measured, bound = table.to_dict("records")
    assert (measured["value"], measured["per_token"]) == pytest.approx((1.25, 0.5))
    assert measured["low"] < 1.25 < measured["high"]
    assert (bound["stage"], bound["source"]) == ("bon", BOUND)
    assert bound["value"] == pytest.approx(math.log(4) - 0.75)
