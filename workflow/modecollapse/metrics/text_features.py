"""The numbers that TextDescriptives (Hansen et al., 2023, JOSS) computes of a text, and what each of them needs.

They are the library's, under its own names: 69. The TX paper says so too and lists 68; `contains_lorem ipsum` is the
one that its list leaves out.
"""

from collections.abc import Mapping, Sequence
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
    category: str
    """One of `CATEGORIES`."""
    needs: Needs | None


def _summaries(stem: str) -> list[str]:
    return [f"{stem}_{summary}" for summary in ("mean", "median", "std")]


_COUNTS = ("n_tokens", "n_unique_tokens", "proportion_unique_tokens", "n_characters", "n_sentences")
_SYLLABIC = ("flesch_reading_ease", "flesch_kincaid_grade", "smog", "gunning_fog")
_LETTERED = ("automated_readability_index", "coleman_liau_index", "lix", "rix")
_DEPENDENCIES = ("dependency_distance", "prop_adjacent_dependency_relation")
_TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
    *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
_COHERENCE = ("first_order_coherence", "second_order_coherence")
_INFORMATION = ("entropy", "perplexity", "per_word_perplexity")
_QUALITY = (
    *("passed_quality_check", "n_stop_words", "alpha_ratio", "mean_word_length", "doc_length"),
    *("symbol_to_word_ratio_#", "proportion_ellipsis", "proportion_bullet_points", "contains_lorem ipsum"),
    *("duplicate_line_chr_fraction", "duplicate_paragraph_chr_fraction"),
    *(f"duplicate_ngram_chr_fraction_{n}" for n in range(5, 11)),
    *(f"top_ngram_chr_fraction_{n}" for n in range(2, 5)),
)

_GROUPS: tuple[tuple[str, Needs | None, Sequence[str]], ...] = (
    ("descriptive statistics", None, [*_summaries("token_length"), *_summaries("sentence_length")]),
    ("descriptive statistics", "syllables", _summaries("syllables_per_token")),
    ("descriptive statistics", None, _COUNTS),
    ("readability", "syllables", _SYLLABIC),
    ("readability", None, _LETTERED),
    ("dependency distance", "parser", [f"{stem}_{end}" for stem in _DEPENDENCIES for end in ("mean", "std")]),
    ("parts of speech", "tagger", [f"pos_prop_{tag}" for tag in _TAGS]),
    ("coherence", "vectors", _COHERENCE),
    ("information theory", "probabilities", _INFORMATION),
    ("quality", None, _QUALITY),
    ("vocabulary", "vocabulary", ("oov_ratio",)),
)

FEATURES: Mapping[str, Feature] = {
    name: Feature(name, category, needs) for category, needs, names in _GROUPS for name in names
}
"""Name → feature, in the order of `CATEGORIES` and then the library's."""
