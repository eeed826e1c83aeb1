"""Training jobs on the test cluster, found among this machine's processes and held where a fault shall hit them."""

import re
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.slurm_cluster import wait_for


@dataclass(frozen=True)
class TrainingJob:
    """The process that trains a model, in a job of Slurm."""

    seed: int
    process: psutil.Process
    slurm_id: str
    node: str

    def seconds(self) -> float:
        """For how long it has been running."""
        return time.time() - self.process.create_time()

    def go_on(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.process.resume()

    def is_asked_to_stop(self) -> bool:
        """Whether SIGTERM has arrived: a held process has not seen it, unless Slurm made it go on and it has ended."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return True
        pending = re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.MULTILINE)
        return any(int(mask, 16) & 1 << (signal.SIGTERM - 1) for mask in pending)


def hold_at_first_checkpoint(project: Path, seeds: Collection[int]) -> list[TrainingJob]:
    """Wait for the trainings of the models of these seeds, and stop each as soon as it has something to resume from.

    So a fault hits it in the middle however fast the machine is.
    """
    held: dict[int, TrainingJob] = {}

    def hold() -> bool:
        for job in _training_jobs(project):
            if job.seed in seeds and job.seed not in held:
                job.process.suspend()
                held[job.seed] = job
        return len(held) == len(seeds)

    wait_for(hold, 240, f"a first checkpoint of each of the seeds {seeds}")
    return list(held.values())


def _training_jobs(project: Path) -> Iterator[TrainingJob]:
    """The jobs that train a model of this project and have a complete checkpoint."""
    for process in psutil.process_iter():
        try:
            if "train.py" not in " ".join(process.cmdline()) or process.cwd() != str(project):
                continue
            above = " ".join(part for parent in process.parents() for part in parent.cmdline())
            seed = re.search(r"train:size=\w+,seed=(\d+),", above)
            locks = [Path(file.path) for file in process.open_files() if "/locks/" in file.path]
            states = [project / "store/state" / lock.name[:2] / lock.name / "trainer" for lock in locks]
            if seed and any(next(state.glob("checkpoint-*/complete.json"), None) for state in states):
                environment = process.environ()
                yield TrainingJob(int(seed[1]), process, environment["SLURM_JOB_ID"], environment["SLURMD_NODENAME"])
        except (psutil.Error, OSError, KeyError):
            continue  # it has just ended
