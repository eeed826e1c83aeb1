"""Checkpoints of a PPO run: safetensors and JSON only. Slow to import (torch)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from modecollapse.methods.resume import (
    checkpoint_path,
    checkpoint_step,
    newest_complete,
    remove_half_written,
    remove_older,
    seal,
    told_kept,
)
from modecollapse.publishing import publish_directory


class Checkpoints:
    """The sealed states of a run: what is trained, its moments, weights to go back to, and whatever JSON can hold.

    A policy may prove to have diverged after its state was written. So the state before is kept until then.
    """

    def __init__(
        self, state: Path, trained: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> None:
        """`state`: their directory; `trained`: what `optimizer` trains, by name."""
        self._state, self._trained, self._optimizer = state, trained, optimizer
        remove_half_written(state)

    def write(self, step: int, good: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> None:
        """Write the state after `step` iterations, unless it is there; older ones are left.

        Args:
            step: iterations.
            good: weights to go back to, by name.
            progress: whatever JSON can hold.
        """
        path = checkpoint_path(self._state, step)
        if path.exists():
            return
        moments = {
            f"{name}:{key}": value
            for name, weight in self._trained.items()
            for key, value in self._optimizer.state[weight].items()
        }
        with publish_directory(path) as partial:
            weights = {name: weight.detach().contiguous() for name, weight in self._trained.items()}
            save_file(weights, partial / "trained.safetensors")
            save_file(moments, partial / "optimizer.safetensors")
            save_file(dict(good), partial / "good.safetensors")
            (partial / "progress.json").write_text(json.dumps(progress))
            seal(partial)

    def read_newest(self) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
        """Put weights and moments of the newest state where they were; returns `step`, `good` and `progress`."""
        checkpoint = newest_complete(self._state, keep_older=True)
        if checkpoint is None:
            return None
        device = str(next(iter(self._trained.values())).device)
        weights, moments, good = (
            load_file(checkpoint / f"{name}.safetensors", device=device) for name in ("trained", "optimizer", "good")
        )
        if weights.keys() != self._trained.keys():
            raise RuntimeError(f"the weights in {checkpoint} are not those of this run")
        with torch.no_grad():
            for name, weight in self._trained.items():
                weight.copy_(weights[name])
                prefix = f"{name}:"
                self._optimizer.state[weight] = {
                    key.removeprefix(prefix): value for key, value in moments.items() if key.startswith(prefix)
                }
        return checkpoint_step(checkpoint), good, json.loads((checkpoint / "progress.json").read_text())

    def confirm(self, step: int) -> None:
        """The policy after `step` iterations is a good one: its state, if it was written, replaces older ones."""
        if (here := checkpoint_path(self._state, step)).exists():
            remove_older(here)

    def told_kept(self, before: int) -> str:
        """As `resume.told_kept`."""
        return told_kept(self._state, before)
