"""Two ways of doing the same, timed in turn in one process; the figures as a table and as JSON.

A subject is a module with a function `compare(device) -> list[Comparison]`, which on "cpu" takes about a minute.
`python -m tests.benchmarks` runs subjects, each in a process of its own.
"""

import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "numpy", "pandas", "pyarrow", "nltk", "snakemake")


@dataclass(frozen=True)
class Comparison:
    """One line of the table: the same work done in two ways."""

    case: str
    """What is done, with its sizes."""
    ours: str
    other: str
    """The other way: the authors', a library's, or the least that any way has to do."""
    ours_seconds: float
    other_seconds: float
    """Both for the same amount of work; on a processor those of its clock, else of the wall's."""
    aim: str = ""
    """What the ratio is meant to be, e.g. "≥ 5" or "≤ 1.3"; empty for none."""
    lower: bool = False
    """Whether the ratio is our time in times of the other's; otherwise how many times as fast we are."""
    work: float = math.nan
    """How much is done, in `unit`; NaN where a rate says nothing."""
    unit: str = ""
    difference: float = math.nan
    """Largest difference between the two results, as `case` or the subject says; NaN where there is none to take."""
    more: Mapping[str, float | str] = field(default_factory=dict)
    """Further figures of ours, such as the peak of memory or the MFU."""

    @property
    def ratio(self) -> float:
        """Our seconds by the other's where `lower`, else the other's by ours."""
        one, two = self.ours_seconds, self.other_seconds
        return one / two if self.lower else two / one


def in_turn(
    sides: Mapping[str, Callable[[], object]], device: str, rounds: int = 3, warm: bool = True
) -> dict[str, float]:
    """Median seconds of each side, which take turns, so that what else the machine does meets all of them.

    Processor time on "cpu", which other processes hardly lengthen; wall time on "cuda", with the device idle at both
    ends. With `warm`, each side runs once before anything is timed.
    """
    if warm:
        for side in sides.values():
            side()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            taken[name].append(seconds(side, device))
    return {name: statistics.median(times) for name, times in taken.items()}


def seconds(work: Callable[[], object], device: str) -> float:
    """How long `work` takes, on the clock that `in_turn` describes."""
    _finish(device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    work()
    _finish(device)
    return clock() - start


def _finish(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def print_table(comparisons: Sequence[Comparison], device: str) -> None:
    """Print comparisons as a table in Markdown, as docs/performance.md has it; rates on a GPU only.

    What a processor does in a second says little about any other.
    """
    print("| case | ours | other way | ratio | aim | largest difference | more |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for each in comparisons:
        ours, other = (
            name if device == "cpu" else f"{name}: {_rate(each, taken)}"
            for name, taken in ((each.ours, each.ours_seconds), (each.other, each.other_seconds))
        )
        difference = "" if math.isnan(each.difference) else f"{each.difference:.0e}"
        more = ", ".join(f"{name} {_number(value)}" for name, value in each.more.items())
        ratio = f"{_number(each.ratio)} {'of its time' if each.lower else 'times as fast'}"
        print(f"| {each.case} | {ours} | {other} | {ratio} | {each.aim} | {difference} | {more} |")


def _rate(each: Comparison, taken: float) -> str:
    if math.isnan(each.work):
        return f"{_number(1000 * taken)} ms" if taken < 1 else f"{_number(taken)} s"
    return f"{_number(each.work / taken)} {each.unit}/s"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_json(path: Path, subject: str, device: str, comparisons: Sequence[Comparison]) -> None:
    """Write what was measured, with the machine and the versions that it was measured with."""
    rows = [{**asdict(each), "ratio": each.ratio} for each in comparisons]
    content = {"subject": subject, "machine": machine(device), "libraries": _versions(), "comparisons": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine(device: str) -> dict[str, str]:
    """What computes."""
    found = {"device": device, "processor": platform.machine(), "cores": str(os.cpu_count())}
    if device == "cuda":
        import torch

        found |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return {**found, "python": platform.python_version(), "threads": os.environ.get("OMP_NUM_THREADS", "all")}


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
