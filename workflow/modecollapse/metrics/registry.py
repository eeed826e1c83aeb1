"""All output-level metrics by name: what they are called, which way diversity lies, and how they are computed.

To add one, write a pure function in the module of its family and an entry here.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Literal

from modecollapse.errors import StudyError
from modecollapse.metrics import clusters, compression, lengths, lexical, similarity
from modecollapse.metrics.sample import Sample
from modecollapse.metrics.uncertainty import jackknife_error, mean_error

DefinitionName = Literal["corrected", "replica", "controlled"]
Family = Literal["lexical", "compression", "similarity", "lengths", "quality", "model"]
Scope = Literal["cut", "whole", "both"]

CONTROLLED_FAMILIES: tuple[Family, ...] = ("lexical", "compression", "similarity")
"""Families whose metrics of cut texts have the definition "controlled"."""


class Direction(StrEnum):
    """What a higher value means."""

    MORE = "higher = more diverse"
    LESS = "higher = less diverse"
    NEITHER = "not a measure of diversity"

    @property
    def sign(self) -> int:
        """+1, −1 or 0: the sign of the change of diversity when the value rises."""
        return {Direction.MORE: 1, Direction.LESS: -1, Direction.NEITHER: 0}[self]


class Selection(StrEnum):
    """Which completions a definition uses."""

    ALL = "all"
    NON_EMPTY = "those that are not empty"
    CONTROLLED = "the first so many that have all words of the cut"


@dataclass(frozen=True)
class Definition:
    """One way of computing a metric, on the completions that `selection` names.

    `error` gives the value's standard error over completions; it is absent where none is offered.
    """

    compute: Callable[[Sample], float]
    selection: Selection = Selection.ALL
    error: Callable[[Sample], float] | None = None


@dataclass(frozen=True)
class Metric:
    """A metric of the completions to one prompt. `unit` is empty for a pure number."""

    name: str
    label: str
    direction: Direction
    family: Family
    low: float
    """No value is lower, in any definition."""
    high: float
    """No value is higher, in any definition; infinite if the bound depends on the texts."""
    definitions: Mapping[DefinitionName, Definition] = field(repr=False)
    """"corrected" always; "replica" (as the authors of the paper computed it) only where the two differ; "controlled"
    (as corrected, on equally many completions of equally many words) where numbers and lengths confound the metric."""
    unit: str = ""
    scope: Scope = "cut"
    """Whether it is computed on texts cut to a number of words, on whole texts, or on both."""
    needs_embeddings: bool = False
    drawn: bool = True
    """Whether the figures of all metrics show it; the tables have it anyway."""

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
    low: float,
    high: float,
    replica: Callable[[Sample], float] | None = None,
    error: Callable[[Sample], float] | Literal["jackknife"] | None = "jackknife",
    grows: bool = False,
    non_empty: bool = False,
    unit: str = "",
    scope: Scope = "cut",
    needs_embeddings: bool = False,
    drawn: bool = True,
) -> Metric:
    """A registered metric. `grows`: its value rises with the number of texts, as that of a count does."""
    if error == "jackknife":
        error = partial(jackknife_error, compute, grows=grows)
    selection = Selection.NON_EMPTY if non_empty else Selection.ALL
    definitions: dict[DefinitionName, Definition] = {"corrected": Definition(compute, selection, error)}
    if replica is not None:
        definitions["replica"] = Definition(replica)
    if family in CONTROLLED_FAMILIES and scope == "cut":
        definitions["controlled"] = Definition(compute, Selection.CONTROLLED)
    return Metric(
        name, label, direction, family, low, high, MappingProxyType(definitions), unit, scope, needs_embeddings, drawn
    )


def _mean(
    name: str, label: str, values: Callable[[Sample], Sequence[float]], unit: str, scope: Scope, *, high: float
) -> Metric:
    """The mean of a value that each text has on its own."""
    return _metric(
        name,
        label,
        Direction.NEITHER,
        "lengths",
        lambda sample: lengths.mean(values(sample)),
        low=0,
        high=high,
        error=lambda sample: mean_error(values(sample)),
        unit=unit,
        scope=scope,
    )


def _jaccard(n: int) -> Metric:
    return _metric(
        f"jaccard_{n}",
        f"Jaccard similarity, {n}-grams",
        Direction.LESS,
        "lexical",
        lambda sample: lexical.mean_off_diagonal(sample.overlap(n).kernel()),
        low=0,
        high=1,
        replica=lambda sample: lexical.mean_off_diagonal(sample.overlap(n).kernel(replica=True)),
    )


def _distinct(n: int) -> Metric:
    return _metric(
        f"distinct_{n}",
        f"Distinct-{n}",
        Direction.MORE,
        "lexical",
        lambda sample: lexical.distinct_share(sample.ngrams(n)),
        low=0,
        high=1,
    )


ORDERS = (2, 3, 4, 5, 6)
"""Orders q of the similarity-sensitive diversity, those of O'Mahony et al. (2024)."""


def _order_jaccard(q: int) -> Metric:
    return _metric(
        f"order_{q}_jaccard",
        f"Diversity of order {q}, Jaccard kernel",
        Direction.MORE,
        "similarity",
        lambda sample: similarity.diversity_of_order(sample.overlap(2).kernel(), q),
        low=1,
        high=math.inf,
        replica=lambda sample: similarity.diversity_of_order(sample.overlap(2).kernel(replica=True), q),
        grows=True,
        unit="effective texts",
        drawn=q == ORDERS[0],
    )


