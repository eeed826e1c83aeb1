"""What planning costs grows with the models that are planned, and with nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.projects import Project, make_project

SIZES = 6

COUNTING = """
import atexit, collections, json, sys
from modecollapse import paths, specs
calls = collections.Counter()
def counted(name, function):
    def call(*arguments):
        calls[name] += 1
        return function(*arguments)
    return call
paths.Paths.cell = counted("cell names", paths.Paths.cell)
specs.generation_spec = counted("generation specs", specs.generation_spec)
specs.score_spec = counted("score specs", specs.score_spec)
atexit.register(lambda: print("\\n" + json.dumps(calls), flush=True))
from snakemake.cli import main
main()
"""


@pytest.fixture
def grid(tmp_path: Path) -> Project:
    """The smoke study with several sizes, and nothing made."""
    project = make_project(tmp_path / "grid")
    shape = "{architecture: {hidden_size: 32, layers: 2, heads: 2, context: 128}}"
    sizes = "".join(f"  size{number}: {shape}\n" for number in range(SIZES))
    project.edit_study(f"  tiny: {shape}\n", sizes)
    return project


def calls(project: Project, *arguments: str) -> dict[str, int]:
    """How often a dry run calls what names files and writes specs."""
    command = [sys.executable, "-c", COUNTING, *project.options("--dry-run", *arguments)]
    done = subprocess.run(
        command, cwd=project.root, env=project.environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return counted


def test_a_plan_names_each_cell_a_few_times_and_writes_each_spec_once(grid: Project) -> None:
    found = calls(grid, "--quiet", "all")
    models = SIZES * 3
    cells = models * 4
    # A cell is a target, and read by its model's scores, by its size's vectors, and perhaps by the table of samples.
    assert found["cell names"] <= 4 * cells + 4
    assert found["generation specs"] <= models
    assert found["score specs"] == 1


def test_a_job_of_a_cluster_names_the_files_of_its_own_model_only(grid: Project) -> None:
    job = ("--target-jobs", "score:size=size3,seed=0,stage=sft", "--allowed-rules", "score")
    found = calls(grid, "--nolock", "--mode", "remote", *job, "--quiet", "all")
    assert found["cell names"] <= 2 * 4
    assert "generation specs" not in found
