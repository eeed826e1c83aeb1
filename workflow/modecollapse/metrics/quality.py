"""Quality of a completion, to be read beside its diversity."""

import re
from collections.abc import Sequence
from functools import lru_cache


def contains_answer(text: str, answers: Sequence[str]) -> float | None:
    """1.0 if `text` contains one of the accepted answers as whole words, ignoring case, and 0.0 if not.

    None if no answers are given. Whole words: no letter, digit or underscore directly before or after. The empty text
    contains no answer.
    """
    return float(_pattern(tuple(answers)).search(text) is not None) if answers else None


@lru_cache(maxsize=1024)
def _pattern(answers: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, answers))})(?!\w)", re.IGNORECASE)
