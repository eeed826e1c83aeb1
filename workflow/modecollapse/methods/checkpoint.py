"""A finished checkpoint, taken over as it is: a local Hugging Face directory becomes a stage without training."""

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from modecollapse.errors import StudyError
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.model_files import TOKENIZER_FILES, copy_files, copy_tokenizer
from modecollapse.schema import Strict

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


class CheckpointSettings(Strict):
    """Weights that exist already, e.g. `lomahony/pythia-70m-helpful-sft` downloaded to a directory."""

    path: str = Field(min_length=1)
    """Local Hugging Face directory with safetensors weights and a tokenizer, relative to the working directory;
    `{size}` and `{seed}` are filled in. Without `{seed}` all seeds start from the same weights."""


def run(job: TrainingJob) -> TrainingRecord:
    """Copy weights, configuration and tokenizer from `job.parent` to `job.output`; nothing else is taken over.

    Raises:
        StudyError: no configuration, tokenizer or safetensors weights, damaged or incomplete weights, or a model that
            would need code from its repository.
    """
    assert job.parent is not None
    source = job.parent
    check_files(source)
    _check_architecture(source)
    for name in _weight_files(source):
        shutil.copyfile(source / name, job.output / name)
    copy_files(source, job.output, ("config.json", "generation_config.json", INDEX))
    copy_tokenizer(source, job.output)
    return TrainingRecord(steps=0, tokens=0)


def check_files(source: Path) -> None:
    """Check that a directory has what a checkpoint needs; of the weights only the headers are read.

    Raises:
        StudyError: no directory; no configuration, tokenizer or safetensors weights in it; incomplete weights; or a
            model that would need code from its repository.
    """
    if not source.is_dir():
        raise StudyError(f"{source}: there is no such directory. Name one with a complete Hugging Face model.")
    if not (source / "config.json").is_file():
        raise StudyError(f"{source} has no config.json. Name a complete Hugging Face model directory.")
    if not any((source / name).is_file() for name in TOKENIZER_FILES if name != "tokenizer_config.json"):
        raise StudyError(f"{source} has no tokenizer. Put its files (e.g. tokenizer.json) beside the weights.")
    if not any((source / name).is_file() for name in (INDEX, WEIGHTS)):
        raise StudyError(
            f"{source} has no {WEIGHTS} (nor {INDEX}). Only safetensors weights are read, since pickled ones "
            "can run code; convert them with `model.save_pretrained(directory)` where you trust them."
        )
    if "auto_map" in _read_json(source / "config.json"):
        raise StudyError(
            f"{source}/config.json asks for code of its own (auto_map), and no remote code is ever run. "
            "Use a model type that transformers knows, and remove auto_map."
        )
    _weight_files(source)


def context_of(source: Path) -> int | None:
    """Positions that a checkpoint knows, as far as its configuration says so."""
    positions = _read_json(source / "config.json").get("max_position_embeddings")
    return positions if isinstance(positions, int) and not isinstance(positions, bool) else None


def files_taken_over(source: Path) -> list[Path]:
    """The files of a checkpoint's directory that decide the stage: weights, configuration, tokenizer."""
    names = ("config.json", "generation_config.json", INDEX, *TOKENIZER_FILES)
    return sorted([*source.glob("*.safetensors"), *(source / name for name in names if (source / name).is_file())])


def _check_architecture(source: Path) -> None:
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(f"{source}/config.json is not a configuration that transformers knows: {error}") from error


def _weight_files(source: Path) -> list[str]:
    """Names of the weight files, after every tensor that is expected was found in them."""
    if (source / INDEX).is_file():
        weight_map = _read_json(source / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise StudyError(f"{source}/{INDEX} has no weight_map. Download the checkpoint again.")
    else:
        weight_map = dict.fromkeys(_tensors(source / WEIGHTS), WEIGHTS)
    names = sorted(set(weight_map.values()))
    for name in names:
        if Path(name).name != name:
            raise StudyError(f"{source}/{INDEX} names {name!r}, which is not a file beside it.")
        missing = {tensor for tensor, file in weight_map.items() if file == name} - _tensors(source / name)
        if missing:
            raise StudyError(f"{source}/{name} lacks {min(missing)}. Download the checkpoint again.")
    return names


def _tensors(path: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Download the checkpoint again.") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Name a complete Hugging Face model directory.") from error
    if not isinstance(value, dict):
        raise StudyError(f"{path} holds {type(value).__name__}, not an object. Download the checkpoint again.")
    return value


METHOD = Method(
    name="checkpoint",
    revision=1,
    settings=CheckpointSettings,
    run=run,
    needs_parent=False,
    data_columns=(),
    modules=("methods.checkpoint", "methods.model_files"),
    libraries=("transformers:AutoConfig",),
)
