"""What is wrong with a cluster or a profile is said before anything is submitted, or once where only Slurm can know."""

import re
import shutil
from pathlib import Path

import pytest

from modecollapse.errors import StudyError
from modecollapse.resources.slurm import ask_cluster
from tests.cluster.conftest import ClusterProject, on_cluster
from tests.cluster.slurm_cluster import Cluster
from tests.projects import Project, make_project

CORPUS = "results/nano-smoke/data/corpus.parquet"


@pytest.fixture
def fresh_on_cluster(cluster: Cluster, tmp_path: Path) -> ClusterProject:
    return on_cluster(make_project(tmp_path / "project"), cluster)


def submitted(project: ClusterProject) -> bool:
    return (project.root / "logs/slurm").exists()


def test_an_unknown_partition_is_refused_before_anything_is_submitted(fresh_on_cluster: ClusterProject) -> None:
    fresh_on_cluster.edit("profiles/slurm/site.yaml", "  cpu: {", "  cpus: {")
    printed = fresh_on_cluster.run(CORPUS, succeeds=False)
    assert "partitions.cpus: the cluster has no such partition. Allowed: cpu, gpu, urgent." in printed
    assert "Traceback" not in printed
    assert not submitted(fresh_on_cluster)


def test_the_profile_as_it_is_shipped_refuses_sacct_where_nothing_is_accounted(
    cluster: Cluster, tmp_path: Path
) -> None:
    project = ClusterProject(**make_project(tmp_path / "project").__dict__, cluster=cluster)
    project.edit(
        "profiles/slurm/config.yaml", "before-status-checks: 20", "before-status-checks: 1"
    )  # for this test's time
    printed = project.run(CORPUS, succeeds=False)
    assert "Write `slurm-status-command: squeue` into profiles/slurm/config.yaml." in printed
    assert not submitted(project)


def test_a_run_without_slurm_on_path_ends_with_one_message(
    fresh: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "sh", "env", "which", "uname"):
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    printed = fresh.run(CORPUS, "--profile", "profiles/slurm", succeeds=False)
    assert "Slurm's commands are not on PATH: sbatch, srun, squeue, sinfo, scontrol, scancel." in printed
    assert "Traceback" not in printed


def test_what_slurm_refuses_is_said_at_the_end_in_its_own_words(fresh_on_cluster: ClusterProject) -> None:
    fresh_on_cluster.edit("profiles/slurm/site.yaml", "max_mem_mb: 16000", "max_mem_mb: 900000")
    fresh_on_cluster.edit("profiles/slurm/config.yaml", "retries: 3", "retries: 1")
    impossible = ["--set-resources", "sample_data:mem_mb=800000"]
    printed = fresh_on_cluster.run(CORPUS, *impossible, succeeds=False)
    last = printed[printed.index("Slurm refused 2 submissions:") :]
    assert "Requested node configuration is not available" in last
    assert "the partitions and the machine in profiles/slurm/site.yaml" in last


def test_what_slurm_says_of_itself_is_read(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cluster.bin), prepend=":")
    asked = ask_cluster()
    assert asked.partitions == {"cpu": 240, "gpu": 240, "urgent": 240}
    assert not asked.keeps_accounts
    assert asked.min_job_age == 600


def test_a_controller_that_does_not_answer_is_one_message(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "slurm.conf"
    nobody = "SlurmctldPort=1"
    text = (cluster.root / "slurm.conf").read_text()
    elsewhere.write_text(re.sub("SlurmctldPort=.*", f"{nobody}\nMessageTimeout=2", text))
    for client in cluster.bin.iterdir():
        copy = tmp_path / client.name
        copy.write_text(client.read_text().replace(str(cluster.root / "slurm.conf"), str(elsewhere)))
        copy.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(StudyError, match=r"`sinfo .*` fails: .*Unable to contact slurm controller"):
        ask_cluster()
