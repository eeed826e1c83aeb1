"""Texts as they are compared: without differences of case, white space and compatible characters."""

import re
import unicodedata

_WORD = re.compile(r"\w+")


def normalised(text: str) -> str:
    """Compatible characters as one (Unicode's NFKC), case folded, and each run of white space as one space."""
    # Folding case can undo the normal form, and the other way round.
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def words_of(text: str) -> list[str]:
    """The words of the normalised text: runs of letters, digits and underscores. Punctuation is none.

    A run of a script that puts no spaces between its words is one word.
    """
    return _WORD.findall(normalised(text))
