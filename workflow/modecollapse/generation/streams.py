"""Random numbers that belong to a completion, whatever else is generated with it."""

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from modecollapse.digests import canonical


def uniforms(stream: str, rows: Iterable[tuple[str, int]], steps: int) -> NDArray[np.float64]:
    """One uniform number in [0, 1) for every completion and step: shape (len(rows), steps).

    `rows` are pairs (prompt id, sample number). A row's numbers come from a counter-based generator (Philox) keyed by
    the SHA-256 of (stream, prompt id, sample number): they depend on nothing else, and fewer steps give a prefix of
    more.
    """
    return np.stack([_generator(stream, prompt, sample).random(steps) for prompt, sample in rows])


def _generator(stream: str, prompt: str, sample: int) -> np.random.Generator:
    name = hashlib.sha256(canonical([stream, prompt, sample]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(name[:16], dtype="<u8")))
