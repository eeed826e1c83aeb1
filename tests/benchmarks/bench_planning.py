"""What Snakemake costs by job: a plan of a large study beside a plain workflow, a job that does nothing, and waiting.

The synthetic study has 6 sizes × 8 stages × 15 temperatures × 5 seeds and nothing made. The plain workflow is one rule
with as many jobs, each made from the one before in chains of eight, and no function, no spec and no resource.
"""

import re
import sys
import tempfile
from pathlib import Path

import yaml

from modecollapse.yaml_files import read_yaml
from tests.benchmarks.comparing import Comparison
from tests.benchmarks.processes import cpu_of
from tests.projects import ROOT, Project, make_project

_NOTHING = 24
"""Jobs that do nothing and are run."""

_WAITING = 120
"""Jobs of a second each that are run two at a time."""

_SLEEPING = """
{onstart}

rule all:
    input: expand("out/{{number}}", number=range({jobs}))

rule sleep:
    output: "out/{{number}}"
    threads: 1
    resources: mem_mb=lambda wildcards: int(wildcards.number) + 1
    shell: "sleep 1 && touch {{output}}"
"""

_ONSTART = """
from modecollapse.resources.scheduling import stop_looking_again

onstart:
    stop_looking_again(workflow.scheduler)
"""

_PLAIN = """
rule all:
    input: expand("out/{{chain}}/8", chain=range({chains}))

rule step:
    input: lambda wildcards: f"out/{{wildcards.chain}}/{{int(wildcards.step) - 1}}" if wildcards.step != "1" else []
    output: "out/{{chain}}/{{step}}"
    shell: "touch {{output}}"
"""


def synthetic() -> dict[str, object]:
    """The smoke study, grown to 240 models and 7,200 cells."""
    content = read_yaml(ROOT / "config" / "studies" / "nano-smoke.yaml")
    shape = content["models"]["tiny"]
    content["models"] = {f"size{number}": shape for number in range(6)}
    content["stages"].update({f"dpo{n}": {**content["stages"]["dpo"], "beta": 0.2 + 0.1 * n} for n in range(5)})
    content["seeds"] = list(range(5))
    content["generation"]["temperatures"] = [f"{tenth / 10:.1f}" for tenth in range(1, 16)]
    return content


def compare(device: str) -> list[Comparison]:
    """Rows of the table, see the module; the same on any machine. Seconds are of processor time."""
    with tempfile.TemporaryDirectory() as directory:
        project = make_project(Path(directory) / "project")
        (project.root / "config" / "studies" / "synthetic.yaml").write_text(
            yaml.safe_dump(synthetic(), sort_keys=False)
        )
        study = Project(project.root, "synthetic")
        ours, printed = cpu_of(study.command("--dry-run", "--quiet", "reason"), study.root, study.environment())
        total = re.search(r"^total +(\d+)", printed, re.MULTILINE)
        assert total is not None, printed
        jobs = int(total[1])
        plain, chains = Path(directory) / "plain", jobs // 8
        plain.mkdir()
        (plain / "Snakefile").write_text(_PLAIN.format(chains=chains))
        snakemake = [sys.executable, "-m", "snakemake", "--cores", "2", "--directory", str(plain), "-s"]
        snakemake += [str(plain / "Snakefile")]
        bare, _ = cpu_of([*snakemake, "--dry-run", "--quiet", "all"], plain)
        targets = [f"out/{chain}/1" for chain in range(_NOTHING)]
        empty, _ = cpu_of([*snakemake, "--dry-run", "--quiet", "all", "--", *targets], plain)
        run, _ = cpu_of([*snakemake, "--quiet", "all", "--", *targets], plain)
        waiting = {
            name: _waiting(Path(directory) / name, onstart) for name, onstart in (("ours", _ONSTART), ("as_is", ""))
        }
    return [
        Comparison(
            "planning 240 models and 7,200 cells from nothing",
            f"{jobs:,} jobs",
            f"a plain workflow of {8 * chains:,} jobs",
            ours / jobs,
            bare / (8 * chains),
            lower=True,
            more={"seconds": ours, "seconds of the plain one": bare},
        ),
        Comparison(
            "a job that does nothing",
            f"run by Snakemake ({_NOTHING} jobs that touch a file)",
            "the start of Snakemake, shared by them",
            (run - empty) / _NOTHING,
            empty / _NOTHING,
            lower=True,
            more={"milliseconds for each job": 1000 * (run - empty) / _NOTHING},
        ),
        Comparison(
            f"{_WAITING} jobs that sleep for a second",
            "without Snakemake's default limit of 100 jobs a second",
            "with it",
            waiting["ours"],
            waiting["as_is"],
            lower=True,
        ),
    ]


def _waiting(directory: Path, onstart: str) -> float:
    directory.mkdir()
    (directory / "Snakefile").write_text(_SLEEPING.format(jobs=_WAITING, onstart=onstart))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--quiet", "all", "--directory", str(directory)]
    return cpu_of([*command, "-s", str(directory / "Snakefile")], directory)[0]
