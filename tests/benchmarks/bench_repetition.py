"""Speed of the detectors of repetition on texts that are hard for them, against comparing everything with everything.

    python -m tests.benchmarks repetition

The other way counts every substring of 21 characters, and compares the characters after every place with those a period
further, for every period; on short texts, as it is quadratic. `1 M` and `10 M` are our seconds for texts of so many
characters (10 MB, or 40 where no character comes twice), `growth` the second by the first (10 is linear) and `memory`
the peak in bytes for each character.
"""

import tracemalloc
from functools import partial

from modecollapse.metrics.repetition import Repetition, find_repetition
from tests.benchmarks.comparing import Comparison, in_turn, seconds
from tests.repetitive_texts import TEXTS

SHORT, LONG, LONGER = 3_000, 1_000_000, 10_000_000


def find_directly(text: str) -> Repetition:
    """As `find_repetition` of a text that did not end, from the definitions."""
    size = len(text)
    return Repetition(
        multiple=any(text.count(text[start : start + 21]) >= 7 for start in range(size - 20)),
        tandem=any(
            text[start : start + root] == text[start + root : start + 2 * root]
            for root in range(101, size // 2 + 1)
            for start in range(size - 2 * root + 1)
        ),
        cycle=any(
            text[size - max(period, 101 - period) :] == text[size - period - max(period, 101 - period) : size - period]
            for period in range(1, size // 2 + 1)
        ),
    )


def compare(device: str) -> list[Comparison]:
    """Both ways on short texts of each kind, which must agree; and our seconds and memory for long ones."""
    return [_compared(name, device) for name in TEXTS]


def _compared(name: str, device: str) -> Comparison:
    make, _ = TEXTS[name]
    text = make(SHORT)
    if find_repetition(text, False) != find_directly(text):
        raise AssertionError(f"{name}: {find_repetition(text, False)}, directly {find_directly(text)}")
    times = in_turn({"ours": partial(find_repetition, text, False), "direct": partial(find_directly, text)}, device)
    long = make(LONG)
    taken = [seconds(partial(find_repetition, each, False), device) for each in (long, make(LONGER))]
    tracemalloc.start()
    find_repetition(long, False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    more = {"1 M (s)": taken[0], "10 M (s)": taken[1], "growth": taken[1] / taken[0], "memory": peak / LONG}
    case = f"{name}, {SHORT:,} characters"
    return Comparison(
        case,
        "fingerprints",
        "every pair of places",
        times["ours"],
        times["direct"],
        work=SHORT,
        unit="chars",
        more=more,
    )
