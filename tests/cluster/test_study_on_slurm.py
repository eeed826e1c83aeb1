"""A study run on Slurm gives the very results of a local run, whatever happens to its jobs."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from filelock import FileLock

from modecollapse.sealed import SEAL, read_metadata
from tests.cluster.conftest import ON_PRETENDED_GPUS, console, on_cluster, running
from tests.cluster.slurm_cluster import Cluster, wait_for
from tests.cluster.training_jobs import hold_at_first_checkpoint
from tests.projects import Project, make_project

LAST_STAGE = [
    f"results/nano-smoke/{name}" for name in ("scores/tiny/s0/dpo.parquet", "tokens/tiny/s0/dpo/documents.parquet")
]
"""What is measured of it: all that comes before is made, too."""
SEEDS = list(range(6))
"""Of the models that faults happen to."""
MODELS = [f"results/nano-smoke/models/tiny/s{seed}/plm/manifest.json" for seed in SEEDS]
ENDED = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT")


def digests(project: Project) -> dict[str, str]:
    """What a study has come to: the weights of models, the seals of cells, and the tables."""
    root = project.root / "results" / project.study
    weights = {path: json.loads(path.read_text())["files"] for path in root.rglob("manifest.json")}
    seals = {path: read_metadata(path)[SEAL] for path in root.rglob("*.parquet")}
    tables = {path: path.read_text() for path in root.rglob("*.csv")}
    return {str(path.relative_to(root)): str(value) for path, value in {**weights, **seals, **tables}.items()}


def lengthen_training(project: Project, seeds: Sequence[int]) -> None:
    """Have models of these seeds pretrained for long enough to be hit by a fault."""
    project.edit_study("seeds: [0]", f"seeds: {list(seeds)}")
    project.edit_study("tokens: 12000", "tokens: 100000")
    project.edit_study("log_every: 2\n    save_every: 4", "log_every: 10\n    save_every: 10")


@pytest.mark.parametrize("targets", [LAST_STAGE, pytest.param(["tables"], marks=pytest.mark.slow)])
def test_a_study_run_on_slurm_equals_a_local_run(
    targets: list[str], cluster: Cluster, finished_once: Project, tmp_path: Path
) -> None:
    project = on_cluster(make_project(tmp_path / "project"), cluster)
    with running(project, *targets) as snakemake:
        assert snakemake.wait(timeout=2400) == 0, console(project).read_text()
    assert "No suitable partition" not in console(project).read_text()
    local, ours = digests(finished_once), digests(project)
    assert len(ours) > 10
    assert ours.items() <= local.items()
    if targets == ["tables"]:
        assert len(local) > 20
        assert ours == local


@pytest.mark.slow
def test_a_training_on_two_gpus_of_a_node_equals_one_in_two_processes(
    cluster: Cluster, finished_once: Project, tmp_path: Path
) -> None:
    model = "results/nano-smoke/models/tiny/s0/sft/manifest.json"
    machine = ON_PRETENDED_GPUS.replace("training_gpus: 1", "training_gpus: 2")
    local = finished_once.copy(tmp_path / "local", settings=(f"machine={machine}",))
    local.edit_study("sft:\n", "sft:\n    weight_decay: 0.01\n")
    project = on_cluster(local.copy(tmp_path / "slurm", settings=()), cluster, machine)
    local.run(model)
    project.run(model)
    for each in (local, project):
        run = json.loads((each.root / model).with_name("run.json").read_text())
        assert run["layout"]["processes"] == 2
    assert digests(project) == digests(local)


@dataclass
class Faults:
    """What was seen while models were trained and a fault was made to happen to each."""

    local: dict[str, str] = field(default_factory=dict)
    """What a local run without faults has come to."""
    ours: dict[str, str] = field(default_factory=dict)
    """What the run with faults has come to."""
    states: dict[str, str] = field(default_factory=dict)
    """Fault → the state in which Slurm left the job that it hit."""
    said: dict[str, str] = field(default_factory=dict)
    """Fault → what the job that it hit had printed."""
    logs: dict[str, str] = field(default_factory=dict)
    """Fault → the log of the attempt that finished the model."""
    console: str = ""
    """What Snakemake printed."""


@pytest.fixture(scope="session")
def faults(
    cluster: Cluster, finished_once: Project, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Faults:
    """Six models are trained, a fault happens to each; once for all workers."""
    base = tmp_path_factory.getbasetemp()
    record = (base if worker_id == "master" else base.parent) / "faults.json"
    with FileLock(record.with_suffix(".lock")):
        if not record.exists():
            directory = tmp_path_factory.mktemp("faults")
            record.write_text(json.dumps(asdict(_make_faults_happen(cluster, finished_once, directory))))
            shutil.rmtree(directory)
    return Faults(**json.loads(record.read_text()))


def _make_faults_happen(cluster: Cluster, finished: Project, directory: Path) -> Faults:
    local = finished.copy(directory / "local")
    lengthen_training(local, SEEDS)
    project = on_cluster(local.copy(directory / "slurm"), cluster)
    seen, jobs = Faults(), {}
    asked = [*MODELS, "--set-resources", "train:mem_mb=4000"]  # four on a node at most, so both have some

    def state(fault: str) -> str:
        return cluster.state(jobs[fault].slurm_id)

    def wait_for_model(fault: str) -> None:
        wait_for((project.root / MODELS[jobs[fault].seed]).exists, 900, f"{fault}: its model")

    # Waits are long: a machine that runs other tests beside these is slow.
    with running(local, *MODELS) as alone, running(project, *asked) as snakemake:
        held = hold_at_first_checkpoint(project.root, SEEDS)
        lost = held[-1].node
        jobs["node lost"] = held.pop()
        jobs["orphaned"] = held.pop(next(index for index, job in enumerate(held) if job.node != lost))
        jobs |= dict(zip(("cancelled", "killed", "signalled", "timed out"), held, strict=True))

        # The profile asks for SIGTERM five minutes before the limit: that is now.
        cluster.ask("scontrol", "update", f"JobId={jobs['signalled'].slurm_id}", "TimeLimit=5")
        cluster.ask("scancel", jobs["cancelled"].slurm_id)
        jobs["killed"].process.kill()
        wait_for(jobs["signalled"].is_asked_to_stop, 360, "SIGTERM before the time limit")
        jobs["signalled"].go_on()
        # A limit that is over already, so that no signal comes before it.
        wait_for(lambda: jobs["timed out"].seconds() > 61, 270, "a minute of the job")
        cluster.ask("scontrol", "update", f"JobId={jobs['timed out'].slurm_id}", "TimeLimit=1")
        for fault in ("cancelled", "killed", "signalled", "timed out"):
            wait_for(lambda fault=fault: state(fault) in ENDED, 720, f"{fault}: the end of its job")
            seen.states[fault] = state(fault)
        for fault in ("cancelled", "killed", "signalled", "timed out"):
            wait_for_model(fault)

        wait_for(lambda: len(cluster.active_jobs()) == 2, 360, "the end of all jobs but those that are held")
        cluster.kill_node(lost)
        try:
            wait_for(lambda: cluster.is_down(lost), 360, "Slurm to notice the loss")
            wait_for(lambda: state("node lost") == "PENDING", 180, "its job to be queued again")
            # Slurm lets two minutes pass before it starts such a job again.
            cluster.ask("scontrol", "update", f"JobId={jobs['node lost'].slurm_id}", "StartTime=now")
            wait_for_model("node lost")
            wait_for(lambda: "5 of 6 steps" in console(project).read_text(), 360, "Snakemake to notice")
            seen.states["node lost"] = state("node lost")
        finally:
            cluster.start_node(lost)

        for fault in jobs:
            seen.logs[fault] = project.training_log(jobs[fault].seed)
        snakemake.kill()
        snakemake.wait()
        assert alone.wait(timeout=720) == 0, console(local).read_text()
    assert "locked" in project.run(*asked, succeeds=False)
    project.run("--unlock")
    with running(project, *asked) as snakemake:
        waits = "another job has the same in hand"
        wait_for(lambda: waits in project.training_log(jobs["orphaned"].seed), 360, "the second job to wait")
        jobs["orphaned"].go_on()
        assert snakemake.wait(timeout=720) == 0, console(project).read_text()
    wait_for(lambda: state("orphaned") in ENDED, 180, "the end of the orphaned job")
    seen.states["orphaned"] = state("orphaned")

    seen.console = console(project).read_text()
    seen.logs["orphaned"] = project.training_log(jobs["orphaned"].seed)
    for fault, job in jobs.items():
        seen.said[fault] = "".join(path.read_text() for path in project.root.glob(f"logs/slurm/**/{job.slurm_id}.log"))
    seen.local, seen.ours = digests(local), digests(project)
    return seen


@pytest.mark.parametrize(
    ("fault", "state"),
    [("cancelled", "CANCELLED"), ("killed", "FAILED"), ("signalled", "FAILED"), ("timed out", "TIMEOUT")],
)
def test_a_training_that_is_hit_is_submitted_again_and_resumes(faults: Faults, fault: str, state: str) -> None:
    assert faults.states[fault] == state
    assert "resuming after" in faults.logs[fault]


def test_a_training_is_asked_to_stop_before_its_time_limit(faults: Faults) -> None:
    assert "asked to stop; the state after" in faults.said["signalled"]


def test_slurm_itself_starts_a_job_again_whose_node_is_lost(faults: Faults) -> None:
    assert faults.states["node lost"] == "COMPLETED", "the same job, on another node"
    assert "resuming after" in faults.logs["node lost"]


def test_a_killed_snakemake_may_be_started_again_while_its_jobs_still_run(faults: Faults) -> None:
    assert faults.states["orphaned"] == "COMPLETED"
    assert "came back from the store" in faults.logs["orphaned"], "the second job waited for the first one"


def test_faults_change_no_digest(faults: Faults) -> None:
    models = [Path(model).relative_to("results/nano-smoke") for model in MODELS]
    assert {str(model) for model in models} <= set(faults.local)
    assert faults.ours == faults.local
