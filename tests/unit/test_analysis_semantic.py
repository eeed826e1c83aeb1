"""Semantic modes by stage: means over prompts, differences to the stage before, and clusters with their samples."""

import math

import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.semantic import clusters_part, outputs_part, semantic_parts
from modecollapse.analysis.table_files import SCHEMAS

BOOTSTRAP = Bootstrap(resamples=500, seed=0)
LINEAGE = {"plm": [], "sft": ["plm"], "dpo": ["sft"]}
CELL = {"prompts": "creative", "format": "human", "temperature": "1.0"}


def values(stage: str, found: list[float], quantity: str = "clusters", **columns: object) -> pd.DataFrame:
    rows = [{"prompt": f"p{place}", "value": value, "n": 25} for place, value in enumerate(found)]
    model = {"size": "S", "seed": 0, "stage": stage}
    return pd.DataFrame(rows).assign(**{**CELL, **model, "quantity": quantity, **columns})


def table(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(semantic_parts(frames, LINEAGE, BOOTSTRAP), ignore_index=True).set_index("stage")


def test_a_stage_stands_beside_the_one_before_over_the_prompts_that_both_have() -> None:
    found = table(values("plm", [4.0, 6.0, 8.0]), values("dpo", [2.0, 3.0, math.nan]))
    assert list(found.reset_index().columns[:2]) == ["stage", "size"]
    assert set(found.reset_index().columns) == set(SCHEMAS["semantic"].names)
    plm, dpo = found.loc["plm"], found.loc["dpo"]
    assert (plm["value"], plm["n_prompts"], plm["n_outputs"]) == (6.0, 3, 75)
    assert pd.isna(plm["parent"])
    assert math.isnan(plm["difference"])
    assert (dpo["value"], dpo["parent"], dpo["before"], dpo["difference"]) == (2.5, "plm", 5.0, -2.5)
    assert dpo["difference_low"] < -2.5 < dpo["difference_high"]


def test_what_is_defined_for_no_prompt_has_no_row_and_a_single_prompt_no_interval() -> None:
    found = table(values("plm", [0.5], "stability"), values("sft", [math.nan], "stability"))
    assert list(found.index) == ["plm"]
    assert math.isnan(found.loc["plm", "low"])


def test_clusters_have_their_share_of_a_prompt_s_outputs_and_the_most_central_as_a_sample() -> None:
    rows = [("p0", 0, 0, True, "a"), ("p0", 1, 0, False, "b"), ("p0", 2, 1, True, "c"), ("p1", 0, 0, True, "d")]
    outputs = pd.DataFrame(rows, columns=["prompt", "sample", "cluster", "central", "text"])
    outputs = outputs.assign(**CELL, size="S", seed=0, stage="plm", similarity=0.5, x=0.0, y=1.0)
    clusters = clusters_part(outputs)
    assert list(clusters.columns) == SCHEMAS["semantic_clusters"].names
    assert list(zip(clusters["prompt"], clusters["n"], clusters["text"], strict=True)) == [
        ("p0", 2, "a"),
        ("p0", 1, "c"),
        ("p1", 1, "d"),
    ]
    assert list(clusters["share"]) == pytest.approx([2 / 3, 1 / 3, 1.0])
    assert len(outputs_part(outputs)) == 4
