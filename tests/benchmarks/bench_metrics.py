"""Speed of the lexical and compression metrics against computing them one pair at a time, both in one process.

    python tests/benchmarks/bench_metrics.py COMPLETIONS.npy [--every 10]

The other way: NLTK's `sentence_bleu` of each text against all others, gzip of every ordered pair, n-gram sets made
anew for every pair, and every leave-one-out string compressed for itself. Prints CPU milliseconds per set of texts, the
ratio and the largest difference, and for NCD the time of the compressor alone, which nothing can go below.
"""

import argparse
import gzip
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from modecollapse.completions.npy import read_string_lists
from modecollapse.metrics import compression, lexical
from modecollapse.metrics.sample import Sample
from tests.conftest import PUBLISHED

Score = Callable[[Sequence[str]], float]


def pairwise_self_bleu(texts: Sequence[str]) -> float:
    method = SmoothingFunction().method1
    split = [text.split() for text in texts]
    scores = (
        sentence_bleu(split[:i] + split[i + 1 :], hypothesis, smoothing_function=method)
        for i, hypothesis in enumerate(split)
    )
    return math.fsum(scores) / len(texts)


def pairwise_jaccard(texts: Sequence[str], n: int) -> float:
    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.lower().split()
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    values = []
    for one, two in itertools.combinations(texts, 2):
        first, second = grams(one), grams(two)
        values.append(len(first & second) / len(first | second) if first | second else 0.0)
    return math.fsum(values) / len(values)


def pairwise_ncd(texts: Sequence[str]) -> float:
    values = []
    for one, two in itertools.permutations(texts, 2):
        sizes = _gzipped(one), _gzipped(two)
        values.append((_gzipped(f"{one} {two}") - min(sizes)) / max(sizes))
    return math.fsum(values) / len(values)


def separate_ratios(texts: Sequence[str]) -> float:
    """The sum of both leave-one-out ratios."""
    values = []
    for index, text in enumerate(texts):
        others = [*texts[:index], *texts[index + 1 :]]
        values.append(_ratio(" ".join(others)) - _ratio(" ".join([*others, text])))
        values.append(_ratio(text) - _ratio(" ".join([*others, text])))
    return math.fsum(values) / len(texts)


def shared_ratios(texts: Sequence[str]) -> float:
    ratios = Sample(texts).leave_one_out
    return ratios.full + ratios.target


def compressor_alone(texts: Sequence[str]) -> float:
    """What NCD cannot do without: each different text and each ordered pair of different texts compressed once."""
    encoded = [compression.encode(text) for text in dict.fromkeys(texts)]
    joined = [b"%b %b" % pair for pair in itertools.product(encoded, repeat=2)]
    return float(sum(map(compression.compressed_size, [*encoded, *joined])))


def _gzipped(text: str) -> int:
    return len(gzip.compress(text.encode()))


def _ratio(text: str) -> float:
    return _gzipped(text) / len(text.encode())


METRICS: dict[str, tuple[Score, Score]] = {
    "self_bleu": (pairwise_self_bleu, lexical.self_bleu),
    **{
        f"jaccard_{n}": (
            lambda texts, n=n: pairwise_jaccard(texts, n),
            lambda texts, n=n: lexical.jaccard(texts, n, replica=True),
        )
        for n in (2, 3, 4)
    },
    "ncd": (pairwise_ncd, compression.ncd),
    "compression ratios": (separate_ratios, shared_ratios),
}


def _milliseconds(score: Score, sets: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    start = time.process_time()
    values = [score(texts) for texts in sets]
    return (time.process_time() - start) / len(sets) * 1e3, values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("completions", type=Path, nargs="*", default=sorted(PUBLISHED.glob("completions/*.npy")))
    parser.add_argument("--every", type=int, default=10, help="score only every so-many-th set")
    parser.add_argument("--words", type=int, default=20)
    arguments = parser.parse_args()
    if not arguments.completions:
        print(f"not measured: no completions are named, and the published ones are not at {PUBLISHED}")
        return
    sets = [
        cut
        for path in arguments.completions
        for texts in read_string_lists(path)[1][:: arguments.every]
        if all(cut := [lexical.first_words(text, arguments.words) for text in texts])
    ]
    print(f"{len(sets)} sets, CPU ms per set")
    print(f"{'':20}{'pairwise':>10}{'here':>10}{'ratio':>8}{'difference':>13}")
    totals = [0.0, 0.0]
    for name, (slow, fast) in METRICS.items():
        slow_time, slow_values = _milliseconds(slow, sets)
        fast_time, fast_values = _milliseconds(fast, sets)
        difference = max(abs(one - two) for one, two in zip(slow_values, fast_values, strict=True))
        totals = [totals[0] + slow_time, totals[1] + fast_time]
        print(f"{name:20}{slow_time:10.2f}{fast_time:10.2f}{slow_time / fast_time:8.1f}{difference:13.1e}")
    print(f"{'all':20}{totals[0]:10.2f}{totals[1]:10.2f}{totals[0] / totals[1]:8.1f}")
    print(f"compressor alone, for NCD: {_milliseconds(compressor_alone, sets)[0]:.2f}")


if __name__ == "__main__":
    main()
