"""Attribution: steps sum to the total, comparisons are paired, shares only where a total differs from zero."""

import math

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.attribution import attribution_table, changes, step_names
from modecollapse.analysis.bootstrap import Bootstrap, resampled_means
from modecollapse.analysis.stage_tests import tests_table as make_table
from modecollapse.analysis.tokens import TokenStatistics, token_statistics
from modecollapse.cells import Model
from modecollapse.errors import StudyError

BOOTSTRAP = Bootstrap(resamples=1_000, seed=0)
PATH = ["plm", "sft", "dpo"]
ASKED = [("plm", "okay", 0.0), ("sft", "human", 1.0), ("dpo", "human", 3.0)]


def scores(
    stage: str, values: np.ndarray, seed: int = 0, form: str = "human", temperatures: tuple[str, ...] = ("0.5", "1.0")
) -> pd.DataFrame:
    """`values` [temperatures, prompts]."""
    rows = [
        ("creative", form, temperature, f"p{i}", 20, "self_bleu", "corrected", value, 25, "S", seed, stage)
        for temperature, of_prompts in zip(temperatures, values, strict=True)
        for i, value in enumerate(of_prompts)
    ]
    columns = ["prompts", "format", "temperature", "prompt", "words", "metric", "definition", "value", "n"]
    return pd.DataFrame(rows, columns=[*columns, "size", "seed", "stage"])


def study(seeds: int = 2, prompts: int = 20) -> list[pd.DataFrame]:
    generator = np.random.default_rng(0)
    hard = generator.normal(size=(2, prompts))
    means = {"plm": 0.0, "sft": 2.0, "dpo": 3.0}
    return [
        scores(stage, mean + hard + 0.1 * generator.normal(size=(2, prompts)), seed)
        for seed in range(seeds)
        for stage, mean in means.items()
    ]


def rows(frame: pd.DataFrame, temperature: str) -> pd.DataFrame:
    return frame[frame["temperature"] == temperature].set_index("step")


def test_each_step_is_the_difference_of_its_stages_and_they_sum_to_the_total() -> None:
    frame = attribution_table(study(), {}, [PATH], BOOTSTRAP)
    for temperature in ("0.5", "1.0", "mean"):
        steps = rows(frame, temperature)
        assert list(steps.index) == ["plm>sft", "sft>dpo", "total"]
        assert steps["delta"].tolist() == pytest.approx([2.0, 1.0, 3.0], abs=0.1)
        assert steps["delta"][:2].sum() == pytest.approx(steps["delta"]["total"])
        assert steps["share"][:2].sum() == pytest.approx(1.0)
    assert set(frame["path"]) == {"plm>sft>dpo"}
    assert set(frame["n_seeds"]) == {2}


def test_steps_sum_to_the_total_within_every_resample_also_where_values_are_undefined() -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 20))
    values[0, 0, 3] = values[2, 1, 7] = np.nan
    steps = changes(values)
    resampled = resampled_means(steps, "creative", BOOTSTRAP)
    assert resampled[:2].sum(axis=0) == pytest.approx(resampled[2])


def test_differences_are_paired_by_prompt() -> None:
    # Prompts differ by far more than stages do; only a paired interval can see the step.
    steps = rows(attribution_table(study(seeds=1), {}, [PATH], BOOTSTRAP), "mean")
    assert steps["low"]["plm>sft"] > 1.9
    assert steps["high"]["plm>sft"] < 2.1


def test_a_prompt_undefined_at_one_stage_is_left_out_of_all_steps() -> None:
    frames = study(seeds=1)
    frames[2].loc[frames[2]["prompt"] == "p0", "value"] = np.nan
    frame = attribution_table(frames, {}, [PATH], BOOTSTRAP)
    assert set(frame["n_prompts"]) == {19}


def test_no_share_where_the_total_may_be_zero() -> None:
    generator = np.random.default_rng(1)
    frames = [scores(stage, generator.normal(size=(2, 20))) for stage in PATH]
    steps = rows(attribution_table(frames, {}, [PATH], BOOTSTRAP), "mean")
    assert steps["low"]["total"] < 0 < steps["high"]["total"]
    assert steps["share"].isna().all()


