"""Benchmarks end to end: two families of models, a task of one's own, a kill, and edits that run only what is new."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modecollapse.sealed import read_sealed
from tests.projects import Project, make_project
from tests.tasks import CHOICE, write_tasks
from tests.tiny_models import save_llama, save_neox

STUDY = """
title: Two families
models:
  neox: {stages: {}}
  llama: {stages: {}}
stages:
  base: {method: checkpoint, source: {path: "checkpoints/{size}"}}
prompts: {factual: prompts/nano-factual.yaml}
generation: {temperatures: ["1.0"], completions: 2, max_new_tokens: 4}
measures:
  diversity: {metrics: [self_bleu], words: [5]}
  benchmarks:
    include: tasks/sums
    shots: [0, 2]
    tasks: [sums]
"""

MEASURED = [
    "results/own/benchmarks/neox/s0/base/results.parquet",
    "results/own/benchmarks/llama/s0/base/results.parquet",
]
FIGURE = "results/own/figures/benchmarks.svg"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path / "project", "own")
    save_neox(project.root / "checkpoints/neox", context=512)
    save_llama(project.root / "checkpoints/llama", context=512)
    again = CHOICE.replace("task: sums", "task: again").replace("{{q}}", "Sum: {{q}}")
    write_tasks(project.root / "config/tasks/sums", sums=CHOICE, again=again)
    (project.root / "config/studies/own.yaml").write_text(STUDY)
    return project


def rows(project: Project, table: str) -> list[dict[str, object]]:
    return read_sealed(project.result(table)).to_pylist()


def made(project: Project, model: str) -> list[str]:
    """What the last job of a model ran itself, from its log."""
    log = (project.root / f"logs/own/run_benchmarks/{model}/s0/base.log").read_text()
    return [line.partition("done: ")[2] for line in log.splitlines() if "done: " in line]


@pytest.mark.slow  # test_harness puts both families to tasks
def test_models_of_both_families_are_put_to_a_task_and_only_what_is_new_is_run(project: Project) -> None:
    output = project.run("generations", FIGURE)
    assert "Running loglikelihood" not in output, "the harness is quiet"
    found = {(row["size"], row["shots"]): row for row in rows(project, "tables/benchmarks.parquet")}
    assert set(found) == {(size, shots) for size in ("neox", "llama") for shots in (0, 2)}
    assert all(row["n"] == 12 and row["low"] <= row["value"] <= row["high"] for row in found.values())
    assert project.plan("generations", FIGURE) == []
    first = rows(project, "benchmarks/neox/s0/base/samples.parquet")

    jobs = ["plot_benchmarks", "run_benchmarks llama/s0/base", "run_benchmarks neox/s0/base", "tabulate_benchmarks"]
    project.edit_study("tasks: [sums]", "tasks: [sums, again]")
    assert project.plan("generations", FIGURE) == jobs
    project.run(*MEASURED)
    assert made(project, "neox") == ["again, 0 shots, 12 documents", "again, 2 shots, 12 documents"]
    assert rows(project, "benchmarks/neox/s0/base/samples.parquet")[: len(first)] == first

    project.edit_study("shots: [0, 2]", "shots: [0, 2, 3]")
    assert project.plan("generations", FIGURE) == jobs
    project.edit_study("shots: [0, 2, 3]", "shots: [0, 2]")
    project.edit("config/tasks/sums/again.yaml", "Sum: ", "The sum: ")
    assert project.plan("generations", FIGURE) == jobs
    project.edit("config/tasks/sums/again.yaml", "The sum: ", "Sum: ")
    assert project.plan(*MEASURED) == []


KILLER = """
import os, signal, sys
from modecollapse.measures import harness
run, done = harness.Harness.run, []

def once(self, task, shots, data, chat):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(shots)
    return run(self, task, shots, data, chat)

harness.Harness.run = once
from pathlib import Path
from types import SimpleNamespace
from modecollapse.cells import Model
from modecollapse.jobs.benchmarks import run_benchmarks
from modecollapse.specs import benchmarks_spec
from modecollapse.store import Store
from modecollapse.study_files import load_study
import json

study, model = load_study({"study": "own"}, Path("config")), Model("neox", 0, "base")
paths = study.paths
run_benchmarks(
    study, model, json.loads(benchmarks_spec(study, model)), (Path(paths.manifest(model)), Path(paths.weights(model))),
    (Path(paths.benchmark_results(model)), Path(paths.benchmark_samples(model))), Store(Path("store")),
    SimpleNamespace(load=lambda *libraries: None),
)
"""


def test_a_killed_job_goes_on_where_it_was(project: Project) -> None:
    project.run("results/own/models/neox/s0/base/manifest.json")
    killed = subprocess.run(
        [sys.executable, "-c", KILLER], cwd=project.root, env=project.environment(), capture_output=True, timeout=200
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not os.path.exists(project.root / MEASURED[0])
    project.run(MEASURED[0])
    assert made(project, "neox") == ["sums, 2 shots, 12 documents"]
    assert {row["shots"] for row in rows(project, "benchmarks/neox/s0/base/results.parquet")} == {0, 2}


def test_a_data_set_that_is_not_locked_names_the_command_that_locks_it(project: Project) -> None:
    project.edit_study("tasks: [sums]", "tasks: [piqa]")
    output = project.run(MEASURED[0], succeeds=False)
    assert "baber/piqa@main: no commit is locked for it. Run `snakemake download" in output
