"""Patterns of file names, the same wherever files are fetched and wherever they are read."""

import fnmatch
import re
from collections.abc import Iterable, Sequence


def select(names: Iterable[str], pattern: str) -> list[str]:
    """Those of the relative paths `names` that `pattern` names, in their order.

    `*` and `?` stay within one directory, `**` stands for any number of directories, and `[…]` for one letter, as in a
    shell. Files whose names begin with a dot are matched only by patterns that begin with one. A file that is called
    exactly like the pattern is the only one that it names. Nothing outside is ever matched.
    """
    names = list(names)
    if pattern in names:
        return [pattern]
    if pattern.startswith("/"):
        return []
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    return [name for name in names if _matches(name.split("/"), parts)]


def _matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern or not name:
        return not name and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        deeper = not name[0].startswith(".") and _matches(name[1:], pattern)
        # At the end, all files below: there is no directory that would be named instead.
        return deeper or _matches(name, pattern[1:])
    hidden = name[0].startswith(".") and not pattern[0].startswith(".")
    return not hidden and _fits(name[0], pattern[0]) and _matches(name[1:], pattern[1:])


def _fits(name: str, pattern: str) -> bool:
    return re.match(fnmatch.translate(pattern), name) is not None
