"""Text features: TextDescriptives' to the bit, whatever the text, the order of texts and the number of processes."""

import json
import math
import multiprocessing
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.vectors import Vectors

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.measures.feature_extractor import Extracted, extract
from modecollapse.measures.feature_pipeline import PipelineSettings, check_pipeline, pipeline_identity
from modecollapse.measures.feature_values import FeatureValues, ngram_fractions
from modecollapse.metrics.text_features import CATEGORIES, FEATURES
from tests.projects import ROOT
from tests.text_pipelines import COMPONENTS, as_rows, blank_library_pipeline, library_pipeline, library_values

BLANK = PipelineSettings()
NAMES = list(FEATURES)
_WORDS = "The cat sat on the mat . She reads long books ! Anna's dog isn't happy , 3.5 kg - yes ... # well-known"


def story(words: int, seed: int = 0) -> str:
    """Words with repetitions, in lines and paragraphs."""
    source = random.Random(seed)
    return "".join(
        source.choice(_WORDS.split()) + source.choice([" ", " ", " ", " ", "\n", "\n\n"]) for _ in range(words)
    )


TEXTS = [
    "",
    " ",
    "\n \n\t",
    "word",
    "...",
    "'s",
    "?! ,",
    "One sentence with seven words in it.",
    "Two sentences. They are short.",
    "A first. A second. A third one, longer than the others!",
    "def f(x):\n    return [y ** 2 for y in x if y != '#']  # squares\n\n\nprint(f({1: 2}))\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 2 |\n\n- one\n* two\n- and more...\n- the end…\n",
    "😀😀👩‍👩‍👧 ✨ so happy!!! 😀",
    "zero\u200bwidth \ufeff\u200d\u2060 joiners\u00ad and\x00nul \x1c\u2028 separators",
    "lorem ipsum dolor sit amet, " * 12,
    "the same line\n" * 9 + "\nanother paragraph\n\nanother paragraph\n\n",
    "x y z. " * 50,
    "a" * 110,
    "שלום עולם \u202eabc İstanbul ß ẞ 漢字かな交じり文",
    *(story(words, words) for words in (5, 20, 60, 200, 400)),
]


def value(extracted: Extracted, name: str, row: int = 0) -> float:
    return float(extracted.values[row, NAMES.index(name)])


def columns(names: set[str]) -> list[int]:
    return [place for place, name in enumerate(NAMES) if name in names]


def same(one: np.ndarray, two: np.ndarray) -> bool:
    return np.array_equal(one, two, equal_nan=True)


def test_the_features_are_the_librarys_69_grouped_by_category(trained_pipeline: Path) -> None:
    nlp = library_pipeline(spacy.load(trained_pipeline), COMPONENTS)
    (found,) = library_values(nlp, ["Some text."])
    assert set(found) == set(FEATURES)
    assert len(FEATURES) == 69
    assert tuple(dict.fromkeys(feature.category for feature in FEATURES.values())) == CATEGORIES
    assert len({feature.name for feature in FEATURES.values()}) == 69


def test_features_of_the_blank_pipeline_are_the_librarys_to_the_bit() -> None:
    found = extract(TEXTS, BLANK)
    assert same(found.values, as_rows(library_values(blank_library_pipeline(), TEXTS)))
    assert {feature.needs for feature in FEATURES.values() if feature.name in found.missing} == {
        *("tagger", "parser", "vectors", "vocabulary")
    }
    assert "no dependency parser" in found.missing["dependency_distance_mean"]


def test_features_of_a_trained_pipeline_are_the_librarys_to_the_bit(trained_pipeline: Path) -> None:
    nlp = library_pipeline(spacy.load(trained_pipeline), COMPONENTS)
    found = extract(TEXTS, PipelineSettings(pipeline=str(trained_pipeline)))
    assert found.missing == {}
    assert same(found.values, as_rows(library_values(nlp, TEXTS)))
    assert value(found, "pos_prop_NOUN", TEXTS.index("One sentence with seven words in it.")) > 0


