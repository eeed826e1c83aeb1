"""Attribution at matched entropy: sharpening changes nothing, narrowing does."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.attribution import attribution_table
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.matched import NO_OBSERVATIONS, NO_RANGE, matched_table, matched_weights

BOOTSTRAP = Bootstrap(resamples=1_000, seed=0)
TEMPERATURES = ("0.25", "0.5", "0.75", "1.0", "1.25", "1.5")
PATH = ["plm", "sft"]


def frame(
    stage: str, metrics: dict[str, np.ndarray], seed: int = 0, temperatures: tuple[str, ...] = TEMPERATURES
) -> pd.DataFrame:
    """Scores of one model; each metric is [temperatures, prompts]."""
    rows = [
        ("creative", "human", temperature, f"p{i}", 0 if name == "token_entropy" else 20, name, "corrected", value, 25)
        for name, values in metrics.items()
        for temperature, of_prompts in zip(temperatures, values, strict=True)
        for i, value in enumerate(of_prompts)
    ]
    columns = ["prompts", "format", "temperature", "prompt", "words", "metric", "definition", "value", "n"]
    return pd.DataFrame(rows, columns=columns).assign(size="S", seed=seed, stage=stage)


def model(
    stage: str, sharpness: float, narrowing: float = 0.0, seed: int = 0, prompts: int = 20, noise: float = 0.02
) -> pd.DataFrame:
    """A stage whose entropy at T is the parent's at T / sharpness, and whose metric follows it, less `narrowing`."""
    generator = np.random.default_rng([seed, *stage.encode()])
    hard = np.random.default_rng(7).normal(0, 0.3, prompts)
    entropy = 3 * np.tanh(np.array([float(t) for t in TEMPERATURES]) / sharpness)[:, None] + hard
    metric = 0.2 * entropy + 0.1 * hard - narrowing
    noisy = [values + noise * generator.normal(size=values.shape) for values in (entropy, metric)]
    return frame(stage, {"token_entropy": noisy[0], "distinct_1": noisy[1]})


def total(table: pd.DataFrame) -> pd.Series:
    return table[table["step"] == "total"].iloc[-1]


def test_a_stage_that_is_its_parent_at_a_lower_temperature_changes_nothing_at_matched_entropy() -> None:
    frames = [model("plm", 1.0), model("sft", 2.0)]
    at_temperature = attribution_table(frames, {}, [PATH], BOOTSTRAP)
    changed = at_temperature[(at_temperature["metric"] == "distinct_1") & (at_temperature["temperature"] == "mean")]
    assert total(changed)["high"] < -0.1
    matched = total(matched_table(frames, [PATH], BOOTSTRAP))
    assert matched["low"] < 0 < matched["high"]
    assert abs(matched["delta"]) < 0.01
    assert math.isnan(matched["share"])


def test_what_is_lost_beside_sharpening_is_found_at_matched_entropy() -> None:
    matched = matched_table([model("plm", 1.0), model("sft", 2.0, narrowing=0.08)], [PATH], BOOTSTRAP)
    row = total(matched)
    assert row["low"] < -0.08 < row["high"]
    assert row["high"] < -0.06
    assert row["share"] == pytest.approx(1.0)
    assert (row["n_prompts"], row["n_seeds"], row["n_temperatures"], row["note"]) == (20, 1, 6, "")


def test_steps_sum_to_the_total_and_shares_to_one() -> None:
    frames = [model("plm", 1.0), model("sft", 1.5, narrowing=0.1), model("dpo", 2.0, narrowing=0.15)]
    table = matched_table(frames, [["plm", "sft", "dpo"]], BOOTSTRAP).set_index("step")
    assert table["delta"][:2].sum() == pytest.approx(table["delta"]["total"])
    assert table["share"][:2].sum() == pytest.approx(1.0)
    assert (table["share_low"][:2] < table["share"][:2]).all()
    assert (table["share_high"][:2] > table["share"][:2]).all()
    assert set(table["metric"]) == {"distinct_1"}, "entropy is not matched with itself"


def test_the_entropies_compared_are_those_that_all_stages_reach() -> None:
    frames = [model("plm", 1.0, noise=0.0), model("sft", 2.0, noise=0.0)]
    row = total(matched_table(frames, [PATH], BOOTSTRAP))
    hard = np.random.default_rng(7).normal(0, 0.3, 20).mean()
    assert row["entropy_low"] == pytest.approx(3 * math.tanh(0.25) + hard)
    assert row["entropy_high"] == pytest.approx(3 * math.tanh(0.75) + hard)


