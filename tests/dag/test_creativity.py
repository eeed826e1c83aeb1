"""The measures of creativity: each is a job of its own, and what it needs alone makes it stale."""

import pytest

from modecollapse.sealed import read_sealed
from tests.projects import Project

SEMANTIC = "results/nano-smoke/tables/semantic.parquet"
FOUND = [f"measure_semantic tiny/s0/{stage}" for stage in ("dpo", "plm", "sft")]


def test_the_toy_bandit_needs_no_model(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  toy_bandit: {}\n")
    assert finished.plan() == ["plot_toy_bandit", "simulate_toy_bandit"]
    finished.run()
    assert finished.plan() == []
    finished.edit_study("toy_bandit: {}", "toy_bandit: {kl_weights: [0.5]}")
    assert finished.plan() == ["plot_toy_bandit", "simulate_toy_bandit"]
    finished.edit_study("  toy_bandit: {kl_weights: [0.5]}\n", "")
    assert finished.plan() == []


def test_semantic_modes_are_those_of_one_temperature(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  semantic: {prompts: [creative]}\n")
    assert finished.plan() == sorted([*FOUND, "plot_semantic_map_tiny", "plot_semantic_tiny", "tabulate_semantic"])
    finished.edit_study("prompts: [creative]", "prompts: [creative], temperature: 0.9")
    assert "measures.semantic.temperature: 0.9 is not sampled. Allowed: " in finished.run(SEMANTIC, succeeds=False)


@pytest.mark.slow
def test_semantic_modes_follow_the_outputs_of_their_prompts(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  semantic: {prompts: [creative]}\n")
    finished.run(SEMANTIC)
    rows = read_sealed(finished.root / SEMANTIC).to_pylist()
    assert {(row["stage"], row["parent"]) for row in rows} >= {("plm", None), ("sft", "plm"), ("dpo", "sft")}
    assert all(row["temperature"] == "1.0" and row["prompts"] == "creative" for row in rows)
    finished.edit_study("prompts: [creative]", "prompts: [creative], most_clusters: 4")
    assert finished.plan(SEMANTIC) == sorted([*FOUND, "tabulate_semantic"])
    finished.edit_study("prompts: [creative], most_clusters: 4", "prompts: [factual]")
    assert finished.plan(SEMANTIC) == sorted([*FOUND, "tabulate_semantic"])
