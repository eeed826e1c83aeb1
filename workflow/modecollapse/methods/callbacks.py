"""What happens between updates of a fine-tuning: progress, snapshots of epochs, requests to save or to stop.

Slow to import (transformers).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from modecollapse.methods.layout import Layout
from modecollapse.methods.progress import report
from modecollapse.methods.resume import keep_snapshot
from modecollapse.methods.saving import Request, SaveClock


class ProgressCallback(TrainerCallback):
    """A line in the log every tenth of the run, a point on the curve for the last update, and a stop at divergence."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step == state.max_steps:
            control.should_log = True
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "loss" in logs:
            report(state.global_step, state.max_steps, args.logging_steps, logs["loss"])


class EpochCallback(TrainerCallback):
    """Snapshots of the model where epochs end, each written before the Trainer saves its own state of that step.

    A checkpoint that is resumed from has thus all snapshots up to its step.
    """

    def __init__(self, snapshots: Mapping[int, Path], write: Callable[[Path], None], keeps: bool) -> None:
        """`snapshots`: update after which an epoch ends → where its model goes; `write(directory)` puts it.

        All processes call `write`; the one that `keeps` the snapshot has written it there.
        """
        self.snapshots, self.write, self.keeps = snapshots, write, keeps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step in self.snapshots:
            snapshot = self.snapshots[state.global_step]
            if self.keeps:
                keep_snapshot(snapshot, self.write)
            else:
                self.write(snapshot)
            control.should_log = True  # the epoch's part of the curves ends here
        return control


class StopCallback(TrainerCallback):
    """Has the state saved, and training end, at the next update after a request; all processes agree on it.

    Also has it saved where none was written for long, so that no more than so much time is lost to a kill.
    """

    def __init__(self, layout: Layout, asked: Callable[[], bool], save_at: int = 1) -> None:
        """`asked`: whether the first process, which decides for all, was asked to stop. The state can be saved after
        updates whose number `save_at` divides."""
        self.layout, self.asked, self.clock = layout, asked, SaveClock(layout.save_minutes)
        self.save_at = save_at
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step % self.save_at:
            return control
        request = Request.STOP if self.asked() else Request.SAVE if self.clock.is_due() else Request.NONE
        if self.layout.processes > 1:
            agreed = torch.tensor(int(request), device=args.device)
            torch.distributed.broadcast(agreed, src=0)
            request = Request(int(agreed.item()))
        if request is not Request.NONE and state.global_step < state.max_steps:
            control.should_save = True
            control.should_training_stop = self.stopped = request is Request.STOP
        return control

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.clock.restart()
