"""The weight files of a Hugging Face directory: finding them, checking them, and turning pickled ones into safetensors.

safetensors are preferred. Pickled weights (`pytorch_model*.bin`) are read only by torch's restricted unpickler, which
builds tensors and calls nothing else, and are written as safetensors at once.
"""

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modecollapse.digests import sha256_file
from modecollapse.errors import StudyError
from modecollapse.methods.model_files import TOKENIZER_FILES

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin"
PICKLED_INDEX = "pytorch_model.bin.index.json"
LAYOUTS = ((INDEX, True), (WEIGHTS, False), (PICKLED_INDEX, True), (PICKLED, False))
"""File that says where the weights are, and whether it is an index of shards; the first one that exists counts."""

CONFIGURATION = ("config.json", "generation_config.json")


@dataclass(frozen=True)
class WeightFiles:
    """Where the tensors of a model are."""

    directory: Path
    leading: str
    """The index, or the only file."""
    shards: tuple[str, ...]
    tensors: Mapping[str, str]
    """Tensor → the shard that holds it; empty for a single pickled file, which nobody has opened yet."""

    @property
    def pickled(self) -> bool:
        """Whether the weights are pickled."""
        return self.leading in (PICKLED, PICKLED_INDEX)


def find_weights(directory: Path) -> WeightFiles:
    """The weight files of a directory, after checking that none is missing; of safetensors the headers are read.

    Raises:
        StudyError: there are none, some of them are missing, or safetensors are damaged or incomplete.
    """
    leading, is_index = next((layout for layout in LAYOUTS if (directory / layout[0]).is_file()), ("", False))
    if not leading:
        raise StudyError(
            f"{directory} has no weights: none of {', '.join(name for name, _ in LAYOUTS)}. "
            "Name a complete Hugging Face model directory, or download the checkpoint again."
        )
    if is_index:
        tensors = _weight_map(directory / leading)
    else:
        tensors = dict.fromkeys(tensor_names(directory / leading), leading) if leading == WEIGHTS else {}
    files = WeightFiles(directory, leading, tuple(sorted(set(tensors.values()))) or (leading,), tensors)
    for shard in files.shards:
        _check_shard(files, shard)
    return files


def shards_of(index: Path) -> list[str]:
    """The names of the files that an index of shards lists.

    Raises:
        StudyError: it is no index, or lists something that is not a file beside it.
    """
    return sorted(set(_weight_map(index).values()))


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise StudyError(f"{index} has no weight_map. Download the checkpoint again.")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise StudyError(f"{index} names {name!r}, which is not a file beside it. Download the checkpoint again.")
    return weight_map


def _check_shard(files: WeightFiles, shard: str) -> None:
    path = files.directory / shard
    if files.pickled:
        if not path.is_file():
            raise StudyError(f"{path} cannot be read: it is missing. Download the checkpoint again.")
        check_pointer(path)
        return
    expected = {tensor for tensor, file in files.tensors.items() if file == shard}
    if missing := expected - tensor_names(path):
        raise StudyError(f"{path} lacks {min(missing)}. Download the checkpoint again.")


_POINTER = b"version https://git-lfs"


