"""How a training job is spread over processes and devices: a matter of machines, which no spec knows."""

import math
from dataclasses import dataclass
from typing import Literal

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
    return [range(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False)]
