"""What `snakemake` prints when a run ends well: where the results are and where the time went."""

import json
from pathlib import Path

import psutil

from modecollapse.study import Study
from modecollapse.targets import Targets


def print_summary(study: Study) -> None:
    """Print what there is of the study, the seconds each rule took in this run, and the share of start-up."""
    targets = Targets(study)
    missing = sum(not Path(path).exists() for path in targets.everything())
    state = "is complete" if not missing else f"is not complete yet: {missing} of its files are still to be made"
    print(f"\nThe study {study.name} {state}.")
    print(f"  figures   {study.paths.root}/figures/")
    print(f"  tables    {study.paths.root}/tables/")
    if study.config.reference is not None and not study.compares():
        print("  not compared with stored results; to do so, name their directory: --config reference=DIR")
    phases = phase_times(Path(study.paths.logs()), psutil.Process().create_time())
    if phases:
        print(f"\n  {'rule':36}{'jobs':>6}{'seconds':>10}{'start-up':>10}")
        for rule, (jobs, seconds, startup) in phases.items():
            print(f"  {rule:36}{jobs:6}{seconds:10.1f}{startup:10.1f}")
        seconds = sum(entry[1] for entry in phases.values())
        startup = sum(entry[2] for entry in phases.values())
        print(f"  {'all jobs':36}{sum(entry[0] for entry in phases.values()):6}{seconds:10.1f}{startup:10.1f}")
        print(f"\n  Start-up of processes: {startup / seconds:.0%} of the jobs' wall time.")


def phase_times(logs: Path, since: float = 0.0) -> dict[str, tuple[int, float, float]]:
    """Rule → (jobs, seconds of wall time, seconds of these before the work began), in order of completion.

    Args:
        logs: directory with the jobs' `*.timing.json`.
        since: jobs that were started before this time (seconds since the epoch) do not count.
    """
    entries = [json.loads(path.read_text()) for path in logs.rglob("*.timing.json")]
    phases: dict[str, tuple[int, float, float]] = {}
    for entry in sorted(entries, key=lambda entry: entry["ended"]):
        if entry["started"] < since:
            continue
        jobs, seconds, startup = phases.get(entry["rule"], (0, 0.0, 0.0))
        phases[entry["rule"]] = (
            jobs + 1,
            seconds + entry["ended"] - entry["started"],
            startup + entry["ready"] - entry["started"],
        )
    return phases
