"""Texts on which detectors of repetition are slow or wrong if they can be, of any length, with what they are."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np


def letters(size: int, different: int, seed: int = 0) -> str:
    """Independent letters, all alike probable."""
    codes = np.random.default_rng(seed).integers(different, size=size) + ord("a")
    return codes.astype(np.uint32).tobytes().decode("utf-32-le")


def _morphic(size: int, rules: Mapping[str, str]) -> str:
    """The fixed point of a substitution, from its first letter."""
    text, table = next(iter(rules)), str.maketrans(dict(rules))
    while len(text) < size:
        text = text.translate(table)
    return text[:size]


fibonacci = partial(_morphic, rules={"a": "ab", "b": "a"})
thue_morse = partial(_morphic, rules={"a": "ab", "b": "ba"})
square_free = partial(_morphic, rules={"a": "abc", "b": "ac", "c": "b"})
"""Thue's word over three letters: no two equal substrings stand in a row, and every one comes again soon."""


def de_bruijn(size: int) -> str:
    """The bits of a linear recurrence of a period of 2³¹ - 1: all short substrings, about equally often."""
    bits = list(letters(31, 2))
    state = np.zeros(size + 31, np.uint8)
    state[:31] = [ord(bit) - ord("a") for bit in bits]
    for start in range(31, len(state), 28):  # x³¹ + x³ + 1: 28 further bits need none of themselves
        stop = min(start + 28, len(state))
        state[start:stop] = state[start - 31 : stop - 31] ^ state[start - 28 : stop - 28]
    return (state[:size] + ord("a")).tobytes().decode("ascii")


def different(size: int) -> str:
    """No character twice, up to the million that there are beyond the basic plane."""
    codes = np.arange(size, dtype=np.uint32) % 2**20 + 2**16
    return codes.tobytes().decode("utf-32-le")


def _long_period(size: int) -> str:
    period = letters(size // 3 + 1, 26)
    return (period * 3)[:size]


def _broken(size: int) -> str:
    """A period of half the text with one other character in its second round."""
    text = _long_period(size * 3 // 2)[:size]
    return f"{text[: 3 * size // 4]}!{text[3 * size // 4 + 1 :]}"


def _just_short(size: int) -> str:
    """Runs of one letter a character too short to count, parted so that nothing longer repeats either."""
    return "".join("a" * 201 + mark for mark in square_free(size // 202 + 1).upper())[:size]


def _verdict(*found: str) -> dict[str, bool]:
    return {name: name in found for name in ("multiple", "tandem", "cycle")}


TEXTS: Mapping[str, tuple[Callable[[int], str], dict[str, bool]]] = {
    "one letter": (lambda size: "a" * size, _verdict("multiple", "tandem", "cycle")),
    "Fibonacci word": (fibonacci, _verdict("multiple", "tandem", "cycle")),
    "Thue–Morse word": (thue_morse, _verdict("multiple", "tandem", "cycle")),
    "square-free word": (square_free, _verdict("multiple")),
    "linear recurrence": (de_bruijn, _verdict()),
    "random, 2 letters": (partial(letters, different=2), _verdict()),
    "random, 26 letters": (partial(letters, different=26), _verdict()),
    "different characters": (different, _verdict()),
    "long period": (_long_period, _verdict("tandem", "cycle")),
    "long period, broken": (_broken, _verdict()),
    "runs just too short": (_just_short, _verdict("multiple")),
}
"""Name → how it is made, and what one of 20,000 characters is that did not end."""
