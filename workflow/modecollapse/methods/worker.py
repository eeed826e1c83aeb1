"""One of several processes of a training: ``python -m modecollapse.methods.worker JOB.json``, started by `launching`.

Signals are the launcher's business: a scheduler may send them to the job alone or to every process of it, once or
twice. This process goes on until it finds the launcher's request (`processes.STOP`), and dies with the launcher.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.methods.job_files import read_job, write_record

STOPPED = "stopped.json"
REFUSED = "refused.json"
RECORD = "record.json"
"""What the first process writes beside the job's file: one of these three, or nothing if it failed."""

_LOOKS_PER_SECOND = 4


def main(path: Path) -> None:
    """Take part in the training that is described at `path`."""
    for each in (*stopping.SIGNALS, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(asctime)s %(message)s")
    logging.captureWarnings(True)
    method, job = read_job(path)
    first = os.environ["RANK"] == "0"
    try:
        record = method.run(job)
    except stopping.Stopped as stop:
        if first:
            (path.parent / STOPPED).write_text(json.dumps(str(stop)))
    except StudyError as error:
        # Whichever process finds it: others may find nothing.
        (path.parent / f"{os.environ['RANK']}-{REFUSED}").write_text(json.dumps(str(error)))
        sys.exit(1)
    else:
        if first:
            write_record(record, path.parent / RECORD)
    _leave()


def _die_with(parent: int) -> None:
    """End this process when its parent is gone: it would go on writing what the next run of the job reads."""
    while os.getppid() == parent:
        time.sleep(1 / _LOOKS_PER_SECOND)
    os.kill(os.getpid(), signal.SIGKILL)


def _leave() -> None:
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
