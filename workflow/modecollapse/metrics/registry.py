"""All output-level metrics by name: what they are called, which way diversity lies, and how they are computed.

To add one, write a pure function in the module of its family and an entry here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from modecollapse.errors import StudyError
from modecollapse.metrics import compression, lengths, lexical, similarity
from modecollapse.metrics.sample import Sample

DefinitionName = Literal["corrected", "replica"]
Family = Literal["lexical", "compression", "similarity", "lengths", "quality", "model"]
Scope = Literal["cut", "whole", "both"]


class Direction(StrEnum):
    """What a higher value means."""

    MORE = "higher = more diverse"
    LESS = "higher = less diverse"
    NEITHER = "not a measure of diversity"

    @property
    def sign(self) -> int:
        """+1, −1 or 0: the sign of the change of diversity when the value rises."""
        return {Direction.MORE: 1, Direction.LESS: -1, Direction.NEITHER: 0}[self]


@dataclass(frozen=True)
class Definition:
    """One way of computing a metric. With `non_empty`, empty texts are left out and not counted."""

    compute: Callable[[Sample], float]
    non_empty: bool = False


@dataclass(frozen=True)
class Metric:
    """A metric of the completions to one prompt. `unit` is empty for a pure number."""

    name: str
    label: str
    direction: Direction
    family: Family
    definitions: Mapping[DefinitionName, Definition] = field(repr=False)
    """"corrected" always; "replica" (as the authors of the paper computed it) only where the two differ."""
    unit: str = ""
    scope: Scope = "cut"
    """Whether it is computed on texts cut to a number of words, on whole texts, or on both."""
    needs_embeddings: bool = False

    @property
    def axis(self) -> str:
        """Label of an axis: the name, and the unit if there is one."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def _metric(
    name: str,
    label: str,
    direction: Direction,
    family: Family,
    compute: Callable[[Sample], float],
    *,
    replica: Callable[[Sample], float] | None = None,
    non_empty: bool = False,
    unit: str = "",
    scope: Scope = "cut",
    needs_embeddings: bool = False,
) -> Metric:
    definitions: dict[DefinitionName, Definition] = {"corrected": Definition(compute, non_empty)}
    if replica is not None:
        definitions["replica"] = Definition(replica)
    return Metric(name, label, direction, family, MappingProxyType(definitions), unit, scope, needs_embeddings)


def _jaccard(n: int) -> Metric:
    return _metric(
        f"jaccard_{n}",
        f"Jaccard similarity, {n}-grams",
        Direction.LESS,
        "lexical",
        lambda sample: lexical.mean_off_diagonal(sample.overlap(n).kernel()),
        replica=lambda sample: lexical.mean_off_diagonal(sample.overlap(n).kernel(replica=True)),
    )


def _distinct(n: int) -> Metric:
    return _metric(
        f"distinct_{n}",
        f"Distinct-{n}",
        Direction.MORE,
        "lexical",
        lambda sample: lexical.distinct_n(sample.texts, n),
    )


def _short_rate(sample: Sample) -> float:
    assert sample.limit is not None
    return lengths.short_rate(sample.texts, sample.limit)


_ALL = (
    _metric("self_bleu", "Self-BLEU", Direction.LESS, "lexical", lambda sample: lexical.self_bleu(sample.texts)),
    *(_jaccard(n) for n in (2, 3, 4)),
    *(_distinct(n) for n in (1, 2, 3)),
    _metric(
        "ncd",
        "Normalised compression distance",
        Direction.MORE,
        "compression",
        lambda sample: compression.ncd(sample.texts),
    ),
    _metric(
        "compression_ratio_full",
        "Compression ratio, full",
        Direction.NEITHER,
        "compression",
        lambda sample: sample.leave_one_out.full,
        replica=lambda sample: sample.leave_one_out.full,
        non_empty=True,
    ),
    _metric(
        "compression_ratio_target",
        "Compression ratio, target",
        Direction.LESS,
        "compression",
        lambda sample: sample.leave_one_out.target,
        replica=lambda sample: sample.leave_one_out.target,
        non_empty=True,
    ),
    _metric(
        "cosine",
        "Mean pairwise cosine",
        Direction.LESS,
        "similarity",
        lambda sample: lexical.mean_off_diagonal(sample.cosine_kernel),
        needs_embeddings=True,
    ),
    _metric(
        "vendi_jaccard",
        "Vendi score, Jaccard kernel",
        Direction.MORE,
        "similarity",
        lambda sample: similarity.vendi(sample.overlap(2).kernel()),
        replica=lambda sample: similarity.vendi(sample.overlap(2).kernel(replica=True)),
        unit="effective texts",
    ),
    _metric(
        "vendi_cosine",
        "Vendi score, cosine kernel",
        Direction.MORE,
        "similarity",
        lambda sample: similarity.vendi(sample.cosine_kernel),
        unit="effective texts",
        needs_embeddings=True,
    ),
    _metric(
        "mean_length",
        "Mean length",
        Direction.NEITHER,
        "lengths",
        lambda sample: lengths.mean_length(sample.texts),
        unit="words",
        scope="whole",
    ),
    _metric(
        "empty_rate",
        "Empty completions",
        Direction.NEITHER,
        "lengths",
        lambda sample: lengths.empty_rate(sample.texts),
        unit="share",
        scope="whole",
    ),
    _metric("short_rate", "Completions too short", Direction.NEITHER, "lengths", _short_rate, unit="share"),
    _metric(
        "leak_rate",
        "Completions running into another turn",
        Direction.NEITHER,
        "lengths",
        lambda sample: lengths.leak_rate(sample.texts, sample.markers),
        unit="share",
        scope="both",
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Metrics of the texts alone, in the order of tables and figures: what a study may name."""


def _quality(name: str, label: str, unit: str) -> Metric:
    return Metric(name, label, Direction.NEITHER, "quality", MappingProxyType({}), unit, "whole")


QUALITIES: Mapping[str, Metric] = MappingProxyType(
    {
        "correct": _quality("correct", "Correct answers", "share"),
        "utility": _quality("utility", "Annotators' utility", ""),
    }
)
"""Scores of whole texts that need to know the prompt; computed where a study can (see `measures.diversity`)."""

MODEL_SCORES: Mapping[str, Metric] = MappingProxyType(
    {
        "token_entropy": Metric(
            "token_entropy", "Token entropy", Direction.MORE, "model", MappingProxyType({}), "nats/token", "whole"
        )
    }
)
"""Scores of what the model said of its own samples; computed where that is known (see `measures.token_entropy`)."""


def metric(name: str) -> Metric:
    """The metric or other score called `name`.

    Raises:
        StudyError: there is none; the message lists all.
    """
    known = {**METRICS, **QUALITIES, **MODEL_SCORES}
    if name not in known:
        raise StudyError(f"no metric is called {name!r}. Allowed: {', '.join(known)}. Correct the name.")
    return known[name]
