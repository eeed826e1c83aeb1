"""The tokenizer of the models that are pretrained here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modecollapse.data.columns import TEXT_COLUMNS
from modecollapse.digests import sha256_directory
from modecollapse.manifest import read_stated, verify_files, write_manifest
from modecollapse.publishing import publish_directory
from modecollapse.sealed import read_sealed


@dataclass(frozen=True)
class TokenizerManifest:
    """What was asked, and SHA-256 of every file of the tokenizer's directory."""

    spec: Mapping[str, Any]
    files: Mapping[str, str]


def train_tokenizer(spec: Mapping[str, Any], data: Sequence[Path], directory: Path, manifest: Path) -> None:
    """Train the tokenizer on all texts of these data sets; publish its directory, then a manifest of its files."""
    from modecollapse.data import tokenizer

    texts: list[str] = []
    for table in map(read_sealed, data):
        for column in TEXT_COLUMNS:
            if column in table.column_names:
                texts += table.column(column).to_pylist()
    with publish_directory(directory) as partial:
        tokenizer.train_tokenizer(texts, spec["vocabulary"], partial)
        files = sha256_directory(partial)
    write_manifest(TokenizerManifest(dict(spec), files), manifest)


def verify_tokenizer(manifest: Path, directory: Path) -> None:
    """Check a tokenizer's files against its manifest.

    Raises:
        CorruptFile: a file is missing or altered, or was not published.
    """
    files = read_stated(TokenizerManifest, manifest).files
    verify_files(files, directory, str(manifest), f"Delete {directory} and run the same command again.")
