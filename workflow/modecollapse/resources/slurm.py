"""What has to hold of a Slurm cluster before jobs are submitted to it, and why it refused some.

The executor plugin finds most of this out late or never: a wrong partition after the data is made, a job beyond its
partition's limits by waiting for ever, missing accounting by asking for states that nobody keeps.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError

_COMMANDS = ("sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
_ASK_SECONDS = 60


@dataclass(frozen=True)
class Cluster:
    """What Slurm says of itself."""

    partitions: Mapping[str, float]
    """The longest time of a job in each partition, in minutes."""
    keeps_accounts: bool
    """Whether there is a database behind `sacct`."""
    min_job_age: int | None
    """For how many seconds `squeue` still knows a job that has ended; None if it is not said."""


def require_slurm_or_exit(workflow: Any) -> None:
    """Before the first job of a run on Slurm: print what would go wrong, as it is, and end with status 1.

    Args:
        workflow: Snakemake's own object. Nothing is asked if the run does not go to Slurm.
    """
    if workflow.executor_plugin is None or workflow.executor_plugin.name != "slurm":
        return
    settings = workflow.executor_settings
    try:
        check_no_groups(workflow.group_settings.overwrite_groups, settings.array_jobs)
        cluster = ask_cluster()
        check_states(cluster, settings.status_command, settings.init_seconds_before_status_checks)
        jobs = [job for job in workflow.dag.needrun_jobs() if not job.is_local]
        check_accounts(cluster, jobs)
        check_partitions(cluster, settings.partition_config, jobs)
    except StudyError as error:
        print(f"\n{error}\n\nNothing was submitted.", file=sys.stderr)
        sys.exit(1)


def ask_cluster() -> Cluster:
    """What the cluster says of itself.

    Raises:
        StudyError: Slurm's commands are not on PATH, or its controller does not answer.
    """
    if missing := [command for command in _COMMANDS if shutil.which(command) is None]:
        raise StudyError(
            f"Slurm's commands are not on PATH: {', '.join(missing)}. Run this on the cluster's login node (on some "
            "after `module load slurm`), or leave out `--profile profiles/slurm` to run on this machine."
        )
    partitions = dict(line.split() for line in _ask("sinfo", "--all", "--noheader", "--format=%R %l").splitlines())
    said = dict(re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", _ask("scontrol", "show", "config"), re.MULTILINE))
    age = re.match(r"\d+", said.get("MinJobAge", ""))
    return Cluster(
        partitions={name: _minutes(limit) for name, limit in partitions.items()},
        keeps_accounts="slurmdbd" in said.get("AccountingStorageType", ""),
        min_job_age=int(age[0]) if age else None,
    )


def check_no_groups(groups: Mapping[str, str], array_jobs: str | None) -> None:
    """Refuse what loses results with the plugin's present versions.

    Raises:
        StudyError: jobs are to be submitted as arrays or in groups.
    """
    if array_jobs:
        raise StudyError(
            f"slurm-array-jobs: {array_jobs}: jobs of an array are taken for finished when they are not, and outputs "
            "get lost. Allowed: none. Remove the setting."
        )
    if groups:
        raise StudyError(
            f"groups: {', '.join(sorted(groups))}: when one job of a group fails, the outputs of those that ended well "
            "are deleted. Allowed: none. Remove the setting."
        )


def check_states(cluster: Cluster, command: str | None, interval: int) -> None:
    """Check that the command that the plugin is to ask for the states of jobs can know them.

    Args:
        cluster: the cluster.
        command: ``slurm-status-command``.
        interval: ``slurm-init-seconds-before-status-checks``.

    Raises:
        StudyError: Snakemake would wait for ever, without a message, for jobs that ended long ago.
    """
    if cluster.keeps_accounts:
        return
    if command == "sacct":
        raise StudyError(
            "slurm-status-command: sacct: this cluster keeps no accounts (AccountingStorageType of `scontrol show "
            "config`), so sacct knows no job and Snakemake would wait for ever. Allowed here: squeue. Write "
            "`slurm-status-command: squeue` into profiles/slurm/config.yaml."
        )
    if cluster.min_job_age is not None and cluster.min_job_age < 3 * interval:
        raise StudyError(
            f"slurm-init-seconds-before-status-checks: {interval}: squeue forgets a job {cluster.min_job_age} s after "
            "its end (MinJobAge of `scontrol show config`), and Snakemake could wait for it for ever. Allowed here: up "
            f"to {cluster.min_job_age // 3}. Write a smaller number into profiles/slurm/config.yaml, or ask the "
            "cluster's administrators for a larger MinJobAge."
        )


def check_accounts(cluster: Cluster, jobs: Iterable[Any]) -> None:
    """Check that no account is named where there are none: the plugin would refuse every job.

    Raises:
        StudyError: a job names an account, and the cluster keeps none.
    """
    named = next((job.resources.get("slurm_account") for job in jobs if job.resources.get("slurm_account")), None)
    if named and not cluster.keeps_accounts:
        raise StudyError(
            f"slurm_account: {named}: this cluster keeps no accounts (AccountingStorageType of `scontrol show "
            "config`), so there is no such account. Leave it empty in profiles/slurm/config.yaml."
        )


def check_partitions(cluster: Cluster, file: Path | None, jobs: Iterable[Any]) -> None:
    """Check that the site's partitions exist and that each job has one that takes it.

    Args:
        cluster: the cluster.
        file: the site's file with `partitions`; None if there is none, and jobs go to the default partition.
        jobs: Snakemake's jobs that are to be submitted.

    Raises:
        StudyError: a partition is unknown or shorter than stated, or a job fits none.
    """
    jobs, allowed = list(jobs), ", ".join(sorted(cluster.partitions))
    for job in jobs:
        named = job.resources.get("slurm_partition")
        if named and named not in cluster.partitions:
            raise StudyError(
                f"slurm_partition: {named} ({job.rule.name}): the cluster has no such partition. Allowed: {allowed}. "
                "Correct the name."
            )
    if file is None:
        return
    from snakemake.exceptions import WorkflowError
    from snakemake_executor_plugin_slurm.partitions import read_partition_file

    try:
        partitions = read_partition_file(file)
    except (WorkflowError, TypeError, KeyError, AttributeError) as error:
        raise StudyError(
            f"{file}: partitions: {_plain(error)}. Allowed: names of partitions with their limits, e.g. "
            "`gpu: {max_runtime: 1440, max_mem_mb: 500000, max_gpu: 4}`; see docs/cluster.md."
        ) from error
    for partition in partitions:
        if partition.partition_cluster is not None:
            continue  # of another cluster than the one that was asked
        if partition.name not in cluster.partitions:
            raise StudyError(
                f"{file}: partitions.{partition.name}: the cluster has no such partition. Allowed: {allowed}. Correct "
                "the name."
            )
        limit = cluster.partitions[partition.name]
        if float("inf") > partition.limits.max_runtime > limit:
            raise StudyError(
                f"{file}: partitions.{partition.name}.max_runtime: found {partition.limits.max_runtime} minutes, but "
                f"the partition allows {limit:.0f}; longer jobs would wait for ever. Write {limit:.0f} or less."
            )
    for job in jobs:
        scores = {partition.name: partition.score_job_fit(job) for partition in partitions}
        if not job.resources.get("slurm_partition") and not any(score is not None for score in scores.values()):
            raise StudyError(
                f"{file}: partitions: none of {', '.join(scores)} takes {job.rule.name}, which asks for "
                f"{_described(job)}. Correct the limits, or add a partition that has as much."
            )


def explain_refusals(log: Path) -> str | None:
    """What Slurm said when it refused jobs, from Snakemake's own log; None if it refused none."""
    said = re.findall(r"SLURM sbatch failed\. The error message was '(.*?)'\.\n", log.read_text(), re.DOTALL)
    if not said:
        return None
    reasons = sorted(
        {re.sub(r"^sbatch: (error: )?", "", reason, flags=re.MULTILINE).replace("\n", ". ") for reason in said}
    )
    return (
        f"Slurm refused {len(said)} submission{'s' if len(said) > 1 else ''}:\n"
        + "".join(f"  {reason or 'Slurm gave no reason.'}\n" for reason in reasons)
        + "Correct the account in profiles/slurm/config.yaml, or the partitions and the machine in "
        "profiles/slurm/site.yaml, and run the same command again; what is finished stays."
    )


