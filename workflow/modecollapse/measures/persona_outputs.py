"""The personas and reviews of one model's outputs, and the clusters of the reviews' sentences."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from modecollapse.measures.persona_parsing import PersonaReader, sentences
from modecollapse.measures.semantic import ModeSettings
from modecollapse.metrics import modes
from modecollapse.metrics.lexical import words

_OUTPUT = [("format", pa.string()), ("sample", pa.int32())]

READ = pa.schema(
    [
        *(*_OUTPUT, ("parsed", pa.bool_()), ("reason", pa.string()), ("characters", pa.int32()), ("words", pa.int32())),
        ("polarity", pa.float64()),
    ]
)
"""One row per output: whether it has a persona, or else why not (`Failure`); of its review the length in characters and
in whitespace-separated words, and VADER's compound polarity from −1 to 1 (Hutto & Gilbert 2014; a lexicon of English:
other languages are neutral), null without a review."""

ANSWERS = pa.schema([*_OUTPUT, ("field", pa.string()), ("value", pa.string())])
"""One row per output with a persona and field; null where it is missing."""

SENTENCES = pa.schema(
    [
        *(*_OUTPUT, ("sentence", pa.int32()), ("text", pa.string()), ("cluster", pa.int32()), ("central", pa.bool_())),
        *(("x", pa.float64()), ("y", pa.float64())),
    ]
)
"""One row per sentence of a review, numbered from 0: its cluster, 0 the largest; whether it is the closest to its
cluster's centre; and where t-SNE puts it."""

CLUSTERS = pa.schema([("quantity", pa.string()), ("value", pa.float64())])
"""One row for each of `QUANTITIES`."""

QUANTITIES = ("sentences", "clusters", "clusters_gap", "silhouette", "stability")
"""Sentences of all reviews; their clusters, by the criterion of `metrics.modes.find_clusters`; those of the gap
statistic alone; the mean silhouette; and how stable the clusters are."""


def read_personas(outputs: pa.Table, reader: PersonaReader) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Tables of `READ` and `ANSWERS`, and of the columns of `SENTENCES` up to `text`.

    Args:
        outputs: `measures.personas.OUTPUTS`.
    """
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()
    read, answers, parts = [], [], []
    for row in outputs.select(["format", "sample", "text"]).to_pylist():
        of_output = {"format": row["format"], "sample": row["sample"]}
        persona = reader.read(row["text"])
        review = persona.review
        read.append(
            {
                **of_output,
                "parsed": persona.failure is None,
                "reason": None if persona.failure is None else persona.failure.value,
                "characters": None if review is None else len(review),
                "words": None if review is None else len(words(review)),
                "polarity": None if review is None else analyser.polarity_scores(review)["compound"],
            }
        )
        if persona.failure is None:
            answers += [{**of_output, "field": name, "value": value} for name, value in persona.fields.items()]
        for number, sentence in enumerate(sentences(review or "")):
            parts.append({**of_output, "sentence": number, "text": sentence})
    found = pa.schema([SENTENCES.field(name) for name in ("format", "sample", "sentence", "text")])
    return (
        pa.Table.from_pylist(read, READ),
        pa.Table.from_pylist(answers, ANSWERS),
        pa.Table.from_pylist(parts, found),
    )


def cluster_sentences(
    found: pa.Table, vectors: Mapping[str, np.ndarray], settings: ModeSettings
) -> tuple[pa.Table, pa.Table]:
    """Tables of `SENTENCES` and `CLUSTERS`. Without any sentence: none, and no cluster.

    Args:
        found: sentences, as `read_personas` gives them.
        vectors: text → its sentence vector, of unit length.
    """
    texts = found.column("text").to_pylist()
    stacked = np.stack([vectors[text] for text in texts]) if texts else np.zeros((0, 1))
    clusters = modes.find_clusters(stacked, settings.most_clusters, settings.seed)
    places = modes.project(stacked, settings.perplexity, settings.seed)
    central = np.zeros(len(texts), dtype=bool)
    central[modes.closest(stacked, clusters.labels)] = True
    columns = {name: found.column(name) for name in found.schema.names}
    columns |= {"cluster": clusters.labels.astype(np.int32), "central": central, "x": places[:, 0], "y": places[:, 1]}
    facts = (len(texts), clusters.k, clusters.k_gap, clusters.silhouette, clusters.stability)
    values = pa.table({"quantity": list(QUANTITIES), "value": [float(fact) for fact in facts]}, schema=CLUSTERS)
    return pa.table(columns, schema=SENTENCES), values
