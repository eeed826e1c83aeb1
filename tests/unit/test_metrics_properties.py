"""What holds for every registered metric, whatever the texts: agreement with a slow, direct reference, ranges, order.

The references are written from the formulas in docs/metrics.md, text by text and pair by pair, with NLTK, gzip, SciPy
and fractions; a metric without one fails here.
"""

import gzip
import hashlib
import itertools
import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from scipy.sparse.csgraph import connected_components

from modecollapse.measures.diversity import WHOLE, score_cell
from modecollapse.measures.vectors import Embeddings
from modecollapse.metrics.clusters import answer_clusters
from modecollapse.metrics.lexical import first_words
from modecollapse.metrics.registry import METRICS, ORDERS
from modecollapse.metrics.sample import GROUPS, Sample
from modecollapse.metrics.uncertainty import jackknife_error

WORDS, CONTROLLED, MARKERS = 5, 3, ("Human:", "Assistant:")
Reference = Callable[[Sequence[str]], float]

ODD = [
    *(
        "a",
        "b",
        "c",
        "The",
        "the",
        "Human:",
        "x\0y",
        "\0",
        "\ud800",
        "\udc00z",
        "שלום",
        "\u202eabc",
        "İ",
        "i̇",
        "ß",
        "ẞ",
    ),
    *("\U0001f469\u200d\U0001f469\u200d\U0001f467", "é", "e\u0301", "\u200d", "\ufeff", "．", "a" * 40, "", ""),
]
"""Words: NUL, halves of surrogate pairs, right to left, special lower case, joined emoji, combining ones; nothing."""
SPACES = [" ", "  ", "\n", "\t", "\u00a0", "\u2028", "\u3000", "\x1c", "\x1d", "\x1e", "\x1f", "\x85"]
"""What str.split() takes for whitespace."""

_TEXT = st.lists(st.tuples(st.sampled_from(ODD), st.sampled_from(SPACES)), max_size=9).map(
    lambda pairs: "".join(word + space for word, space in pairs)
)
TEXTS = st.lists(_TEXT, min_size=1, max_size=4).flatmap(
    lambda pool: st.lists(st.one_of(st.sampled_from(pool), _TEXT), max_size=7)
)
"""Up to seven texts, often the same one several times, of up to nine words, often fewer than the cut."""

search = partial(settings, deadline=None, derandomize=True)


def vector(text: str) -> np.ndarray:
    """A vector for each text, never 0, equal for equal texts; no cosine lies just at a threshold."""
    numbers = np.frombuffer(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), dtype=np.uint8)
    return np.concatenate([[1.1], numbers[:3] % 3])


def unit_vector(text: str) -> np.ndarray:
    return vector(text) / math.sqrt(float((vector(text) ** 2).sum()))


def embeddings(texts: Sequence[str]) -> Embeddings:
    distinct = list(dict.fromkeys(first_words(text, WORDS) for text in texts))
    return Embeddings.of(distinct, np.array([unit_vector(text) for text in distinct]).reshape(len(distinct), 4))


def scored(texts: Sequence[str], name: str, definition: str) -> dict[str, float]:
    """The row of one metric and definition, of texts cut to five words, or whole where it is of whole texts."""
    table = score_cell(
        {"p": texts},
        words=(WORDS,),
        metrics=(name,),
        vectors=embeddings(texts),
        markers=MARKERS,
        controlled=CONTROLLED,
    )
    words = WHOLE if METRICS[name].scope == "whole" else WORDS
    rows = [row for row in table.to_pylist() if row["definition"] == definition and row["words"] == words]
    assert len(rows) == 1
    return rows[0]


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def slow_self_bleu(texts: Sequence[str]) -> float:
    if len(texts) < 2:
        return math.nan
    split, method = [text.split() for text in texts], SmoothingFunction().method1
    return mean(
        [
            sentence_bleu(split[:i] + split[i + 1 :], hypothesis, smoothing_function=method)
            for i, hypothesis in enumerate(split)
        ]
    )


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def slow_jaccard(one: str, two: str, n: int, replica: bool) -> float:
    first, second = set(grams(one.lower(), n)), set(grams(two.lower(), n))
    if first | second:
        return len(first & second) / len(first | second)
    return 0.0 if replica else float(one.lower().split() == two.lower().split())


