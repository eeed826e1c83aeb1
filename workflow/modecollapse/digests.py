"""Canonical JSON and SHA-256: the one way in which anything here gets an identity."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def canonical(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, no NaN; floats as Python's shortest repr."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 (64 hex digits) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_directory(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below `directory`, by its relative POSIX path, sorted by path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): sha256_file(path) for path in files}


def weights_digest(files: Mapping[str, str]) -> str:
    """One digest for a model: of the names and SHA-256 of all its files."""
    return digest(dict(files))
