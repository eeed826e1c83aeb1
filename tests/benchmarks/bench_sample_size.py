"""How metrics depend on the number of completions: means over subsets of the published completions.

    python -m tests.benchmarks.bench_sample_size [FILE.npy …] [--every 20] [--words 20] [--sizes 5 10 15 20 25]

Every set is cut to 20 words; of each set the mean over `--draws` random subsets of each size is taken (all of it at the
full size), then the mean over sets. A metric without a bias in the number of completions has equal columns.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from modecollapse.metrics.registry import METRICS
from modecollapse.metrics.sample import Sample
from tests.benchmarks.published_sets import add_arguments, read_sets

NAMES = [name for name, entry in METRICS.items() if entry.scope == "cut" and name != "short_rate"]


def _values(sample: Sample, name: str, size: int, draws: int, generator: np.random.Generator) -> float:
    number = len(sample.texts)
    subsets = [generator.choice(number, size, replace=False) for _ in range(draws if size < number else 1)]
    compute = METRICS[name].definitions["corrected"].compute
    return float(np.mean([compute(sample.take(subset.tolist())) for subset in subsets]))


def _vectors(texts: Sequence[str]) -> np.ndarray:
    from modecollapse.measures.embedder import EmbedderSettings
    from modecollapse.measures.embedding import embed

    return embed(texts, EmbedderSettings())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, every=20)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5, 10, 15, 20, 25])
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args()
    sets = read_sets(arguments)
    vectors = _vectors([text for texts in sets for text in texts]).reshape(len(sets), -1, 384)
    samples = [Sample(texts, arguments.words, (), of_set) for texts, of_set in zip(sets, vectors, strict=True)]
    generator = np.random.default_rng(0)
    print(f"{len(samples)} sets; mean by number of completions")
    print(f"{'':28}" + "".join(f"{size:>10}" for size in arguments.sizes))
    for name in NAMES:
        means = [
            np.mean([_values(sample, name, size, arguments.draws, generator) for sample in samples])
            for size in arguments.sizes
        ]
        print(f"{name:28}" + "".join(f"{value:10.4f}" for value in means))


if __name__ == "__main__":
    main()
