"""What `snakemake` prints when a run ends well: where the results are and where the time went."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from modecollapse.errors import CorruptFile
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
    for line in failing_in_words(study):
        print(f"  {line}")
    if study.config.reference is not None and not study.compares():
        print("  not compared with stored results; to do so, name their directory: --config reference=DIR")
    entries = job_times(Path(study.paths.logs()), psutil.Process().create_time())
    if entries:
        print(f"\n  {'rule':36}{'jobs':>6}{'seconds':>10}{'start-up':>10}{'CPU':>10}{'start-up':>10}")
        for rule in dict.fromkeys(entry.rule for entry in entries):
            _print_row(rule, [entry for entry in entries if entry.rule == rule])
        _print_row("all jobs", entries)
        own, children = (sum(os.times()[:2]), sum(os.times()[2:4]))
        print(f"\n  {shares(entries, own, children)}")


def failing_in_words(study: Study) -> list[str]:
    """One sentence for each stage and size that fails its guard rails, as far as the table `candidates` is there."""
    table = Path(study.paths.table("candidates"))
    if not study.rails or not table.is_file():
        return []
    from modecollapse.sealed import read_sealed  # only such studies need it

    try:
        rows = read_sealed(table).to_pylist()
    except CorruptFile:
        return []  # whoever needs the table says so
    return [
        f"{study.label(row['stage'])} ({row['size']}) falls below {study.label(row['reference'])} by more than its "
        f"guard rails allow: it {row['definition']}."
        for row in rows
        if (row["level"], row["verdict"]) == ("overall", "fails")
    ]


_THE_WORK = (
    "train",
    "answer_pairs",
    "sample_pairs",
    "generate",
    "choose",
    "import_completions",
    "measure_",
    "run_benchmarks",
    "embed",
    "score",
)
"""Beginnings of the names of the rules that train, sample and measure."""
_BESIDES = ("train_tokenizer",)


@dataclass(frozen=True)
class JobTimes:
    """What one job took."""

    rule: str
    seconds: float
    """Wall time of its process."""
    startup: float
    """Of these before its work began."""
    cpu: float = 0.0
    """Processor time of its process and of that one's children, user and system."""
    startup_cpu: float = 0.0

    @property
    def is_the_work(self) -> bool:
        """Whether it trains, samples or measures, which is what the computer is there for."""
        return self.rule.startswith(_THE_WORK) and self.rule not in _BESIDES


def shares(entries: Sequence[JobTimes], own: float, children: float) -> str:
    """One sentence on what the processor time of a run went into.

    Args:
        entries: the jobs of the run.
        own: processor seconds of Snakemake's own process.
        children: those of its children, which jobs on this machine and their shells are, and jobs of a cluster are not.
    """
    work = sum(entry.cpu - entry.startup_cpu for entry in entries if entry.is_the_work)
    rest = sum(entry.cpu - entry.startup_cpu for entry in entries if not entry.is_the_work)
    startup = sum(entry.startup_cpu for entry in entries)
    whole = own + max(children, work + rest + startup)
    parts = {
        "start-up of processes": startup,
        "data, tables and figures": rest,
        "Snakemake and its shells": whole - work - rest - startup,
    }
    others = ", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in parts.items())
    return f"Training, sampling and measuring: {work / whole:.0%} of {whole:.0f} s of processor time ({others})."


def job_times(logs: Path, since: float = 0.0) -> list[JobTimes]:
    """What the jobs took, in order of completion.

    Args:
        logs: directory with the jobs' `*.timing.json`.
        since: jobs that were started before this time (seconds since the epoch) do not count.
    """
    entries = [json.loads(path.read_text()) for path in logs.rglob("*.timing.json")]
    return [
        JobTimes(
            entry["rule"],
            entry["ended"] - entry["started"],
            entry["ready"] - entry["started"],
            entry["cpu"],
            entry["ready_cpu"],
        )
        for entry in sorted(entries, key=lambda entry: float(entry["ended"]))
        if entry["started"] >= since
    ]


def _print_row(name: str, entries: Sequence[JobTimes]) -> None:
    columns = zip(*((entry.seconds, entry.startup, entry.cpu, entry.startup_cpu) for entry in entries), strict=True)
    print(f"  {name:36}{len(entries):6}" + "".join(f"{sum(column):10.1f}" for column in columns))
