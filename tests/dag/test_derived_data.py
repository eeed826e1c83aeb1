"""Data sets that are made from others are made once, and again when what decides them changes, and nothing else is."""

import json

import pytest

from modecollapse.sealed import read_metadata, read_sealed
from tests.projects import Project

STAGE = """  tuned:
    method: dpo
    from: sft
    data: on_dist
    learning_rate: 1e-4
    beta: 0.5
    batch_size: 16
    max_length: 128
    max_prompt_length: 64
    dtype: float32

seeds: [0]
"""
SETS = """  preferences: {world: preferences, n: 64}
  more: {world: preferences, n: 16, seed: 1}
  unique: {from: [preferences, more], deduplicate: {near: 0.8}}
  clean: {from: unique, decontaminate: {words: 8}}
  on_dist:
    from: clean
    perplexity: {scorer: sft, percentile: 20, n: 4, max_new_tokens: 48, max_length: 128, max_prompt_length: 64}
"""
SCORED = "score_reference tiny/s0/sft/clean/human/128-64-truncate-float32"
REFERENCE = "score_reference tiny/s0/sft/on_dist/human/128-64-truncate-float32"
TABLE = "tabulate_filters"
FILTERED = ["derive_model_data tiny/s0/on_dist", REFERENCE, "train tiny/s0/tuned"]
MADE = [
    *("sample_data more", "derive_data unique", "derive_data clean", SCORED, "sample_own_answers tiny/s0/on_dist"),
    *FILTERED,
]


@pytest.fixture
def derived(finished: Project) -> Project:
    """The smoke study with a stage that is tuned on a set that was merged, cleaned and filtered."""
    finished.edit_study("seeds: [0]\n", STAGE)
    finished.edit_study("  preferences: {world: preferences, n: 64}\n", SETS)
    return finished


def test_derived_sets_schedule_themselves_and_what_they_are_made_from(derived: Project) -> None:
    assert derived.plan("models") == sorted(MADE)


@pytest.mark.slow
def test_a_set_is_made_again_when_what_decides_it_changes_and_dear_answers_are_not_sampled_again(
    derived: Project,
) -> None:
    derived.run("models", "results/nano-smoke/tables/filters.parquet")
    assert derived.plan("models") == []
    root = derived.result("data")
    kept = read_sealed(root / "tiny" / "s0" / "on_dist.parquet")
    report = json.loads(read_metadata(root / "tiny" / "s0" / "on_dist.parquet")["report"])
    assert kept.column_names == ["prompt", "chosen", "rejected", "task"]
    assert kept.num_rows == report["kept"] < report["rows"] == read_sealed(root / "clean.parquet").num_rows
    assert set(report["bounds"]) == {"creative", "factual"}
    rows = read_sealed(derived.result("tables/filters.parquet")).to_pylist()
    assert {(row["data"], row["size"], row["seed"]) for row in rows} == {
        ("unique", "", ""), ("clean", "", ""), ("on_dist", "tiny", "0"),
    }  # fmt: skip
    assert sum(row["n"] for row in rows if row["data"] == "on_dist" and row["task"] == "all") == report["rows"]
    quantiles = read_sealed(derived.result("tables/perplexities.parquet")).to_pylist()
    assert {row["text"] for row in quantiles} == {"own", "chosen", "rejected"}

    derived.edit_study("percentile: 20", "percentile: 30")
    table = "results/nano-smoke/tables/filters.parquet"
    assert derived.plan("models", table) == sorted([*FILTERED, TABLE]), "no answers, no scores of the same pairs"
    derived.edit_study("percentile: 30, n: 4", "percentile: 20, n: 5")
    assert derived.plan("models", table) == sorted([*FILTERED, TABLE, "sample_own_answers tiny/s0/on_dist"])
    derived.edit_study("n: 5", "n: 4")
    derived.edit_study("words: 8", "words: 7")
    assert derived.plan("models", table) == sorted([*MADE[2:], TABLE]), "and nothing that it is made from"
    derived.edit_study("words: 7", "words: 8")
    assert derived.plan("models", table) == []

    own = derived.result("answers/tiny/s0/on_dist.parquet")
    before = own.read_bytes()
    own.unlink()
    assert derived.plan("models", table)[:2] == [*FILTERED[:1], "sample_own_answers tiny/s0/on_dist"]
    derived.run("models", table)
    assert own.read_bytes() == before


@pytest.mark.slow
def test_a_filter_with_too_few_own_answers_ends_the_run_with_what_to_do(derived: Project) -> None:
    derived.edit_study("percentile: 20", "percentile: 99.9")
    output = derived.run("models", succeeds=False)
    assert "derive_model_data: data.on_dist: the task 'creative' has" in output
    assert "percentile 99.9 is told from 1000 at least. Raise count, n or max_new_tokens" in output
    assert not derived.result("models/tiny/s0/tuned/manifest.json").exists()