def test_a_share_has_an_interval_that_is_narrower_where_steps_rise_and_fall_together() -> None:
    generator = np.random.default_rng(2)
    strength = generator.normal(1, 0.3, 20)
    frames = [scores(stage, np.tile(k * strength, (2, 1))) for stage, k in (("plm", 0.0), ("sft", 2.0), ("dpo", 3.0))]
    steps = rows(attribution_table(frames, {}, [PATH], BOOTSTRAP), "mean")
    # Every prompt has the same shares, so they are known although the changes are not.
    assert steps.loc["plm>sft", ["share", "share_low", "share_high"]].tolist() == pytest.approx([2 / 3] * 3)
    assert steps["high"]["plm>sft"] - steps["low"]["plm>sft"] > 0.1
    frames[1]["value"] += 0.3 * generator.normal(size=40)
    steps = rows(attribution_table(frames, {}, [PATH], BOOTSTRAP), "mean")
    assert steps["share_low"]["plm>sft"] < steps["share"]["plm>sft"] < steps["share_high"]["plm>sft"]
    assert steps.loc["total", ["share_low", "share_high"]].tolist() == pytest.approx([1.0, 1.0])


def test_the_share_of_a_falling_total_has_its_ends_in_order() -> None:
    generator = np.random.default_rng(3)
    frames = [
        scores(stage, mean + 0.1 * generator.normal(size=(2, 20)))
        for stage, mean in zip(PATH, (0, -1, -3), strict=True)
    ]
    steps = rows(attribution_table(frames, {}, [PATH], BOOTSTRAP), "mean")
    assert (steps["share_low"][:2] < steps["share"][:2]).all()
    assert (steps["share"][:2] < steps["share_high"][:2]).all()


def test_the_error_of_a_change_from_completions_adds_both_stages_and_averages_over_temperatures() -> None:
    frames = [frame.assign(se=error) for frame, error in zip(study(seeds=1), (0.3, 0.4, 0.0), strict=True)]
    frame = attribution_table(frames, {}, [PATH], BOOTSTRAP)
    at_one, mean = rows(frame, "0.5"), rows(frame, "mean")
    assert at_one["completion_se"].tolist() == pytest.approx([0.5 / 20**0.5, 0.4 / 20**0.5, 0.3 / 20**0.5])
    assert mean["completion_se"].tolist() == pytest.approx((at_one["completion_se"] / 2**0.5).tolist())
    assert attribution_table(study(seeds=1), {}, [PATH], BOOTSTRAP)["completion_se"].isna().all()


def test_the_mean_covers_the_temperatures_that_all_stages_have() -> None:
    frames = [
        scores("plm", np.full((2, 4), 1.0)),
        scores("sft", np.array([[2.0] * 4, [9.0] * 4]), temperatures=("0.5", "1.5")),
    ]
    frame = attribution_table(frames, {}, [["plm", "sft"]], BOOTSTRAP)
    assert set(frame["temperature"]) == {"0.5", "mean"}
    assert rows(frame, "mean")["delta"]["total"] == pytest.approx(1.0)


def test_stages_under_different_formats_only_are_not_compared() -> None:
    frames = [scores("plm", np.zeros((2, 4)), form="okay"), scores("sft", np.ones((2, 4)))]
    with pytest.raises(StudyError, match=r"plm > sft.*plm: okay; sft: human.*common format"):
        attribution_table(frames, {}, [["plm", "sft"]], BOOTSTRAP)


def test_of_several_formats_the_common_one_is_compared() -> None:
    frames = [
        scores("plm", np.zeros((2, 4)), form="okay"),
        scores("plm", np.full((2, 4), 0.5)),
        scores("sft", np.ones((2, 4))),
    ]
    frame = attribution_table(frames, {}, [["plm", "sft"]], BOOTSTRAP)
    assert set(frame["format"]) == {"human"}
    assert rows(frame, "mean")["delta"]["total"] == pytest.approx(0.5)
    assert set(frame["format_before"]) == set(frame["format_after"]) == {"human"}


