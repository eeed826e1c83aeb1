"""Scores of one cell: every metric of the completions to each prompt, on the first words and on the whole text."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from modecollapse.measures.vectors import Embeddings
from modecollapse.metrics.lengths import mean
from modecollapse.metrics.lexical import first_words
from modecollapse.metrics.registry import METRICS, Selection, metric
from modecollapse.metrics.sample import Sample
from modecollapse.metrics.uncertainty import mean_error
from modecollapse.prompts import TURNS

WHOLE = 0
"""`words` of scores of whole texts."""

Quality = Callable[[str, str], float | None]
"""(prompt id, completion) → its score; None or NaN where it has none."""

SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),
        ("words", pa.int32()),
        ("metric", pa.string()),
        ("definition", pa.string()),
        ("value", pa.float64()),
        ("se", pa.float64()),
        ("n", pa.int32()),
    ]
)
"""Rows of scores; `value` is NaN where a metric is undefined, `se` its standard error over completions (NaN where none
is offered: see `metrics.uncertainty`), `n` counts the completions it was computed from; where a controlled value is NaN
for want of completions, those that are long enough."""

_Row = tuple[str, int, str, str, float, float, int]


def score_cell(
    texts_by_prompt: Mapping[str, Sequence[str]],
    *,
    words: Sequence[int] = (20, 5),
    metrics: Sequence[str] = tuple(METRICS),
    vectors: Embeddings | None = None,
    markers: Sequence[str] = TURNS,
    quality: Mapping[str, Quality] | None = None,
    controlled: int | None = None,
) -> pa.Table:
    """Score the completions of one cell.

    Args:
        texts_by_prompt: the completions to each prompt, by the prompt's id.
        words: numbers of first words that the texts are cut to.
        metrics: names of registered metrics, in the order of the rows.
        vectors: sentence vectors of all cut texts; may be None if no metric needs them.
        markers: strings that show that a completion runs into another turn of the dialogue.
        quality: further scores of whole completions by name; the row's value is their mean where they are defined.
        controlled: how many completions the definition "controlled" uses; 0 or None leaves it out.

    Returns:
        A table of `SCHEMA`, ordered by prompt, words (0 = the whole text, last), metric, definition. The value does not
        depend on the order of a prompt's completions, except for the compression ratios and the definition
        "controlled", which takes the first ones; a standard error depends on it, as groups are made by order.

    Raises:
        StudyError: no metric has one of these names, or a cut text has no vector.
        ValueError: a metric needs vectors and there are none.
    """
    rows: list[_Row] = []
    for prompt, texts in texts_by_prompt.items():
        for count in (*words, WHOLE):
            sample = _sample(texts, count, metrics, vectors, markers)
            rows += ((prompt, count, *score) for score in _scores(sample, metrics, controlled or 0))
        for name, function in (quality or {}).items():
            rows.append((prompt, WHOLE, name, "corrected", *_mean(function(prompt, text) for text in texts)))
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def _sample(
    texts: Sequence[str], count: int, metrics: Sequence[str], vectors: Embeddings | None, markers: Sequence[str]
) -> Sample:
    if count == WHOLE:
        return Sample(texts, None, markers)
    cut = [first_words(text, count) for text in texts]
    embeddings: np.ndarray | None = None
    if vectors is not None and any(metric(name).needs_embeddings for name in metrics):
        embeddings = vectors.matrix(cut)
    return Sample(cut, count, markers, embeddings)


def _scores(sample: Sample, metrics: Sequence[str], controlled: int) -> Iterator[tuple[str, str, float, float, int]]:
    skipped = "cut" if sample.limit is None else "whole"
    samples = {Selection.ALL: sample, Selection.NON_EMPTY: sample.non_empty}
    if sample.limit is not None and controlled:
        samples[Selection.CONTROLLED] = sample.controlled(controlled)
    for name in metrics:
        entry = metric(name)
        if entry.scope == skipped:
            continue
        for definition, way in entry.definitions.items():
            if way.selection not in samples:
                continue
            used = samples[way.selection]
            number = len(used.texts)
            enough = way.selection is not Selection.CONTROLLED or number == controlled
            value = way.compute(used) if enough else math.nan
            yield name, definition, value, way.error(used) if way.error else math.nan, number


def _mean(values: Iterable[float | None]) -> tuple[float, float, int]:
    defined = [value for value in values if value is not None and not math.isnan(value)]
    return mean(defined), mean_error(defined), len(defined)