def test_the_mean_over_the_common_range_is_the_integral_of_the_interpolated_curve() -> None:
    generator = np.random.default_rng(0)
    entropies = [np.sort(generator.uniform(0, 4, (6, 1)), axis=0), np.sort(generator.uniform(1, 5, (4, 1)), axis=0)]
    weights, low, high = matched_weights(entropies)
    at = np.linspace(low[0], high[0], 200_001)
    for entropy, weight in zip(entropies, weights, strict=True):
        values = generator.normal(size=len(entropy))
        curve = np.interp(at, entropy[:, 0], values)
        assert weight[:, 0] @ values == pytest.approx(np.trapezoid(curve, at) / (high[0] - low[0]), abs=1e-6)
        assert weight.sum() == pytest.approx(1.0)


def test_entropies_that_fall_where_the_temperature_rises_are_taken_in_their_own_order() -> None:
    entropy = np.array([[1.0], [3.0], [2.0]])
    [weights, _], _, _ = matched_weights([entropy, np.array([[1.0], [3.0]])])
    assert weights[:, 0] == pytest.approx([0.25, 0.25, 0.5])


def test_stages_without_a_common_range_have_no_numbers_but_a_reason() -> None:
    apart = model("sft", 2.0)
    apart.loc[apart["metric"] == "token_entropy", "value"] += 9.0
    table = matched_table([model("plm", 1.0), apart], [PATH], BOOTSTRAP)
    assert table["delta"].isna().all()
    assert set(table["note"]) == {NO_RANGE}


def test_a_range_that_many_resamples_lack_gives_a_value_without_an_interval() -> None:
    frames = [model("plm", 1.0, noise=0.3), model("sft", 1.0, noise=0.3)]
    entropy = frames[1]["metric"] == "token_entropy"
    shift = 3 * (math.tanh(1.5) - math.tanh(0.25)) - 0.05
    frames[1].loc[entropy, "value"] += shift
    row = total(matched_table(frames, [PATH], BOOTSTRAP))
    assert not math.isnan(row["delta"])
    assert math.isnan(row["low"])
    assert "of the resamples" in row["note"]


def test_a_metric_that_is_never_defined_says_so() -> None:
    frames = [model("plm", 1.0), model("sft", 2.0)]
    frames[0].loc[frames[0]["metric"] == "distinct_1", "value"] = np.nan
    table = matched_table(frames, [PATH], BOOTSTRAP)
    assert set(table["note"]) == {NO_OBSERVATIONS}
    assert set(table["n_prompts"]) == {0}


def test_a_prompt_that_is_undefined_somewhere_is_left_out_of_entropy_as_well() -> None:
    frames = [model("plm", 1.0), model("sft", 2.0)]
    frames[0].loc[(frames[0]["metric"] == "distinct_1") & (frames[0]["prompt"] == "p3"), "value"] = np.nan
    without = [each[each["prompt"] != "p3"] for each in frames]
    gap, dropped = total(matched_table(frames, [PATH], BOOTSTRAP)), total(matched_table(without, [PATH], BOOTSTRAP))
    assert (gap["n_prompts"], gap["delta"]) == (19, pytest.approx(dropped["delta"]))


def test_a_path_with_finished_completions_has_no_rows() -> None:
    finished = model("sft", 2.0)
    finished = finished[finished["metric"] != "token_entropy"]
    assert matched_table([model("plm", 1.0), finished], [PATH], BOOTSTRAP).empty


def test_intervals_at_matched_entropy_cover_the_truth() -> None:
    replications, prompts, narrowing = 300, 20, 0.05
    frames = []
    for stage, sharpness, lost in (("plm", 1.0, 0.0), ("sft", 1.5, narrowing)):
        generator = np.random.default_rng([3, *stage.encode()])
        # A temperature halved meets the other stage's grid, so that interpolation adds no error of its own.
        temperatures = np.array([0.3, 0.6, 0.9, 1.2, 1.5, 1.8])
        entropy = (temperatures / sharpness)[:, None] + 0.1 * generator.normal(size=(6, prompts))
        metrics = {"token_entropy": entropy}
        for replication in range(replications):
            loss = lost + 0.05 * np.random.default_rng([replication, *stage.encode()]).normal(size=prompts)
            metrics[f"m{replication}"] = 0.2 * (temperatures / sharpness)[:, None] - loss
        frames.append(frame(stage, metrics))
    table = matched_table(frames, [PATH], Bootstrap(500))
    rows = table[table["step"] == "total"]
    # The entropies are the same in all replications, and so is what their noise adds to the truth.
    truth = rows["delta"].mean()
    assert truth == pytest.approx(-narrowing, abs=0.02)
    covered = ((rows["low"] <= truth) & (truth <= rows["high"])).mean()
    assert 0.91 < covered < 0.98 + 0.015
