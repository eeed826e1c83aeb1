"""CPU time of all scores of a set of completions, and what their standard errors and controlled variants add.

    python -m tests.benchmarks.bench_scores [FILE.npy …] [--every 20] [--words 20]

Sets of 25 texts cut to 20 words, from files in the layout of the published ones. Sentence vectors are random unit
vectors around a common direction: their values do not matter for the time. The same code is timed with the parts
switched off, so both sides run in one process.
"""

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from modecollapse.metrics.registry import METRICS, Selection
from modecollapse.metrics.sample import Sample
from tests.benchmarks.published_sets import add_arguments, read_sets

CONTROLLED = 10


def _sample(texts: Sequence[str], words: int) -> Sample:
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    vectors = np.random.default_rng(0).normal(size=(len(rows), 384)) + 1.0
    return Sample(texts, words, ("Human:", "Assistant:"), vectors[[rows[text] for text in texts]])


def _milliseconds(work: Callable[[Sample], None], samples: Sequence[Sample]) -> float:
    start = time.process_time()
    for sample in samples:
        work(sample)
    return (time.process_time() - start) / len(samples) * 1e3


def _values(name: str) -> Callable[[Sample], None]:
    def work(sample: Sample) -> None:
        for definition in METRICS[name].definitions.values():
            if definition.selection is not Selection.CONTROLLED:
                definition.compute(sample.non_empty if definition.selection is Selection.NON_EMPTY else sample)

    return work


def _error(name: str) -> Callable[[Sample], None]:
    def work(sample: Sample) -> None:
        definition = METRICS[name].definitions["corrected"]
        if definition.error:
            definition.error(sample.non_empty if definition.selection is Selection.NON_EMPTY else sample)

    return work


def _controlled(name: str) -> Callable[[Sample], None]:
    def work(sample: Sample) -> None:
        definition = METRICS[name].definitions.get("controlled")
        if definition:
            definition.compute(sample.controlled(CONTROLLED))

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, every=20)
    arguments = parser.parse_args()
    samples = [_sample(texts, arguments.words) for texts in read_sets(arguments)]
    print(f"{len(samples)} sets, CPU ms per set; what metrics share counts for the first of them")
    print(f"{'':28}{'values':>9}{'errors':>9}{'controlled':>12}")
    totals = np.zeros(3)
    for name, entry in METRICS.items():
        if entry.scope == "whole":
            continue
        times = [_milliseconds(part(name), samples) for part in (_values, _error, _controlled)]
        totals += times
        print(f"{name:28}{times[0]:9.2f}{times[1]:9.2f}{times[2]:12.2f}")
    print(f"{'all':28}{totals[0]:9.2f}{totals[1]:9.2f}{totals[2]:12.2f}")


if __name__ == "__main__":
    main()