def test_a_word_is_known_that_the_table_of_word_probabilities_has() -> None:
    found = extract(["the zqxvw house zqxvw", ""], PipelineSettings(vocabulary="lexemes"))
    assert [value(found, "oov_ratio", row) for row in (0, 1)] == [0.5, 0.0]
    assert "oov_ratio" not in found.missing


def test_values_of_a_short_text_are_those_worked_by_hand() -> None:
    """Ten words in two sentences; a stop is no word, and a space no character."""
    found = extract(["The cat sat on the mat. It was very happy."], BLANK)
    assert value(found, "n_tokens") == 10
    assert value(found, "n_unique_tokens") == 9
    assert value(found, "n_characters") == 33
    assert value(found, "n_sentences") == 2
    assert value(found, "sentence_length_mean") == 5
    assert value(found, "lix") == 5  # no word is longer than six letters
    assert value(found, "doc_length") == 12
    assert found.reasons == ["two sentences"]
    assert math.isnan(value(found, "smog"))


def test_fractions_of_ngrams_count_a_token_once_in_however_many_ngrams_it_is() -> None:
    """Six times "a b": the bigram "a b" six times with three characters each, of 23; all are in repeated 5-grams."""
    text = "a b a b a b a b a b a b"
    tokens = np.array([[place, 1] for place in range(0, 23, 2)])
    top, duplicate = ngram_fractions(text, tokens)
    assert top["2"] == 6 * 3 / 23
    assert duplicate["5"] == 1
    assert duplicate["10"] == 1
    assert ngram_fractions("", np.zeros((0, 2), dtype=int)) == (
        {"2": 0, "3": 0, "4": 0},
        dict.fromkeys("56789", 0) | {"10": 0},
    )


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("aB .,'\n!#-3é😀\u200b"), max_size=120))
def test_a_reason_is_given_exactly_where_a_feature_that_the_pipeline_gives_is_undefined(text: str) -> None:
    found = extract([text], BLANK)
    given_ones = columns(set(NAMES) - found.missing.keys())
    assert np.isnan(found.values[0, given_ones]).any() == (found.reasons[0] is not None)
    assert found.reasons[0] != ""
    assert np.isnan(found.values[0, columns(set(found.missing))]).all()


def test_texts_of_which_something_is_undefined_say_why() -> None:
    texts = ["", "...", "One.", "One. Two.", "One. Two. Three.", "x " * 500_001, "half \ud83d a pair", "😀" * 100_000]
    found = extract(texts, BLANK)
    assert found.reasons == [
        "empty",
        "no words; one sentence",
        "one sentence",
        "two sentences",
        None,
        "longer than 1,000,000 characters",
        "no valid Unicode",
        "more than 5,000 characters without a space",
    ]
    assert np.isnan(found.values[5:]).all()
    assert value(found, "n_tokens", 0) == 0


def test_a_text_of_100_000_characters_has_no_finite_perplexity_and_everything_else() -> None:
    text = ("The cat sat on the mat and reads a long book in the old house. " * 1_600)[:100_000]
    found = extract([text], BLANK)
    assert found.reasons == ["infinite perplexity"]
    undefined = {name for name in NAMES if math.isnan(value(found, name))} - found.missing.keys()
    assert undefined == {"perplexity", "per_word_perplexity"}


