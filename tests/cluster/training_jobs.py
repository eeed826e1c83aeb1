"""A training job on the test cluster that stops itself where a fault shall hit it."""

import re
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.cluster.conftest import ClusterProject, console
from tests.cluster.slurm_cluster import wait_for

_NOTES = "held"
# Nobody who looks from outside need be in time for a training of a second.
_HOLD = '''
"""Put into a copy of the package: a training stops itself, once, for as long as there is a directory for its note."""

import os
import signal
from pathlib import Path

held = False


def hold() -> None:
    global held
    if not held and Path("held").is_dir():
        held = True
        note = Path("held", f"{os.getpid()}.partial")
        note.write_text(" ".join((os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"])))
        note.rename(note.with_suffix(".note"))
        os.kill(os.getpid(), signal.SIGSTOP)
'''


@dataclass(frozen=True)
class TrainingJob:
    """The process that trains a model, in a job of Slurm."""

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


def hold_pretraining(project: ClusterProject) -> None:
    """Have each job that pretrains a model stop itself as soon as it has written a checkpoint: see `wait_for_held`."""
    (project.root / "workflow/modecollapse/methods/holding.py").write_text(_HOLD)
    loop = "workflow/modecollapse/methods/pretrain_loop.py"
    imported, saved = "from modecollapse.methods.model_files", "            clock.restart()\n"
    project.edit(loop, imported, f"from modecollapse.methods.holding import hold\n{imported}")
    project.edit(loop, saved, f"{saved}            hold()\n")
    (project.root / _NOTES).mkdir()


def hold_no_longer(project: ClusterProject) -> None:
    """Have no further job stop itself; one that has done so is still held."""
    (project.root / _NOTES).rmdir()


def wait_for_held(project: ClusterProject, snakemake: "subprocess.Popen[str]") -> TrainingJob:
    """The next training that has stopped itself; a run that ends before that fails at once, with what it has said."""
    found: list[TrainingJob] = []

    def look() -> bool:
        ended = snakemake.poll() is not None
        for note in (project.root / _NOTES).glob("*.note"):
            process = psutil.Process(int(note.stem))
            if process.status() == psutil.STATUS_STOPPED:
                found.append(TrainingJob(process, *note.read_text().split()))
                note.unlink()
        assert found or not ended, f"no training is held: {project.training_log()}\n{console(project).read_text()}"
        return bool(found)

    wait_for(look, 900, "a training with a checkpoint")
    return found[0]
