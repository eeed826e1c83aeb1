"""Repositories and studies for the tests of `download`."""

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save

from modecollapse.hub import lock_path, read_lock
from modecollapse.study import Study, parse_study

CONFIG = Path(__file__).parents[1] / "config"


NAME = "someone/tiny-model"


def tensors(value: float = 0.0) -> bytes:
    """A safetensors file with one tensor."""
    return save({"a": np.array([value])})


def gguf(architecture: str = "llama") -> bytes:
    """The beginning of a GGUF file, as far as it is read before a job starts."""
    key, name = b"general.architecture", architecture.encode()
    lengths = struct.pack("<Q", len(key)), struct.pack("<IQ", 8, len(name))
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + lengths[0] + key + lengths[1] + name


MODEL = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "README.md": b"# Tiny",
    "model.safetensors": tensors(),
    "pytorch_model.bin": b"pickle",
    "tf_model.h5": b"other",
    "flax_model.msgpack": b"other",
    "onnx/model.onnx": b"other",
}


OLD, NEW = "a" * 40, "b" * 40


def study_of(directory: Path, source: dict[str, Any] | None = None, **stages: Any) -> Study:
    content = {
        "title": "One checkpoint",
        "models": {"tiny": {}},
        "stages": {"base": {"method": "checkpoint", "source": source or {"hub": NAME}}, **stages},
        "prompts": {"factual": "prompts/nano-factual.yaml"},
        "generation": {"temperatures": [1.0]},
    }
    directory.mkdir(exist_ok=True)
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump(content))
    return parse_study(content, "own", file, CONFIG, directory / "results")


def again(study: Study) -> Study:
    """The study as the next command reads it."""
    return replace(study, lock=read_lock(lock_path(study.file)))


def rows(name: str) -> bytes:
    return "".join(f'{{"text": "{name} {number}"}}\n' for number in range(10)).encode()


PARTS = {f"data/train-{part:05}-of-00003.jsonl": rows(str(part)) for part in range(3)}


def data_study(directory: Path, **data: Any) -> Study:
    """A study of a data set of the hub, and of a local model."""
    study = study_of(directory, {"path": "somewhere"})
    content = yaml.safe_load(study.file.read_text())
    content |= {"data": {"texts": {"source": {"hub": NAME}, **data}}, "measures": {"tokens": {"data": "texts"}}}
    study.file.write_text(yaml.safe_dump(content))
    return again(parse_study(content, "own", study.file, CONFIG, directory / "results"))
