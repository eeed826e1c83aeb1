"""How good the standard errors are: the jackknife's against the spread of the values of many samples of completions.

    python -m tests.benchmarks.bench_errors [--repeats 150]

Printed per metric and source of texts: root mean square of the errors / standard deviation of the values; 1 is right,
more is cautious, "-" means that all values were equal. A metric that offers no error gets the plain jackknife's.
Sentence vectors are random projections of the words.
"""

import argparse
import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np

from modecollapse.completions.npy import read_string_lists
from modecollapse.metrics.lexical import first_words, words
from modecollapse.metrics.registry import METRICS
from modecollapse.metrics.sample import Sample
from modecollapse.metrics.uncertainty import jackknife_error
from tests.projects import PUBLISHED

WORDS, TEXTS = 20, 25
NAMES = [name for name, entry in METRICS.items() if entry.scope == "cut"]


@cache
def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    return np.random.default_rng(seed).normal(size=64)


def word_vectors(texts: Sequence[str]) -> np.ndarray:
    """Vectors whose cosines follow the words that texts share."""
    return np.array([sum((_direction(word) for word in words(text.lower())), np.full(64, 0.01)) for text in texts])


def zipf_texts(exponent: float, number: int, generator: np.random.Generator) -> list[str]:
    """Texts of 20 independent words out of 400, whose frequencies follow a power law."""
    return [" ".join(f"w{word % 400}" for word in generator.zipf(exponent, WORDS)) for _ in range(number)]


def mode_texts(number: int, generator: np.random.Generator) -> list[str]:
    """Texts that repeat one of six answers, or else are noise."""
    modes = [" ".join(f"w{word}" for word in generator.integers(0, 400, WORDS)) for _ in range(6)]
    noise = [" ".join(f"w{word}" for word in generator.integers(0, 400, WORDS)) for _ in range(number)]
    which = generator.choice(6, number, p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05])
    return [modes[mode] if generator.random() < 0.7 else other for mode, other in zip(which, noise, strict=True)]


def _pools(generator: np.random.Generator) -> Iterator[tuple[str, list[str]]]:
    yield "Zipf 1.3", zipf_texts(1.3, 5000, generator)
    yield "Zipf 1.8", zipf_texts(1.8, 5000, generator)
    yield "six modes", mode_texts(5000, generator)
    for name in ("pythia-2.8b-dpo_completions_factual_max_length25", "pythia-2.8b_completions_creative_max_length70"):
        path = PUBLISHED / "completions" / f"{name}.npy"
        if not path.is_file():
            continue
        _, sets = read_string_lists(path)
        for temperature in (2, 9):
            of_temperature = [text for texts in sets[temperature * 20 : (temperature + 1) * 20] for text in texts]
            label = f"{'DPO factual' if 'dpo' in name else 'PLM creative'} T{(temperature + 1) / 10}"
            yield label, [first_words(text, WORDS) for text in of_temperature]


def ratio(name: str, samples: Sequence[Sample]) -> float:
    """Root mean square error / standard deviation; NaN if all values are equal."""
    definition = METRICS[name].definitions["corrected"]
    error = definition.error or partial(jackknife_error, definition.compute)
    spread = np.std([definition.compute(sample) for sample in samples], ddof=1)
    errors = [error(sample) for sample in samples]
    return float(math.sqrt(np.mean(np.square(errors))) / spread) if spread > 0 else math.nan


def draw(pool: Sequence[str], number: int, generator: np.random.Generator) -> list[Sample]:
    """`number` samples of 25 texts each."""
    drawn = [[pool[i] for i in generator.choice(len(pool), TEXTS, replace=False)] for _ in range(number)]
    return [Sample(texts, WORDS, (), word_vectors(texts)) for texts in drawn]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=150)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    columns = {label: draw(pool, arguments.repeats, generator) for label, pool in _pools(generator)}
    print("| metric | " + " | ".join(columns) + " |")
    print("| --- " * (len(columns) + 1) + "|")
    for name in NAMES:
        ratios = [ratio(name, samples) for samples in columns.values()]
        print(f"| `{name}` | " + " | ".join("-" if math.isnan(value) else f"{value:.2f}" for value in ratios) + " |")


if __name__ == "__main__":
    main()
