"""How a training job is spread over processes and devices: a matter of machines, which no spec knows."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modecollapse.errors import StudyError

ZeroStage = Literal[0, 2, 3]
Accelerator = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True)
class Layout:
    """The processes of one training job on one node; the global batch is the same under every layout.

    Losses under two layouts agree up to rounding: sums are added in another order.
    """

    processes: int = 1
    """One per GPU; on a machine without GPUs, processes that talk through gloo."""
    zero_stage: ZeroStage = 0
    """What DeepSpeed shards over the processes: 0 nothing (plain data parallelism), 2 gradients and optimizer state, 3
    weights as well."""
    micro_batch: int | None = None
    """Examples that go through the model together in one process; None for the whole share of the batch. The launcher
    derives the accumulation steps."""
    accelerator: Accelerator = "auto"
    """What the processes compute on; "auto" is a GPU if there is one."""
    save_minutes: float = 30.0
    """After so many minutes without a checkpoint one is written beside those that a study's `save_every` asks for."""

    @classmethod
    def of(cls, resources: Mapping[str, Any], machine: Mapping[str, Any]) -> "Layout":
        """The layout of a job with these resources of its rule (`gpu`, `zero_stage`, `micro_batch`; those that are
        absent are not asked for), on a machine that is configured so (`accelerator`, `save_minutes`).

        A job that was given no GPU trains in one process, on whatever there is.

        Raises:
            StudyError: it was planned for several GPUs and given fewer.
        """
        gpus = int(resources.get("gpu") or 0)
        stage = int(resources.get("zero_stage") or 0)
        if stage and gpus < 2:
            raise StudyError(
                f"zero_stage: {stage}: the job was planned for several GPUs and was given {gpus}. Allowed: as many as "
                "planned. Say with machine.gpus_per_node how many there are, and do not bound them by --resources gpu."
            )
        micro_batch = int(resources.get("micro_batch") or 0)
        return cls(
            processes=max(1, gpus),
            zero_stage=2 if stage == 2 else 3 if stage == 3 else 0,
            micro_batch=micro_batch or None,
            accelerator="auto" if not gpus else "cpu" if machine.get("accelerator") == "cpu" else "cuda",
            save_minutes=float(machine.get("save_minutes") or cls.save_minutes),
        )

    @property
    def kind_of_state(self) -> str:
        """What a checkpoint's readers have in common with its writers: shards are read by as many processes."""
        return f"{self.processes} processes with ZeRO stage {self.zero_stage}" if self.zero_stage else "plain training"

    def accumulation(self, batch_size: int) -> int:
        """Passes through the model that every process makes for one update of `batch_size` examples."""
        share = math.ceil(batch_size / self.processes)
        return math.ceil(share / min(self.micro_batch or share, share))

    def is_whole(self, batch_size: int) -> bool:
        """Whether one process takes the batch in one pass."""
        return self.processes == 1 and self.accumulation(batch_size) == 1


def shares(update: range, processes: int, accumulation: int) -> list[list[range]]:
    """The places of one update, by process and pass: every place once, sizes as equal as possible.

    Every process makes the same number of passes, also for the last update, so that all of them wait for each other
    equally often; where there are fewer examples than passes, some ranges are empty.
    """
    return [_split(part, accumulation) for part in _split(update, processes)]


def _split(places: range, parts: int) -> list[range]:
    bounds = [places.start + len(places) * part // parts for part in range(parts + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(bounds)]
