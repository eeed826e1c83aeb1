"""What `snakemake` prints when a study is done: where the results are and where the time went."""

import json
from pathlib import Path

from modecollapse.study import Study


def print_summary(study: Study) -> None:
    """Print where the results are, the seconds each rule took in the jobs run last, and the share of start-up."""
    print(f"\nThe study {study.name} is complete.")
    print(f"  figures   {study.paths.root}/figures/")
    print(f"  tables    {study.paths.root}/tables/")
    phases = phase_times(Path(study.paths.logs()))
    if phases:
        print(f"\n  {'rule':24}{'jobs':>6}{'seconds':>10}{'start-up':>10}")
        for rule, (jobs, seconds, startup) in phases.items():
            print(f"  {rule:24}{jobs:6}{seconds:10.1f}{startup:10.1f}")
        seconds = sum(entry[1] for entry in phases.values())
        startup = sum(entry[2] for entry in phases.values())
        print(f"  {'all jobs':24}{sum(entry[0] for entry in phases.values()):6}{seconds:10.1f}{startup:10.1f}")
        print(f"\n  Start-up of processes: {startup / seconds:.0%} of the jobs' wall time.")


def phase_times(logs: Path) -> dict[str, tuple[int, float, float]]:
    """Rule → (jobs, seconds of wall time, seconds of these before the work began), from each job's latest run."""
    phases: dict[str, tuple[int, float, float]] = {}
    for path in sorted(logs.rglob("*.timing.json"), key=lambda file: file.stat().st_mtime):
        entry = json.loads(path.read_text())
        jobs, seconds, startup = phases.get(entry["rule"], (0, 0.0, 0.0))
        phases[entry["rule"]] = (
            jobs + 1,
            seconds + entry["ended"] - entry["started"],
            startup + entry["ready"] - entry["started"],
        )
    return phases
