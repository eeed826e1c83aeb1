"""Runs a command that ends with this process's parent, however that ends. Started as a script, by any Python.

`python guard.py COMMAND …`, in a session of its own and with a pipe from the parent as standard input. Nothing is ever
written to the pipe: its end comes when the parent closes it, or dies, by SIGKILL too. Then the whole process group
goes, what the command has started in it included. Signals that a scheduler sends to every process of a job are left to
the parent, which knows what has to be kept first.
"""

import os
import select
import signal
import subprocess
import sys

_POLL_SECONDS = 0.2


def main(command: list[str]) -> int:
    """Run `command` until it ends, or until standard input does."""
    for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, lambda number, frame: None)  # not SIG_IGN, which the command would inherit
    # The pipe must not reach the command: whoever else held it would keep it open.
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    while process.poll() is None:
        if select.select([0], [], [], _POLL_SECONDS)[0] and not os.read(0, 1):
            os.killpg(0, signal.SIGKILL)
    code = process.returncode
    return code if code >= 0 else 128 - code  # as a shell says it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
