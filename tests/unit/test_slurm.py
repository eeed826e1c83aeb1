"""What has to hold of a cluster before jobs go there. tests/cluster asks a real one."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from modecollapse.errors import StudyError
from modecollapse.resources.slurm import (
    Cluster,
    check_accounts,
    check_no_groups,
    check_partitions,
    check_states,
    explain_refusals,
)

CLUSTER = Cluster(partitions={"cpu": 240, "gpu": 1440, "long": float("inf")}, keeps_accounts=False, min_job_age=300)
ACCOUNTED = Cluster(partitions=CLUSTER.partitions, keeps_accounts=True, min_job_age=2)


def job(threads: int = 1, **resources: object) -> SimpleNamespace:
    """What is asked of Snakemake's jobs."""
    return SimpleNamespace(
        rule=SimpleNamespace(name="train"), name="train", threads=threads, resources=resources, is_local=False
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(
        "partitions:\n  cpu: {max_runtime: 240, max_mem_mb: 9000}\n  gpu: {max_runtime: 1-00, max_gpu: 2}\n"
    )
    return path


def test_sacct_without_a_database_is_refused_and_squeue_named():
    with pytest.raises(StudyError, match=r"sacct: this cluster keeps no accounts .* Allowed here: squeue"):
        check_states(CLUSTER, "sacct", 20)
    check_states(CLUSTER, "squeue", 20)
    check_states(ACCOUNTED, "sacct", 20)


def test_states_that_are_asked_for_more_seldom_than_slurm_remembers_are_refused():
    with pytest.raises(StudyError, match=r"checks: 120: squeue forgets a job 300 s after .* up to 100"):
        check_states(CLUSTER, "squeue", 120)


@pytest.mark.parametrize(
    ("groups", "arrays", "key"), [({}, "all", "slurm-array-jobs"), ({"train": "a"}, None, "groups")]
)
def test_arrays_and_groups_which_lose_results_are_refused(groups, arrays, key):
    with pytest.raises(StudyError, match=f"^{key}: .* Remove the setting"):
        check_no_groups(groups, arrays)
    check_no_groups({}, None)


def test_an_account_where_there_are_none_is_refused():
    with pytest.raises(StudyError, match="slurm_account: physics: this cluster keeps no accounts"):
        check_accounts(CLUSTER, [job(slurm_account=""), job(slurm_account="physics")])
    check_accounts(ACCOUNTED, [job(slurm_account="physics")])
    check_accounts(CLUSTER, [job(slurm_account="")])


def test_jobs_that_fit_a_partition_pass(site):
    check_partitions(CLUSTER, site, [job(mem_mb=4000, runtime=200), job(gpu=2, runtime=1400), job(runtime=600)])


@pytest.mark.parametrize(
    ("resources", "said"),
    [({"gpu": 4}, "4 GPUs"), ({"gpu": 1, "runtime": 2000}, "1 GPUs, 2000 minutes")],
)
def test_a_job_that_no_partition_takes_is_named_with_what_it_asks_for(site, resources, said):
    with pytest.raises(StudyError, match=f"none of cpu, gpu takes train, which asks for {said}, 1 threads"):
        check_partitions(CLUSTER, site, [job(mem_mb=100), job(**resources)])


def test_a_partition_that_is_shorter_than_stated_is_refused_as_jobs_would_wait_for_ever(site):
    site.write_text("partitions:\n  cpu: {max_runtime: 500}\n")
    with pytest.raises(StudyError, match=r"cpu\.max_runtime: found 500 minutes, but the partition allows 240"):
        check_partitions(CLUSTER, site, [])


@pytest.mark.parametrize(
    "text",
    ["machine: {}\n", "partitions: [cpu]\n", "partitions:\n  cpu: {max_gpus: 2}\n", "partitions:\n  cpu:\n", ": :\n"],
)
def test_a_site_file_that_cannot_be_read_is_named_with_what_is_allowed(site, text):
    site.write_text(text)
    with pytest.raises(StudyError, match=r"site\.yaml: partitions: .* Allowed: names of partitions with their limits"):
        check_partitions(CLUSTER, site, [])


def test_refusals_are_told_once_each_in_slurms_words(tmp_path):
    log = tmp_path / "snakemake.log"
    refused = (
        "    message: SLURM sbatch failed. The error message was 'sbatch: error: Batch job submission failed: {}'."
    )
    whys = ("Invalid account", "Invalid account", "Too much\nsbatch: error: Not available")
    log.write_text("".join(f"{refused.format(why)}\n    sbatch call: '...'.\n" for why in whys))
    explained = explain_refusals(log)
    assert explained is not None
    assert explained.startswith(
        "Slurm refused 3 submissions:\n"
        "  Batch job submission failed: Invalid account\n"
        "  Batch job submission failed: Too much. Not available\n"
    )
    log.write_text("Finished jobid: 1\n")
    assert explain_refusals(log) is None