def pairs_mean(similarity: Callable[[str, str], float], texts: Sequence[str]) -> float:
    return mean([similarity(one, two) for one, two in itertools.combinations(texts, 2)])


def slow_distinct(texts: Sequence[str], n: int) -> float:
    every = [gram for text in texts for gram in grams(text, n)]
    return len(set(every)) / len(every) if every else math.nan


def slow_ead(texts: Sequence[str], n: int) -> float:
    every = [gram for text in texts for gram in grams(text, n)]
    if not every:
        return math.nan
    size = Fraction(30_522**n)
    return float(len(set(every)) / (size * (1 - ((size - 1) / size) ** len(every))))


def gzipped(data: bytes) -> int:
    return len(gzip.compress(data))


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def slow_ncd(one: bytes, two: bytes) -> float:
    sizes = gzipped(one), gzipped(two)
    return (gzipped(one + b" " + two) - min(sizes)) / max(sizes)


def slow_ratio(texts: Sequence[bytes]) -> float:
    joined = b" ".join(texts)
    return gzipped(joined) / len(joined) if joined else math.nan


def slow_ratios(texts: Sequence[str], kind: str) -> float:
    encoded, values = [raw(text) for text in texts], []
    for i, text in enumerate(encoded):
        others = encoded[:i] + encoded[i + 1 :]
        values.append(slow_ratio([text] if kind == "target" else others) - slow_ratio([*others, text]))
    return mean(values) if len(values) > 1 else math.nan


def cosine(one: str, two: str) -> float:
    return float(unit_vector(one) @ unit_vector(two))


def slow_vendi(similarity: Callable[[str, str], float], texts: Sequence[str]) -> float:
    if not texts:
        return math.nan
    kernel = np.array([[similarity(one, two) for one in texts] for two in texts]) / len(texts)
    eigenvalues = np.linalg.eigvals(kernel).real
    return math.exp(-sum(value * math.log(value) for value in eigenvalues if value > 1e-15))


def slow_order(similarity: Callable[[str, str], float], texts: Sequence[str], q: int) -> float:
    """From the mean product of the similarities of each text to q − 1 others, as it is defined: over all tuples."""
    if not texts:
        return math.nan
    kernel = {
        (one, two): similarity(texts[one], texts[two]) for one, two in itertools.product(range(len(texts)), repeat=2)
    }
    products = [
        math.prod(kernel[first, other] for other in others)
        for first in range(len(texts))
        for others in itertools.product(range(len(texts)), repeat=q - 1)
    ]
    mu = math.fsum(products) / len(products)
    return mu ** (1 / (1 - q)) if mu > 0 else math.nan


def identical_or_jaccard(one: str, two: str) -> float:
    return 1.0 if one == two else slow_jaccard(one, two, 2, False)


def slow_clusters(texts: Sequence[str], threshold: float) -> float:
    graph = np.array([[cosine(one, two) >= threshold for one in texts] for two in texts])
    return float(connected_components(graph, directed=False)[0]) if texts else math.nan


def share(test: Callable[[str], bool]) -> Reference:
    return lambda texts: mean([float(test(text)) for text in texts])


