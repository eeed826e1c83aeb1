"""When a training saves its state out of turn: on a request to stop, and after long without a checkpoint."""

import time
from collections.abc import Callable
from enum import IntEnum


class Request(IntEnum):
    """What is to be done after the present update."""

    NONE = 0
    SAVE = 1
    STOP = 2


class SaveClock:
    """How long ago the state was saved."""

    def __init__(self, minutes: float, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = minutes * 60, now
        self.restart()

    def restart(self) -> None:
        """The state was saved just now."""
        self._saved = self._now()

    def is_due(self) -> bool:
        """Whether the last save is longer ago than it may be."""
        return self._now() - self._saved >= self._seconds