def check_pointer(path: Path) -> None:
    """Check that a large file is not the note that git leaves in its place where git-lfs is not installed.

    Raises:
        StudyError: it is.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_POINTER))
    except OSError:
        return  # whoever reads it says more
    if head == _POINTER:
        raise StudyError(
            f"{path} is only a pointer of git-lfs: the repository was cloned without its large files. Run `git lfs "
            "pull` there, or download the files otherwise."
        )


def tensor_names(path: Path) -> set[str]:
    """The names of the tensors in a safetensors file, from its header; data that is cut off is an error too.

    Raises:
        StudyError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    check_pointer(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Download the checkpoint again.") from error


def check_embeddings(files: WeightFiles) -> None:
    """Check that embeddings and output layer have a row for each token that config.json speaks of; headers are read.

    Pickled weights have no header that could be read without unpickling them: a mismatch there is found on loading.

    Raises:
        StudyError: they have more or fewer rows.
    """
    from safetensors import safe_open

    known = read_json(files.directory / "config.json").get("vocab_size")
    if files.pickled or not isinstance(known, int):
        return
    for tensor, shard in sorted(files.tensors.items()):
        if not f".{tensor}".endswith(_BY_TOKEN):
            continue
        with safe_open(files.directory / shard, framework="numpy") as file:
            shape = file.get_slice(tensor).get_shape()
        if len(shape) == 2 and shape[0] != known:
            raise StudyError(
                f"{files.directory}/config.json: vocab_size: found {known}, but {tensor} in {shard} has {shape[0]} "
                f"rows. Use the config.json that belongs to the weights."
            )


_BY_TOKEN = tuple(
    f".{name}.weight" for name in ("embed_in", "embed_tokens", "wte", "word_embeddings", "embed_out", "lm_head")
)
"""Endings of the names of tensors with one row per token, in the families of models that are common."""


def check_blobs(directory: Path, names: tuple[str, ...]) -> None:
    """Check large files of the hub's cache: their blobs are called by their SHA-256 (small ones by another digest).

    Raises:
        StudyError: a file is not what was downloaded.
    """
    for name in names:
        blob = (directory / name).resolve()
        if len(blob.name) == 64 and blob.parent.name == "blobs" and sha256_file(blob) != blob.name:
            raise StudyError(
                f"{directory / name} is damaged: its SHA-256 is not the one that the hub gave. "
                f"Delete {blob} and run the target `download` again."
            )


def take_over(files: WeightFiles, output: Path, link: bool) -> None:
    """Write the weights as safetensors to the directory `output`.

    Args:
        files: what to take over.
        output: an existing directory.
        link: hard-link safetensors instead of copying them where that is possible. Linked files become read-only in
            both places (see `modecollapse.store`), which does no harm to the hub's cache: the hub's library only ever
            replaces or deletes its files. A user's own directory is copied.

    Raises:
        StudyError: pickled weights are damaged, hold anything but tensors, or would run code.
    """
    if files.pickled:
        _convert(files, output)
        return
    for shard in files.shards:
        source = (files.directory / shard).resolve()
        try:
            if not link:
                raise OSError("copied on purpose")
            os.link(source, output / shard)
        except OSError:  # also: another file system, or another user's file
            shutil.copyfile(source, output / shard)
    if files.leading == INDEX:
        shutil.copyfile(files.directory / INDEX, output / INDEX)


def _convert(files: WeightFiles, output: Path) -> None:
    """Pickled weights, shard by shard: no more than one is in memory."""
    from safetensors.torch import save_file

    weight_map: dict[str, str] = {}
    size = 0
    for number, shard in enumerate(files.shards, start=1):
        tensors = read_pickled(files.directory / shard)
        expected = {tensor for tensor, file in files.tensors.items() if file == shard}
        if missing := expected - set(tensors):
            raise StudyError(f"{files.directory / shard} lacks {min(missing)}. Download the checkpoint again.")
        name = WEIGHTS if files.leading == PICKLED else f"model-{number:05}-of-{len(files.shards):05}.safetensors"
        save_file(tensors, output / name, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(tensors, name))
        size += sum(tensor.nbytes for tensor in tensors.values())
    if files.leading == PICKLED_INDEX:
        content = {"metadata": {"total_size": size}, "weight_map": weight_map}
        (output / INDEX).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_pickled(path: Path) -> dict[str, Any]:
    """The tensors in a file of `torch.save`: contiguous, and none sharing memory with another.

    Raises:
        StudyError: the file is damaged, holds anything but named tensors of plain numbers, or asks for code to be run.
    """
    import torch

    check_pointer(path)

    def load(mmap: bool) -> Any:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)

    try:
        try:
            content = load(mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            content = load(mmap=False)  # written by torch before 1.6, which cannot be mapped
    # A damaged pickle raises whatever is at hand, and torch's advice (to read it with `weights_only=False`) is bad.
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) and any(words in str(error) for words in _ASKS_FOR_MORE):
            raise StudyError(
                f"{path} is refused: its pickle asks for more than tensors, and could run code of its author's. "
                "Use a checkpoint with safetensors weights, or one from an author you trust."
            ) from error
        if "legacy .tar format" in str(error):
            raise StudyError(
                f"{path} is in the oldest format of torch (.tar), which cannot be read without the danger of running "
                "code of its author's. Use a checkpoint with safetensors weights."
            ) from error
        why = "its pickle is damaged" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise StudyError(
            f"{path} cannot be read: {why.rstrip('.')}. Download the checkpoint again, or use one with safetensors "
            "weights."
        ) from error
    if not isinstance(content, dict) or not content:
        raise StudyError(f"{path} holds {type(content).__name__}, not named tensors. Use another checkpoint.")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise StudyError(f"{path}: {name} is {type(tensor).__name__}, not a tensor. Use another checkpoint.")
        if fault := _not_plain(tensor):
            raise StudyError(f"{path}: {name} is {fault}, not a plain tensor of numbers. Use another checkpoint.")
    # Views can claim any size: a few bytes, repeated, would fill the memory. Tied weights claim theirs twice.
    size, claimed = path.stat().st_size, sum(tensor.nbytes for tensor in content.values())
    if claimed > 8 * max(size, 2**20):
        raise StudyError(f"{path}: its tensors claim {claimed} bytes, but the file has {size}. Use another checkpoint.")
    seen: set[int] = set()
    tensors = {}
    for name, tensor in content.items():
        storage = tensor.untyped_storage().data_ptr()
        # safetensors knows no sharing (tied embeddings), and takes no slices of larger memory.
        own = tensor.is_contiguous() and storage not in seen and tensor.untyped_storage().nbytes() == tensor.nbytes
        seen.add(storage)
        tensors[name] = tensor.detach() if own else tensor.detach().clone(memory_format=torch.contiguous_format)
    return tensors