def test_nothing_that_the_library_warns_of_is_shown(trained_pipeline: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        extract([*TEXTS, "Unknownword. Otherword. Thirdword."], PipelineSettings(pipeline=str(trained_pipeline)))


@pytest.mark.parametrize("trained", [False, True])
def test_neither_the_order_of_texts_nor_the_number_of_processes_changes_a_bit(
    trained: bool, trained_pipeline: Path
) -> None:
    settings = PipelineSettings(pipeline=str(trained_pipeline)) if trained else BLANK
    texts = [*TEXTS, *(story(30, seed) for seed in range(150)), TEXTS[-1], ""]
    counts: list[tuple[int, int]] = []
    alone = extract(texts, settings, report=lambda done, total: counts.append((done, total)))
    assert counts[-1] == (len(set(texts)), len(set(texts)))
    order = random.Random(1).sample(range(len(texts)), len(texts))
    for processes in (2, 3):
        found = extract([texts[row] for row in order], settings, processes)
        assert same(found.values, alone.values[order])
        assert found.reasons == [alone.reasons[row] for row in order]
        assert found.missing == alone.missing


def test_without_texts_it_is_still_known_what_the_pipeline_does_not_give() -> None:
    found = extract([], BLANK, processes=2)
    assert found.values.shape == (0, 69)
    assert "oov_ratio" in found.missing


def many() -> list[str]:
    return [story(100, seed) for seed in range(1000)]


def test_a_process_that_dies_is_an_error_that_says_what_to_do() -> None:
    def kill() -> None:
        while not (children := multiprocessing.active_children()):
            time.sleep(0.01)
        children[0].kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StudyError, match=r"ended by itself.*more memory"):
        extract(many(), BLANK, processes=2)
    killer.join()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_request_to_stop_ends_all_processes(processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    received: dict[int, float] = {}
    monkeypatch.setattr(stopping, "_received", received)
    with pytest.raises(stopping.Stopped):
        extract(many(), BLANK, processes, report=lambda done, total: received.update({signal.SIGTERM: 0.0}))
    assert multiprocessing.active_children() == []


_RUN = """
from modecollapse.measures.feature_extractor import extract
from modecollapse.measures.feature_pipeline import PipelineSettings

if __name__ == "__main__":
    texts = [f"{i} is a number. " * 4000 for i in range(2000)]
    extract(texts, PipelineSettings(), 2, report=lambda done, total: print(done, flush=True))
"""


@pytest.mark.slow
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(_RUN)
    running = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE)
    assert running.stdout is not None
    running.stdout.readline()
    children = psutil.Process(running.pid).children(recursive=True)
    assert len(children) >= 2
    running.kill()
    running.wait()
    running.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


Edit = Callable[[Language], object]


def edited(pipeline: Path, directory: Path, edit: Edit) -> PipelineSettings:
    nlp = spacy.load(pipeline)
    edit(nlp)
    nlp.to_disk(directory)
    return PipelineSettings(pipeline=str(directory))


def without(*names: str) -> Edit:
    return lambda nlp: [nlp.remove_pipe(name) for name in names]


def without_vectors(nlp: Language) -> None:
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings)


def ruled(nlp: Language) -> None:
    nlp.remove_pipe("morphologizer")
    ruler = nlp.add_pipe("attribute_ruler")
    ruler.add([[{"TAG": "NN"}]], {"POS": "NOUN"})


@pytest.mark.parametrize(
    ("edit", "needs"),
    [
        (without("morphologizer"), {"tagger"}),  # a tagger alone gives tags of its own only
        (without("tagger"), set()),  # which the library refuses, though it reads nothing that a tagger gives
        (ruled, set()),
        (lambda nlp: (ruled(nlp), nlp.remove_pipe("tagger")), {"tagger"}),  # for which the library gives zeros
        (without("parser"), {"parser"}),
        (without_vectors, {"vectors", "vocabulary"}),  # for which the library takes outputs of the tok2vec
    ],
    ids=["tagger", "morphologizer", "ruler", "ruler-alone", "no-parser", "no-vectors"],
)
def test_what_a_pipeline_lacks_is_missing_and_never_filled(
    edit: Edit, needs: set[str], trained_pipeline: Path, tmp_path: Path
) -> None:
    found = extract(["The cat sat on the mat. She reads."], edited(trained_pipeline, tmp_path / "edited", edit))
    assert {FEATURES[name].needs for name in found.missing} == needs
    assert np.isnan(found.values[:, columns(set(found.missing))]).all()
    assert value(found, "n_sentences") > 0
    assert "tagger" in needs or value(found, "pos_prop_NOUN") > 0


def test_every_word_has_a_vector_where_vectors_are_of_its_parts_so_none_is_unknown() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    parts = {"mode": "floret", "hash_count": 1, "minn": 3, "maxn": 4, "bow": "<", "eow": ">"}
    nlp.vocab.vectors = Vectors(strings=nlp.vocab.strings, data=np.ones((9, 4), dtype="float32"), **parts)
    assert FeatureValues(nlp, lexemes=False).missing["oov_ratio"] == "every word has a vector in this pipeline"
    assert "oov_ratio" not in FeatureValues(nlp, lexemes=True).missing


