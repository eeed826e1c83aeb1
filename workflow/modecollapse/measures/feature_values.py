"""The features of one text that a spaCy pipeline has read, computed by TextDescriptives' own functions, once each.

The library's components compute words, sentences and syllables anew for every number that needs them. Here its
functions are given a `_Text` instead of a `Doc`: its words are read once and known words remembered, and what formulas
ask for again is kept. Only n-grams are counted by code of ours. Values are those of `textdescriptives.extract_dict` to
the bit.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from spacy.attrs import IDX, LENGTH, ORTH, POS, SPACY
from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_language_data, registry
from textdescriptives.components import coherence, dependency_distance, descriptive_stats, pos_proportions, readability
from textdescriptives.components import information_theory as information
from textdescriptives.components import quality as library
from textdescriptives.components.quality_data_classes import QualityOutput, QualityThresholds, ThresholdsOutput
from textdescriptives.components.utils import n_sentences, n_syllables, n_tokens

from modecollapse.metrics.text_features import FEATURES, Needs

_TOP, _TOP_LEAST, _DUPLICATE = range(2, 5), 3, range(5, 11)
"""Sizes of n-grams of which the most frequent is looked at, how often that occurs at least, and sizes of those that are
repeated: the library's defaults."""

_SINGLE: Mapping[str, Callable[[Any], float]] = {
    "n_stop_words": library.n_stop_words,
    "alpha_ratio": library.alpha_ratio,
    "mean_word_length": library.mean_word_length,
    "doc_length": len,
    "proportion_ellipsis": library.proportion_ellipsis,
    "proportion_bullet_points": library.proportion_bullet_points,
    "duplicate_line_chr_fraction": library.duplicate_line_chr_fraction,
    "duplicate_paragraph_chr_fraction": library.duplicate_paragraph_chr_fraction,
}


class _Word:
    """What the library reads of a token; all of it is the same for every token of this spelling."""

    __slots__ = ("is_punct", "is_space", "is_stop", "known", "lower_", "prob", "size", "text")

    def __init__(self, lexeme: Any, prob: float, known: bool) -> None:
        self.text: str = lexeme.orth_
        self.lower_: str = lexeme.lower_
        self.is_punct, self.is_space, self.is_stop = lexeme.is_punct, lexeme.is_space, lexeme.is_stop
        self.size = len(self.text)
        self.prob, self.known = prob, known

    def __len__(self) -> int:
        return self.size


class _Text:
    """What the library reads of a `Doc`."""

    def __init__(self, doc: Doc, words: Sequence[_Word], tokens: np.ndarray) -> None:
        spaces = tokens[:, 1].tolist()
        self.text = "".join(word.text + " " if space else word.text for word, space in zip(words, spaces, strict=True))
        self.lang_: str = doc.lang_
        self.words, self.tokens = words, tokens
        self.sents = [words[sent.start : sent.end] for sent in doc.sents]
        self._ = SimpleNamespace()
        """What the library keeps there: numbers that others are computed from."""

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[_Word]:
        return iter(self.words)


class _Statistics(descriptive_stats.DescriptiveStatistics):
    """The library's, which would register itself for all texts of this process, those of other languages included."""

    def __init__(self, nlp: Language) -> None:
        self.can_calculate_syllables = descriptive_stats.language_exists_in_pyphen(nlp.lang)


class _Readability(readability.Readability):
    """As `_Statistics`."""

    def __init__(self, nlp: Language) -> None:
        self.can_calculate_syllables = descriptive_stats.language_exists_in_pyphen(nlp.lang)