_ASKS_FOR_MORE = (
    "unsupported GLOBAL",
    "Unsupported global",
    "call reduce for unrecognized",
    "Can only create new object",
    "Can only build",
)
"""What torch's restricted unpickler says of a pickle that names functions or classes beside those of tensors; whatever
else it says is of a pickle that is none."""


def _not_plain(tensor: Any) -> str | None:
    """What a tensor is that safetensors could not hold, or no causal language model has; None if it is a plain one."""
    import torch

    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_quantized:
        return "quantised"
    if tensor.is_meta:
        return "without data"
    return "complex" if tensor.is_complex() else None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def has_tokenizer(directory: Path) -> bool:
    """Whether a directory holds a tokenizer."""
    return any((directory / name).is_file() for name in TOKENIZER_FILES if name not in _ABOUT_TOKENIZERS)


_ABOUT_TOKENIZERS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
"""Files that go with a tokenizer and are none by themselves."""


def check_tokenizer(directory: Path) -> None:
    """Check that a directory's tokenizer, if it has one, is in a form that can be read here.

    Raises:
        StudyError: it is only there as `tokenizer.model`, and the library that reads this is not installed.
    """
    if not (directory / "tokenizer.model").is_file():
        return
    if any((directory / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        return
    if not any(find_spec(library) for library in ("sentencepiece", "tiktoken")):
        raise StudyError(
            f"{directory} has its tokenizer as tokenizer.model only, and the library sentencepiece, which reads it, is "
            "not installed. Use a directory with tokenizer.json. Where sentencepiece is installed, it can be written "
            f"beside the weights: `AutoTokenizer.from_pretrained({str(directory)!r}).save_pretrained(…)`."
        )


def check_vocabulary(directory: Path) -> None:
    """Check that the model of a directory knows every token of its tokenizer; it may know more (padding).

    Raises:
        StudyError: it does not, or its configuration or tokenizer cannot be read.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        known = config.get_text_config().vocab_size
        if not isinstance(known, int):
            raise ValueError(f"vocab_size: found {known!r}. Allowed: a number")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        raise StudyError(
            f"{directory}/config.json is not a configuration that transformers knows: {' '.join(str(error).split())} "
            "Use the config.json that belongs to the weights."
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        vocabulary = tokenizer.get_vocab()
    # A broken tokenizer.json raises a bare Exception.
    except Exception as error:
        raise StudyError(
            f"The tokenizer in {directory} cannot be read: {_first_line(error)}. Put a tokenizer that transformers "
            "knows beside the weights."
        ) from error
    if not vocabulary:
        raise StudyError(f"The tokenizer in {directory} knows no token. Put the model's own beside the weights.")
    token = max(vocabulary, key=lambda name: vocabulary[name])
    if vocabulary[token] >= known:
        raise StudyError(
            f"The tokenizer does not fit the model in {directory}: its token {token!r} has the id {vocabulary[token]}, "
            f"but the model knows ids 0 to {known - 1}. Put the model's own tokenizer beside the weights."
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        StudyError: it cannot be read, or holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read: {error}. Name a complete Hugging Face model directory.") from error
    if not isinstance(value, dict):
        raise StudyError(f"{path} holds {type(value).__name__}, not an object. Download the checkpoint again.")
    return value
