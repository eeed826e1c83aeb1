"""Showing how far a long job is: a bar on a terminal, now and then a line in a log."""

import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[int, int], None]
"""Called with (done, total), `done` never falling; the last call has done == total."""

logger = logging.getLogger(__name__)

_BAR_WIDTH = 30


def silent(done: int, total: int) -> None:
    """Show nothing."""


def reporter(label: str, stream: TextIO | None = None, seconds: float = 10.0) -> Progress:
    """A callback that shows the progress of `label`.

    On a terminal (`stream`, by default standard error) a bar is redrawn in place; elsewhere the module's logger gets a
    line at most every `seconds`, and one at the end.
    """
    stream = stream or sys.stderr
    started = time.monotonic()
    last = started

    def bar(done: int, total: int) -> None:
        filled = _BAR_WIDTH * done // max(total, 1)
        end = "\n" if done >= total else ""
        stream.write(f"\r{label} [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {_state(done, total, started)}{end}")
        stream.flush()

    def line(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= seconds:
            last = now
            logger.info("%s: %s", label, _state(done, total, started))

    return bar if stream.isatty() else line


def _state(done: int, total: int, started: float) -> str:
    elapsed = time.monotonic() - started
    left = f", about {elapsed / done * (total - done):.0f} s left" if 0 < done < total else ""
    return f"{done}/{total}, {elapsed:.0f} s{left}"
