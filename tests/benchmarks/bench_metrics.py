"""Speed of the lexical and compression metrics against computing them one pair at a time, both in one process.

    python -m tests.benchmarks.bench_metrics [COMPLETIONS.npy ...] [--every 10]

The other way is that of the authors: NLTK's `sentence_bleu` of each text against all others, gzip of every ordered pair
and of both its texts, NLTK's n-grams of both texts of every pair anew (also for the kernel of the Vendi score), every
leave-one-out string compressed for itself. Prints CPU milliseconds per set of texts, the ratio and the largest
difference, and the time of the compressor alone, which nothing that gives gzip's sizes can go below.
"""

import argparse
import gzip
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.util import ngrams

from modecollapse.completions.npy import read_string_lists
from modecollapse.metrics import compression, lexical, similarity
from modecollapse.metrics.registry import ORDERS
from modecollapse.metrics.sample import Sample
from tests.conftest import PUBLISHED

Score = Callable[[Sequence[str]], float]


def pairwise_self_bleu(texts: Sequence[str]) -> float:
    scores = []
    for index, text in enumerate(texts):
        others = [other.split() for place, other in enumerate(texts) if place != index]
        scores.append(sentence_bleu(others, text.split(), smoothing_function=SmoothingFunction().method1))
    return math.fsum(scores) / len(texts)


def fresh_jaccard(one: str, two: str, n: int) -> float:
    first, second = (set(ngrams(text.lower().split(), n)) for text in (one, two))
    return len(first & second) / len(first | second) if first | second else 0.0


def pairwise_jaccards(texts: Sequence[str]) -> float:
    """The sum of the mean similarities for n = 2, 3, 4."""
    pairs = list(itertools.combinations(texts, 2))
    return math.fsum(fresh_jaccard(*pair, n) for n in (2, 3, 4) for pair in pairs) / len(pairs)


def pairwise_vendi(texts: Sequence[str]) -> float:
    kernel = np.empty((len(texts), len(texts)))
    for i, j in itertools.combinations_with_replacement(range(len(texts)), 2):
        kernel[i, j] = kernel[j, i] = fresh_jaccard(texts[i], texts[j], 2)
    return similarity.vendi(kernel)


def shared_overlaps(texts: Sequence[str]) -> float:
    sample = Sample(texts)
    kernels = [sample.overlap(n).kernel(replica=True) for n in (2, 3, 4)]
    return math.fsum([*map(lexical.mean_off_diagonal, kernels), similarity.vendi(kernels[0])])


def sampled_orders(texts: Sequence[str]) -> float:
    """The diversities of order 2 to 6 as the authors estimate them: 50 tuples each, drawn without a seed."""
    orders = []
    for q in ORDERS:
        products = []
        for _ in range(50):
            first, *others = np.random.choice(texts, size=q, replace=True)
            products.append(math.prod(fresh_jaccard(first, other, 2) for other in others))
        mean = sum(products) / len(products)
        orders.append(mean ** (1 / (1 - q)) if mean > 0 else math.nan)
    return math.fsum(orders)


def exact_orders(texts: Sequence[str]) -> float:
    kernel = Sample(texts).overlap(2).kernel(replica=True)
    return math.fsum(similarity.diversity_of_order(kernel, q) for q in ORDERS)


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
    for index, text in enumerate(texts):
        others = [*texts[:index], *texts[index + 1 :]]
        values.append(_ratio(text) - _ratio(" ".join([*others, text])))
    return math.fsum(values) / len(texts)


def shared_ratios(texts: Sequence[str]) -> float:
    ratios = Sample(texts).leave_one_out
    return ratios.full + ratios.target


def compressor_alone(texts: Sequence[str]) -> float:
    """What cannot be done without: each different string that a definition names compressed once."""
    encoded = [compression.encode(text) for text in dict.fromkeys(texts)]
    joined = [b"%b %b" % pair for pair in itertools.product(encoded, repeat=2)]
    every = [compression.encode(text) for text in texts]
    others = [[*every[:index], *every[index + 1 :]] for index in range(len(every))]
    left_out = {b" ".join(strings) for strings in others}
    whole = {b" ".join([*strings, text]) for strings, text in zip(others, every, strict=True)}
    return float(sum(map(compression.compressed_size, [*encoded, *joined, *left_out, *whole])))


def _gzipped(text: str) -> int:
    return len(gzip.compress(text.encode()))


def _ratio(text: str) -> float:
    return _gzipped(text) / len(text.encode())


METRICS: dict[str, tuple[Score, Score]] = {
    "self_bleu": (pairwise_self_bleu, lexical.self_bleu),
    "jaccard_2,3,4, vendi": (lambda texts: pairwise_jaccards(texts) + pairwise_vendi(texts), shared_overlaps),
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
    print(f"{'':20}{'authors':>10}{'here':>10}{'ratio':>8}{'difference':>13}")
    totals = [0.0, 0.0]
    for name, (slow, fast) in METRICS.items():
        slow_time, slow_values = _milliseconds(slow, sets)
        fast_time, fast_values = _milliseconds(fast, sets)
        difference = max(abs(one - two) for one, two in zip(slow_values, fast_values, strict=True))
        totals = [totals[0] + slow_time, totals[1] + fast_time]
        print(f"{name:20}{slow_time:10.2f}{fast_time:10.2f}{slow_time / fast_time:8.1f}{difference:13.1e}")
    print(f"{'all':20}{totals[0]:10.2f}{totals[1]:10.2f}{totals[0] / totals[1]:8.1f}")
    slow_time, fast_time = (_milliseconds(score, sets)[0] for score in (sampled_orders, exact_orders))
    print(f"{'order q, Jaccard':20}{slow_time:10.2f}{fast_time:10.2f}{slow_time / fast_time:8.1f}{'exact here':>13}")
    totals = [totals[0] + slow_time, totals[1] + fast_time]
    print(f"{'all with order q':20}{totals[0]:10.2f}{totals[1]:10.2f}{totals[0] / totals[1]:8.1f}")
    floor = _milliseconds(compressor_alone, sets)[0]
    print(f"{'compressor alone':20}{'':10}{floor:10.2f}{totals[0] / floor:8.1f}")


if __name__ == "__main__":
    main()
