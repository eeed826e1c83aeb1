"""Guard rails: benchmarks on which a tuned model must not fall below a reference by more than a margin.

What they are is known before anything is run: each is a task, a number of shots, a filter and a metric that is a mean
over documents, so that two models that answered the same documents can be compared document by document
(`modecollapse.analysis.guard_rails`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field

from modecollapse.errors import StudyError
from modecollapse.measures.benchmarks import BenchmarkSettings, Task
from modecollapse.measures.task_files import DEFAULT_METRICS, METRICS
from modecollapse.schema import Name, Strict

Chosen = TypeVar("Chosen", int, str)

LOG_LIKELIHOOD = "log_likelihood"
"""The metric of documents behind a perplexity (nats)."""
PERPLEXITY = "perplexity"

_MEANS = ("mean", "nanmean", PERPLEXITY)
"""Aggregations that are means of documents, or the exponential of one."""
_NO_FILTER = "none"
"""What the harness calls the filter of tasks that name none."""


def _margin(value: float) -> float:
    if not math.isfinite(value) or value <= 0:
        raise ValueError(
            f"{value} is no margin: it is by how much a candidate may be worse, in units of the metric, and one that "
            "equals the reference would never be shown not to be worse by 0. Give a number above 0, such as 0.02"
        )
    return value


class GuardRail(Strict):
    """One task that a candidate must not get worse at."""

    margin: Annotated[float, AfterValidator(_margin)]
    """By how much it may be worse, above 0: in units of the metric, of an accuracy 0.02 is two points of a hundred; of
    `perplexity` in nats, so that 0.02 allows a perplexity exp(0.02) = 1.02 times as high."""
    metric: str | None = None
    """A metric of the task that is a mean over documents, or `perplexity`; null: the first such one."""
    shots: Annotated[int, Field(ge=0)] | None = None
    """Which of the numbers of solved examples that the task is run with; null: the only one."""
    filter: str | None = None
    """Which of the task's filters of answers; null: the only one."""


class GuardRailSettings(Strict):
    """Benchmarks on which stages must not fall below a reference stage by more than a margin."""

    reference: Name
    """The stage that others are compared with, usually `sft`."""
    candidates: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The stages that are judged; null: all that descend from the reference and can be put to tasks."""
    confidence: float = Field(0.95, gt=0.5, lt=1)
    """Of the one-sided bounds: a stage that is worse by the margin passes a task with a probability of at most 1 less
    this, and one that is not worse by more than any margin fails with at most that."""
    tasks: Annotated[dict[str, GuardRail], Field(min_length=1)]
    """Task of `measures.benchmarks` → its margin, and which of its numbers counts."""


@dataclass(frozen=True)
class Rail:
    """A guard rail, resolved: which values of documents are compared, and which way is worse."""

    task: str
    shots: int
    filter: str
    metric: str
    margin: float
    higher_is_better: bool

    @property
    def sampled(self) -> str:
        """What the metric is called among values of documents."""
        return LOG_LIKELIHOOD if self.metric == PERPLEXITY else self.metric

    @property
    def sign(self) -> int:
        """+1 where a higher value of a document is better, else -1; log-likelihoods are, unlike perplexities."""
        return 1 if self.higher_is_better or self.metric == PERPLEXITY else -1

    @property
    def definition(self) -> str:
        """What the difference is, so that below 0 the candidate is worse."""
        if self.metric == PERPLEXITY:
            return "mean log-likelihood (nats), candidate − reference: minus the logarithm of the perplexities' ratio"
        first, second = ("candidate", "reference") if self.sign > 0 else ("reference", "candidate")
        return f"mean {self.metric}, {first} − {second}" + ("" if self.sign > 0 else " (lower is better)")

    @property
    def spec(self) -> dict[str, Any]:
        """What decides the comparison of given values of documents."""
        return {**asdict(self), "metric": self.sampled, "sign": self.sign, "definition": self.definition}


def resolve_rails(
    settings: GuardRailSettings, benchmarks: BenchmarkSettings, tasks: Sequence[Task], key: str = "measures.guard_rails"
) -> tuple[Rail, ...]:
    """The guard rails, each with its number of shots, filter, metric and direction.

    Args:
        settings: the study's guard rails.
        benchmarks: the study's benchmarks.
        tasks: the tasks of these, found and read.
        key: where the study writes them, for messages.

    Raises:
        StudyError: a task is not run, or not with these shots, or has no such metric or filter.
    """
    known = {task.name: task for task in tasks}
    rails = []
    for name, rail in settings.tasks.items():
        here = f"{key}.tasks.{name}"
        if name not in known:
            raise StudyError(
                f"{here}: the study does not run this task. Allowed: {', '.join(known)}, as in "
                "measures.benchmarks.tasks. Name one of these, or add it there."
            )
        metrics = _metrics(known[name].config)
        shots = _chosen(rail.shots, benchmarks.shots_of(name), f"{here}.shots", "numbers of shots")
        chosen = _filters(known[name].config)
        filtered = _chosen(rail.filter, chosen, f"{here}.filter", "filters")
        metric = rail.metric or next(iter(metrics), None)
        if metric not in metrics:
            found = f"{rail.metric!r} is no metric" if rail.metric else "it has no metric"
            raise StudyError(
                f"{here}.metric: {found} of the task that is a mean over documents, so no two models can be compared "
                f"document by document. Allowed: {', '.join(metrics) or 'none of this task'}. "
                f"{'Name one of these' if metrics else 'Remove the task from measures.guard_rails'}."
            )
        rails.append(Rail(name, shots, filtered, metric, rail.margin, metrics[metric]))
    return tuple(rails)


def _metrics(config: Mapping[str, Any]) -> dict[str, bool]:
    """The metrics of a task that are means over documents → whether higher is better."""
    entries = config.get("metric_list") or [
        {"metric": name} for name in DEFAULT_METRICS[config.get("output_type", "generate_until")]
    ]
    found = {}
    for entry in entries:
        aggregation, higher = METRICS.get(entry["metric"], (None, True))
        if entry.get("aggregation", aggregation) in _MEANS:
            found[str(entry["metric"])] = bool(entry.get("higher_is_better", higher))
    return found


def _filters(config: Mapping[str, Any]) -> list[str]:
    return [str(entry.get("name", _NO_FILTER)) for entry in config.get("filter_list") or [{}]]


def _chosen(asked: Chosen | None, allowed: Sequence[Chosen], key: str, what: str) -> Chosen:
    """What is asked for, or the only one there is."""
    listed = ", ".join(map(str, allowed))
    if asked is None and len(allowed) > 1:
        raise StudyError(f"{key}: the task has several {what}. Allowed: {listed}. Name the one that counts.")
    if asked is not None and asked not in allowed:
        raise StudyError(f"{key}: {asked} is none of the task's {what}. Allowed: {listed}. Name one of these.")
    return allowed[0] if asked is None else asked
