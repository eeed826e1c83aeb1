"""Writes that the file system refuses: full, over quota, read-only. What is said about them, instead of a traceback."""

import errno
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)

_WHY = {
    errno.ENOSPC: "no space is left",
    errno.EDQUOT: "your quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
}

# Libraries that write by themselves raise errors of their own; the writer of torch's files only says that it failed.
_TOLD = {
    errno.ENOSPC: re.compile(
        r"No space left on device|os error 28\b|PytorchStreamWriter failed writing|inline_container.*unexpected pos"
    ),
    errno.EDQUOT: re.compile(r"Disk quota exceeded|os error 122\b"),
    errno.EROFS: re.compile(r"Read-only file system|os error 30\b"),
}


class RefusedWrite(OSError):
    """A write to a file or directory that was to be published, under its name: `write` itself knows no names, and a
    copy names its source."""

    needed: int | None = None
    """Bytes of what was to be published, if they are known."""


@contextmanager
def naming(path: Path, size: int | None = None) -> Iterator[None]:
    """Turn refused writes within into `RefusedWrite`s of `path`, whose size in bytes is `size` if it is known."""
    try:
        yield
    except OSError as error:
        permission = error.errno in (errno.EACCES, errno.EPERM) and _beside(error.filename, path)
        if error.errno not in (*FULL, errno.EROFS) and not permission:
            raise
        refused = RefusedWrite(error.errno, error.strerror, str(path))
        refused.needed = size
        raise refused from error


def _beside(name: str | bytes | int | None, path: Path) -> bool:
    """Whether a name is that of a directory around `path`, or of a file that is written in its place."""
    place = Path(os.fsdecode(name)) if isinstance(name, str | bytes) else Path()
    return place == path or place in path.parents or place.name.startswith(f".{path.name}.")


def refusal(error: BaseException, places: Mapping[str, Path]) -> str | None:
    """What to tell about an error if it, or what it comes from, is a refused write; None for any other.

    Args:
        error: what a job ended with.
        places: directories that a job writes to, by the key of the workflow's configuration that names them.
    """
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, RefusedWrite) or (isinstance(each, OSError) and each.errno in _TOLD and each.filename):
            return _message(each, Path(os.fsdecode(each.filename)), places)
    for each in chain:
        number = each.errno if isinstance(each, OSError) else _told(str(each))
        if number in _TOLD:
            systems = "; ".join(f"{key}: {_system(place)}" for key, place in places.items())
            return f"A file cannot be written: {_WHY[number]} ({systems}). {_advice(number, None)} [{each}]"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _told(text: str) -> int | None:
    return next((number for number, pattern in _TOLD.items() if pattern.search(text)), None)


def _message(error: OSError, path: Path, places: Mapping[str, Path]) -> str:
    assert error.errno is not None
    needed = getattr(error, "needed", None) if error.errno in FULL else None
    system = _system(path) + (f"; {_bytes(needed)} are needed" if needed else "")
    key = next((key for key, place in places.items() if _within(path, place)), None)
    return f"{path} cannot be written: {_WHY[error.errno]} ({system}). {_advice(error.errno, key)}"


def _advice(number: int, key: str | None) -> str:
    do = "Make room there" if number in FULL else "Make it writable"
    if key == "store" and number in FULL:
        do += " (`snakemake prune` makes the store smaller)"
    option = f"--config {key}=DIR" if key else "--config results=DIR or store=DIR"
    return f"{do}, or name another place with {option}, and run the same command again: what was finished is kept."


def _within(path: Path, directory: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(directory))


def _system(path: Path) -> str:
    """The file system of a path that need not exist: where it is mounted, and how full it is."""
    place = Path(os.path.abspath(path))
    while not place.exists() and place != place.parent:
        place = place.parent
    usage = shutil.disk_usage(place)
    while not place.is_mount() and place != place.parent:
        place = place.parent
    return f"the file system at {place} has {_bytes(usage.free)} free of {_bytes(usage.total)}"


def _bytes(number: float) -> str:
    if number < 1000:
        return f"{number:.0f} bytes"
    power = min(4, int(math.log10(number) // 3))
    return f"{number / 1000**power:.3g} {'kMGT'[power - 1]}B"
