"""What Python runs when it starts with this directory on its path: disturbs one of several training processes.

`DISTURB` is "RANK SIGNAL UPDATES": SIGKILL ends that process; SIGTERM is sent, as by a scheduler, to the job and to
every process of it, and twice to this one, which then waits for the job's answer.
"""

import os
import signal
import sys
import time
from pathlib import Path

rank, name, updates = os.environ["DISTURB"].split()
if os.environ.get("MODECOLLAPSE_WORKER") == rank:
    sys.path.insert(0, str(Path(__file__).parents[3]))
    import psutil

    from tests.workflow.train_job import after

    def signal_all() -> None:
        job = psutil.Process().parent()
        assert job is not None
        for process in (*job.children(), psutil.Process(), job):
            process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 60
        while not (Path(sys.argv[1]).parents[1] / "stop").exists() and time.monotonic() < end:
            time.sleep(0.01)

    after(int(updates), signal_all if name == "SIGTERM" else lambda: os.kill(os.getpid(), signal.Signals[name]))
