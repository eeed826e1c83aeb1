"""Speed of text features against TextDescriptives used as its manual says, one text at a time.

    python -m tests.benchmarks features

Texts are documents of the nano world, joined to 50 to 300 words. Both sides must agree to the bit. With one process the
clock is the processor's and the pipeline is loaded before; with two it is the wall's, and starting the processes and
loading the pipeline in each is timed too, which so few texts can hardly pay for. The trained pipeline is the small one
of the tests, whose tagger and parser take less than real ones: those take the same time on both sides.
"""

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import spacy
from spacy.language import Language

from modecollapse.data.nano.world import World
from modecollapse.measures.feature_extractor import extract
from modecollapse.measures.feature_pipeline import PipelineSettings
from tests.benchmarks.comparing import Comparison, in_turn
from tests.text_pipelines import (
    COMPONENTS,
    as_rows,
    blank_library_pipeline,
    library_pipeline,
    library_values,
    write_trained_pipeline,
)

TEXTS, FEWER = 2_000, 300


def texts_like_answers(n: int, seed: int = 0) -> list[str]:
    """`n` texts of 50 to 300 words."""
    source = random.Random(seed)
    documents = World().pretraining(8 * n, seed).column("text").to_pylist()
    texts = []
    for _ in range(n):
        words, parts = source.randint(50, 300), list[str]()
        while sum(len(part.split()) for part in parts) < words:
            parts.append(source.choice(documents))
        texts.append(" ".join(" ".join(parts).split(" ")[:words]))
    return texts


def compare(device: str) -> list[Comparison]:
    """Both pipelines with one process, and the blank one with two."""
    texts = texts_like_answers(TEXTS)
    found = _compared("blank", PipelineSettings(), blank_library_pipeline(), texts, (1, 2))
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary) / "pipeline"
        write_trained_pipeline(directory)
        library = library_pipeline(spacy.load(directory), COMPONENTS)
        settings = PipelineSettings(pipeline=str(directory))
        return [*found, *_compared("trained", settings, library, texts[:FEWER], (1,))]


def _compared(
    name: str, settings: PipelineSettings, nlp: Language, texts: Sequence[str], processes: Sequence[int]
) -> list[Comparison]:
    def ours(number: int) -> Callable[[], object]:
        return lambda: extract(texts, settings, number)

    if not np.array_equal(extract(texts, settings).values, as_rows(library_values(nlp, texts)), equal_nan=True):
        raise AssertionError(f"{name}: values differ from the library's")
    found = []
    for number in processes:
        sides = {"ours": ours(number), "library": lambda: library_values(nlp, texts)}
        times = in_turn(sides, "cpu" if number == 1 else "wall", rounds=2, warm=False)
        rates = {f"{side} (texts/s)": len(texts) / taken for side, taken in times.items()}
        case = f"{name} pipeline, {len(texts):,} texts, {number} process{'es' * (number > 1)}"
        found.append(
            Comparison(
                case,
                "each word once",
                "one text at a time",
                times["ours"],
                times["library"],
                work=len(texts),
                unit="texts",
                difference=0.0,
                more=rates,
            )
        )
    return found
