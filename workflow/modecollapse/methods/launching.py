"""Running a method: in this process, or in several that train together on this machine.

Processes find each other as under `torchrun`: by its environment variables, and its store, which this process keeps.
Its own agent is not used: it ends workers 30 s after a signal, which may be sooner than a checkpoint of tens of
gigabytes is written.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.methods import worker
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.job_files import read_record, write_job
from modecollapse.methods.processes import STOP, WORKER, computes_on

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0
"""How long the others may go on after one has failed: they may be about to say why, too."""
_LINES = 20


def run(method: Method, job: TrainingJob) -> TrainingRecord:
    """Run `job`, in as many processes as its layout says.

    Raises:
        StudyError: the method has no use for several processes, there are fewer GPUs than processes, a process found
            something wrong with the job, or one of them failed; then with the last lines that it wrote.
        Stopped: this process was asked to stop (`stopping`), and the state is kept.
    """
    if job.layout.processes == 1 and not job.layout.zero_stage:
        if method.trains:
            computes_on(job.layout)  # for its error
        return method.run(job)
    if not method.several_processes:
        raise StudyError(
            f"The method {method.name} trains in one process, and this job was given {job.layout.processes}. "
            "Set machine.training_gpus: 1 for its models."
        )
    directory = job.state / "processes"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    (job.state / STOP).unlink(missing_ok=True)
    described = directory / "job.json"
    write_job(method, job, described)
    device = computes_on(job.layout)
    logger.info("%d processes on %s, ZeRO stage %d", job.layout.processes, device, job.layout.zero_stage)
    with _started(job, described, device) as started:
        _wait(started, job.state / STOP, directory)
    if (directory / worker.STOPPED).exists():
        raise stopping.Stopped(json.loads((directory / worker.STOPPED).read_text()))
    return read_record(directory / worker.RECORD)


@contextmanager
def _started(job: TrainingJob, described: Path, device: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """The processes, with their output in files beside `described`; none outlives the block."""
    from torch.distributed import TCPStore

    # As it is here that the processes meet, no other program can take the port in the meantime.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = []
    try:
        for rank in range(job.layout.processes):
            environment = _environment(job, rank, store.port, device)
            with _log(described.parent, rank).open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [sys.executable, "-m", worker.__name__, described],
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                )
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()


def _environment(job: TrainingJob, rank: int, port: int, device: str) -> dict[str, str]:
    package = str(Path(worker.__file__).parents[2])
    number = str(job.layout.processes)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(job.threads))
    environment = {
        **os.environ,
        **threads,
        WORKER: str(rank),
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": number,
        "LOCAL_WORLD_SIZE": number,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        # What DeepSpeed would compile goes with the trainer's state; nothing does with our configuration.
        "TORCH_EXTENSIONS_DIR": str(job.state / "extensions"),
    }
    if device == "cpu":
        environment |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo"}
    return environment


def _log(directory: Path, rank: int) -> Path:
    return directory / f"{rank}.log"


def _wait(started: "Sequence[subprocess.Popen[bytes]]", stop: Path, directory: Path) -> None:
    """Wait until all processes have ended well; pass their log on, and a request to stop to them."""
    first, failed_at = None, 0.0
    with _log(directory, 0).open(errors="replace") as log:
        while True:
            codes = [process.poll() for process in started]
            _relay(log)
            if all(code == 0 for code in codes):
                return
            failed = [rank for rank, code in enumerate(codes) if code]
            if failed:
                if first is None:
                    # One that was killed takes the others with it.
                    first, failed_at = min(failed, key=lambda rank: codes[rank] != -signal.SIGKILL), time.monotonic()
                refused = sorted(directory.glob(f"*-{worker.REFUSED}"))
                if refused:
                    raise StudyError(json.loads(refused[0].read_text()))
                if all(code is not None for code in codes) or time.monotonic() > failed_at + _GRACE_SECONDS:
                    raise StudyError(_failure(first, codes[first] or 0, len(codes), directory))
            if stopping.requested() and not stop.exists():
                stop.touch()
            time.sleep(_POLL_SECONDS)


def _failure(rank: int, code: int, processes: int, directory: Path) -> str:
    with _log(directory, rank).open(errors="replace") as log:
        lines = "".join(deque(log, _LINES)).rstrip()
    what = f"ended with status {code}"
    if code < 0:
        what = f"was killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            what += " (as the system does where memory runs out)"
    return (
        f"Process {rank} of {processes} of the training {what}. Run the same command again: it goes on from the last "
        f"saved state. The last lines of the process:\n{lines}"
    )


def _relay(log: TextIO) -> None:
    for line in log.readlines():
        if line.startswith(("INFO modecollapse", "WARNING modecollapse")):
            logger.info("process 0: %s", line.split(": ", 1)[1].rstrip())
