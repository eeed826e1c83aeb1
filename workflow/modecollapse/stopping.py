"""Being asked to stop: by a scheduler before the time limit, at preemption, or by a person.

Work that has something to keep asks for the signal where it can stop cheaply (between cells, chunks, updates), keeps
what it has, and raises `Stopped`; the next run of the same job goes on from there. Work whose finished parts are kept
already is ended where it is. A signal that comes again ends the process at once.
"""

import logging
import os
import signal
import time
from types import FrameType

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""SIGTERM comes from Slurm at preemption, at the limit and at scancel; SIGUSR1 is what some sites send before it;
SIGINT is Ctrl-C."""

EXIT_STATUS = 75
"""Of a job that stopped on request: EX_TEMPFAIL of sysexits.h, try again later."""

ONE_REQUEST_SECONDS = 5.0
"""A signal that comes again sooner is the same request: a job under Slurm gets it from `slurmstepd` and from `srun`."""

_received: dict[int, float] = {}
"""Signal → when it came first."""
_at_once = False


class Stopped(BaseException):
    """The job was asked to stop, has kept what it made, and is to be run again.

    No `Exception`, as `KeyboardInterrupt` is none: a library's handler of errors must not take it for one.
    """


def listen(at_once: bool = False) -> None:
    """Take `SIGNALS` as requests from now on. To be called in the main thread.

    Args:
        at_once: raise `Stopped` wherever the main thread is; otherwise only `requested` and `check` tell.
    """
    global _at_once
    _at_once = at_once
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as Ctrl-C is in a background process of a shell
            signal.signal(each, _receive)


def requested() -> bool:
    """Whether this process was asked to stop."""
    return bool(_received)


def check() -> None:
    """Raise `Stopped` if this process was asked to stop."""
    for number in _received:
        raise Stopped(f"stopped by {signal.Signals(number).name}")


def _receive(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    first = _received.setdefault(number, now)
    if first != now:
        # Another signal is no impatience: some sites send SIGUSR1 some time before SIGTERM.
        if now - first >= ONE_REQUEST_SECONDS or number == signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        return
    logger.warning("received %s: stopping as soon as what was made is kept", signal.Signals(number).name)
    if _at_once and len(_received) == 1:
        check()
