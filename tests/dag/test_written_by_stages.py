"""What stages write for others: chosen completions and data sets. They follow what they are made from, nothing else."""

from pathlib import Path

import pytest

from modecollapse.sealed import read_metadata, read_sealed
from tests.projects import Project

STAGES = """  bon: {method: best_of_n, from: sft, reward: words, n: 3}
  dpo2:
    method: dpo
    from: dpo
    data: onpolicy
    learning_rate: 1e-4
    beta: 0.5
    batch_size: 16
    max_length: 128
    max_prompt_length: 64
    dtype: float32

seeds: [0]
"""
SET = """  preferences: {world: preferences, n: 64}
  onpolicy: {sampled: {from: dpo, prompts: preferences, reward: words, n: 4, max_new_tokens: 64}}
"""
REFERENCE = "score_reference tiny/s0/dpo/onpolicy/human/128-64-truncate-float32"


@pytest.fixture
def iterated(finished: Project) -> Project:
    """The smoke study with a stage that chooses, and a stage that is tuned on what its parent writes."""
    finished.edit_study("seeds: [0]\n", STAGES)
    finished.edit_study("  preferences: {world: preferences, n: 64}\n", SET)
    return finished


def generated(stage: str, project: Project) -> list[Path]:
    return sorted(project.result(f"generations/tiny/s0/{stage}").rglob("*.parquet"))


MADE = sorted(
    ["sample_pairs tiny/s0/onpolicy", REFERENCE, "train tiny/s0/dpo2", "choose tiny/s0/bon", "generate tiny/s0/dpo2"]
)


def test_stages_that_choose_and_are_iterated_schedule_themselves_and_what_is_written_for_them(
    iterated: Project,
) -> None:
    assert iterated.plan("models", "generations") == MADE


@pytest.mark.slow
def test_what_a_stage_writes_is_made_once_and_again_when_what_decides_it_changes(iterated: Project) -> None:
    iterated.run("models", "generations")

    pairs = read_sealed(iterated.result("sampled/tiny/s0/onpolicy.parquet"))
    assert pairs.column_names == ["prompt", "chosen", "rejected", "task"]
    assert all(len(row["chosen"].split()) > len(row["rejected"].split()) for row in pairs.to_pylist())
    parents = [read_sealed(path) for path in generated("sft", iterated)]
    for path, parent in zip(generated("bon", iterated), parents, strict=True):
        chosen, record = read_sealed(path), read_metadata(path)
        assert chosen.schema.remove_metadata() == parent.schema.remove_metadata()
        assert chosen.select(["prompt", "sample"]) == parent.select(["prompt", "sample"])
        assert record["best_of"] == "3"
        assert float(record["mean_score_of_chosen"]) > float(record["mean_score_of_candidates"])

    before = {path: path.stat().st_ino for path in generated("bon", iterated)}
    iterated.edit_study('["0.5", "1.0"]', '["0.5", "0.8", "1.0"]')
    cells = [f"generate tiny/s0/{stage}" for stage in ("dpo", "dpo2", "plm", "sft")]
    assert iterated.plan("models", "generations") == ["choose tiny/s0/bon", *cells], "no data, no training"
    iterated.edit_study('["0.5", "0.8", "1.0"]', '["0.5", "1.0"]')

    iterated.edit_study("reward: words, n: 4,", "reward: words, n: 5,")
    iterated.edit_study("reward: words, n: 3}", "reward: words, n: 2}")
    assert iterated.plan("models", "generations") == MADE, "of both that differ, and what descends from them"
    assert {path: path.stat().st_ino for path in before} == before


@pytest.mark.slow
def test_every_table_and_figure_is_made_of_stages_that_choose_and_that_are_iterated(iterated: Project) -> None:
    iterated.edit_study("reward: words, n: 3}", "reward: utility, n: 3}")
    iterated.run()
    assert iterated.plan() == []
    steps = read_sealed(iterated.result("tables/attribution.parquet")).to_pylist()
    assert {"bon", "dpo2"} <= {value for row in steps for value in row.values() if isinstance(value, str)}
    tokens = read_sealed(iterated.result("tables/tokens_pooled.parquet"))["stage"].to_pylist()
    assert set(tokens) == {"plm", "sft", "dpo", "dpo2"}, "what has no weights has no token statistics"
    assert set(read_sealed(iterated.result("tables/training.parquet"))["stage"].to_pylist()) == set(tokens)
