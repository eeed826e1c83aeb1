"""Study files for tests: the smoke study as a value, and a small one of one checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

from modecollapse.study import Study, parse_study

CONFIG = Path(__file__).parents[1] / "config"


SMOKE = CONFIG / "studies" / "nano-smoke.yaml"


def parse(content: dict[str, Any]) -> Study:
    return parse_study(content, "smoke", SMOKE, CONFIG, Path("results"))


def put(*path_and_value: Any) -> Callable[[dict[str, Any]], None]:
    *path, last, value = path_and_value

    def change(content: dict[str, Any]) -> None:
        for key in path:
            content = content.setdefault(key, {})
        content[last] = value

    return change


def own_study(directory: Path, **changes: Any) -> Path:
    """A small study of one checkpoint, in a file of its own."""
    content = {
        "title": "One checkpoint",
        "models": {"tiny": {}},
        "stages": {"base": {"method": "checkpoint", "source": {"path": str(directory / "{size}")}}},
        "prompts": {"factual": "prompts/nano-factual.yaml"},
        "generation": {"temperatures": [1.0]},
        **changes,
    }
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def write_checkpoint(directory: Path, positions: int = 2048) -> None:
    """What looks like a complete checkpoint until its weights are used."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    (directory / "tokenizer.json").write_text("{}")
    save_file({"weight": np.zeros(3)}, directory / "model.safetensors")
