"""How a training job is spread over processes and devices: a matter of machines, which no spec knows."""

from dataclasses import dataclass
from typing import Literal

ZeroStage = Literal[0, 2, 3]


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
