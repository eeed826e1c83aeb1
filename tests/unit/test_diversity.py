"""Scores of a cell."""

import math

import numpy as np
import pyarrow as pa
import pytest

from modecollapse.errors import StudyError
from modecollapse.measures.diversity import SCHEMA, score_cell
from modecollapse.measures.vectors import Embeddings
from modecollapse.metrics.lexical import first_words, jaccard, self_bleu
from modecollapse.metrics.registry import METRICS

TEXTS = {
    "sea": ["The sea is  wide and blue today", "The sea is deep and cold today", "Human: what is the sea like today"],
    "sky": ["Clouds", "", "Clouds"],
}


def vectors_of(texts: dict[str, list[str]], *counts: int) -> Embeddings:
    cut = sorted({first_words(text, count) for each in texts.values() for text in each for count in counts})
    return Embeddings.of(cut, np.random.default_rng(0).normal(size=(len(cut), 5)).astype(np.float32))


def values(table: pa.Table) -> dict[tuple[str, int, str, str], tuple[float, int]]:
    return {(r["prompt"], r["words"], r["metric"], r["definition"]): (r["value"], r["n"]) for r in table.to_pylist()}


def test_every_metric_is_scored_on_the_cuts_or_the_whole_text_that_it_is_meant_for() -> None:
    table = score_cell(TEXTS, words=(5, 2), vectors=vectors_of(TEXTS, 5, 2), controlled=2)
    assert table.schema == SCHEMA
    scored = {(words, name, definition) for _, words, name, definition in values(table)}
    expected = {
        (words, name, definition)
        for name, entry in METRICS.items()
        for definition in entry.definitions
        for words in (5, 2, 0)
        if entry.scope == "both" or (words == 0) == (entry.scope == "whole")
    }
    assert scored == expected
    assert table.num_rows == 2 * len(expected)


def test_scores_are_those_of_the_texts_cut_to_their_first_words() -> None:
    scores = values(score_cell(TEXTS, words=(4,), vectors=vectors_of(TEXTS, 4)))
    cut = ["The sea is wide", "The sea is deep", "Human: what is the"]
    assert scores["sea", 4, "self_bleu", "corrected"] == (self_bleu(cut), 3)
    assert scores["sea", 4, "jaccard_2", "corrected"] == (jaccard(cut, 2), 3)
    assert scores["sea", 4, "short_rate", "corrected"] == (0, 3)
    assert scores["sky", 4, "short_rate", "corrected"] == (1, 3)
    assert scores["sea", 0, "mean_length", "corrected"] == (7, 3)


def test_undefined_metrics_are_nan_and_excluded_texts_are_not_counted() -> None:
    scores = values(score_cell({**TEXTS, "none": []}, words=(5,), vectors=vectors_of(TEXTS, 5)))
    value, n = scores["sky", 5, "compression_ratio_target", "replica"]
    assert math.isnan(value)
    assert n == 3
    value, n = scores["sky", 5, "compression_ratio_target", "corrected"]
    assert not math.isnan(value)
    assert n == 2
    for (prompt, _, _, _), (value, n) in scores.items():
        if prompt == "none":
            assert math.isnan(value)
            assert n == 0


def test_controlled_scores_are_those_of_the_first_completions_that_are_long_enough() -> None:
    texts = {"p": ["too short", "a b c d", "a b x y z", "  a\nb c e ", "a b c d"], "q": ["a b c d", "a b c", "b c d e"]}
    scores = values(score_cell(texts, words=(4,), metrics=("jaccard_2", "short_rate"), controlled=3))
    assert scores["p", 4, "jaccard_2", "controlled"] == (jaccard(["a b c d", "a b x y", "a b c e"], 2), 3)
    value, n = scores["q", 4, "jaccard_2", "controlled"]
    assert math.isnan(value)
    assert n == 2, "how many are long enough"
    assert scores["q", 4, "short_rate", "corrected"] == (1 / 3, 3)


@pytest.mark.parametrize("controlled", [0, None])
def test_controlled_scores_can_be_left_out(controlled: int | None) -> None:
    table = score_cell(TEXTS, words=(4,), metrics=("jaccard_2",), controlled=controlled)
    assert set(table.column("definition").to_pylist()) == {"corrected", "replica"}


def test_a_turn_marker_counts_as_a_leak_only_within_the_cut() -> None:
    texts = {"p": ["one two three Human: four", "Assistant: one", "one"]}
    scores = values(score_cell(texts, words=(2,), metrics=("leak_rate",)))
    assert scores["p", 2, "leak_rate", "corrected"] == (1 / 3, 3)
    assert scores["p", 0, "leak_rate", "corrected"] == (2 / 3, 3)


def test_quality_is_the_mean_of_the_completions_that_have_one() -> None:
    known = {"a": 1.0, "b": None, "c": math.nan, "d": 0.0}
    quality = {"correct": lambda prompt, text: known[text], "none": lambda prompt, text: None}
    scores = values(score_cell({"p": list(known)}, metrics=("empty_rate",), quality=quality))
    assert scores["p", 0, "correct", "corrected"] == (0.5, 2)
    value, n = scores["p", 0, "none", "corrected"]
    assert math.isnan(value)
    assert n == 0


def test_a_cell_without_prompts_has_no_rows() -> None:
    assert score_cell({}).num_rows == 0


def test_a_text_without_a_vector_is_an_error_that_names_it() -> None:
    with pytest.raises(StudyError, match="no sentence vector for the text 'The sea is wide and blue'"):
        score_cell(TEXTS, words=(6,), metrics=("cosine",), vectors=vectors_of(TEXTS, 5))


def test_a_metric_that_needs_vectors_is_refused_without_them() -> None:
    with pytest.raises(ValueError, match="needs sentence vectors"):
        score_cell(TEXTS, metrics=("cosine",))
