"""Being asked to stop: by a scheduler before the time limit, at preemption, or by a person.

The signal only sets a flag. Work asks for it where it can stop cheaply (between cells, chunks, updates), keeps what it
has, and raises `Stopped`; the next run of the same job goes on from there. A second signal ends the process at once.
"""

import logging
import os
import signal
from types import FrameType

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""SIGTERM comes from Slurm at preemption, at the limit and at scancel; SIGUSR1 is what some sites send before it."""

EXIT_STATUS = 75
"""Of a job that stopped on request: EX_TEMPFAIL of sysexits.h, try again later."""

_received: list[int] = []


class Stopped(Exception):
    """The job was asked to stop, has kept what it made, and is to be run again."""


def listen() -> None:
    """Take `SIGNALS` as requests from now on. To be called in the main thread."""
    for each in SIGNALS:
        signal.signal(each, _receive)


def requested() -> bool:
    """Whether this process was asked to stop."""
    return bool(_received)


def check() -> None:
    """Raise `Stopped` if this process was asked to stop."""
    if _received:
        raise Stopped(f"asked to stop by {signal.Signals(_received[0]).name}")


def _receive(number: int, frame: FrameType | None) -> None:
    if _received:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    _received.append(number)
    logger.warning("received %s: stopping as soon as what was made is kept", signal.Signals(number).name)
