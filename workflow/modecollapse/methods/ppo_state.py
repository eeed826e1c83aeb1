"""Checkpoints of a PPO run: safetensors and JSON only. Slow to import (torch)."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from modecollapse.methods.resume import checkpoint_path, seal
from modecollapse.publishing import publish_directory


def write_state(
    state: Path,
    step: int,
    trained: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    good: Mapping[str, torch.Tensor],
    progress: Mapping[str, Any],
) -> None:
    """Write a sealed checkpoint after `step` iterations.

    Args:
        state: the directory of checkpoints.
        step: iterations.
        trained: what `optimizer` trains, by name.
        optimizer: with moments for all of it, or none.
        good: weights to go back to, by name.
        progress: whatever JSON can hold.
    """
    moments = {
        f"{name}:{key}": value for name, weight in trained.items() for key, value in optimizer.state[weight].items()
    }
    with publish_directory(checkpoint_path(state, step)) as partial:
        weights = {name: weight.detach().contiguous() for name, weight in trained.items()}
        save_file(weights, partial / "trained.safetensors")
        save_file(moments, partial / "optimizer.safetensors")
        save_file(dict(good), partial / "good.safetensors")
        (partial / "progress.json").write_text(json.dumps(progress))
        seal(partial)


def read_state(
    checkpoint: Path, trained: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Put weights and moments of a checkpoint where they were; returns `good` and `progress` (see `write_state`)."""
    device = str(next(iter(trained.values())).device)
    weights, moments, good = (
        load_file(checkpoint / f"{name}.safetensors", device=device) for name in ("trained", "optimizer", "good")
    )
    if weights.keys() != trained.keys():
        raise RuntimeError(f"the weights in {checkpoint} are not those of this run")
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(weights[name])
            prefix = f"{name}:"
            optimizer.state[weight] = {
                key.removeprefix(prefix): value for key, value in moments.items() if key.startswith(prefix)
            }
    return good, json.loads((checkpoint / "progress.json").read_text())
