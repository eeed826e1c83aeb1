"""Guard rails end to end: what falls is told and marked in every table and figure; edits run what they concern."""

import csv
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from modecollapse.sealed import read_sealed
from tests.projects import Project, make_project
from tests.tasks import CHOICE, write_tasks
from tests.tiny_models import save_neox

LIKELIHOOD = (
    CHOICE.replace("task: sums", "task: last")
    .partition("metric_list")[0]
    .replace("multiple_choice", "loglikelihood")
    .replace("doc_to_choice: choices\n", "")
    .replace("doc_to_target: answer", 'doc_to_target: "{{choices[0]}}"')
)
STUDY = """
title: One that falls
models: {neox: {}}
stages:
  base: {method: checkpoint, source: {path: checkpoints/base}}
  worse: {method: checkpoint, source: {path: checkpoints/worse}, from: base, label: Tuned}
prompts: {factual: prompts/nano-factual.yaml}
generation: {temperatures: ["1.0"], completions: 2, max_new_tokens: 4}
measures:
  diversity: {metrics: [self_bleu], words: [5]}
  benchmarks: {include: tasks/sums, shots: [0], tasks: [last]}
  guard_rails: {reference: base, tasks: {last: {margin: 0.05}}}
analysis: {resamples: 200}
"""
ASKED = ("tables", "results/own/figures/candidates.svg", "results/own/figures/lineage.svg")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path / "project", "own")
    base = save_neox(project.root / "checkpoints/base", context=256)
    worse = save_neox(project.root / "checkpoints/worse", context=256)
    weights = load_file(base / "model.safetensors")
    # The same predictions, each three times as sure of itself.
    weights["embed_out.weight"] = 3 * weights["embed_out.weight"]
    save_file(weights, worse / "model.safetensors", metadata={"format": "pt"})
    write_tasks(project.root / "config/tasks/sums", last=LIKELIHOOD)
    (project.root / "config/studies/own.yaml").write_text(STUDY)
    return project


def test_a_stage_that_falls_is_told_and_marked_and_a_margin_concerns_no_model(project: Project) -> None:
    output = project.run(*ASKED)
    rows = read_sealed(project.result("tables/candidates.parquet")).to_pylist()
    verdicts = {(row["stage"], row["level"]): row["verdict"] for row in rows}
    assert verdicts == {("worse", "task"): "fails", ("worse", "overall"): "fails"}
    assert {row["n"] for row in rows if row["level"] == "task"} == {12}
    said = "Tuned (neox) falls below BASE by more than its guard rails allow: it fails last."
    assert said in output, "the summary"
    for table in ("diversity", "curves", "benchmarks", "benchmarks_pooled", "samples", "training"):
        with project.result(f"tables/{table}.csv").open() as file:
            found = [(row["stage"], row["failing"]) for row in csv.DictReader(file)]
        assert all(failing == ("worse" if stage == "worse" else "") for stage, failing in found), table
    with project.result("tables/attribution.csv").open() as file:
        assert {(row["path"], row["failing"]) for row in csv.DictReader(file)} == {("base>worse", "worse")}
    assert "failing" not in read_sealed(project.result("tables/candidates.parquet")).column_names
    assert project.plan(*ASKED) == []

    project.edit_study("margin: 0.05", "margin: 0.06")
    assert project.plan(*ASKED) == [
        "attribute",
        "compare_steps",
        "judge_candidates",
        "plot_candidates",
        "plot_lineage",
        "tabulate",
        "tabulate_benchmarks",
    ]


def test_a_run_is_watched_by_benchmarks_of_the_world(finished: Project) -> None:
    """PPO in the finished smoke study: looks, a resumed job's inputs, and what schedules it again."""
    ppo = """  ppo:
    method: ppo
    from: sft
    reward: words
    data: preferences
    steps: 3
    batch_size: 8
    minibatch_size: 8
    warmup_steps: 0
    max_new_tokens: 16
    max_length: 128
    dtype: float32
    guard_rails: {every: 2, limit: 20}

seeds: [0]
"""
    rails = """  benchmarks: {include: tasks/nano, shots: [0], tasks: {nano_facts: {data: facts}}}
  guard_rails: {reference: sft, tasks: {nano_facts: {margin: 0.9}}}
  truth: true
"""
    finished.edit_study("seeds: [0]\n", ppo)
    finished.edit_study("  truth: true\n", rails)
    finished.edit_study("  preferences: {world", "  facts: {world: choices, n: 40}\n  preferences: {world")
    model = "results/nano-smoke/models/tiny/s0/ppo/manifest.json"
    assert finished.plan(model) == ["sample_data facts", "train tiny/s0/ppo"]
    finished.run(model)
    curves = read_sealed(finished.root / "results/nano-smoke/models/tiny/s0/ppo/curves.parquet").to_pylist()
    looked = {point["step"]: point["guard/nano_facts"] for point in curves if point["guard/nano_facts"] is not None}
    assert list(looked) == [2, 3]
    assert all(-1 <= value <= 1 for value in looked.values())
    manifest = json.loads((finished.root / model).read_text())
    assert "guard nano_facts" in manifest["inputs"]
    assert finished.plan(model) == []
    finished.edit_study("margin: 0.9", "margin: 0.8")
    assert finished.plan(model) == ["train tiny/s0/ppo"]
