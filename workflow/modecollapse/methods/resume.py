"""Checkpoints of a running training: sealed when complete, so that a half-written one is never resumed from."""

import json
import logging
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from modecollapse.digests import sha256_directory
from modecollapse.publishing import publish_directory, publish_file

logger = logging.getLogger(__name__)

_SEAL = "complete.json"
_KIND = "kind"
_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_path(state: Path, step: int) -> Path:
    """Where the checkpoint after `step` updates is kept."""
    return state / f"checkpoint-{step}"


def seal(checkpoint: Path) -> None:
    """Declare `checkpoint` complete: its seal, written last, holds the SHA-256 of every other file in it."""
    files = sha256_directory(checkpoint)
    for name in files:  # older checkpoints go next: what this one holds must outlive a power cut
        with (checkpoint / name).open("rb") as file:
            os.fsync(file.fileno())
    with publish_file(checkpoint / _SEAL) as partial:
        partial.write_text(json.dumps(files, indent=1))


def is_complete(checkpoint: Path) -> bool:
    """Whether every byte of `checkpoint` is as it was sealed."""
    try:
        sealed = json.loads((checkpoint / _SEAL).read_text())
    except (OSError, ValueError):
        return False
    files = sha256_directory(checkpoint)
    files.pop(_SEAL)
    return files == sealed


def newest_complete(state: Path, before: float = math.inf, keep_older: bool = False) -> Path | None:
    """The complete checkpoint in `state` with the most updates, below `before`, or None.

    All others are removed, but those of fewer updates with `keep_older`.
    """
    newest = None
    for checkpoint in _checkpoints(state):
        if newest is None and checkpoint_step(checkpoint) < before and is_complete(checkpoint):
            newest = checkpoint
            logger.info("resuming after %d steps", checkpoint_step(checkpoint))
        elif newest is None or not keep_older:
            shutil.rmtree(checkpoint)
    return newest


def told_kept(state: Path, before: int) -> str:
    """A sentence on where the newest complete checkpoint of fewer than `before` updates is kept; removes newer ones."""
    kept = newest_complete(state, before, keep_older=True)
    return "No state was kept before that." if kept is None else f"The state of before that is kept in {kept}."


def remove_of_other_kind(state: Path, kind: str) -> None:
    """Remove checkpoints that were written by a training of another `kind`, which this one cannot read."""
    file = state / _KIND
    before = file.read_text() if file.exists() else kind
    if before != kind:
        for checkpoint in _checkpoints(state):
            logger.warning("%s was written by %s, and this is %s: it is of no use", checkpoint, before, kind)
            shutil.rmtree(checkpoint)
    with publish_file(file) as partial:
        partial.write_text(kind)


def keep_snapshot(snapshot: Path, write: Callable[[Path], None]) -> None:
    """Have `write` fill a directory and put it at `snapshot`, sealed, in one step; what stood there is replaced."""
    with publish_directory(snapshot) as partial:
        write(partial)
        seal(partial)


def remove_half_written(state: Path) -> None:
    """Remove what a kill in the middle of a snapshot left, which may be as large as a model."""
    for path in state.glob(".*"):
        shutil.rmtree(path, ignore_errors=True)


def take_snapshot(snapshot: Path, output: Path) -> None:
    """Put the files of a sealed snapshot into `output`; they are linked where possible, as weights are large."""
    for path in sorted(path for path in snapshot.rglob("*") if path.is_file() and path.name != _SEAL):
        target = output / path.relative_to(snapshot)
        target.parent.mkdir(exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, target)


def remove_older(checkpoint: Path) -> None:
    """Remove the checkpoints beside `checkpoint` that have fewer updates: the state never holds more than two."""
    for other in _checkpoints(checkpoint.parent):
        if checkpoint_step(other) < checkpoint_step(checkpoint):
            shutil.rmtree(other)


def checkpoint_step(checkpoint: Path) -> int:
    """The number of updates after which `checkpoint` was written."""
    match = _NAME.fullmatch(checkpoint.name)
    if match is None:
        raise ValueError(f"{checkpoint} is not a checkpoint")
    return int(match[1])


def _checkpoints(state: Path) -> list[Path]:
    """Directories named like checkpoints, newest first."""
    found = [path for path in state.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=checkpoint_step, reverse=True)
