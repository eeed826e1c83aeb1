"""Speed of the lexical and compression metrics against computing them one pair at a time.

    python -m tests.benchmarks lexical_metrics

The other way is that of the authors: NLTK's `sentence_bleu` of each text against all others, gzip of every ordered pair
and of both its texts, NLTK's n-grams of both texts of every pair anew (also for the kernel of the Vendi score), every
leave-one-out string compressed for itself. The last line is the compressor alone, which nothing that gives gzip's sizes
can go below. Texts are those that the authors published, or answers of the nano world where these are not at hand.
"""

import gzip
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.util import ngrams

from modecollapse.completions.npy import read_string_lists
from modecollapse.data.nano.world import World
from modecollapse.metrics import compression, lexical, similarity
from modecollapse.metrics.registry import ORDERS
from modecollapse.metrics.sample import Sample
from tests.benchmarks.comparing import Comparison, in_turn
from tests.projects import PUBLISHED

WORDS, EVERY = 20, 30

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


def sets_of_texts() -> list[list[str]]:
    """Sets of 25 completions of 20 words."""
    files = sorted(PUBLISHED.glob("completions/*.npy"))
    if files:
        found = [texts for path in files for texts in read_string_lists(path)[1][::EVERY]]
    else:
        world = World()
        texts = world.pretraining(8_000, 1).column("text").to_pylist()
        long = [text for text in texts if len(text.split()) >= WORDS]
        found = [long[start : start + 25] for start in range(0, min(len(long), 25 * 60) - 24, 25)]
    sets = [[lexical.first_words(text, WORDS) for text in texts] for texts in found]
    return [[text for text in texts if text] for texts in sets if all(texts)]


def compare(device: str) -> list[Comparison]:
    """Our metrics beside the authors' way, family by family, and all of them together."""
    sets = sets_of_texts()
    found = []
    for name, (slow, fast) in METRICS.items():
        values = ([score(texts) for texts in sets] for score in (slow, fast))
        difference = max(abs(one - two) for one, two in zip(*values, strict=True))
        found.append(_compared(name, slow, fast, sets, device, difference=difference))
    found.append(_compared("all", _all(0), _all(1), sets, device, aim="≥ 10"))
    found.append(_compared("order q, Jaccard", sampled_orders, exact_orders, sets, device))
    sides = {"here": partial(_score_all, _all(1), sets), "alone": partial(_score_all, compressor_alone, sets)}
    times = in_turn(sides, device, rounds=2, warm=False)
    floor = ("here", "the compressor alone", times["here"], times["alone"])
    return [*found, Comparison(f"all, {len(sets)} sets of 25 texts", *floor, lower=True, work=len(sets), unit="sets")]


def _compared(
    name: str,
    slow: Score,
    fast: Score,
    sets: Sequence[Sequence[str]],
    device: str,
    aim: str = "",
    difference: float = math.nan,
) -> Comparison:
    sides = {"slow": partial(_score_all, slow, sets), "fast": partial(_score_all, fast, sets)}
    times = in_turn(sides, device, rounds=2, warm=False)
    return Comparison(
        f"{name}, {len(sets)} sets of 25 texts",
        "here",
        "authors",
        times["fast"],
        times["slow"],
        aim,
        work=len(sets),
        unit="sets",
        difference=difference,
    )


def _all(side: int) -> Score:
    return lambda texts: math.fsum(sides[side](texts) for sides in METRICS.values())


def _score_all(score: Score, sets: Sequence[Sequence[str]]) -> None:
    for texts in sets:
        score(texts)
