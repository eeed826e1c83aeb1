"""GGUF files, the format of llama.cpp: weights, configuration and tokenizer in one file, often quantised.

transformers reads them; weights are written as float32, in which every value of a quantised tensor is exact.
"""

import struct
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError

_MAGIC = b"GGUF"
_STRING = 8
"""The number of the type "string" in the specification of GGUF."""


def check_gguf(file: Path) -> None:
    """Check the beginning of a GGUF file: that it is one, and of an architecture that can be read.

    Raises:
        StudyError: there is no such file, it is not a GGUF file, or of an architecture that transformers cannot read.
    """
    if not file.is_file():
        raise StudyError(f"{file}: there is no such file. Name a GGUF file.")
    try:
        architecture = _architecture(file)
    except (OSError, struct.error, UnicodeDecodeError) as error:
        raise StudyError(f"{file} cannot be read: {error}. Download it again.") from error
    if architecture is not None:
        _check_architecture(file, architecture)


def _architecture(file: Path) -> str | None:
    """The architecture that a file states first, as writers of GGUF do; None if it stands elsewhere."""
    with file.open("rb") as stream:
        head = stream.read(24)
        if head[:4] != _MAGIC:
            raise StudyError(f"{file} is not a GGUF file: it does not begin with GGUF. Name a GGUF file.")
        struct.unpack("<IQQ", head[4:])  # version, tensors, keys: all there
        key = _string(stream)
        kind = struct.unpack("<I", stream.read(4))[0]
        return _string(stream) if key == "general.architecture" and kind == _STRING else None


def _string(stream: Any) -> str:
    length = struct.unpack("<Q", stream.read(8))[0]
    if length > 1000:
        raise struct.error(f"a name of {length} letters")
    return str(stream.read(length).decode())


def _check_architecture(file: Path, architecture: str) -> None:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    # Some have names of their own in transformers' list, in which two entries are no architectures.
    listed = set(GGUF_SUPPORTED_ARCHITECTURES) - {"general", "tokenizer"}
    known = {"qwen2moe", "qwen3moe", "gpt-oss", "minimax-m2", *listed}
    if architecture not in known:
        raise StudyError(
            f"{file} holds a model of the architecture {architecture!r}, which transformers cannot read from GGUF. "
            f"Allowed: {', '.join(sorted(known))}. Use the model's Hugging Face checkpoint instead."
        )


def convert_gguf(file: Path, output: Path) -> None:
    """Write the model and tokenizer of a GGUF file to the directory `output`, as Hugging Face files in float32.

    Raises:
        StudyError: the file is not GGUF, damaged, of an unknown architecture, or lacks tensors or the tokenizer.
    """
    import torch
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer

    check_gguf(file)
    try:
        reader = GGUFReader(file)
        field = reader.get_field("general.architecture")
        if field is None:
            raise ValueError("it names no architecture")
        _check_architecture(file, str(field.contents()))
        del reader
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        raise StudyError(f"{file} is damaged or cut off: {error}. Download it again.") from error
    # The whole path: transformers would prefer a file of this name in the working directory.
    where: dict[str, Any] = {"gguf_file": str(file.absolute()), "local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    # Its converters raise whatever is at hand, e.g. KeyError for a tokenizer that the file does not have.
    except Exception as error:
        raise StudyError(
            f"{file} has no tokenizer that transformers can read ({type(error).__name__}: {error}). "
            "Use a file with a tokenizer, or the model's Hugging Face checkpoint."
        ) from error
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            file.parent, dtype=torch.float32, output_loading_info=True, **where
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        if "memory" in str(error).lower():  # of the machine, whatever the library wraps it in
            raise
        raise StudyError(
            f"The model in {file} cannot be read ({type(error).__name__}: {error}). Download it again, or use the "
            "model's Hugging Face checkpoint."
        ) from error
    # The library fills what is missing with random numbers and only warns.
    for problem in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if loading[problem]:
            names = ", ".join(sorted(map(str, loading[problem]))[:3])
            raise StudyError(f"The weights in {file} are not complete: {problem.replace('_', ' ')} {names}.")
    model.hf_quantizer = None  # otherwise it refuses to save what is no longer quantised
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
