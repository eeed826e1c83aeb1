"""The split of an apparent effect into training and format: by hand, exact, paired, and with its interactions."""

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.format_effects import format_effect_table
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.wordings import Change
from tests.unit.test_analysis_attribution import scores

BOOTSTRAP = Bootstrap(resamples=1_000, seed=0)
FORMATS = {"plm": ["okay", "human"], "sft": ["okay", "human"]}
STEP = Change("plm", "sft", "okay", "human")
CELLS = {("plm", "okay"): 0.0, ("plm", "human"): 1.0, ("sft", "okay"): 2.0, ("sft", "human"): 5.0}


def study(noise: float = 0.0, seeds: int = 1, prompts: int = 20) -> list[pd.DataFrame]:
    generator = np.random.default_rng(0)
    hard = generator.normal(size=(2, prompts))
    return [
        scores(stage, value + hard + noise * generator.normal(size=(2, prompts)), seed, form).assign(se=0.1)
        for seed in range(seeds)
        for (stage, form), value in CELLS.items()
    ]


def table(frames: list[pd.DataFrame], changes: tuple[Change, ...] = (STEP,)) -> pd.DataFrame:
    return format_effect_table(frames, changes, FORMATS, BOOTSTRAP)


def mean(frame: pd.DataFrame, step: str = "plm>sft") -> pd.DataFrame:
    frame = frame[(frame["temperature"] == "mean") & (frame["step"] == step)]
    return frame.set_index(["effect", "within"])


def test_the_split_averages_over_both_orders_and_sums_to_the_apparent_effect() -> None:
    frame = table(study())
    assert list(frame.columns) == SCHEMAS["format_effect"].names
    expected = {
        ("stage", "both"): 3.0,  # (2 + 4) / 2
        ("format", "both"): 2.0,  # (1 + 3) / 2
        ("stage", "okay"): 2.0,
        ("stage", "human"): 4.0,
        ("format", "plm"): 1.0,
        ("format", "sft"): 3.0,
        ("apparent", ""): 5.0,
    }
    found = mean(frame)
    assert found["delta"].to_dict() == pytest.approx(expected)
    assert found["share"].to_dict() == pytest.approx({key: value / 5 for key, value in expected.items()})
    assert (set(found["format_before"]), set(found["format_after"])) == ({"okay"}, {"human"})


def test_intervals_are_paired_over_all_four_cells_and_parts_sum_with_noise_and_gaps_too() -> None:
    frames = study(noise=0.05, seeds=2)
    frames[3].loc[frames[3]["prompt"] == "p0", "value"] = np.nan
    found = mean(table(frames))
    assert found.loc["stage", "delta"]["both"] + found.loc["format", "delta"]["both"] == pytest.approx(
        found.loc["apparent", "delta"].iloc[0]
    )
    # Prompts differ by far more than the cells of a prompt do.
    assert (found["high"] - found["low"]).max() < 0.5
    assert ((found["low"] < found["delta"]) & (found["delta"] < found["high"])).all()
    shares = found.loc[[("stage", "both"), ("format", "both")]]
    assert ((shares["share_low"] < shares["share"]) & (shares["share"] < shares["share_high"])).all()
    assert set(found["n_seeds"]) == {2}


def test_the_error_from_completions_adds_all_cells_with_their_weights() -> None:
    found = mean(table(study()))["completion_se"] * 20**0.5 * 2**0.5  # 20 prompts, two temperatures
    assert found["apparent"].iloc[0] == pytest.approx(0.1 * 2**0.5)
    assert found["stage", "both"] == pytest.approx(0.1)
    assert found["format", "plm"] == pytest.approx(0.1 * 2**0.5)


def test_every_further_format_of_a_stage_is_compared_with_its_first() -> None:
    frame = table(study(), ())
    assert set(frame["step"]) == {"plm", "sft"}
    for stage, expected in (("plm", 1.0), ("sft", 3.0)):
        found = mean(frame, stage)
        assert found["delta"].to_dict() == pytest.approx({("format", stage): expected})
        assert found["share"].isna().all()


def test_a_study_without_scores_has_an_empty_table() -> None:
    assert list(table([]).columns) == SCHEMAS["format_effect"].names
