"""Sentence vectors beside the library's way of making them, and what a lower precision changes.

Both sides load the model and embed the same completions of the nano world's answers, cut to 20 and to 5 words:
`SentenceTransformer.encode` with its default batch of 32 (sorted by length, padded), and one text at a time. Ours
embeds equal texts once. The difference is the largest of any entry of a vector. A lower precision is against float32,
with the largest changes of a cosine and of the mean cosine of 25 texts, which is the metric.
"""

import random

import numpy as np

from modecollapse.data.nano.world import World
from modecollapse.measures.embedder import EmbedderSettings, embedder_directory, rows_per_batch
from modecollapse.measures.embedding import embed
from modecollapse.metrics.lexical import first_words
from tests.benchmarks.comparing import Comparison, in_turn

_TEXTS = {"cpu": 1600, "cuda": 40_000}
_ONE_BY_ONE = {"cpu": 75, "cuda": 2000}
_SET = 25


def compare(device: str) -> list[Comparison]:
    """Rows of the table, see the module."""
    import sentence_transformers  # noqa: F401  (with torch and transformers: not to be timed)

    completions = World().answers(_TEXTS[device] // 2, 1).column("completion").to_pylist()
    texts = [first_words(text, words) for words in (20, 5) for text in completions]
    distinct = list(dict.fromkeys(texts))
    few = random.Random(0).sample(distinct, _ONE_BY_ONE[device])
    ours = f"batches of {rows_per_batch(EmbedderSettings(), device)} of one length"
    return [
        _beside_library(f"{len(texts):,} texts, {len(distinct):,} distinct", ours, texts, device),
        _beside_library(f"{len(few):,} distinct texts", ours, few, device, batch=1),
        *(_precision(dtype, ours, few, device) for dtype in ("bfloat16", "float16")),
    ]


def _ours(texts: list[str], device: str, dtype: str = "float32") -> np.ndarray:
    settings = EmbedderSettings.model_validate({"dtype": dtype})
    index = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors = embed(list(index), settings, device=device)
    return vectors[[index[text] for text in texts]]


def _library(texts: list[str], device: str, batch: int) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(embedder_directory(EmbedderSettings())), device=device)
    found: np.ndarray = model.encode(texts, batch_size=batch, show_progress_bar=False)
    return found


def _beside_library(case: str, ours: str, texts: list[str], device: str, batch: int = 32) -> Comparison:
    found: dict[str, np.ndarray] = {}
    sides = {
        "ours": lambda: found.update(ours=_ours(texts, device)),
        "other": lambda: found.update(other=_library(texts, device, batch)),
    }
    times = in_turn(sides, device, rounds=2 if device == "cpu" else 3, warm=device != "cpu")
    return Comparison(
        case,
        ours,
        "SentenceTransformer, one at a time" if batch == 1 else f"SentenceTransformer, batches of {batch}",
        times["ours"],
        times["other"],
        work=len(texts),
        unit="texts",
        difference=float(np.abs(found["ours"] - found["other"]).max()),
    )


def _precision(dtype: str, ours: str, texts: list[str], device: str) -> Comparison:
    found: dict[str, np.ndarray] = {}
    sides = {name: lambda name=name: found.update({name: _ours(texts, device, name)}) for name in (dtype, "float32")}
    times = in_turn(sides, device, rounds=1, warm=device != "cpu")
    return Comparison(
        f"{len(texts):,} distinct texts in {dtype}",
        f"{ours}, {dtype}",
        "the same in float32",
        times[dtype],
        times["float32"],
        work=len(texts),
        unit="texts",
        difference=float(np.abs(found[dtype] - found["float32"]).max()),
        more=_cosine_changes(found[dtype], found["float32"]),
    )


def _cosine_changes(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Largest changes of the pairwise cosines of consecutive sets of texts, and of a set's mean of them."""
    pairs = np.triu_indices(_SET, 1)
    changes = []
    for start in range(0, len(one) - _SET + 1, _SET):
        first, second = (vectors[start : start + _SET].astype(np.float64) for vectors in (one, other))
        changes.append((first @ first.T - second @ second.T)[pairs])
    return {
        "largest change of a cosine": max(float(np.abs(change).max()) for change in changes),
        "of the mean of a set": max(abs(float(change.mean())) for change in changes),
    }