def test_stages_under_different_formats_are_compared_where_the_study_names_the_comparison() -> None:
    frames = [scores(stage, np.full((2, 4), value), form=form) for stage, form, value in ASKED]
    across = {"paper": {"plm": "okay", "sft": "human", "dpo": "human"}, "other": {"plm": "plain", "sft": "human"}}
    frame = attribution_table(frames, {}, [PATH], BOOTSTRAP, across)
    assert set(frame["format"]) == {"paper"}
    steps = rows(frame, "mean")
    assert steps["delta"].tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert steps["format_before"].tolist() == ["okay", "human", "okay"]
    assert steps["format_after"].tolist() == ["human", "human", "human"]
    tests = make_table(frames, [PATH], across).query("temperature == 'mean'")
    assert tests["difference"].tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert tests["format_before"].tolist() == ["okay", "human", "okay"]


def test_a_comparison_across_formats_stands_beside_those_under_common_ones() -> None:
    frames = [scores(stage, np.full((2, 4), value), form=form) for stage, form, value in ASKED]
    frames.append(scores("plm", np.full((2, 4), 0.5)))
    frame = attribution_table(
        frames, {}, [PATH], BOOTSTRAP, {"paper": dict(zip(PATH, ("okay", "human", "human"), strict=True))}
    )
    total = frame.query("step == 'total' and temperature == 'mean'").set_index("format")["delta"]
    assert total.to_dict() == pytest.approx({"paper": 3.0, "human": 2.5})


def test_an_unmeasured_stage_is_spanned_by_one_step() -> None:
    frames = [frame for frame in study() if frame["stage"].iloc[0] != "sft"]
    frame = attribution_table(frames, {}, [PATH], BOOTSTRAP)
    assert set(frame["step"]) == {"plm>dpo", "total"}


def test_paths_that_share_a_stage_have_rows_of_their_own() -> None:
    frames = [*study(seeds=1), scores("ppo", np.full((2, 20), 5.0))]
    frame = attribution_table(frames, {}, [PATH, ["plm", "sft", "ppo"]], BOOTSTRAP)
    assert set(frame["path"]) == {"plm>sft>dpo", "plm>sft>ppo"}


def test_step_names_end_with_the_total() -> None:
    assert step_names(PATH) == ["plm>sft", "sft>dpo", "total"]


def tokens(nll: float, groups: int = 8) -> TokenStatistics:
    hard = np.random.default_rng(0).uniform(5, 15, groups)
    documents = pd.DataFrame(
        {
            "document": range(groups),
            "n_tokens": 10,
            "n_bytes": 40,
            "nll": nll + hard,
            "entropy": 1.0,
            "confidence": 1.0,
            "kl": 0.0,
            "group": range(groups),
        }
    )
    vocabulary = pd.DataFrame(
        {
            "definition": "corrected",
            "group": range(groups),
            "n_distributions": 10,
            "probability_sum": [[1.0, 0.5]] * groups,
        }
    )
    return token_statistics(documents, vocabulary, BOOTSTRAP)


def test_token_level_steps_are_paired_by_document_and_sum_to_the_total() -> None:
    statistics = {Model("S", 0, stage): tokens(nll) for stage, nll in zip(PATH, (0.0, 1.0, 1.5), strict=True)}
    frame = attribution_table([], statistics, [PATH], BOOTSTRAP)
    assert set(frame["level"]) == {"token"}
    bits = frame[frame["metric"] == "bits_per_byte"].set_index("step")
    assert bits["delta"]["plm>sft"] == pytest.approx(1.0 / (40 * math.log(2)))
    assert bits["delta"][:2].sum() == pytest.approx(bits["delta"]["total"])
    # Every document changes by the same amount, so a paired interval has no width although documents differ.
    assert bits["high"]["total"] - bits["low"]["total"] < 1e-9


def test_token_statistics_of_different_documents_are_not_compared() -> None:
    statistics = {Model("S", 0, "plm"): tokens(0.0), Model("S", 0, "sft"): tokens(0.0, groups=9)}
    with pytest.raises(StudyError, match="different documents"):
        attribution_table([], statistics, [["plm", "sft"]], BOOTSTRAP)
