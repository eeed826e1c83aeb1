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


ASKED = """\
measures:
  semantic: {asked: {letter: Write a letter to the baker about the picnic.}, completions: 12, max_new_tokens: 20}
  attractor: {continuations: 2}
  top_entropy: {completions: 4, max_new_tokens: 8}
  probes: {max_new_tokens: 8, choices: {lifetime: {text: A velk can live for, rule: number}}}
  personas:
    completions: 4
    max_new_tokens: 20
    fields: {mood: category}
    templates: {human: {text: Write to the baker about the picnic., pattern: 'was (?P<mood>\\w+)(?P<review>.*)'}}
"""
STAGES = ("dpo", "plm", "sft")
TABLES = ["tabulate_continuations", "tabulate_personas", "tabulate_probes", "tabulate_semantic", "tabulate_top_entropy"]
KINDS = ("attractor", "attractor_tokens", "choices", "confidence", "next_tokens", "persona_fields", "persona_map")
KINDS += ("persona_names", "persona_reviews", "responses", "semantic", "semantic_map", "top_entropy")
KINDS += ("top_entropy_sample",)


def of_models(*rules: str) -> list[str]:
    return [f"{rule} tiny/s0/{stage}" for rule in rules for stage in STAGES]


def test_each_model_is_asked_once_for_all_measures(finished: Project) -> None:
    finished.edit_study("measures:\n", ASKED)
    of_each = of_models("measure_personas", "measure_semantic", "run_experiments")
    assert finished.plan() == sorted([*of_each, *TABLES, *(f"plot_{kind}_tiny" for kind in KINDS)])


def test_what_cannot_be_asked_is_said_before_any_job_starts(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  attractor: {}\n")
    assert "measures.attractor: modes are those of the outputs of measures.semantic.asked" in finished.run(
        succeeds=False
    )
    finished.edit_study("measures:\n  attractor: {}\n", "measures:\n  personas: {}\n")
    assert "measures.personas.templates: the stage plm is asked in human" in finished.run(succeeds=False)


@pytest.mark.slow
def test_what_is_asked_makes_only_its_own_results_stale(finished: Project) -> None:
    finished.edit_study("measures:\n", ASKED)
    finished.run()
    assert finished.plan() == []
    finished.edit_study("top_entropy: {completions: 4", "top_entropy: {completions: 5")
    # One job asks each model, and puts back from the store what it was asked before.
    assert set(of_models("run_experiments")) <= set(finished.plan())
    finished.run()
    log = (finished.root / "logs/nano-smoke/run_experiments/tiny/s0/sft.log").read_text()
    assert "parts: 4 of 5 are in the store" in log
    assert finished.plan() == []
    finished.edit_study("personas:\n    completions: 4", "personas:\n    most_clusters: 3\n    completions: 4")
    plots = [f"plot_persona_{kind}_tiny" for kind in ("fields", "map", "names", "reviews")]
    assert finished.plan() == sorted([*of_models("measure_personas"), "tabulate_personas", *plots])
