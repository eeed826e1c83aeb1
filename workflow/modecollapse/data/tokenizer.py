"""The nano world's tokenizer: a small byte-level BPE, trained deterministically and saved for offline use."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"

_BATCH = 10_000
"""Texts checked at a time, to bound memory."""


def train_tokenizer(texts: Sequence[str], vocab_size: int, directory: Path) -> None:
    """Train a tokenizer on `texts` and write it to `directory`, for `AutoTokenizer.from_pretrained` to read.

    `<|endoftext|>` has id 0 and serves as BOS and EOS, `<|padding|>` has id 1; encoding adds neither. The alphabet is
    exactly the bytes that occur: all 256 would waste a quarter of a small vocabulary, and leaving the choice to the
    trainer drops rare characters silently. Text in other characters hence loses them; see `check_round_trip`.

    Raises:
        StudyError: `vocab_size` is too small for the alphabet, or a text does not survive encoding and decoding.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    characters = "".join(sorted(set().union(*texts)))
    alphabet = sorted({character for word, _ in split.pre_tokenize_str(characters) for character in word})
    if vocab_size < len(alphabet) + 2:
        raise StudyError(
            f"tokenizer: vocab_size is {vocab_size}, but the texts have {len(alphabet)} different bytes and "
            f"two special tokens are needed; set vocab_size to {len(alphabet) + 2} or more"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PADDING],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    check_round_trip(fast, texts)
    fast.save_pretrained(directory)


def check_round_trip(tokenizer: Any, texts: Sequence[str]) -> None:
    """Check that `decode(encode(text)) == text` for every text (`tokenizer`: a `PreTrainedTokenizerFast`).

    Raises:
        StudyError: it does not, e.g. because the text has a character that the training texts lacked.
    """
    backend = tokenizer.backend_tokenizer
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        ids = [encoding.ids for encoding in backend.encode_batch(batch, add_special_tokens=False)]
        for text, decoded in zip(batch, backend.decode_batch(ids, skip_special_tokens=False), strict=True):
            if decoded != text:
                raise StudyError(
                    f"tokenizer: the text {text[:80]!r} does not survive encoding and decoding; it must not contain "
                    "characters that the tokenizer's training texts lack"
                )
