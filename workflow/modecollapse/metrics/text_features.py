"""The numbers that TextDescriptives (Hansen et al., 2023, JOSS) computes of a text, and what each of them needs.

They are the library's, under its own names: 69. The TX paper says so too and lists 68; `contains_lorem ipsum` is the
one that its list leaves out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Needs = Literal["syllables", "probabilities", "tagger", "parser", "vectors", "vocabulary"]
"""What of a pipeline a feature needs besides words and sentences: a hyphenation dictionary of the language (Pyphen),
spaCy's table of word probabilities of the language, parts of speech, dependencies, word vectors, or known words."""

CATEGORIES = (
    "descriptive statistics",
    "readability",
    "dependency distance",
    "parts of speech",
    "coherence",
    "information theory",
    "quality",
    "vocabulary",
)
"""In the order of tables and figures."""


@dataclass(frozen=True)
class Feature:
    """One number of a text."""

    name: str
    """TextDescriptives' own."""
    label: str
    category: str
    """One of `CATEGORIES`."""
    needs: Needs | None


_SUMMARIES = {"mean": "mean", "median": "median", "std": "SD"}


def _summaries(stem: str, label: str) -> dict[str, str]:
    return {f"{stem}_{summary}": f"{label}, {said}" for summary, said in _SUMMARIES.items()}


_STATISTICS = {
    **_summaries("token_length", "letters of a word"),
    **_summaries("sentence_length", "words of a sentence"),
}
_SYLLABLES = _summaries("syllables_per_token", "syllables of a word")
_COUNTS = {
    "n_tokens": "words",
    "n_unique_tokens": "distinct words",
    "proportion_unique_tokens": "share of distinct words",
    "n_characters": "characters",
    "n_sentences": "sentences",
}
_SYLLABIC = {
    "flesch_reading_ease": "Flesch reading ease",
    "flesch_kincaid_grade": "Flesch–Kincaid grade",
    "smog": "SMOG",
    "gunning_fog": "Gunning fog",
}
_LETTERED = {
    "automated_readability_index": "automated readability index",
    "coleman_liau_index": "Coleman–Liau index",
    "lix": "LIX",
    "rix": "RIX",
}
_DEPENDENCIES = {
    "dependency_distance_mean": "dependency distance, mean",
    "dependency_distance_std": "dependency distance, SD",
    "prop_adjacent_dependency_relation_mean": "share of adjacent heads, mean",
    "prop_adjacent_dependency_relation_std": "share of adjacent heads, SD",
}
_TAGS = {
    "ADJ": "adjectives",
    "ADP": "adpositions",
    "ADV": "adverbs",
    "AUX": "auxiliaries",
    "CCONJ": "coordinating conjunctions",
    "DET": "determiners",
    "INTJ": "interjections",
    "NOUN": "nouns",
    "NUM": "numerals",
    "PART": "particles",
    "PRON": "pronouns",
    "PROPN": "proper nouns",
    "PUNCT": "punctuation",
    "SCONJ": "subordinating conjunctions",
    "SYM": "symbols",
    "VERB": "verbs",
    "X": "other words",
}
_COHERENCE = {
    "first_order_coherence": "likeness of neighbouring sentences",
    "second_order_coherence": "likeness of sentences two apart",
}
_INFORMATION = {
    "entropy": "entropy (nats)",
    "perplexity": "perplexity",
    "per_word_perplexity": "perplexity per word",
}
_QUALITY = {
    "passed_quality_check": "passes the quality check",
    "n_stop_words": "stop words",
    "alpha_ratio": "share of tokens with a letter",
    "mean_word_length": "characters of a token, mean",
    "doc_length": "tokens",
    "symbol_to_word_ratio_#": "# per word",
    "proportion_ellipsis": "share of lines that end in an ellipsis",
    "proportion_bullet_points": "share of lines that begin with a bullet",
    "contains_lorem ipsum": "contains “lorem ipsum”",
    "duplicate_line_chr_fraction": "repeated lines (share of characters)",
    "duplicate_paragraph_chr_fraction": "repeated paragraphs (share of characters)",
    **{f"duplicate_ngram_chr_fraction_{n}": f"repeated {n}-grams (share of characters)" for n in range(5, 11)},
    **{f"top_ngram_chr_fraction_{n}": f"most frequent {n}-gram (share of characters)" for n in range(2, 5)},
}


def _features() -> Iterable[Feature]:
    groups: list[tuple[str, Needs | None, Mapping[str, str]]] = [
        ("descriptive statistics", None, _STATISTICS),
        ("descriptive statistics", "syllables", _SYLLABLES),
        ("descriptive statistics", None, _COUNTS),
        ("readability", "syllables", _SYLLABIC),
        ("readability", None, _LETTERED),
        ("dependency distance", "parser", _DEPENDENCIES),
        ("parts of speech", "tagger", {f"pos_prop_{tag}": f"share of {label}" for tag, label in _TAGS.items()}),
        ("coherence", "vectors", _COHERENCE),
        ("information theory", "probabilities", _INFORMATION),
        ("quality", None, _QUALITY),
        ("vocabulary", "vocabulary", {"oov_ratio": "share of unknown words"}),
    ]
    for category, needs, labels in groups:
        for name, label in labels.items():
            yield Feature(name, label, category, needs)


FEATURES: Mapping[str, Feature] = {feature.name: feature for feature in _features()}
"""Name → feature, in the order of `CATEGORIES` and then the library's."""
