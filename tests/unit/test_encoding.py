"""Token ids of documents: read a few at a time, and of long documents in pieces that leave no trace."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from modecollapse.errors import StudyError
from modecollapse.measures import encoding
from modecollapse.measures.encoding import encoded

WORDS = ["the", "cat", "naïve", "größer", "日本語", "🙂", "don't", "1234", "e\u0301t\u0301e", "\u2028", "x" * 30]


def text(seed: int, n: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(WORDS) + chance.choice([" ", "  ", "\n", "\n\n", ", ", "."]) for _ in range(n))


def neox() -> Any:
    """Byte-level BPE behind NFC, as Pythia has it."""
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator([text(0, 2000)], trainers.BpeTrainer(vocab_size=500, special_tokens=["<|endoftext|>"]))
    return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>")


def llama() -> Any:
    """BPE over the whole text with a mark put before it and for every space, as Llama-2 has it."""
    raw = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    marks = pre_tokenizers.Split(Regex(r"\n+|[.,]"), "isolated")
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(split=True), marks])
    raw.train_from_iterator([text(0, 2000)], trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>"]))
    raw.pre_tokenizer = None
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")


@pytest.mark.parametrize("tokenizer", [neox(), llama()], ids=["byte-level", "prepended"])
@pytest.mark.parametrize("seed", range(4))
def test_a_long_document_in_pieces_has_the_ids_of_the_whole(
    tokenizer: Any, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = text(seed, 3000)
    whole = tokenizer(document, add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(encoding, "LONGEST", 1500 + 17 * seed)
    monkeypatch.setattr(encoding, "OVERLAP", 500)
    [(same, ids)] = encoded(tokenizer, [document])
    assert same == document
    assert len(document) > 5 * encoding.LONGEST
    assert ids.tolist() == whole


def test_pieces_that_do_not_agree_still_cover_the_document_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "LONGEST", 1001)
    monkeypatch.setattr(encoding, "OVERLAP", 100)
    tokenizer, document = neox(), "x" * 20_000
    [(_, ids)] = encoded(tokenizer, [document])
    assert tokenizer.decode(ids) == document


def test_documents_keep_their_order_whatever_their_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "LONGEST", 2000)
    monkeypatch.setattr(encoding, "OVERLAP", 400)
    monkeypatch.setattr(encoding, "TOGETHER", 300)
    tokenizer = neox()
    documents = ["", "a cat", text(1, 900), "", text(2, 20), text(3, 900), "the", ""]
    found = list(encoded(tokenizer, iter(documents)))
    assert [document for document, _ in found] == documents
    for document, ids in found:
        assert ids.dtype == np.int32
        assert ids.tolist() == tokenizer(document, add_special_tokens=False)["input_ids"]


def test_a_long_document_and_a_tokenizer_that_is_not_a_fast_one_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        is_fast = False
        name_or_path = "org/slow"

        def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
            return {"input_ids": [[1] * len(text) for text in texts]}

    monkeypatch.setattr(encoding, "LONGEST", 10)
    assert [len(ids) for _, ids in encoded(Slow(), ["short", "shorter"])] == [5, 7]
    with pytest.raises(StudyError, match=r"has 11 characters.*more than 10 .*org/slow cannot do.*tokenizer\.json"):
        list(encoded(Slow(), ["short", "x" * 11]))


def test_no_documents_are_no_documents(tmp_path: Path) -> None:
    assert list(encoded(neox(), [])) == []
