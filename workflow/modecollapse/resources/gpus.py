"""Which GPUs of a machine without a scheduler a job computes on: those that no other job has taken.

Snakemake counts GPUs, but does not say which. A job takes each with a lock on a file, which ends with its process,
however that ends. A scheduler does the same by itself, so nothing is taken in its jobs.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from modecollapse import stopping
from modecollapse.errors import StudyError

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"

_LOOK_SECONDS = 1.0
_taken: list[FileLock] = []
"""Of this process; an object that is forgotten would give up its lock."""


def take_gpus(asked: int, machine: Mapping[str, object], environment: MutableMapping[str, str] = os.environ) -> None:
    """Make this process and its children see as many GPUs as its job asked for, none of them another job's.

    Waits while there are too few. To be called before CUDA is initialized, and not twice in a process.

    Args:
        asked: the job's `gpu`; with 0 nothing is taken.
        machine: the workflow's `machine` configuration: `gpus_per_node`, `accelerator` (with "cpu" no GPU is seen).
        environment: where CUDA_VISIBLE_DEVICES is set; if it is set already, only those GPUs are there to take.

    Raises:
        StudyError: the machine has fewer than that.
    """
    if machine.get("accelerator") == "cpu":
        environment[VISIBLE] = ""
        return
    if not asked:
        return
    job = environment.get("SLURM_JOB_ID")
    if job and len(_present(0, environment.get(VISIBLE, ""))) <= asked:
        return  # Slurm has chosen them; an allocation with more is shared by several jobs of Snakemake
    present = _present(int(str(machine.get("gpus_per_node", 0))), environment.get(VISIBLE))
    if asked > len(present):
        raise StudyError(
            f"gpu: the job asks for {asked}, but there are {len(present)} (machine.gpus_per_node"
            f"{f', {VISIBLE}={environment[VISIBLE]}' if VISIBLE in environment else ''}). State how many the machine "
            "has in the profile's machine.yaml, or ask for fewer with machine.training_gpus."
        )
    # Slurm numbers a job's GPUs from 0, so locks of several jobs are of different GPUs.
    directory = Path(environment.get("MODECOLLAPSE_GPU_LOCKS") or _shared_directory(), *([job] if job else []))
    directory.mkdir(parents=True, exist_ok=True)
    environment[VISIBLE] = ",".join(_take(asked, present, directory))
    logger.info("computing on GPU %s", environment[VISIBLE])


def require_gpus_or_exit(workflow: Any, gpus_per_node: int) -> None:
    """Before the first job of a run on this machine: end with status 1 if Snakemake's limit of GPUs is another number.

    Snakemake cuts what a job asks for down to the limit, without a word.
    """
    limit = getattr(workflow.global_resources.get("gpu"), "value", None)
    local = workflow.executor_plugin is None or workflow.executor_plugin.name == "local"
    if local and limit is not None and limit != gpus_per_node:
        print(
            f"\nresources: gpu={limit}, but machine.gpus_per_node is {gpus_per_node}: jobs are planned for as many as "
            "the machine has, and would be given fewer. Write the same number into both (in profiles/local-gpu: "
            "config.yaml and machine.yaml).\n\nNothing was started and nothing was changed.",
            file=sys.stderr,
        )
        sys.exit(1)


def _present(count: int, visible: str | None) -> list[str]:
    """The names of the GPUs that may be taken: numbers, or whatever CUDA_VISIBLE_DEVICES names them by."""
    if visible is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in visible.split(",") if name.strip()]


def _shared_directory() -> str:
    """The same for all runs of a user on this machine."""
    return os.path.join(tempfile.gettempdir(), f"modecollapse-gpus-{os.getuid()}")


def _take(asked: int, present: Sequence[str], directory: Path) -> list[str]:
    """Lock so many of the GPUs; all or none, so that no two jobs wait for each other."""
    waiting = False
    while True:
        locks = dict(_free(present, directory))
        if len(locks) >= asked:
            names = list(locks)[:asked]
            for name in list(locks)[asked:]:
                locks[name].release()
            _taken.extend(locks[name] for name in names)
            return names
        for lock in locks.values():
            lock.release()
        if not waiting:
            logger.warning("waiting for a GPU: all are taken by other jobs (%s)", directory)
            waiting = True
        stopping.check()
        # Of two that want several, one must come to hold them all.
        time.sleep(_LOOK_SECONDS * (1 + os.getpid() % 10 / 10))


def _free(present: Sequence[str], directory: Path) -> Iterator[tuple[str, FileLock]]:
    for name in present:
        lock = FileLock(directory / f"{name.replace('/', '_')}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        yield name, lock
