"""A study run on Slurm gives the very results of a local run, whatever happens to its jobs."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from modecollapse.sealed import SEAL, read_metadata
from tests.cluster.conftest import ON_PRETENDED_GPUS, ClusterProject, console, on_cluster, running
from tests.cluster.slurm_cluster import Cluster, wait_for
from tests.cluster.training_jobs import TrainingJob, hold_no_longer, hold_pretraining, wait_for_held
from tests.projects import Project, make_project
from tests.sharing import made_by_one_worker, shared_directory

RESULTS = Path("results/nano-smoke")
LAST_STAGE = ("models/tiny/s0/dpo", "generations/tiny/s0/dpo", "tokens/tiny/s0/dpo")
MODEL = "results/nano-smoke/models/tiny/s0/plm/manifest.json"
"""What faults happen to the training of."""
ENDED = ("CANCELLED", "COMPLETED", "FAILED", "TIMEOUT")


def digests(project: Project) -> dict[str, str]:
    """What a study has come to: the weights of models, the seals of cells, and the tables."""
    root = project.root / "results" / project.study
    weights = {path: json.loads(path.read_text())["files"] for path in root.rglob("manifest.json")}
    seals = {path: read_metadata(path)[SEAL] for path in root.rglob("*.parquet")}
    tables = {path: path.read_text() for path in root.rglob("*.csv")}
    return {str(path.relative_to(root)): str(value) for path, value in {**weights, **seals, **tables}.items()}


def forget(project: Project, *names: str) -> None:
    """Delete results, and all that the store would give back."""
    shutil.rmtree(project.root / "store")
    for name in names:
        shutil.rmtree(project.root / RESULTS / name)


def run_on_slurm(project: ClusterProject, *targets: str) -> None:
    with running(project, *targets) as snakemake:
        assert snakemake.wait(timeout=2400) == 0, console(project).read_text()
    assert "No suitable partition" not in console(project).read_text()


def test_jobs_on_slurm_come_to_what_local_ones_did(cluster: Cluster, finished: Project) -> None:
    """A training, a generation, a measurement and a table."""
    before = digests(finished)
    project = on_cluster(finished, cluster)
    forget(project, *LAST_STAGE)
    (project.root / RESULTS / "tables/tokens.parquet").unlink()
    jobs = {rule: f"{rule} tiny/s0/dpo" for rule in ("train", "generate", "measure_tokens")}
    jobs["tabulate_tokens"] = "tabulate_tokens"
    targets = ("generations", str(RESULTS / "tables/tokens.parquet"))
    assert project.plan(*targets) == sorted(jobs.values())
    run_on_slurm(project, *targets)
    assert {rule: cluster.partitions_of(rule, project.root) for rule in jobs} == {rule: {"cpu"} for rule in jobs}
    assert digests(project) == before


@pytest.mark.slow
def test_a_study_run_on_slurm_equals_a_local_run(cluster: Cluster, finished_once: Project, tmp_path: Path) -> None:
    project = on_cluster(make_project(tmp_path / "project"), cluster)
    run_on_slurm(project, "tables")
    local, ours = digests(finished_once), digests(project)
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
    """What was seen while a model was trained and faults were made to happen to its jobs, one after another."""

    local: dict[str, str] = field(default_factory=dict)
    """What a local run without faults has come to."""
    ours: dict[str, str] = field(default_factory=dict)
    """What the run with faults has come to."""
    states: dict[str, str] = field(default_factory=dict)
    """Fault → the state in which Slurm left the job that it hit."""
    said: dict[str, str] = field(default_factory=dict)
    """Fault → what the job that it hit had printed."""
    logs: dict[str, str] = field(default_factory=dict)
    """Fault → the log of the attempt that went on with the model."""
    moved: list[list[str]] = field(default_factory=list)
    """Number and node of the job whose node was lost: when it was hit, and when it had a checkpoint again."""


def _hit(fault: str, job: TrainingJob, cluster: Cluster) -> str:
    """Make a fault happen to a held job; returns the state in which it ends."""

    def set_limit(minutes: int) -> None:
        cluster.ask("scontrol", "update", f"JobId={job.slurm_id}", f"TimeLimit={minutes}")

    if fault == "cancelled":
        cluster.ask("scancel", job.slurm_id)
    elif fault == "killed":
        job.process.kill()
    elif fault == "signalled":
        # The profile asks for SIGTERM five minutes before the limit: that is now.
        set_limit(5)
        wait_for(job.is_asked_to_stop, 600, "SIGTERM before the time limit")
        job.go_on()
    elif fault == "timed out":
        # A limit that is over already, so that no signal comes before it.
        wait_for(lambda: job.seconds() > 61, 300, "a minute of the job")
        set_limit(1)
    wait_for(lambda: cluster.state(job.slurm_id) in ENDED, 900, f"{fault}: the end of its job")
    return cluster.state(job.slurm_id)


def _move(job: TrainingJob, cluster: Cluster, held_again: Callable[[], TrainingJob]) -> TrainingJob:
    """Have the node of a held job vanish; returns the job as it is held on another node."""
    cluster.kill_node(job.node)
    try:
        wait_for(lambda: cluster.is_down(job.node), 600, "Slurm to notice the loss")
        wait_for(lambda: cluster.state(job.slurm_id) == "PENDING", 600, "its job to be queued again")
        # Slurm lets two minutes pass before it starts such a job again.
        cluster.ask("scontrol", "update", f"JobId={job.slurm_id}", "StartTime=now")
        return held_again()
    finally:
        cluster.start_node(job.node)


def _run_with_faults(
    names: Sequence[str], cluster: Cluster, finished: Project, directory: Path, orphaned: bool = False
) -> Faults:
    """Train a model whose job is hit at each further checkpoint; at last, if asked for, Snakemake is killed."""
    project = on_cluster(finished.copy(directory), cluster)
    project.edit_study("save_every: 4", "save_every: 2")  # which changes no weight
    forget(project, "models")
    hold_pretraining(project)
    seen = Faults()
    with running(project, MODEL) as snakemake:
        job = wait_for_held(project, snakemake)
        for name in names:
            if name == "node lost":
                again = _move(job, cluster, lambda: wait_for_held(project, snakemake))
                seen.moved = [[each.slurm_id, each.node] for each in (job, again)]
            else:
                seen.states[name] = _hit(name, job, cluster)
                again = wait_for_held(project, snakemake)
            seen.said[name] = project.printed(job.slurm_id)
            seen.logs[name] = project.training_log()
            job = again
        hold_no_longer(project)
        if not orphaned:
            job.go_on()
            assert snakemake.wait(timeout=1800) == 0, console(project).read_text()
    if orphaned:
        # Leaving the block above has killed it.
        assert "locked" in project.run(MODEL, succeeds=False)
        project.run("--unlock")
        with running(project, MODEL) as snakemake:
            waits = "another job has the same in hand"
            wait_for(lambda: waits in project.training_log(), 900, "the second job to wait")
            job.go_on()
            assert snakemake.wait(timeout=1800) == 0, console(project).read_text()
        wait_for(lambda: cluster.state(job.slurm_id) in ENDED, 600, "the end of the orphaned job")
        seen.states["orphaned"] = cluster.state(job.slurm_id)
        seen.logs["orphaned"] = project.training_log()
    seen.local, seen.ours = digests(finished), digests(project)
    return seen


@pytest.fixture(scope="session")
def faults(
    cluster: Cluster, finished_once: Project, tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Faults:
    """One training with four faults; once for all workers."""

    def make(directory: Path) -> None:
        names = ("node lost", "cancelled", "signalled")
        seen = _run_with_faults(names, cluster, finished_once, directory / "project", orphaned=True)
        shutil.rmtree(directory)
        directory.mkdir()
        (directory / "seen.json").write_text(json.dumps(asdict(seen)))

    directory = made_by_one_worker(shared_directory(tmp_path_factory, worker_id) / "faults", make)
    return Faults(**json.loads((directory / "seen.json").read_text()))


@pytest.mark.parametrize(("fault", "state"), [("cancelled", "CANCELLED"), ("signalled", "FAILED")])
def test_a_training_that_is_hit_is_submitted_again_and_resumes(faults: Faults, fault: str, state: str) -> None:
    assert faults.states[fault] == state
    assert "resuming after" in faults.logs[fault]


def test_a_training_is_asked_to_stop_before_its_time_limit(faults: Faults) -> None:
    assert "asked to stop; the state after" in faults.said["signalled"]


def test_slurm_itself_starts_a_job_again_whose_node_is_lost(faults: Faults) -> None:
    (lost, here), (found, there) = faults.moved
    assert lost == found
    assert here != there
    assert "resuming after" in faults.logs["node lost"]


def test_a_killed_snakemake_may_be_started_again_while_its_jobs_still_run(faults: Faults) -> None:
    assert faults.states["orphaned"] == "COMPLETED"
    assert "came back from the store" in faults.logs["orphaned"], "the second job waited for the first one"


def test_faults_change_no_digest(faults: Faults) -> None:
    assert "models/tiny/s0/plm/manifest.json" in faults.ours
    assert faults.ours.items() <= faults.local.items()


@pytest.mark.slow
def test_so_is_one_that_is_killed_or_exceeds_its_time_limit(
    cluster: Cluster, finished_once: Project, tmp_path: Path
) -> None:
    seen = _run_with_faults(("killed", "timed out"), cluster, finished_once, tmp_path / "project")
    assert seen.states == {"killed": "FAILED", "timed out": "TIMEOUT"}
    assert all("resuming after" in log for log in seen.logs.values())
    assert "models/tiny/s0/plm/manifest.json" in seen.ours
    assert seen.ours.items() <= seen.local.items()
