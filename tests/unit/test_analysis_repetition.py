"""Rates of repetition before and after a stage: counts, intervals, differences and ratios."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.repetition import repetition_parts
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.measures.repetition import RepetitionSettings, count_repetition

BOOTSTRAP = Bootstrap(resamples=500, seed=0)
LINEAGE = {"plm": [], "sft": ["plm"], "rm": ["sft"], "dpo": ["sft", "rm"]}
LOOP = "and so on, and on, "


def counted(
    stage: str, repetitive: Sequence[int], n: int = 20, temperature: str = "1.0", seed: int = 0, **columns: object
) -> pd.DataFrame:
    """So many completions of each prompt cycle, and none repeats otherwise."""
    rows = [
        {"prompt": f"p{place}", "n": n, "n_known": n, "any": count, "multiple": 0, "tandem": 0, "cycle": count}
        for place, count in enumerate(repetitive)
    ]
    cell = {"prompts": "creative", "format": "human", "temperature": temperature}
    return pd.DataFrame(rows).assign(**{**cell, "size": "S", "seed": seed, "stage": stage, **columns})


def table(*frames: pd.DataFrame, lineage: Mapping[str, Sequence[str]] = LINEAGE) -> pd.DataFrame:
    return pd.concat(repetition_parts(frames, lineage, BOOTSTRAP), ignore_index=True)


def row(frame: pd.DataFrame, stage: str, kind: str = "any", temperature: str = "1.0") -> pd.Series:
    [found] = frame[
        (frame["stage"] == stage) & (frame["kind"] == kind) & (frame["temperature"] == temperature)
    ].to_dict("records")
    return pd.Series(found)


def test_completions_are_counted_by_prompt_and_kind() -> None:
    texts = {"a": [LOOP * 8, LOOP * 8, "Once upon a time.", ""], "b": [LOOP * 8]}
    reasons = {"a": ["length", "eos", "length", "stop"], "b": ["unknown"]}
    rows = [(prompt, text) for prompt, of_prompt in texts.items() for text in of_prompt]
    completions = pa.table(
        {
            "prompt": [prompt for prompt, _ in rows],
            "text": [text for _, text in rows],
            "finish_reason": [*reasons["a"], *reasons["b"]],
        }
    )
    first, second = count_repetition(completions, RepetitionSettings()).to_pylist()
    # A word of 19 letters eight times: 21 letters occur only four times without overlap, and none of 100 does twice.
    assert first == {"prompt": "a", "n": 4, "n_known": 4, "any": 1, "multiple": 0, "tandem": 0, "cycle": 1}
    assert second == {"prompt": "b", "n": 1, "n_known": 0, "any": 0, "multiple": 0, "tandem": 0, "cycle": 0}
    [strict, _] = count_repetition(completions, RepetitionSettings(multiple_longer_than=10)).to_pylist()
    assert (strict["multiple"], strict["any"]) == (2, 2)
    assert count_repetition(completions.slice(0, 0), RepetitionSettings()).num_rows == 0


def test_a_rate_is_the_mean_over_prompts_and_is_compared_prompt_by_prompt_with_the_stage_before() -> None:
    before, after = [8, 10, 12, 14, 6, 10], [4, 5, 6, 7, 3, 5]
    frame = table(counted("plm", before), counted("sft", after))
    assert list(frame.columns) == SCHEMAS["repetition"].names
    first, then = (row(frame, stage) for stage in ("plm", "sft"))
    assert (first["value"], then["value"]) == pytest.approx((0.5, 0.25))
    assert first["low"] < 0.5 < first["high"]
    assert pd.isna(first["parent"])
    assert pd.isna(first["difference"])
    assert (then["parent"], then["before"], then["difference"]) == ("plm", 0.5, -0.25)
    assert then["difference_low"] < -0.25 < then["difference_high"] < 0
    # Every prompt's rate is halved, so the ratio is known better than either rate.
    assert then["ratio"] == pytest.approx(0.5)
    assert (then["n_seeds"], then["n_prompts"], then["n_completions"]) == (1, 6, 120)
    assert set(frame["kind"]) == {"any", "multiple", "tandem", "cycle"}


def test_the_interval_of_a_ratio_holds_what_the_prompts_disagree_about() -> None:
    before = [8, 10, 12, 14, 6, 10]
    then = row(table(counted("plm", before), counted("sft", [2, 9, 3, 12, 1, 3])), "sft")
    assert 0 <= then["ratio_low"] < then["ratio"] < then["ratio_high"]


def test_rates_that_are_nowhere_or_everywhere_have_an_interval_all_the_same() -> None:
    frame = table(counted("plm", [20] * 8), counted("sft", [0] * 8), counted("dpo", [0] * 8))
    every, none, still = (row(frame, stage) for stage in ("plm", "sft", "dpo"))
    assert (every["value"], every["high"]) == (1.0, 1.0)
    assert 0.5 < every["low"] < 1
    assert (none["value"], none["low"]) == (0.0, 0.0)
    assert 0 < none["high"] < 0.5
    assert -1 <= none["difference_low"] < none["difference_high"] < 0
    assert none["ratio"] == 0
    assert 0 < none["ratio_high"] < 0.5
    assert still["difference"] == 0
    assert still["difference_low"] < 0 < still["difference_high"]
    assert math.isnan(still["ratio"]), "a share of nothing"


def test_stages_are_compared_with_the_nearest_one_before_that_was_measured() -> None:
    frame = table(counted("plm", [4, 6, 8]), counted("dpo", [1, 2, 3]))
    assert row(frame, "dpo")["parent"] == "plm"
    apart = table(counted("plm", [4, 6, 8]), counted("sft", [1, 2, 3], format="qa"))
    assert pd.isna(row(apart, "sft")["parent"]), "no common format"
    assert row(apart, "sft")["value"] == pytest.approx(0.1)


def test_the_mean_over_temperatures_is_a_row_of_its_own_over_those_that_both_have() -> None:
    warm = [counted(stage, [place, place + 2], temperature="1.0") for stage, place in (("plm", 10), ("sft", 4))]
    frame = table(pd.concat([counted("plm", [0, 2], temperature="0.5"), warm[0]]), warm[1])
    assert row(frame, "plm", temperature="mean")["value"] == pytest.approx((0.05 + 0.55) / 2)
    assert row(frame, "plm", temperature="mean")["n_completions"] == 80
    assert row(frame, "sft", temperature="mean")["before"] == pytest.approx(0.55)


def test_where_it_is_not_known_whether_completions_ended_there_is_no_rate_of_cycles() -> None:
    frame = table(counted("plm", [3, 4, 5]).assign(n_known=0, cycle=0))
    assert set(frame["kind"]) == {"any", "multiple", "tandem"}


def test_seeds_are_resampled_too() -> None:
    alike = [counted("plm", [8, 10, 12], seed=seed) for seed in (0, 1, 2)]
    apart = [counted("plm", [8 + 6 * seed, 10, 12 - 6 * seed], seed=seed) for seed in (0, 1, 2)]
    widths = []
    for frames in (alike, apart):
        found = row(table(*(frame.assign(any=frame["any"] + 2 * (frame["seed"] - 1)) for frame in frames)), "plm")
        assert found["n_seeds"] == 3
        widths.append(found["high"] - found["low"])
    assert np.all(np.array(widths) > 0)