CORRECTED: dict[str, Reference] = {
    "self_bleu": slow_self_bleu,
    **{f"jaccard_{n}": partial(pairs_mean, partial(slow_jaccard, n=n, replica=False)) for n in (2, 3, 4)},
    **{f"distinct_{n}": partial(slow_distinct, n=n) for n in (1, 2, 3)},
    **{f"ead_{n}": partial(slow_ead, n=n) for n in (1, 2, 3)},
    "distinct_answers_exact": lambda texts: float(len({" ".join(t.lower().split()) for t in texts})) or math.nan,
    "ncd": lambda texts: mean([slow_ncd(raw(one), raw(two)) for one, two in itertools.permutations(texts, 2)]),
    "compression_ratio_full": lambda texts: slow_ratios([text for text in texts if text], "full"),
    "compression_ratio_target": lambda texts: slow_ratios([text for text in texts if text], "target"),
    "cosine": partial(pairs_mean, cosine),
    "vendi_jaccard": partial(slow_vendi, identical_or_jaccard),
    "vendi_cosine": partial(slow_vendi, cosine),
    **{f"order_{q}_jaccard": partial(slow_order, identical_or_jaccard, q=q) for q in ORDERS},
    **{f"order_{q}_cosine": partial(slow_order, cosine, q=q) for q in ORDERS},
    **{f"distinct_answers_{p}": partial(slow_clusters, threshold=p / 100) for p in (70, 80, 90)},
    "mean_length": lambda texts: mean([float(len(text.split())) for text in texts]),
    "empty_rate": share(lambda text: not text.split()),
    "short_rate": share(lambda text: len(text.split()) < WORDS),
    "leak_rate": share(lambda text: any(marker in text for marker in MARKERS)),
}
REPLICA: dict[str, Reference] = {
    **{f"jaccard_{n}": partial(pairs_mean, partial(slow_jaccard, n=n, replica=True)) for n in (2, 3, 4)},
    "compression_ratio_full": lambda texts: slow_ratios(texts, "full"),
    "compression_ratio_target": lambda texts: slow_ratios(texts, "target"),
    "vendi_jaccard": partial(slow_vendi, partial(slow_jaccard, n=2, replica=True)),
    **{f"order_{q}_jaccard": partial(slow_order, partial(slow_jaccard, n=2, replica=True), q=q) for q in ORDERS},
}

PAIRS = [(name, definition) for name, entry in METRICS.items() for definition in entry.definitions]
ORDERED = {"compression_ratio_full", "compression_ratio_target"}
"""Metrics that depend on the order of texts; the definition "controlled" does as well."""
MINIMUM = {"ncd": 2, "self_bleu": 2, "cosine": 2, **{f"jaccard_{n}": 2 for n in (2, 3, 4)}}
"""Fewest texts of metrics that compare pairs; others are defined from one text on unless `undefined` says otherwise."""


def reference(texts: Sequence[str], name: str, definition: str) -> float:
    if METRICS[name].scope == "whole":
        return CORRECTED[name](texts)
    cut = [" ".join(text.split()[:WORDS]) for text in texts]
    if definition == "replica":
        return REPLICA[name](cut)
    if definition == "controlled":
        full = [text for text in cut if len(text.split()) == WORDS]
        return CORRECTED[name](full[:CONTROLLED]) if len(full) >= CONTROLLED else math.nan
    return CORRECTED[name](cut)


def undefined(texts: Sequence[str], name: str, definition: str) -> bool:
    """Whether docs/metrics.md says that there is no value."""
    cut = [text.split()[:WORDS] for text in texts]
    if definition == "controlled":
        return sum(len(words) == WORDS for words in cut) < CONTROLLED
    if name.startswith("compression"):
        filled = sum(map(bool, cut))
        if definition == "replica":
            return len(cut) < 2 or (filled < len(cut) and (name.endswith("target") or len(cut) < 3 or not filled))
        return filled < 2
    if name.startswith("order") and definition == "replica":
        return all(len(words) < 2 for words in cut)
    if name.startswith(("distinct_1", "distinct_2", "distinct_3", "ead_")):
        return all(len(words) < int(name[-1]) for words in cut)
    return len(texts) < MINIMUM.get(name, 1)


def test_every_definition_of_every_metric_has_a_reference() -> None:
    assert CORRECTED.keys() == METRICS.keys()
    assert REPLICA.keys() == {name for name, entry in METRICS.items() if "replica" in entry.definitions}