class FeatureValues:
    """Features of the texts that one pipeline has read.

    Args:
        nlp: the pipeline; it marks the beginnings of sentences.
        lexemes: whether a word is known if spaCy's table of word probabilities has it, not if it has a vector.
    """

    def __init__(self, nlp: Language, lexemes: bool) -> None:
        self._nlp = nlp
        self._statistics, self._readability = _Statistics(nlp), _Readability(nlp)
        self._thresholds = QualityThresholds()
        self._words: dict[int, _Word] = {}
        self._probabilities = _word_probabilities(nlp)
        settings = nlp.vocab.lookups.get_table("lexeme_settings", {})
        self._unknown_prob: float = settings.get("oov_prob", -20.0)  # spaCy's default
        self._lexemes = lexemes
        lacks = self._lacks()
        self.missing: Mapping[str, str] = {
            feature.name: lacks[feature.needs] for feature in FEATURES.values() if feature.needs in lacks
        }
        """Feature → why this pipeline does not give it."""
        self._has_oov = "vocabulary" not in lacks
        self._readers: list[Callable[[Doc], Mapping[str, float]]] = []
        if "parser" not in lacks:
            self._readers.append(dependency_distance.DependencyDistance(nlp).doc_dependency)
        if "tagger" not in lacks:
            self._readers.append(pos_proportions.POSProportions(nlp, use_pos=True, add_all_tags=True).pos_proportions)
        if "vectors" not in lacks:
            self._coherence = coherence.Coherence(nlp)
            self._readers.append(self._coherence_of)

    def of(self, doc: Doc) -> tuple[np.ndarray, str | None]:
        """Values (69,) in the order of `FEATURES`, NaN where one is undefined; and why one of those is that this
        pipeline gives, or None if all are numbers."""
        tokens = doc.to_array([ORTH, SPACY, IDX, LENGTH])
        text = _Text(doc, self._known_words(doc, tokens), tokens)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            values = self._described(text) | self._information(text) | self._quality(text)
            for reader in self._readers:
                values.update(reader(doc))
        row = np.array([values[name] if name not in self.missing else np.nan for name in FEATURES], dtype=np.float64)
        infinite = np.isinf(row)
        row[infinite] = np.nan
        return row, self._reason(text, row, infinite)

    def _reason(self, text: _Text, row: np.ndarray, infinite: np.ndarray) -> str | None:
        undefined = {name for name, value in zip(FEATURES, row, strict=True) if np.isnan(value)} - self.missing.keys()
        if not undefined:
            return None
        if not len(text):
            return "empty"
        reasons = [] if text._._n_tokens else ["no words"]
        sentences = text._._n_sentences
        if sentences < 3 and undefined & {"smog", "second_order_coherence"}:
            reasons.append("one sentence" if sentences == 1 else "two sentences")
        if infinite.any():
            reasons.append("infinite perplexity")
        return "; ".join(reasons)

    def _lacks(self) -> dict[Needs | None, str]:
        """What features need and this pipeline has not → why."""
        nlp = self._nlp
        factories = {nlp.get_pipe_meta(name).factory for name in nlp.pipe_names}
        assigned = {what for name in nlp.pipe_names for what in nlp.get_pipe_meta(name).assigns}
        language = f"the language {nlp.lang!r}"
        lacks: dict[Needs | None, str] = {}
        if not descriptive_stats.language_exists_in_pyphen(nlp.lang):
            lacks["syllables"] = f"Pyphen has no hyphenation of {language}"
        if self._probabilities is None:
            lacks["probabilities"] = f"spaCy has no table of word probabilities of {language}"
        if "token.pos" not in assigned and not ("tagger" in factories and _rules_give_parts_of_speech(nlp)):
            lacks["tagger"] = "the pipeline gives no parts of speech"
        if "token.dep" not in assigned:
            lacks["parser"] = "the pipeline has no dependency parser"
        vectors = nlp.vocab.vectors
        if vectors.size == 0:
            # With a tok2vec, spaCy would silently take its outputs, which are no vectors of words.
            lacks["vectors"] = "the pipeline has no word vectors"
        if self._lexemes and self._probabilities is None:
            lacks["vocabulary"] = lacks["probabilities"]
        elif not self._lexemes and vectors.size == 0:
            lacks["vocabulary"] = "the pipeline has no word vectors, and the vocabulary is that of vectors"
        elif not self._lexemes and vectors.mode == "floret":
            lacks["vocabulary"] = "every word has a vector in this pipeline"
        return lacks

    def _known_words(self, doc: Doc, tokens: np.ndarray) -> list[_Word]:
        known = self._words
        ids = tokens[:, 0].tolist()
        for orth in ids:
            if orth not in known:
                known[orth] = self._word(doc.vocab[orth])
        return [known[orth] for orth in ids]

    def _word(self, lexeme: Any) -> _Word:
        probabilities = self._probabilities or {}
        prob = probabilities.get(lexeme.orth_, self._unknown_prob)
        return _Word(lexeme, prob, lexeme.orth_ in probabilities if self._lexemes else not lexeme.is_oov)

    def _described(self, text: _Text) -> dict[str, float]:
        kept, statistics = text._, self._statistics
        kept._n_tokens, kept._n_sentences = n_tokens(text), n_sentences(text)
        kept._n_syllables = n_syllables(text) if statistics.can_calculate_syllables else []
        kept.token_length = statistics.token_length(text)
        kept.sentence_length = statistics.sentence_length(text)
        kept.syllables = statistics.syllables(text)
        counts = statistics.counts(text) | {"n_sentences": kept._n_sentences}
        readable = self._readability.readability(text)
        return kept.token_length | kept.sentence_length | kept.syllables | counts | readable

    def _information(self, text: _Text) -> dict[str, float]:
        entropy = information.entropy(np.array([word.prob for word in text]))
        perplexity = information.perplexity(entropy)
        return {"entropy": entropy, "perplexity": perplexity, "per_word_perplexity": perplexity / np.float64(len(text))}

    def _quality(self, text: _Text) -> dict[str, float]:
        """As the library's `Quality.quality_setter`, with its thresholds."""
        limits = self._thresholds
        top, duplicate = ngram_fractions(text.text, text.tokens[:, 2:])
        found: dict[str, dict[str, float]] = {
            "contains": {string: library.contains_string(text, string) for string in limits.contains},
            "symbol_to_word_ratio": {
                symbol: library.symbol_to_word_ratio(text, symbol) for symbol in limits.symbol_to_word_ratio
            },
            "top_ngram_chr_fraction": top,
            "duplicate_ngram_chr_fraction": duplicate,
        }
        single = {name: value(text) for name, value in _SINGLE.items()}
        if self._has_oov:
            single["oov_ratio"] = sum(not word.known for word in text) / len(text) if len(text) else 0.0
        outputs: dict[str, Any] = {
            name: ThresholdsOutput(value=value, threshold=getattr(limits, name)) for name, value in single.items()
        }
        outputs.setdefault("oov_ratio", ThresholdsOutput(value=None, threshold=(None, None)))
        for name, group in found.items():
            of_each = getattr(limits, name)
            outputs[name] = {key: ThresholdsOutput(value=value, threshold=of_each[key]) for key, value in group.items()}
        values: dict[str, float] = QualityOutput(**outputs).to_flat_value_dict()
        return values

    def _coherence_of(self, doc: Doc) -> dict[str, float]:
        self._coherence(doc)
        values: dict[str, float] = doc._.coherence
        return values


