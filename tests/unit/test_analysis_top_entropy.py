"""Entropy along outputs: the paper's formula by hand, means per output and stage, and odd outputs."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.permutation import permutation_p
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.top_entropy import (
    entropy_bits,
    outputs_part,
    renormalised,
    sample_part,
    top_entropy_parts,
    with_entropies,
)
from modecollapse.cells import Model
from modecollapse.data.nano.world import World
from modecollapse.identities import identity_metadata
from modecollapse.jobs.probe_tables import tabulate_top_entropy
from modecollapse.measures.top_entropy import TOKENS
from modecollapse.sealed import read_sealed, write_sealed

BOOTSTRAP = Bootstrap(resamples=2000, seed=0)
LINEAGE = {"plm": [], "sft": ["plm"], "dpo": ["sft"]}
HALVES = (0.5, 0.25)
"""−Σ p log2 p = 0.5 + 0.5 = 1; after division by 0.75, of (2/3, 1/3): log2 3 − 2/3."""


def token(sample: int, position: int, top: Sequence[float] = HALVES, entropy: float = 1.5, text: str = " a") -> dict:
    names = [text, " b", " c", " d", " e"][: len(top)]
    known = {"sample": sample, "position": position, "token": text, "log_prob": math.log(top[0]), "entropy": entropy}
    return {**known, "top_tokens": names, "top_probs": list(top)}


def frame(rows: list[dict], stage: str = "plm", seed: int = 0) -> pd.DataFrame:
    return pa.Table.from_pylist(rows, TOKENS).to_pandas().assign(size="S", seed=seed, stage=stage)


def part(values: Sequence[float], stage: str, seed: int = 0, n_tokens: int = 3) -> pd.DataFrame:
    """Outputs whose single tokens have these entropies."""
    rows = [token(sample, 0, entropy=value) for sample, value in enumerate(values)]
    found = outputs_part(with_entropies(frame(rows, stage, seed)), 8)
    return found.assign(n_tokens=n_tokens, ended=n_tokens < 8)


def table(*parts: pd.DataFrame, truth: float | None = None) -> pd.DataFrame:
    found = pd.concat(top_entropy_parts(parts, LINEAGE, BOOTSTRAP, truth), ignore_index=True)
    assert list(found.columns) == SCHEMAS["top_entropy"].names
    return found.set_index(["stage", "quantity"])


def test_entropy_is_the_papers_sum_with_probabilities_as_they_are_and_renormalised() -> None:
    assert entropy_bits(np.array(HALVES)) == pytest.approx(1.0)
    assert entropy_bits(renormalised(np.array(HALVES))) == pytest.approx(math.log2(3) - 2 / 3)
    assert entropy_bits(np.full(5, 0.2)) == pytest.approx(math.log2(5))
    assert entropy_bits(np.array([1.0, 0.0])) == 0.0
    assert math.isnan(entropy_bits(renormalised(np.zeros(2))))


def test_an_output_has_the_means_over_its_tokens_and_the_sum_of_their_entropies() -> None:
    rows = [token(0, 0), token(0, 1, (1.0, 0.0), 0.0), token(1, 0, (0.5, 0.5), 1.0)]
    found = outputs_part(with_entropies(frame(rows)), 2)
    assert list(found.columns) == SCHEMAS["top_entropy_outputs"].names
    assert list(found["top_entropy"]) == pytest.approx([0.5, 1.0])
    assert list(found["top_entropy_renormalised"]) == pytest.approx([(math.log2(3) - 2 / 3) / 2, 1.0])
    assert list(found["mass_of_top"]) == pytest.approx([0.875, 1.0])
    assert list(found["entropy"]) == [0.75, 1.0]
    assert list(found["entropy_per_output"]) == [1.5, 1.0]
    assert list(found["n_tokens"]) == [2, 1]
    assert list(found["ended"]) == [False, True], "one as long as allowed counts as cut"


def test_a_stage_has_mean_and_sd_over_outputs_beside_the_stage_before() -> None:
    found = table(part([1.0, 2.0, 3.0], "plm"), part([0.0, 1.0, 2.0], "dpo"))
    plm, dpo = found.loc[("plm", "entropy")], found.loc[("dpo", "entropy")]
    assert (plm["value"], plm["sd"], plm["n_outputs"], plm["n_seeds"], plm["ended"]) == (2.0, 1.0, 3, 1, 1.0)
    assert plm["low"] < 2.0 < plm["high"]
    assert pd.isna(plm["parent"])
    assert math.isnan(plm["p_value"])
    assert (dpo["value"], dpo["parent"], dpo["before"], dpo["difference"]) == (1.0, "plm", 2.0, -1.0)
    # Of the 20 ways to choose 3 of 0, 1, 1, 2, 2, 3 these have sums of 3 or less, or of 6 or more:
    # {0,1,1}, {0,1,2} four times, and the mirror images of these five.
    assert dpo["p_value"] == pytest.approx(0.5, abs=0.04)
    assert found.loc[("plm", "mass_of_top"), "value"] == 0.75


def test_sd_is_that_of_the_outputs_of_one_model_whatever_its_seed_adds() -> None:
    found = table(part([1.0, 3.0], "plm"), part([11.0, 13.0], "plm", seed=1))
    assert found.loc[("plm", "entropy"), ["value", "sd", "n_seeds", "n_outputs"]].tolist() == pytest.approx(
        [7.0, math.sqrt(2), 2, 4]
    )


def test_the_true_entropy_stands_beside_outputs_that_ended() -> None:
    parts = (part([1.0, 2.0], "plm", n_tokens=8), part([1.0, 2.0], "sft"))
    found = table(*parts, truth=22.9)["truth"]
    assert found[("sft", "entropy_per_output")] == 22.9
    assert math.isnan(found[("plm", "entropy_per_output")]), "cut outputs are not whole answers"
    assert math.isnan(found[("sft", "entropy")])
    assert table(*parts)["truth"].isna().all()


def test_identical_outputs_and_outputs_of_an_end_token_alone_have_defined_values() -> None:
    ends = [token(sample, 0, (1.0, 0.0), 0.0, "<|endoftext|>") for sample in range(4)]
    parts = [outputs_part(with_entropies(frame(ends, stage)), 8) for stage in ("plm", "sft")]
    found = table(*parts)
    row = found.loc[("sft", "top_entropy")]
    assert (row["value"], row["sd"], row["low"], row["high"]) == (0.0, 0.0, 0.0, 0.0)
    assert (row["difference"], row["p_value"], row["ended"]) == (0.0, 1.0, 1.0)
    alone = table(part([1.0], "plm")).loc[("plm", "entropy")]
    assert alone["value"] == 1.0
    assert math.isnan(alone["sd"])
    assert math.isnan(alone["low"])


def test_tokens_in_any_script_are_kept_as_they_are_in_rows_by_rank() -> None:
    texts = ("\U0001f600", "日本", "\n", " weiß")
    rows = [token(0, place, (0.5, 0.25), text=text) for place, text in enumerate(texts)] + [token(1, 0)]
    found = sample_part(with_entropies(frame(rows)), 3)
    assert list(found.columns) == SCHEMAS["top_entropy_tokens"].names
    assert list(found["token"][::2]) == list(texts[:3]), "the first three tokens of the first output"
    assert list(found["rank"]) == [1, 2] * 3
    assert list(found["top_token"][:2]) == ["\U0001f600", " b"]
    assert list(found["top_probability"][:2]) == [0.5, 0.25]
    assert found["probability"].iloc[0] == pytest.approx(0.5)


def test_a_permutation_test_counts_arrangements_within_strata() -> None:
    before, after = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert permutation_p([after], [before], 20_000, 0) == pytest.approx(1 / 3, abs=0.01)
    # In each of two strata 1 of 6 arrangements is as far on one side, so 2 of 36 are on both.
    assert permutation_p([after, after], [before, before + 0], 20_000, 0) == pytest.approx(2 / 36, abs=0.01)
    assert permutation_p([after + 9], [before + 9], 500, 1) == permutation_p([after], [before], 500, 1)
    assert permutation_p([after], [after], 100, 0) == 1.0
    assert math.isnan(permutation_p([after], [np.array([np.nan])], 100, 0))


def test_the_job_tells_the_truth_of_a_prompt_that_its_world_can_be_asked(tmp_path: Path) -> None:
    world = World()
    prompt = world.prompts("creative")[0].text
    assert prompt is not None
    models = [Model("S", seed, stage) for seed in (3, 1) for stage in ("plm", "sft")]
    files = []
    for model in models:
        rows = [token(sample, place, text=model.stage) for sample in range(3) for place in range(2)]
        files.append(tmp_path / f"{model.seed}-{model.stage}.parquet")
        write_sealed(pa.Table.from_pylist(rows, TOKENS), files[-1], identity_metadata(model))
    names = ("top_entropy", "top_entropy_outputs", "top_entropy_tokens")
    outputs = {f"{name}{end}": tmp_path / f"{name}{end}" for name in names for end in ("", "_csv")}
    spec = {"analysis": {"resamples": 200, "seed": 0}, "lineage": LINEAGE, "max_new_tokens": 8, "shown": 1}
    asked = {"text": prompt, "world": {"revision": 1, "settings": {"seed": 0}}}
    tabulate_top_entropy({**spec, **asked}, files, outputs)
    rows = read_sealed(outputs["top_entropy"]).to_pylist()
    of_output = [row for row in rows if row["quantity"] == "entropy_per_output"]
    entropy = world.answer_entropy(prompt)
    assert entropy is not None
    assert [row["truth"] for row in of_output] == [pytest.approx(entropy / math.log(2))] * 2
    assert [(row["value"], row["n_seeds"], row["n_outputs"]) for row in of_output] == [(3.0, 2, 6)] * 2
    assert read_sealed(outputs["top_entropy_outputs"]).num_rows == 12
    shown = read_sealed(outputs["top_entropy_tokens"]).to_pylist()
    assert {(row["seed"], row["stage"], row["position"]) for row in shown} == {(3, "plm", 0), (3, "sft", 0)}
    tabulate_top_entropy({**spec, **asked, "text": "Steve is the CEO of a startup company"}, files, outputs)
    assert not any(row["truth"] for row in read_sealed(outputs["top_entropy"]).to_pylist())