def test_a_language_without_hyphenation_or_probabilities_lacks_what_needs_them() -> None:
    found = extract(["Bir cümle."], PipelineSettings(language="tr"))
    assert {FEATURES[name].needs for name in found.missing} >= {"syllables", "probabilities"}
    assert "'tr'" in found.missing["entropy"]
    assert value(found, "n_tokens") == 2


def refusal(**settings: str) -> str:
    with pytest.raises(StudyError) as refused:
        check_pipeline(PipelineSettings.model_validate(settings), "measures.features")
    return str(refused.value)


def test_a_pipeline_that_cannot_be_had_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    assert "measures.features.pipeline: 'en_core_web_xxl' is not installed. Allowed: blank" in refusal(
        pipeline="en_core_web_xxl"
    )
    assert "'numpy' is installed, but is no package of a spaCy pipeline" in refusal(pipeline="numpy")
    assert "'os.path' is not installed" in refusal(pipeline="os.path")
    assert "is no directory with a meta.json" in refusal(pipeline=str(tmp_path))
    assert "spaCy does not know the language 'tlh'. Allowed: af, am," in refusal(language="tlh")
    assert "the module sudachipy, which is not installed" in refusal(language="ja")
    assert "no table of word probabilities of the language 'da'. Languages that have one: de, el, en, es" in refusal(
        language="da", vocabulary="lexemes"
    )


def test_a_directory_that_is_no_complete_pipeline_is_refused(trained_pipeline: Path, tmp_path: Path) -> None:
    directory = tmp_path / "pipeline"
    shutil.copytree(trained_pipeline, directory)
    check_pipeline(PipelineSettings(pipeline=str(directory)))
    shutil.rmtree(directory / "vocab")
    assert "lacks vocab, which spaCy's nlp.to_disk writes" in refusal(pipeline=str(directory))
    (directory / "meta.json").write_text(json.dumps({"lang": "en"}))
    assert "does not say name, version" in refusal(pipeline=str(directory))
    (directory / "meta.json").write_text("{")
    assert "meta.json is not readable" in refusal(pipeline=str(directory))


def test_a_pipeline_that_does_not_load_is_a_clear_error(trained_pipeline: Path, tmp_path: Path) -> None:
    directory = tmp_path / "pipeline"
    shutil.copytree(trained_pipeline, directory)
    (directory / "config.cfg").write_text((directory / "config.cfg").read_text().replace('"parser"', '"seer"'))
    with pytest.raises(StudyError, match=r"cannot be loaded: .*choose another"):
        extract(["text"], PipelineSettings(pipeline=str(directory)))


def test_the_identity_of_a_pipeline_is_that_of_its_files_and_libraries(trained_pipeline: Path, tmp_path: Path) -> None:
    assert pipeline_identity(BLANK) == {
        name: pipeline_identity(BLANK)[name] for name in ("spacy", "textdescriptives", "pyphen", "spacy-lookups-data")
    }
    directory = tmp_path / "pipeline"
    shutil.copytree(trained_pipeline, directory)
    settings = PipelineSettings(pipeline=str(directory))
    before = pipeline_identity(settings)
    assert before == pipeline_identity(PipelineSettings(pipeline=str(trained_pipeline)))
    (directory / "tokenizer").write_bytes(b"other")
    assert pipeline_identity(settings) != before


def test_a_plan_checks_a_pipeline_without_importing_spacy(trained_pipeline: Path) -> None:
    code = (
        "import sys\n"
        "from modecollapse.measures.feature_pipeline import PipelineSettings, check_pipeline, pipeline_identity\n"
        "for pipeline in ('blank', sys.argv[1]):\n"
        "    settings = PipelineSettings(pipeline=pipeline, vocabulary='lexemes')\n"
        "    check_pipeline(settings), pipeline_identity(settings)\n"
        "assert not {'spacy', 'textdescriptives', 'torch', 'numpy'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, trained_pipeline], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