def ngram_fractions(text: str, tokens: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """The shares of a text's characters in its most frequent n-gram and in n-grams that come twice, by n.

    As `top_ngram_chr_fraction` (2 to 4, at least 3 times) and `duplicate_ngram_fraction` (5 to 10) of TextDescriptives:
    n-grams are alike if their characters are, spaces included; a token counts once, in however many n-grams it is.

    Args:
        text: the text.
        tokens: (n, 2), where each token begins in it, and how many characters it has.
    """
    starts = tokens[:, 0].tolist()
    ends = (tokens[:, 0] + tokens[:, 1]).tolist()
    top, duplicate = {}, {}
    for n in (*_TOP, *_DUPLICATE):
        ngrams = [text[start:end] for start, end in zip(starts, ends[n - 1 :], strict=False)]
        counts = Counter(ngrams)
        if n in _TOP:
            ngram, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
            top[str(n)] = len(ngram) * count / len(text) if count >= _TOP_LEAST else 0.0
            continue
        characters, first, end = 0, 0, 0
        for place in (place for place, ngram in enumerate(ngrams) if counts[ngram] > 1):
            if place > end:
                characters += ends[end - 1] - starts[first] if end else 0
                first = place
            end = place + n
        characters += ends[end - 1] - starts[first] if end else 0
        duplicate[str(n)] = characters / len(text) if text else 0.0
    return top, duplicate


def _word_probabilities(nlp: Language) -> Mapping[str, float] | None:
    """Word → its log-probability (nats); None if the language has no table of them.

    The library puts the table into the vocabulary of the pipeline, which copies a million words twice, for seconds.
    """
    name = "lexeme_prob"
    if nlp.vocab.lookups.has_table(name):
        own: Mapping[str, float] = nlp.vocab.lookups.get_table(name)
        return own
    tables = registry.lookups.get(nlp.lang) if nlp.lang in registry.lookups else {}
    return load_language_data(tables[name]) if name in tables else None


def _rules_give_parts_of_speech(nlp: Language) -> bool:
    """Whether an attribute ruler turns a tagger's tags into parts of speech."""
    return any(
        not {"POS", POS}.isdisjoint(rule["attrs"])
        for name in nlp.pipe_names
        if nlp.get_pipe_meta(name).factory == "attribute_ruler"
        for rule in nlp.get_pipe(name).patterns
    )