@pytest.mark.parametrize(("name", "definition"), PAIRS)
@search(max_examples=30)
@given(texts=TEXTS)
@example(texts=[])
@example(texts=["\u00a0\x1c", "a b"])
@example(texts=["a b c d e f"])
@example(texts=["a b c d e"] * 4)
@example(texts=["İ I i̇ ẞ ß", "i̇ i i̇ ss ß", "İ I i̇ ẞ ß ."])
def test_a_score_equals_the_slow_reference_and_lies_in_its_range(name: str, definition: str, texts: list[str]) -> None:
    row = scored(texts, name, definition)
    assert row["value"] == pytest.approx(reference(texts, name, definition), rel=1e-9, abs=1e-9, nan_ok=True)
    assert math.isnan(row["value"]) == undefined(texts, name, definition)
    if not math.isnan(row["value"]):
        assert METRICS[name].low - 1e-12 <= row["value"] <= METRICS[name].high + 1e-12
        unbounded = definition == "replica" and name.startswith("order")  # texts unlike themselves count for many
        if METRICS[name].unit in ("effective texts", "clusters", "answers") and not unbounded:
            assert row["value"] <= row["n"] + 1e-9


@pytest.mark.parametrize("name", [name for name in METRICS if name not in ORDERED])
@search(max_examples=20)
@given(texts=TEXTS, seed=st.integers(0, 99))
def test_a_score_does_not_depend_on_the_order_of_texts(name: str, texts: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(texts, len(texts))
    for definition in METRICS[name].definitions:
        if definition != "controlled":
            one, other = (scored(order, name, definition)["value"] for order in (texts, shuffled))
            assert one == pytest.approx(other, rel=1e-12, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", sorted(ORDERED))
def test_the_exceptions_do_depend_on_the_order_of_texts(name: str) -> None:
    texts = [f"{word} and then something {word * 3}" for word in ("spam", "egg", "bacon", "tea", "jam")]
    values = {scored(list(order), name, "corrected")["value"] for order in itertools.permutations(texts)}
    assert len(values) > 1


@search(max_examples=40)
@given(texts=TEXTS)
def test_matrices_of_pairs_are_symmetric_with_one_on_the_diagonal_and_positive_semidefinite(texts: list[str]) -> None:
    sample = Sample(texts, WORDS, (), np.array([unit_vector(text) for text in texts]).reshape(len(texts), 4))
    for kernel in (sample.cosine_kernel, *(sample.overlap(n).kernel() for n in (2, 3, 4))):
        assert kernel.shape == (len(texts), len(texts))
        np.testing.assert_array_equal(kernel, kernel.T)
        np.testing.assert_array_equal(kernel.diagonal(), 1)
        assert (np.linalg.eigvalsh(kernel) > -1e-9).all()


@search(max_examples=40)
@given(texts=TEXTS)
def test_the_matrix_of_compression_distances_holds_each_ordered_pair(texts: list[str]) -> None:
    matrix = Sample(texts).ncd_matrix
    assert matrix.shape == (len(texts), len(texts))
    for i, j in itertools.permutations(range(len(texts)), 2):
        assert matrix[i, j] == pytest.approx(slow_ncd(raw(texts[i]), raw(texts[j])), abs=1e-12)


@search(max_examples=30)
@given(texts=TEXTS, data=st.data())
def test_a_part_of_a_sample_is_scored_as_a_sample_of_its_own(texts: list[str], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.sampled_from(range(len(texts))), unique=True, max_size=5)) if texts else []
    cut = [first_words(text, WORDS) for text in texts]
    vectors = np.array([unit_vector(text) for text in cut]).reshape(len(cut), 4)
    part = Sample(cut, WORDS, MARKERS, vectors).take(places)
    own = Sample([cut[place] for place in places], WORDS, MARKERS, vectors[places])
    for entry in METRICS.values():
        for definition in entry.definitions.values():
            one, other = definition.compute(part), definition.compute(own)
            assert one == pytest.approx(other, rel=1e-12, abs=1e-12, nan_ok=True), entry.name


def test_stricter_thresholds_never_find_fewer_answers() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        texts = [" ".join(generator.choice(ODD[:6], 4)) for _ in range(12)]
        names = [f"distinct_answers_{kind}" for kind in ("70", "80", "90", "exact")]
        values = [scored(texts, name, "corrected")["value"] for name in names[:3]]
        assert values == sorted(values)


def test_a_chain_of_similar_answers_is_one_cluster() -> None:
    kernel = np.eye(6) + np.diag([0.85] * 5, 1) + np.diag([0.85] * 5, -1)
    assert answer_clusters(kernel, 0.8) == 1
    assert answer_clusters(kernel, 0.9) == 6
    assert math.isnan(answer_clusters(np.full((2, 2), math.nan), 0.8))


# --- standard errors ---


def zipf_sample(generator: np.random.Generator, number: int = 25) -> Sample:
    return Sample([" ".join(f"w{word % 400}" for word in generator.zipf(1.8, 20)) for _ in range(number)], 20)


@pytest.mark.parametrize("name", ["self_bleu", "jaccard_2", "distinct_1", "vendi_jaccard", "ncd"])
def test_the_jackknife_error_agrees_with_the_spread_of_many_samples(name: str) -> None:
    # The root mean square of 150 errors is exact to 3 %, the standard deviation of 150 values to 6 %.
    generator = np.random.default_rng(1)
    samples = [zipf_sample(generator) for _ in range(40 if name == "ncd" else 150)]
    definition = METRICS[name].definitions["corrected"]
    assert definition.error is not None
    spread = np.std([definition.compute(sample) for sample in samples], ddof=1)
    error = math.sqrt(np.mean([definition.error(sample) ** 2 for sample in samples]))
    assert 0.75 < error / spread < 1.35


def test_the_jackknife_error_has_the_value_worked_by_hand() -> None:
    # Texts of 1 … 10 words in groups {1, 6}, {2, 7}, …: without them the mean of the others is (55 − 7, 9, … 15) / 8.
    sample = Sample([" ".join(["w"] * count) for count in range(1, 11)])
    means = [(55 - pair) / 8 for pair in (7, 9, 11, 13, 15)]
    centre = sum(means) / 5
    expected = math.sqrt(4 / 5 * sum((value - centre) ** 2 for value in means))
    compute = METRICS["mean_length"].definitions["corrected"].compute
    assert jackknife_error(compute, sample) == pytest.approx(expected, rel=1e-12)
    with_two_more = Sample([*sample.texts, "left out", "as well"])
    assert jackknife_error(compute, with_two_more) == pytest.approx(expected * math.sqrt(10 / 12), rel=1e-12)
    grown = jackknife_error(compute, sample, grows=True)
    assert grown == pytest.approx(expected * 5.5 / centre, rel=1e-12)


def test_the_error_of_a_mean_is_the_standard_deviation_over_the_root_of_n() -> None:
    texts = [" ".join(["w"] * count) for count in range(1, 13)]
    row = scored(texts, "mean_length", "corrected")
    assert row["se"] == pytest.approx(np.std(range(1, 13), ddof=1) / math.sqrt(12), rel=1e-12)


def test_groups_are_equally_large_and_every_text_in_them_is_left_out_once() -> None:
    sample = Sample([f"t{i}" for i in range(13)])
    assert [len(part.texts) for part in sample.without_groups] == [8] * GROUPS
    left_out = [set(sample.texts[:10]) - set(part.texts) for part in sample.without_groups]
    assert left_out == [{f"t{i}", f"t{i + 5}"} for i in range(GROUPS)]


@pytest.mark.parametrize(("name", "definition"), PAIRS)
def test_only_corrected_values_of_ten_or_more_texts_have_an_error(name: str, definition: str) -> None:
    generator = np.random.default_rng(2)
    texts = [" ".join(generator.choice(ODD[:6], 6)) for _ in range(10)]
    assert math.isnan(scored(texts[:9], name, definition)["se"])
    offered = definition == "corrected" and name != "compression_ratio_full"
    assert math.isnan(scored(texts, name, definition)["se"]) != offered


@pytest.mark.parametrize("name", [name for name in METRICS if name != "compression_ratio_full"])
def test_identical_texts_have_no_error(name: str) -> None:
    assert scored(["a b c d e"] * 15, name, "corrected")["se"] == pytest.approx(0, abs=1e-12)