def _order_cosine(q: int) -> Metric:
    return _metric(
        f"order_{q}_cosine",
        f"Diversity of order {q}, cosine kernel",
        Direction.MORE,
        "similarity",
        lambda sample: similarity.diversity_of_order(sample.cosine_kernel, q),
        low=1,
        high=math.inf,
        grows=True,
        unit="effective texts",
        needs_embeddings=True,
        drawn=q == ORDERS[0],
    )


def _ead(n: int) -> Metric:
    return _metric(
        f"ead_{n}",
        f"EAD-{n}",
        Direction.MORE,
        "lexical",
        lambda sample: lexical.expectation_adjusted(sample.ngrams(n), n),
        low=0,
        high=math.inf,
        drawn=False,  # it looks like distinct-n
    )


def _distinct_answers(percent: int) -> Metric:
    return _metric(
        f"distinct_answers_{percent}",
        f"Answers, cosine ≥ {percent / 100}",
        Direction.MORE,
        "similarity",
        lambda sample: clusters.answer_clusters(sample.cosine_kernel, percent / 100),
        low=1,
        high=math.inf,
        grows=True,
        unit="clusters",
        needs_embeddings=True,
        drawn=percent == 80,
    )


def _short(sample: Sample) -> Sequence[float]:
    assert sample.limit is not None
    return lengths.short(sample.texts, sample.limit)


_ALL = (
    _metric(
        "self_bleu",
        "Self-BLEU",
        Direction.LESS,
        "lexical",
        lambda sample: lexical.self_bleu(sample.texts),
        low=0,
        high=1,
    ),
    *(_jaccard(n) for n in lexical.JACCARD_ORDERS),
    *(_distinct(n) for n in (1, 2, 3)),
    *(_ead(n) for n in (1, 2, 3)),
    _metric(
        "distinct_answers_exact",
        "Answers, word for word",
        Direction.MORE,
        "lexical",
        lambda sample: clusters.different_answers(sample.texts),
        low=1,
        high=math.inf,
        grows=True,
        unit="answers",
    ),
    _metric(
        "ncd",
        "Normalised compression distance",
        Direction.MORE,
        "compression",
        lambda sample: lexical.mean_off_diagonal(sample.ncd_matrix),
        low=0,
        high=2,
    ),
    _metric(
        "compression_ratio_full",
        "Compression ratio, full",
        Direction.NEITHER,
        "compression",
        lambda sample: sample.leave_one_out.full,
        low=-8,
        high=21,
        replica=lambda sample: sample.leave_one_out.full,
        error=None,
        non_empty=True,
    ),
    _metric(
        "compression_ratio_target",
        "Compression ratio, target",
        Direction.LESS,
        "compression",
        lambda sample: sample.leave_one_out.target,
        low=-8,
        high=21,
        replica=lambda sample: sample.leave_one_out.target,
        error=partial(
            jackknife_error,
            lambda sample: compression.compression_ratio_target_once(sample.texts, sample.alone_ratios),
        ),
        non_empty=True,
    ),
    _metric(
        "cosine",
        "Mean pairwise cosine",
        Direction.LESS,
        "similarity",
        lambda sample: lexical.mean_off_diagonal(sample.cosine_kernel),
        low=-1,
        high=1,
        needs_embeddings=True,
    ),
    _metric(
        "vendi_jaccard",
        "Vendi score, Jaccard kernel",
        Direction.MORE,
        "similarity",
        lambda sample: similarity.vendi(sample.overlap(2).kernel()),
        low=1,
        high=math.inf,
        replica=lambda sample: similarity.vendi(sample.overlap(2).kernel(replica=True)),
        grows=True,
        unit="effective texts",
    ),
    _metric(
        "vendi_cosine",
        "Vendi score, cosine kernel",
        Direction.MORE,
        "similarity",
        lambda sample: similarity.vendi(sample.cosine_kernel),
        low=1,
        high=math.inf,
        grows=True,
        unit="effective texts",
        needs_embeddings=True,
    ),
    *(_order_jaccard(q) for q in ORDERS),
    *(_order_cosine(q) for q in ORDERS),
    *(_distinct_answers(percent) for percent in (70, 80, 90)),
    _mean(
        "mean_length",
        "Mean length",
        lambda sample: lengths.word_counts(sample.texts),
        "words",
        "whole",
        high=math.inf,
    ),
    _mean("empty_rate", "Empty completions", lambda sample: lengths.empty(sample.texts), "share", "whole", high=1),
    _mean("short_rate", "Completions too short", _short, "share", "cut", high=1),
    _mean(
        "leak_rate",
        "Completions running into another turn",
        lambda sample: lengths.leaking(sample.texts, sample.markers),
        "share",
        "both",
        high=1,
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})
"""Metrics of the texts alone, in the order of tables and figures: what a study may name."""


def _quality(name: str, label: str, unit: str, low: float, high: float) -> Metric:
    return Metric(name, label, Direction.NEITHER, "quality", low, high, MappingProxyType({}), unit, "whole")


QUALITIES: Mapping[str, Metric] = MappingProxyType(
    {
        "correct": _quality("correct", "Correct answers", "share", 0, 1),
        "utility": _quality("utility", "Annotators' utility", "", -math.inf, math.inf),
    }
)
"""Scores of whole texts that need to know the prompt; computed where a study can (see `measures.diversity`)."""

MODEL_SCORES: Mapping[str, Metric] = MappingProxyType(
    {
        "token_entropy": Metric(
            "token_entropy",
            "Token entropy",
            Direction.MORE,
            "model",
            0,
            math.inf,
            MappingProxyType({}),
            "nats/token",
            "whole",
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
