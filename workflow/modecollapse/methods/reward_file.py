"""The file of what a reward model gives to pairs of answers."""

from typing import Literal

import pyarrow as pa

from modecollapse.schema import Strict

ANSWERS = ("chosen", "rejected")

SCHEMA = pa.schema(
    [
        ("data", pa.string()),
        ("pair", pa.int32()),
        ("prompt", pa.int32()),
        ("task", pa.string()),
        *((f"{answer}_score", pa.float32()) for answer in ANSWERS),
        *((f"{answer}_tokens", pa.int32()) for answer in ANSWERS),
        *((f"{answer}_utility", pa.float64()) for answer in ANSWERS),
    ]
)
"""One row per pair, in the order of the data: what the set is called, the pair's number, the number of the first pair
with the same prompt, its task (null if the set has no such column), and of both answers the score, the number of tokens
(end-of-text included), and the annotators' true utility (NaN without a world, or if it cannot ask the prompt)."""


class TruncationSettings(Strict):
    """How a reward model is shown pairs: as in its training."""

    max_length: int
    max_prompt_length: int
    too_long: Literal["error", "truncate"]
