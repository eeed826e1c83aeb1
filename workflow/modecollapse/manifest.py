"""Manifests: what was asked, from what, with which code and versions. Written last, read first.

A model's states the result and nothing of the run, so that a model made again with equal weights has the same
manifest, byte for byte, and nothing that was made from it is stale. What differs from run to run stands beside it
(`run.json`).
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from modecollapse.digests import digest, sha256_file, weights_digest
from modecollapse.errors import CorruptFile
from modecollapse.publishing import publish_file

Stated = TypeVar("Stated")


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


@dataclass(frozen=True)
class Manifest:
    """Provenance of one published model."""

    model: str
    spec: Mapping[str, Any]
    """What was asked: everything that can change the weights."""
    inputs: Mapping[str, str]
    """Digests of what it was made from: parent, data, tokenizer."""
    files: Mapping[str, str]
    """SHA-256 of every file of the model directory."""
    versions: Mapping[str, str]
    """Of the libraries that can change the weights: a model made with others is another one, to be looked at anew."""
    seed: int
    steps: int
    tokens: int
    """Tokens seen in training; as `steps`, from the beginning of the run, also where its earlier epochs are stages."""

    @property
    def weights(self) -> str:
        """Digest of the model's files: the identity of the weights."""
        return weights_digest(self.files)

    def verify(self, directory: Path) -> None:
        """Check every file of the model directory against its SHA-256.

        Raises:
            CorruptFile: a file is missing, is not the one that was published, or was not published at all.
        """
        verify_files(
            self.files,
            directory,
            "the manifest",
            f"Delete the directory {directory} and run the same command again: the model comes back from the store if "
            "it is intact there, otherwise it is trained again.",
        )


@dataclass(frozen=True)
class Run:
    """How a model came to be, as far as it does not belong to the result: for people to read; nothing depends on it."""

    wall_seconds: float
    """Of the last run of the job, all epochs that it made included: what was done before a kill is not counted."""
    device: str
    layout: Mapping[str, Any] = field(default_factory=dict)
    """How the training was spread over processes (`Layout`); empty if weights were taken over."""
    remarks: tuple[str, ...] = ()
    """What could not be checked about what it was made from."""


def verify_files(files: Mapping[str, str], directory: Path, manifest: str, advice: str) -> None:
    """Check every file of a directory against its SHA-256.

    Args:
        files: relative path → SHA-256, all that were published.
        directory: where they are.
        manifest: how messages call what states the digests.
        advice: what to do about a corrupt file.

    Raises:
        CorruptFile: a file is missing, is not the one that was published, or was not published at all.
    """

    def corrupt(path: Path, why: str) -> CorruptFile:
        return CorruptFile(f"{path} is corrupt: {why}. {advice}")

    present = {path for path in directory.rglob("*") if path.is_file() and path.name != ".snakemake_timestamp"}
    for path in sorted(present - {directory / name for name in files}):
        raise corrupt(path, f"it is not in {manifest}")
    for name, expected in files.items():
        path = directory / name
        if not path.is_file():
            raise corrupt(path, "it is missing")
        if sha256_file(path) != expected:
            raise corrupt(path, f"its bytes do not match the SHA-256 in {manifest}")


def write_manifest(manifest: _Dataclass, path: Path) -> None:
    """Publish a manifest, of a model or of anything else; it carries a digest of itself."""
    content = asdict(manifest)
    with publish_file(path) as partial:
        partial.write_text(json.dumps({**content, "digest": digest(content)}, indent=1, sort_keys=True) + "\n")


def write_run(run: Run, path: Path) -> None:
    """Publish the record of a run."""
    with publish_file(path) as partial:
        content = asdict(run)
        for name in ("layout", "remarks"):
            if not content[name]:
                del content[name]
        partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_manifest(path: Path) -> Manifest:
    """The manifest of a model at `path`.

    Raises:
        CorruptFile: it is missing, not JSON, or altered.
    """
    return read_stated(Manifest, path)


def read_stated(kind: type[Stated], path: Path) -> Stated:
    """The manifest of any kind that `write_manifest` published at `path`.

    Raises:
        CorruptFile: it is missing, not JSON, altered, or of another kind.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        expected = content.pop("digest")
        intact = digest(content) == expected
        stated = kind(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFile(f"{path} is corrupt: {error}. Delete it and run the same command again.") from error
    if not intact:
        raise CorruptFile(
            f"{path} is corrupt: its content does not match its own digest. Delete it and run the same command again."
        )
    return stated
