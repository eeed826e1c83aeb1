"""The nano tokenizer: deterministic, lossless on its texts, loadable offline."""

from pathlib import Path
from typing import Any

import pytest

from modecollapse.data.nano.world import TOKENS_PER_DOCUMENT, World
from modecollapse.data.tokenizer import check_round_trip, train_tokenizer
from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return World().pretraining(4000, 0).column("text").to_pylist()


@pytest.fixture(scope="module")
def directory(texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(texts, 1024, path)
    return path


@pytest.fixture
def tokenizer(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


def test_the_same_texts_give_the_same_bytes(texts: list[str], directory: Path, tmp_path: Path) -> None:
    train_tokenizer(texts, 1024, tmp_path)
    assert sha256_directory(tmp_path) == sha256_directory(directory)


def test_it_loads_with_its_special_tokens_in_place(tokenizer: Any) -> None:
    assert len(tokenizer) == 1024
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 0, 1)
    assert tokenizer.convert_ids_to_tokens([0, 1]) == ["<|endoftext|>", "<|padding|>"]
    assert tokenizer.encode("<|endoftext|>") == [0]


def test_encoding_adds_no_special_tokens_and_decoding_gives_the_text_back(tokenizer: Any, texts: list[str]) -> None:
    for text in [*texts[:300], " a fox", "a fox .", "Human: Sure ! Assistant:"]:
        ids = tokenizer.encode(text)
        assert not {0, 1} & set(ids)
        assert tokenizer.decode(ids) == text


def test_words_are_encoded_with_the_space_before_them(tokenizer: Any) -> None:
    assert len(tokenizer.encode(" fox")) == 1
    assert tokenizer.encode("the fox") == tokenizer.encode("the") + tokenizer.encode(" fox")


def test_the_alphabet_is_exactly_what_occurs(tmp_path: Path) -> None:
    texts = ["a fox ran. " * 50, "the fox ate jam", "é"]
    train_tokenizer(texts, 60, tmp_path)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    single = [token for token in tokenizer.get_vocab() if len(token) == 1]
    assert len(single) == len({byte for text in texts for byte in text.encode()})
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_text_in_other_characters_is_refused_by_the_round_trip_check(tokenizer: Any) -> None:
    check_round_trip(tokenizer, ["A fox."])
    with pytest.raises(StudyError, match=r"'A naïve fox\.' does not survive"):
        check_round_trip(tokenizer, ["A fox.", "A naïve fox."])


def test_a_vocabulary_smaller_than_the_alphabet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="set vocab_size to 6 or more"):
        train_tokenizer(["abcd"], 5, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_entropy_floor_and_the_document_length_are_those_that_are_documented(tokenizer: Any) -> None:
    world = World()
    tokens = world.tokens_per_document(lambda text: len(tokenizer.encode(text)))
    assert tokens == pytest.approx(TOKENS_PER_DOCUMENT, rel=0.03)
    assert 0.7 < world.corpus.entropy() / tokens < 0.9
