"""The learning rate over a run, the same for every method."""

import math
from typing import Literal

ScheduleName = Literal["constant", "cosine"]

FINAL_SHARE = 0.1
"""Share of the peak at which a cosine schedule ends (as for Pythia)."""


def learning_rate_share(step: int, steps: int, warmup: int, schedule: ScheduleName) -> float:
    """The share of the peak learning rate that update number `step` (from 0) of `steps` uses.

    Linear warm-up over the first `warmup` updates, of which the first already moves, as in the authors' DPO code;
    then constant, or half a cosine down to `FINAL_SHARE`.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
