"""spaCy pipelines: one trained on a handful of sentences, and TextDescriptives used as its manual says."""

import random
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import textdescriptives
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vectors import Vectors

from modecollapse.metrics.text_features import FEATURES

_SENTENCES = (
    "The/DT/DET/1/det cat/NN/NOUN/2/nsubj sat/VBD/VERB/2/ROOT on/IN/ADP/2/prep the/DT/DET/5/det mat/NN/NOUN/3/pobj "
    "././PUNCT/2/punct",
    "She/PRP/PRON/1/nsubj reads/VBZ/VERB/1/ROOT long/JJ/ADJ/3/amod books/NNS/NOUN/1/dobj ././PUNCT/1/punct",
    "Old/JJ/ADJ/1/amod dogs/NNS/NOUN/2/nsubj bark/VBP/VERB/2/ROOT loudly/RB/ADV/2/advmod !/./PUNCT/2/punct",
    "Anna/NNP/PROPN/2/nsubj quietly/RB/ADV/2/advmod closed/VBD/VERB/2/ROOT the/DT/DET/4/det door/NN/NOUN/2/dobj "
    "././PUNCT/2/punct",
)
"""Word, tag, part of speech, head and relation of each token."""
_WIDTH = 16

_PREFIX = "textdescriptives/"
COMPONENTS = (
    "descriptive_stats",
    "readability",
    "dependency_distance",
    "pos_proportions",
    "coherence",
    "information_theory",
    "quality",
)
"""All of TextDescriptives'."""


def write_trained_pipeline(directory: Path, updates: int = 30) -> None:
    """A tagger, a morphologizer and a parser on one tok2vec, with random word vectors; the same each time."""
    spacy.util.fix_random_seed(0)
    nlp = spacy.blank("en")
    tok2vec = {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "pretrained_vectors": None,
        "width": _WIDTH,
        "depth": 1,
        "embed_size": 200,
        "window_size": 1,
        "maxout_pieces": 2,
        "subword_features": True,
    }
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": _WIDTH, "upstream": "*"}
    tags = {"@architectures": "spacy.Tagger.v2", "tok2vec": listener, "nO": None, "normalize": False}
    parser = {
        "@architectures": "spacy.TransitionBasedParser.v2",
        "tok2vec": listener,
        "state_type": "parser",
        "extra_state_tokens": False,
        "hidden_width": _WIDTH,
        "maxout_pieces": 2,
        "use_upper": True,
        "nO": None,
    }
    nlp.add_pipe("tok2vec", config={"model": tok2vec})
    for name, model in (("tagger", tags), ("morphologizer", tags), ("parser", parser)):
        nlp.add_pipe(name, config={"model": model})
    sentences = [_annotated(sentence) for sentence in _SENTENCES]
    examples = [_example(nlp, [one, other]) for one in sentences for other in sentences if one is not other]
    optimizer = nlp.initialize(lambda: examples)
    order = random.Random(0)
    for _ in range(updates):
        order.shuffle(examples)
        nlp.update(examples, sgd=optimizer)
    words = sorted({word for sentence in sentences for word, *_ in sentence})
    data = np.random.default_rng(0).normal(size=(len(words), 8)).astype("float32")
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=data, keys=words)
    nlp.to_disk(directory)


def _annotated(sentence: str) -> list[list[str]]:
    return [token.rsplit("/", 4) for token in sentence.split()]


def _example(nlp: Language, sentences: Sequence[list[list[str]]]) -> Example:
    words, tags, pos, heads, deps, starts = [], [], [], [], [], []
    for sentence in sentences:
        begin = len(words)
        for place, (word, tag, part, head, dep) in enumerate(sentence):
            words.append(word)
            tags.append(tag)
            pos.append(part)
            heads.append(begin + int(head))
            deps.append(dep)
            starts.append(place == 0)
    annotation = {"words": words, "tags": tags, "pos": pos, "heads": heads, "deps": deps, "sent_starts": starts}
    return Example.from_dict(Doc(nlp.vocab, words=words), annotation)


def library_pipeline(nlp: Language, components: Iterable[str]) -> Language:
    """`nlp` with these components of TextDescriptives.

    Its defaults for `quality` are lists, which the registry of functions that spaCy has now refuses: they are stated as
    the pairs that they mean.
    """
    for component in components:
        ranges = {"top_ngram_range": (2, 4), "duplicate_n_gram_fraction_range": (5, 10)}
        nlp.add_pipe(_PREFIX + component, config=ranges if component == "quality" else {})
    return nlp


def blank_library_pipeline() -> Language:
    """What the library computes without a trained pipeline."""
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    return library_pipeline(nlp, ("descriptive_stats", "readability", "information_theory", "quality"))


def library_values(nlp: Language, texts: Iterable[str]) -> list[dict[str, Any]]:
    """The library's features, one text at a time.

    Asked for by name: otherwise it gives those, too, of components that any other pipeline of the process has.
    """
    metrics = [name.removeprefix(_PREFIX) for name in nlp.pipe_names if name.startswith(_PREFIX)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [textdescriptives.extract_dict(nlp(text), metrics, include_text=False)[0] for text in texts]


def as_rows(values: Iterable[dict[str, Any]]) -> np.ndarray:
    """The library's features (texts, 69), NaN where it has none or an infinite one."""
    rows = [[np.nan if found.get(name) is None else float(found[name]) for name in FEATURES] for found in values]
    array = np.array(rows)
    return np.where(np.isinf(array), np.nan, array)
