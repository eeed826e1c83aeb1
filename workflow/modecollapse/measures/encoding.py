"""From documents to token ids, a few documents at a time, and long ones piece by piece.

What a tokenizer returns beside the ids takes up to a kilobyte per token: 100 MB of text would take many gigabytes.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modecollapse.errors import StudyError

Ids = NDArray[np.int32]

TOGETHER = 2**18
"""Characters of the documents that are tokenized in one call, at least one document."""

LONGEST = 2**18
"""Characters that are tokenized as one text; a longer document is tokenized in pieces of this length."""

OVERLAP = 2**13
"""Characters that two pieces share. They are joined in the middle of them."""

_AGREEING = 16
"""Tokens on either side of a joint that both pieces must have alike."""


def encoded(tokenizer: Any, texts: Iterable[str]) -> Iterator[tuple[str, Ids]]:
    """Each text with its ids, without special tokens.

    A text of more than `LONGEST` characters is tokenized in overlapping pieces. They are joined where both have the
    same tokens for some stretch: with a tokenizer whose tokens depend on the words around them alone, these are the ids
    of the whole text. Where two pieces do not agree (thousands of characters without a word's end), the next piece
    begins anew at the end of a token.

    Raises:
        StudyError: a text is that long, and the tokenizer is one in Python, which does not say where its tokens stand.
    """
    waiting: list[str] = []
    size = 0
    for text in texts:
        if len(text) > LONGEST:
            if not tokenizer.is_fast:
                raise StudyError(
                    f"A document has {len(text)} characters. Documents of more than {LONGEST} are tokenized in pieces, "
                    f"which the tokenizer of {tokenizer.name_or_path or 'the model'} cannot do: it is no fast one. "
                    "Put its tokenizer.json beside the weights, or split the document."
                )
            yield from _together(tokenizer, waiting)
            yield text, _in_pieces(tokenizer, text)
            waiting, size = [], 0
            continue
        waiting.append(text)
        size += len(text)
        if size >= TOGETHER:
            yield from _together(tokenizer, waiting)
            waiting, size = [], 0
    yield from _together(tokenizer, waiting)


def _together(tokenizer: Any, texts: list[str]) -> Iterator[tuple[str, Ids]]:
    if texts:
        found = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        for text, ids in zip(texts, found, strict=True):
            yield text, np.asarray(ids, dtype=np.int32)


def _in_pieces(tokenizer: Any, text: str) -> Ids:
    parts = []
    rows, end = _piece(tokenizer, text, 0), LONGEST
    while end < len(text):
        following = _piece(tokenizer, text, end - OVERLAP)
        middle = end - OVERLAP // 2
        here, there = (int(np.searchsorted(piece[:, 1], middle)) for piece in (rows, following))
        one, other = (piece[max(0, i - _AGREEING) : i + _AGREEING] for piece, i in ((rows, here), (following, there)))
        if min(here, there) >= _AGREEING and np.array_equal(one, other):
            end += LONGEST - OVERLAP
        else:
            start = int(rows[here, 1]) if here < len(rows) else end
            following, there = _piece(tokenizer, text, start), 0
            end = start + LONGEST
        parts.append(rows[:here, 0])
        rows = following[there:]
    return np.concatenate([*parts, rows[:, 0]]).astype(np.int32)


def _piece(tokenizer: Any, text: str, start: int) -> NDArray[np.int64]:
    """[tokens, 3]: id, and first character and end in the whole text, of the tokens of a piece of it."""
    found = tokenizer(
        text[start : start + LONGEST],
        add_special_tokens=False,
        return_attention_mask=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    rows = np.empty((len(found["input_ids"]), 3), dtype=np.int64)
    rows[:, 0] = found["input_ids"]
    rows[:, 1:] = np.asarray(found["offset_mapping"], dtype=np.int64).reshape(-1, 2) + start
    return rows
