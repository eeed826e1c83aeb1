"""Pushing a text off its course, and whether its continuation comes back: the pieces of a test for attractors.

Section 5.1 of Mohammadi (2024, "Creativity Has Left the Chat") keeps the first sentence of an output and cuts the next
behind its verb, which is negated. It shows one continuation; what coming back means is stated here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from modecollapse.metrics.modes import SAME

Vectors = NDArray[np.float64]
Labels = NDArray[np.int64]

FAR = 5
"""Percentile of the cosines of a mode's own outputs to its centre that is its radius."""

_ABBREVIATIONS = frozenset({
    "adm", "assoc", "capt", "cmdr", "co", "col", "corp", "cpl", "dept", "dr", "e.g", "ed", "gen", "gov", "hon",
    "i.e", "inc", "jr", "lt", "ltd", "maj", "mr", "mrs", "ms", "mt", "no", "ph.d", "pp", "prof", "rev", "sen",
    "sgt", "sr", "st", "univ", "vol", "vs", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct",
    "nov", "dec",
})  # fmt: skip
_END = re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s|$)|[。！？．｡]+["'”’»」』）)\]]*|(?=\s*\n)""")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘«]+$")
_INITIALS = re.compile(r"[^\W\d_](\.[^\W\d_])+")


def first_sentence(text: str) -> tuple[str, str]:
    """The first sentence of `text` with its end mark, and the rest; both joined are the text.

    A sentence ends with ``. ! ? …`` (and closing quotes or brackets) before white space or the end of the text, with
    their full-width forms anywhere (no space follows them in Chinese and Japanese), or before a line break. A full stop
    is no end behind a common abbreviation ("Dr."), behind initials and the like ("J.", "U.S.", "p.m."), or behind a
    number that begins the text ("1. Grace"). White space before the first word belongs to the sentence. A text without
    an end is one sentence, with an empty rest; so is one without words.
    """
    start = len(text) - len(text.lstrip())
    for end in _END.finditer(text, start):
        if end.end() > start and not _goes_on(text[start : end.start()], end.group()):
            return text[: end.end()], text[end.end() :]
    return text, ""


def _goes_on(before: str, mark: str) -> bool:
    """Whether a mark is part of the last word before it."""
    word = _LAST_WORD.search(before)
    if mark != "." or word is None:
        return False
    last = word.group()
    if len(last) == 1 or last.isdecimal():
        return last.isupper() or before == last
    return last.lower() in _ABBREVIATIONS or _INITIALS.fullmatch(last) is not None


def after_first_sentence(text: str) -> str:
    """What `text` says after its first sentence; the whole text where nothing follows."""
    return first_sentence(text)[1].strip() or text


@dataclass(frozen=True)
class Cut:
    """A text that ends with a verb."""

    prefix: str
    """The text up to the verb, which it ends with."""
    verb: str
    negated: str
    """The same with the verb's negation in its place."""


def cut(text: str, negations: Mapping[str, str]) -> Cut | None:
    """`text` up to its first verb behind the first sentence; where that has none, to the last verb within it.

    "She was born in New York. She was an admiral." is cut to "She was born in New York. She was". Verbs are those of
    `negations` (verb → its negation), whole words in the case in which they are written there; one that is negated
    already does not count. None without any: an empty text, another language.
    """
    longest = sorted(negations, key=len, reverse=True)
    verbs = re.compile(rf"(?<![\w'’-])({'|'.join(map(re.escape, longest))})(?![\w'’-])")
    found = [
        verb
        for verb in verbs.finditer(text)
        if not re.match(rf"{re.escape(negations[verb[1]])}\b", text[verb.start() :])
    ]
    first, _ = first_sentence(text)
    behind = [verb for verb in found if verb.start() >= len(first)]
    if not found:
        return None
    chosen = behind[0] if behind else found[-1]
    return Cut(text[: chosen.end()], chosen[1], negate(text[: chosen.end()], chosen[1], negations))


