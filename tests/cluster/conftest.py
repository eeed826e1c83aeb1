"""A cluster for each worker, and projects whose profile is edited as a site would edit it."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.slurm_cluster import Cluster, missing_programs
from tests.projects import ROOT, Project

SITE = """\
partitions:
  cpu: {{max_runtime: 240, max_mem_mb: 16000, max_threads: 8}}
  gpu: {{max_runtime: 240, max_mem_mb: 16000, max_threads: 8, max_gpu: 2}}
machine: {machine}
"""
ON_PRETENDED_GPUS = "{gpus_per_node: 2, accelerator: cpu, training_gpus: 1}"
"""Jobs that load a model ask for a GPU, and compute on processors: to the same bits as without."""


@dataclass(frozen=True)
class ClusterProject(Project):
    """A project that is run on the test cluster."""

    cluster: Cluster = field(kw_only=True)

    def options(self, *arguments: str) -> list[str]:
        return super().options(*arguments, "--profile", "profiles/slurm")

    def environment(self) -> dict[str, str]:
        return self.cluster.environment(super().environment())

    def training_log(self) -> str:
        """The log of the latest attempt to pretrain the model."""
        log = self.root / "logs/nano-smoke/train/tiny/s0/plm.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def printed(self, slurm_id: str) -> str:
        """What a job of Slurm has printed."""
        return "".join(path.read_text() for path in self.root.glob(f"logs/slurm/**/{slurm_id}.log"))


def console(project: Project) -> Path:
    """What Snakemake prints in `running`."""
    return project.root / "console.txt"


@contextmanager
def running(project: Project, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Snakemake as it runs. It is killed in the end if it has not ended."""
    with console(project).open("ab") as output:
        process = project.start(*arguments, output=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def on_cluster(project: Project, cluster: Cluster, machine: str = "{gpus_per_node: 0}") -> ClusterProject:
    """The project with its profile edited for the test cluster: which partitions, no accounts, states by squeue."""
    (project.root / "profiles/slurm/site.yaml").write_text(SITE.format(machine=machine))
    profile = "profiles/slurm/config.yaml"
    project.edit(profile, "slurm-status-command: sacct", "slurm-status-command: squeue")
    # Here jobs take seconds, not hours.
    project.edit(profile, "slurm-init-seconds-before-status-checks: 20", "slurm-init-seconds-before-status-checks: 1")
    return ClusterProject(**{**project.__dict__, "cluster": cluster})


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running Slurm; skips where it is not installed."""
    if missing := missing_programs():
        pytest.skip(
            f"not installed: {', '.join(missing)} (Debian: apt-get install slurmctld slurmd slurm-client munge)"
        )
    root = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # the path of a socket is at most 107 characters long
    # It stops the cluster when its input ends: here, or with this process, however that ends.
    guard = [sys.executable, "-m", "tests.cluster.slurm_cluster", str(root)]
    with subprocess.Popen(guard, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True):
        running = Cluster(root)
        running.start()
        yield running
