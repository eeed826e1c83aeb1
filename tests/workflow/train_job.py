"""Run one training job, described by a JSON file, and kill or stop it after a given number of updates.

With several processes, `worker_hook` does this to one of them.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def after(updates: int, act: Callable[[], None]) -> None:
    """Have `act` called as soon as this process has made `updates` optimizer steps."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    count = 0

    def hook(*_: Any) -> None:
        nonlocal count
        count += 1
        if count == updates:
            act()

    register_optimizer_step_post_hook(hook)


def send(number: signal.Signals) -> Callable[[], None]:
    """What sends a signal to this process."""
    return lambda: os.kill(os.getpid(), number)


def main(path: Path, number: signal.Signals, updates: int) -> None:
    """Run the job at `path`, and send it this signal after so many updates, if any."""
    from modecollapse import stopping
    from modecollapse.methods import launching
    from modecollapse.methods.job_files import read_job

    stopping.listen()
    method, job = read_job(path)
    if updates:
        after(updates, send(number))
    try:
        launching.run(method, job)
    except stopping.Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stopping.EXIT_STATUS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), signal.Signals[sys.argv[2]], int(sys.argv[3]))