def negate(prefix: str, verb: str, negations: Mapping[str, str]) -> str:
    """`prefix`, which ends with `verb`, with the negation of this verb in its place."""
    return prefix.removesuffix(verb) + negations[verb]


@dataclass(frozen=True, eq=False)
class Modes:
    """k modes of outputs, by the label of their cluster."""

    centres: Vectors
    """[k, d], of unit length; 0 for a mode without direction."""
    radii: Vectors
    """[k], cosines to the centre; NaN for a mode without direction."""


def find_modes(vectors: ArrayLike, labels: ArrayLike) -> Modes:
    """The centre and the radius of each cluster.

    A centre is the mean of the cluster's vectors at unit length. The radius is the cosine to it that 95 % of these
    vectors reach: their 5th percentile, the lower of the two values that it lies between. Of one vector, or of equal
    ones, it is 1. A zero vector (a text without a word) has no direction and does not count; a cluster of nothing else,
    or whose vectors cancel out, is a mode without direction, which nothing returns to.

    Args:
        vectors: [n, d], of unit length or zero, of what the outputs say after their first sentence.
        labels: [n], from 0 without gaps.

    Raises:
        ValueError: a vector is not finite, or a label has no vector.
    """
    points, label = np.asarray(vectors, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if not np.isfinite(points).all():
        raise ValueError("vectors have to be finite")
    k = int(label.max(initial=-1)) + 1
    if set(label.tolist()) != set(range(k)):
        raise ValueError(f"labels have to be 0 to {k - 1}, each with a vector; found {sorted(set(label.tolist()))}")
    centres, radii = np.zeros((k, points.shape[1] if points.ndim == 2 else 0)), np.full(k, np.nan)
    for mode in range(k):
        members = points[(label == mode) & points.any(axis=-1)]
        mean = members.mean(axis=0) if len(members) else np.zeros(centres.shape[1])
        length = float(np.linalg.norm(mean))
        if length > SAME:
            centres[mode] = mean / length
            radii[mode] = np.percentile(members @ centres[mode], FAR, method="lower")
    return Modes(centres, radii)


@dataclass(frozen=True, eq=False)
class Returns:
    """Where n continuations of one mode ended up."""

    nearest: Labels
    """[n], the mode with the nearest centre, of equally near ones its own, else the larger; −1 for a zero vector."""
    cosine: Vectors
    """[n], to the centre of its own mode; NaN for a zero vector, or a mode without direction."""
    returned: NDArray[np.bool_]
    """[n]"""


def returns(modes: Modes, own: int, vectors: ArrayLike) -> Returns:
    """Which continuations of the mode `own` returned to it.

    One returned if no centre is nearer than that of its own mode and its cosine to this is at least the radius. With
    one mode only the radius decides. Cosines that differ by less than the batch in which a text is embedded changes
    them count as equal.

    Args:
        modes: k of them.
        own: the mode whose prefix was continued.
        vectors: [n, d], of unit length or zero, of the continuations.

    Raises:
        ValueError: a vector is not finite.
    """
    points = np.asarray(vectors, dtype=np.float64).reshape(-1, modes.centres.shape[1])
    if not np.isfinite(points).all():
        raise ValueError("vectors have to be finite")
    with_direction, known = points.any(axis=1), ~np.isnan(modes.radii)
    cosines = np.where(known, points @ modes.centres.T, -np.inf)
    nearest = np.where(with_direction & known.any(), cosines.argmax(axis=1), -1)
    nearest = np.where((nearest >= 0) & known[own] & (cosines[:, own] >= cosines.max(axis=1) - SAME), own, nearest)
    cosine = np.where(with_direction & known[own], cosines[:, own], np.nan)
    # A cosine that is NaN is not within any radius.
    returned = (nearest == own) & (cosine >= modes.radii[own] - SAME)
    return Returns(nearest, cosine, returned)