def print_refusals(logs: Iterable[str]) -> None:
    """`explain_refusals` for the Snakefile, which knows its own logs: at the very end, where it is seen."""
    for log in map(Path, logs):
        if log.is_file() and (explained := explain_refusals(log)) is not None:
            print(f"\n{explained}\n", file=sys.stderr)


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise StudyError(f"`{' '.join(command)}` has not answered for {_ASK_SECONDS} s. {_TRY}") from None
    if done.returncode:
        raise StudyError(f"`{' '.join(command)}` fails: {done.stderr.strip()}. {_TRY}")
    return done.stdout


_TRY = "Try the command by itself; if Slurm is down, run this again later."


def _minutes(limit: str) -> float:
    """Slurm's [days-]hours:minutes:seconds in minutes."""
    if limit in ("infinite", "UNLIMITED", "n/a"):
        return float("inf")
    days, _, clock = limit.rpartition("-")
    hours, minutes, seconds = [0, 0, *map(int, clock.split(":"))][-3:]
    return int(days or 0) * 1440 + hours * 60 + minutes + seconds / 60


def _described(job: Any) -> str:
    units = {"gpu": "GPUs", "mem_mb": "MB of memory", "runtime": "minutes"}
    asked = [f"{job.resources.get(key)} {unit}" for key, unit in units.items() if job.resources.get(key)]
    return ", ".join([*asked, f"{job.threads} threads"])


def _plain(error: Exception) -> str:
    return " ".join(str(error).strip("'\"").rstrip(".").split())
