"""Pretraining documents and their held-out counterpart, each with the exact log-probability of its derivation."""

import math
import random

import pyarrow as pa

from modecollapse.data.nano.frames import Frames
from modecollapse.data.nano.genres import GENRES, Genre
from modecollapse.data.nano.grammar import Derivation, Grammar

SCHEMA = pa.schema([("text", pa.string()), ("log_prob", pa.float64()), ("genre", pa.string())])
_WEIGHTS = [genre.weight for genre in GENRES]


class Corpus:
    """The source of documents of one world.

    Log-probabilities are those of the whole grammar, in which wordings and slots are independent. Given that a document
    belongs to pretraining they are larger by a constant (minus the logarithm of pretraining's share, about 0.2 nats per
    document), which a learner that generalises over the combinations does not gain.
    """

    def __init__(self, grammar: Grammar, frames: Frames) -> None:
        self._grammar = grammar
        self._frames = frames

    def documents(self, n: int, source: random.Random, held_out: bool) -> pa.Table:
        """`n` documents without held-out frames, or `n` with one."""
        rows: list[tuple[str, float, str]] = []
        while len(rows) < n:
            genre = source.choices(GENRES, _WEIGHTS)[0]
            derivation = self._grammar.sample(genre.name, source)
            if self.is_held_out(genre, derivation) is held_out:
                log_prob = math.log(genre.weight / sum(_WEIGHTS)) + derivation.log_prob
                rows.append((derivation.text, log_prob, genre.name))
        return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], schema=SCHEMA)

    def is_held_out(self, genre: Genre, derivation: Derivation) -> bool:
        """Whether the document has a frame that pretraining never shows."""
        frames = zip(genre.wordings, genre.slots, strict=True)
        return any(self._frames.is_held_out(derivation, wording, slot) for wording, slot in frames)

    def entropy(self) -> float:
        """Entropy (nats) of the derivation of a document, in closed form."""
        shares = [weight / sum(_WEIGHTS) for weight in _WEIGHTS]
        mixture = sum(share * self._grammar.entropy(genre.name) for share, genre in zip(shares, GENRES, strict=True))
        return mixture - sum(share * math.log(share) for share in shares)
