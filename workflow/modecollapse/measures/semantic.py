"""How alike in content the outputs of one prompt are, and how many clusters their sentence vectors form.

The second experiment of Mohammadi (2024), "Creativity Has Left the Chat: The Price of Debiasing Language Models": one
prompt, many outputs; the cosine similarity of TF-IDF vectors, and clusters of sentence vectors, drawn by t-SNE.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from modecollapse.metrics.similarity import mean_pairwise_cosine
from modecollapse.schema import Name, Strict, distinct
from modecollapse.temperatures import Temperature

QUANTITIES = (
    "tfidf_similarity",
    "tfidf_sd_outputs",
    "tfidf_sd_pairs",
    "sbert_similarity",
    "clusters",
    "clusters_gap",
    "clusters_silhouette",
    "silhouette",
    "stability",
    "distinct_outputs",
)
"""Mean TF-IDF similarity of an output to the others; its standard deviation over outputs, and over pairs; the mean
cosine of sentence vectors; clusters, by the criterion of `metrics.modes.find_clusters`; those of the gap statistic
alone, and of the silhouette alone, with the latter's mean silhouette; how stable the clusters are; and the share of
outputs that are distinct."""

OUTPUTS = pa.schema(
    [
        *(("prompt", pa.string()), ("sample", pa.int32()), ("text", pa.string()), ("similarity", pa.float64())),
        *(("cluster", pa.int32()), ("central", pa.bool_()), ("x", pa.float64()), ("y", pa.float64())),
    ]
)
"""One row per output: its mean TF-IDF similarity to the others of the prompt; its cluster, 0 the largest; whether it is
the closest to its cluster's centre; and where t-SNE puts it."""

ASKED = "asked"
"""What tables call the set of a study's own prompts for this measure."""

VALUES = pa.schema(
    [("prompt", pa.string()), ("quantity", pa.string()), ("value", pa.float64()), ("n", pa.int32())],
)
"""One row per prompt and quantity: `n` outputs; NaN where it is undefined."""


class ModeSettings(Strict):
    """How the clusters of a prompt's outputs are found and drawn."""

    most_clusters: int = Field(10, ge=2)
    """Clusters that are tried at most."""
    perplexity: float = Field(30.0, gt=0, allow_inf_nan=False)
    """Of t-SNE; where there are few outputs, at most a third of the others."""
    seed: int = Field(0, ge=0)
    """Seed of k-means, of the gap statistic's reference sets, of the bootstrap and of t-SNE."""


class SemanticSettings(ModeSettings):
    """Semantic modes: similarities and clusters of the whole outputs of each prompt (the CR paper's experiment 2)."""

    prompts: Annotated[tuple[Name, ...], AfterValidator(distinct)] = ()
    """Prompt sets, each of whose prompts is looked at by itself, with the completions that there are of it."""
    asked: dict[Name, str] = Field(default_factory=dict)
    """Further prompts, name → text, of which outputs are sampled for this measure alone; the paper's is
    `grace-hopper: Grace Hopper was`."""
    format: Name = "plain"
    """The prompt format of `asked`, for all stages."""
    completions: int = Field(200, ge=2)
    """Outputs of each prompt of `asked`."""
    max_new_tokens: int = Field(128, ge=1)
    """Tokens of each of them at most, the end-of-text token included."""
    temperature: Temperature = "1.0"
    """The temperature whose outputs are looked at."""

    @model_validator(mode="after")
    def _something(self) -> "SemanticSettings":
        if not self.prompts and not self.asked:
            raise ValueError("state prompts (names of prompt sets), asked (prompts of this measure's own), or both")
        return self


def semantic_modes(
    completions: pa.Table, vectors: Mapping[str, np.ndarray], settings: ModeSettings
) -> tuple[pa.Table, pa.Table]:
    """Tables of `OUTPUTS` and of `VALUES`, prompts in the order in which they appear.

    Args:
        completions: columns `prompt`, `sample` and `text` of a cell (`cell_tables.CELL_SCHEMA`).
        vectors: text → its sentence vector, of unit length.
    """
    asked: dict[str, list[tuple[int, str]]] = {}
    for row in completions.select(["prompt", "sample", "text"]).to_pylist():
        asked.setdefault(row["prompt"], []).append((row["sample"], row["text"]))
    outputs, values = [], []
    for prompt, answered in asked.items():
        samples, texts = zip(*answered, strict=True)
        of_outputs, of_prompt = _modes(texts, np.stack([vectors[text] for text in texts]), settings)
        columns = {"prompt": [prompt] * len(texts), "sample": samples, "text": texts, **of_outputs}
        outputs.append(pa.table(columns, schema=OUTPUTS))
        rows = [{"prompt": prompt, "quantity": name, "value": of_prompt[name], "n": len(texts)} for name in QUANTITIES]
        values.append(pa.Table.from_pylist(rows, VALUES))
    return pa.concat_tables(outputs), pa.concat_tables(values)


def _modes(
    texts: tuple[str, ...], vectors: np.ndarray, settings: ModeSettings
) -> tuple[dict[str, object], dict[str, float]]:
    from modecollapse.metrics import modes

    similarity = modes.summarise(modes.tfidf_similarity(texts))
    found = modes.find_clusters(vectors, settings.most_clusters, settings.seed)
    best, silhouette = max(found.by_k.items(), key=lambda tried: tried[1], default=(np.nan, np.nan))
    central = np.zeros(len(texts), dtype=bool)
    central[modes.closest(vectors, found.labels)] = True
    places = modes.project(vectors, settings.perplexity, settings.seed)
    values = {
        "tfidf_similarity": similarity.mean,
        "tfidf_sd_outputs": similarity.sd_outputs,
        "tfidf_sd_pairs": similarity.sd_pairs,
        "sbert_similarity": mean_pairwise_cosine(vectors) if len(texts) > 1 else np.nan,
        "clusters": float(found.k),
        "clusters_gap": float(found.k_gap),
        "clusters_silhouette": float(best),
        "silhouette": silhouette,
        "stability": found.stability,
        "distinct_outputs": len(set(texts)) / len(texts),
    }
    columns: dict[str, object] = {"similarity": similarity.of_output, "cluster": found.labels.astype(np.int32)}
    columns |= {"central": central, "x": places[:, 0], "y": places[:, 1]}
    return columns, values
