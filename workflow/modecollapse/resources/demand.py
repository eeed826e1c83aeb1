"""What one job asks for."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modecollapse.methods.layout import Layout
from modecollapse.resources.machine import Machine
from modecollapse.resources.training import (
    GB,
)

if TYPE_CHECKING:
    pass

PROCESS = 1.2 * GB
"""Resident memory of a process that has imported torch, transformers and TRL."""
CUDA_PROCESS = 3.0 * GB
"""The same with CUDA's libraries and pinned buffers."""
ANALYSIS = 0.5 * GB
"""Resident memory of a process of the analysis."""

START = 30.0
"""Seconds from the submission's beginning to the work's: two starts of Snakemake, and imports."""
PROCESS_START = 30.0
"""Seconds until several processes have found each other."""


@dataclass(frozen=True)
class Demand:
    """What one job needs: upper bounds of memory, expected values of the rest."""

    memory: float
    """Main memory of all its processes, in bytes."""
    seconds: float
    disk: float = 0.0
    """Bytes that it writes and that stay: its outputs and what the store keeps of them, hard links counted once."""
    temporary: float = 0.0
    """Bytes that exist until it has ended: the trainer's state."""
    gpus: int = 0
    device: float = 0.0
    """Memory of each GPU, in bytes."""
    layout: Layout | None = None
    cores: int = 1
    resumes: bool = False
    """Whether a job that ran into its time limit goes on from there, so that a limit may be shorter than it."""

    def mem_mb(self, attempt: int, machine: Machine) -> int:
        """Main memory to ask for, half as much again with each further attempt, at most that of a node."""
        asked = math.ceil(self.memory / 1e8) * 100 * (1 + attempt) // 2
        return asked if machine.node_memory_gb is None else min(asked, int(machine.node_memory_gb * 1000))

    def minutes(self, attempt: int) -> int:
        """Time to ask for: twice what is expected and ten minutes, and as much again with each further attempt."""
        return math.ceil((2 * self.seconds + 600) / 60) * attempt

    def disk_mb(self) -> int:
        """Disk to have free, trainer state included."""
        return math.ceil((self.disk + self.temporary) / 1e6) + 100
