"""This process among those of one training: how many there are, what they compute on, and what they agree on."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.methods.layout import Layout

_T = TypeVar("_T")

WORKER = "MODECOLLAPSE_WORKER"
"""The environment variable that says which of several processes this one is."""

STOP = "stop"
"""The file in the trainer's state by which the job asks its processes to stop."""


def computes_on(layout: Layout) -> Literal["cuda", "cpu"]:
    """What the processes of a job compute on.

    Raises:
        StudyError: the job was given GPUs, and torch sees fewer.
    """
    import torch

    if layout.accelerator == "cpu":
        return "cpu"
    seen = torch.cuda.device_count()
    if layout.accelerator == "cuda" and seen < layout.processes:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise StudyError(
            f"machine.accelerator: cuda, and this job has {layout.processes} processes with a GPU each, but torch "
            f"{torch.__version__} sees {seen} GPUs here (CUDA_VISIBLE_DEVICES: {visible}). Install a build of torch "
            "for this machine's GPUs, lower machine.training_gpus, or set machine.accelerator: cpu."
        )
    return "cuda" if seen >= layout.processes and torch.cuda.is_available() else "cpu"


def own_device(layout: Layout) -> str:
    """The device of this process, e.g. "cuda:1"."""
    device = computes_on(layout)
    return device if device == "cpu" else f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


def is_worker() -> bool:
    """Whether this process is one of several that train together."""
    return WORKER in os.environ


def check_size(layout: Layout, world_size: int) -> None:
    """Raises RuntimeError unless as many processes train together as were asked for; libraries just go on with one."""
    if world_size != layout.processes:
        raise RuntimeError(f"{world_size} processes train together, not {layout.processes}")


def asked_to_stop(state: Path) -> Callable[[], bool]:
    """What tells whether this training was asked to stop.

    One of several processes looks for a file: a scheduler may signal all of them, or the first, or the job alone.
    """
    return (state / STOP).exists if is_worker() else stopping.requested


def decided_by_first(decide: Callable[[], _T]) -> _T:
    """What `decide` returns in the first process, in every process; the others wait for it."""
    if not is_worker():
        return decide()
    import torch.distributed

    decision = [decide() if torch.distributed.get_rank() == 0 else None]
    torch.distributed.broadcast_object_list(decision, src=0)
    found: _T = decision[0]  # type: ignore[assignment]
    return found
