"""Whether a text repeats itself: multiple repetition, tandem repetition, and cycling to the limit of its length.

The three faults are those of Kutalev and Markoff (2024, section 4.5; the RL paper). Verdicts are exact: fingerprints
alone only ever rule out. With n characters:

- multiple: O(n log n), one sort of the places that are left for each doubling of the length, six with 21 characters;
- tandem: O(n log n), two passes over the text for each doubling of the length of the repeated part, from the shortest
  that counts to half the text; no text makes it quadratic, and a repetition that is found ends it;
- cycle: O(n), one comparison of fingerprints for each possible period.

Memory is O(n), at most 100 bytes for each character. A character is a code point: one beyond the basic plane counts
once, and half of a surrogate pair is one, too.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

MULTIPLE_LONGER_THAN, MULTIPLE_TIMES = 20, 7
TANDEM_LONGER_THAN = 100
CYCLE_LONGER_THAN = 100

_PRIME = 2**31 - 1
_CHUNK = 2**17


@dataclass(frozen=True)
class Repetition:
    """In which ways a text repeats itself."""

    multiple: bool
    """A substring longer than 20 characters occurs at least 7 times, occurrences not overlapping."""
    tandem: bool
    """A substring longer than 100 characters occurs twice in a row."""
    cycle: bool
    """The text was cut off at the limit of its length while repeating itself."""

    @property
    def any(self) -> bool:
        """Whether it is repetitive at all."""
        return self.multiple or self.tandem or self.cycle


def find_repetition(
    text: str,
    ended: bool | None = None,
    *,
    multiple_longer_than: int = MULTIPLE_LONGER_THAN,
    multiple_times: int = MULTIPLE_TIMES,
    tandem_longer_than: int = TANDEM_LONGER_THAN,
    cycle_longer_than: int = CYCLE_LONGER_THAN,
) -> Repetition:
    """In which ways `text` repeats itself.

    Multiple: a substring of more than `multiple_longer_than` characters occurs at least `multiple_times` times, as
    `str.count` counts, without overlap: 27 equal letters hold seven overlapping substrings of 21, and are no
    repetition.

    Tandem: ww is a substring, w of more than `tandem_longer_than` characters.

    Cycle: the text did not end (`ended` is False) and has an end of more than `cycle_longer_than` characters with a
    period p (each of its characters equals the one p before it) that it holds at least twice; the last round may be
    cut off. Where it is not known whether the text ended (None), no cycle is found.

    The empty text is not repetitive.

    Raises:
        ValueError: a length is negative, or a number of times below 1.
    """
    lengths = (multiple_longer_than, tandem_longer_than, cycle_longer_than)
    if min(lengths) < 0 or multiple_times < 1:
        raise ValueError(f"lengths are 0 or more and a number of times 1 or more, not {lengths} and {multiple_times}")
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    may_cycle = ended is False and len(codes) > max(cycle_longer_than, 1)
    may_repeat = len(codes) >= 2 * (tandem_longer_than + 1)
    prints = _Fingerprints(codes) if may_cycle or may_repeat else None
    return Repetition(
        multiple=_occurs(codes, multiple_longer_than + 1, multiple_times),
        tandem=prints is not None and may_repeat and _has_square(prints, tandem_longer_than + 1),
        cycle=prints is not None and may_cycle and _ends_in_cycle(prints, cycle_longer_than + 1),
    )


def _occurs(codes: NDArray[np.uint32], length: int, times: int) -> bool:
    """Whether a substring of `length` characters occurs `times` times without overlap.

    A longer one that does begins with one of this length that does. Substrings are named by integers, equal names for
    equal substrings: the name of one of 2k characters is the pair of the names of its halves. Places whose substring
    occurs less often drop out.
    """
    if len(codes) < length * times:
        return False
    number = np.bincount(codes)
    kept = number >= times
    names = np.where(kept, np.cumsum(kept) - 1, -1)[codes]
    held, bound = 1, int(np.count_nonzero(kept))
    while held < length:
        if bound * bound > np.iinfo(np.int64).max:
            names, bound = _renamed(names, times)
        wider = min(2 * held, length)
        left, right = names[: len(codes) - wider + 1], names[wider - held : len(codes) - held + 1]
        names = np.where((left >= 0) & (right >= 0), left * bound + right, -1)
        held, bound = wider, bound * bound
    names, bound = _renamed(names, times)
    return bound > 0 and _without_overlap(names, length, times)


def _renamed(names: Integers, times: int) -> tuple[Integers, int]:
    """Names counted from 0 for the substrings that occur `times` times, -1 for the others; and how many there are."""
    places = np.flatnonzero(names >= 0)
    places = places[np.argsort(names[places], kind="stable")]
    ordered = names[places]
    begins = np.flatnonzero(np.diff(ordered, prepend=-1))
    number = np.diff(begins, append=len(ordered))
    kept = number >= times
    renamed = np.full(len(names), -1, np.int64)
    renamed[places] = np.repeat(np.where(kept, np.cumsum(kept) - 1, -1), number)
    return renamed, int(np.count_nonzero(kept))


def _without_overlap(names: Integers, length: int, times: int) -> bool:
    """Whether one name has `times` places, each at least `length` after the one before: the first that fits, always."""
    stride = len(names) + length
    places = np.flatnonzero(names >= 0)
    keys = np.sort(names[places] * stride + places)  # by name, then place
    current = keys[np.flatnonzero(np.diff(keys // stride, prepend=-1))]
    for _ in range(times - 1):
        following = np.searchsorted(keys, current + length)
        inside = following < len(keys)
        current, following = current[inside], keys[following[inside]]
        current = following[following // stride == current // stride]
    return len(current) > 0


class _Fingerprints:
    """Fingerprints of all substrings: polynomials modulo a prime at a point that follows from the text.

    Equal substrings have equal fingerprints. Different ones may, too, about once in 2³¹ comparisons: what is found is
    therefore compared itself before it counts.
    """

    def __init__(self, codes: NDArray[np.uint32]) -> None:
        self.codes = codes
        drawn = int.from_bytes(hashlib.blake2b(codes.tobytes(), digest_size=8).digest(), "little")
        self._powers = _powers(2**21 + drawn % (_PRIME - 2**22), len(codes) + 1)
        self._sums = np.zeros(len(codes) + 1, np.int64)
        terms = (codes + np.int64(1)) * self._powers[:-1]
        terms %= _PRIME
        np.cumsum(terms, out=self._sums[1:])  # below 2⁶³ for any text that fits into memory

    def __len__(self) -> int:
        return len(self.codes)

    def of(self, starts: Integers, lengths: Integers | int) -> Integers:
        """Those of the substrings at `starts`."""
        sums = (self._sums[starts + lengths] - self._sums[starts]) % _PRIME
        fingerprints: Integers = sums * self._powers[len(self) - starts] % _PRIME
        return fingerprints

    def windows(self, length: int) -> NDArray[np.uint32]:
        """Those of all substrings of one length, in order."""
        windows = np.empty(len(self) - length + 1, np.uint32)
        for start in range(0, len(windows), _CHUNK):
            stop = min(start + _CHUNK, len(windows))
            sums = self._sums[start + length : stop + length] - self._sums[start:stop]
            sums %= _PRIME
            sums *= self._powers[len(self) - stop + 1 : len(self) - start + 1][::-1]
            sums %= _PRIME
            windows[start:stop] = sums
        return windows

    def common(self, one: Integers, two: Integers, most: Integers, ahead: bool) -> Integers:
        """How many characters from `one` and `two` on are equal, or before them; at most `most`; never too few."""
        length = np.zeros_like(one)
        for bit in reversed(range(int(most.max(initial=0)).bit_length())):
            step = 1 << bit
            places = np.flatnonzero(length + step <= most)
            shift = length[places] if ahead else -length[places] - step
            same = self.of(one[places] + shift, step) == self.of(two[places] + shift, step)
            length[places[same]] += step
        return length


def _powers(base: int, number: int) -> Integers:
    """The first powers of `base` modulo the prime."""
    powers = np.empty(number, np.int64)
    powers[0] = 1
    done = 1
    while done < number:
        more = min(done, number - done)
        powers[done : done + more] = powers[:more] * pow(base, done, _PRIME) % _PRIME
        done += more
    return powers


def _has_square(prints: _Fingerprints, least: int) -> bool:
    """Whether the text holds ww with w of at least `least` characters.

    For p = |w| from s to 2s - 1: w spans a multiple a of s. From a and a + p on, l characters are equal, and k before
    them, with k + l ≥ p; so at least s/2 are on one side. Comparing the fingerprints of s/2 characters at every a and
    a + p takes one pass over the text for each side. What remains is measured. Once repetitions with shorter w are
    ruled out, the s/2 characters have no short period, and few places remain: of each a, a bounded number.
    """
    spacing = least
    while 2 * spacing <= len(prints):
        half = (spacing + 1) // 2
        windows = prints.windows(half)
        for ahead in (True, False):
            first = 0 if ahead else spacing  # the first multiple with half a window beside it
            for after in _like_the_one_before(windows[first if ahead else first - half :], spacing):
                if _verified(prints, after + first, spacing, ahead):
                    return True
        del windows
        spacing *= 2
    return False


def _like_the_one_before(values: NDArray[np.uint32], spacing: int) -> Iterator[Integers]:
    """The places, in pieces, of values equal to that which begins the block of `spacing` values before their own."""
    heads = values[::spacing]
    rows = max(1, _CHUNK // spacing)
    for row in range(1, len(heads), rows):
        part = values[row * spacing : (row + rows) * spacing]
        found = np.flatnonzero(part == np.repeat(heads[row - 1 : row - 1 + rows], spacing)[: len(part)])
        for start in range(0, len(found), _CHUNK):
            yield found[start : start + _CHUNK] + row * spacing


def _verified(prints: _Fingerprints, after: Integers, spacing: int, ahead: bool) -> bool:
    """Whether a repetition lies around a place of `after` and the multiple of `spacing` before its own.

    With `ahead` the characters from there on are counted, and it is asked whether enough are equal before them;
    otherwise the other way round.
    """
    anchors = (after // spacing - 1) * spacing
    roots = after - anchors
    counted = prints.common(anchors, after, np.minimum(roots, len(prints) - after if ahead else anchors), ahead)
    starts = anchors - (roots - counted if ahead else counted)
    fits = (starts >= 0) & (starts + 2 * roots <= len(prints))
    anchors, after, roots, counted, starts = (values[fits] for values in (anchors, after, roots, counted, starts))
    shift = starts - anchors if ahead else 0
    same = prints.of(anchors + shift, roots - counted) == prints.of(after + shift, roots - counted)
    pairs = zip(anchors[same].tolist(), roots[same].tolist(), strict=True)
    return any(_is_around(prints.codes, anchor, root) for anchor, root in pairs)


def _is_around(codes: NDArray[np.uint32], anchor: int, root: int) -> bool:
    """Whether ww with |w| = `root` spans `anchor` in its first half, by the characters themselves."""
    after, low = anchor + root, max(anchor - root, 0)
    follow = _equal(codes[anchor:after], codes[after : after + root])
    precede = _equal(codes[low:anchor][::-1], codes[low + root : after][::-1])
    return follow + precede >= root


def _equal(one: NDArray[np.uint32], two: NDArray[np.uint32]) -> int:
    """How many characters are equal from the beginning on."""
    size = min(len(one), len(two))
    unequal = np.flatnonzero(one[:size] != two[:size])
    return int(unequal[0]) if len(unequal) else size


def _ends_in_cycle(prints: _Fingerprints, least: int) -> bool:
    """Whether an end of at least `least` characters has a period that it holds twice."""
    size = len(prints)
    for start in range(1, size // 2 + 1, _CHUNK):
        periods = np.arange(start, min(start + _CHUNK, size // 2 + 1))
        lengths = np.maximum(periods, least - periods)  # what equals what lies a period before it
        periods, lengths = (values[periods + lengths <= size] for values in (periods, lengths))
        same = prints.of(size - lengths, lengths) == prints.of(size - lengths - periods, lengths)
        for place in np.flatnonzero(same).tolist():
            period, length = int(periods[place]), int(lengths[place])
            if _equal(prints.codes[size - length :], prints.codes[size - length - period :]) == length:
                return True
    return False
