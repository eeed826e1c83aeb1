"""Data sets and tokenizers."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modecollapse.data.sources.files import hub_files
from modecollapse.data.sources.rows import Reading, read_rows
from modecollapse.digests import canonical, digest, sha256_directory
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.publishing import publish_directory, publish_file
from modecollapse.sealed import read_sealed, write_sealed, write_sealed_texts
from modecollapse.snapshots import snapshot
from modecollapse.study import Study

logger = logging.getLogger(__name__)


def sample_data(spec: Mapping[str, Any], output: Path) -> None:
    """Sample one part of the world into a sealed Parquet file."""
    from modecollapse.data.nano.world import World, WorldSettings

    world = World(WorldSettings.model_validate_json(json.dumps(spec["world"]["settings"])))
    part = spec["part"]
    table = getattr(world, part["world"])(part["n"], part["seed"])
    write_sealed(table, output, {"spec": canonical(spec)})
    logger.info("%s: %d rows", output, table.num_rows)


def files_of(study: Study, name: str) -> list[Path]:
    """The files that a data set with a source is read from: local ones, or those in the hub's cache.

    Raises:
        StudyError: they are not there; for the hub it names the command that fetches them.
    """
    data = study.config.data[name]
    assert data.source is not None
    needed = study.needed_of_data(name)
    if needed is None:
        return study.data_files(name)
    revision = needed.revision
    directory = snapshot(needed, study.lock.commit(revision), study.called())
    try:
        return hub_files(directory, data.subset, data.split, data.files)
    except StudyError as error:
        raise StudyError(f"{study.file}: data.{name} ({revision}): {error}") from error


def read_data(spec: Mapping[str, Any], files: Sequence[Path], tolerated: float, source: str, output: Path) -> None:
    """Read the rows of a data set's files into a sealed Parquet file.

    Args:
        spec: the data spec of a set with a source.
        files: see `modecollapse.data.sources.files`.
        tolerated: largest share of broken rows.
        source: what the set is called in messages.
        output: where it is published. Its metadata has `reading`: how many rows there were, how many of them were
            broken or empty, and the first few broken ones.

    Raises:
        StudyError: a file cannot be read, or too many rows are broken.
    """
    reading = Reading()

    def finished() -> Mapping[str, str]:
        reading.check(tolerated, source)
        return {"spec": canonical(spec), "reading": canonical(asdict(reading))}

    columns = dict(spec["columns"])
    rows = read_rows(files, columns, spec["sample"], spec["seed"], reading)
    number = write_sealed_texts(list(columns), rows, output, finished)
    if spec["sample"] and number < spec["sample"]:
        logger.warning("%s: a sample of %d rows is asked for, it has only %d", source, spec["sample"], number)
    logger.info("%s: %d rows", output, number)


TEXT_COLUMNS = ("text", "prompt", "completion", "chosen", "rejected")
"""Columns of data sets that hold text."""


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
    with publish_file(manifest) as beside:
        content = {"spec": dict(spec), "files": files}
        beside.write_text(json.dumps({**content, "digest": digest(content)}, indent=1, sort_keys=True) + "\n")


def verify_tokenizer(manifest: Path, directory: Path) -> None:
    """Check a tokenizer's files against its manifest.

    Raises:
        CorruptFile: a file is missing or altered.
    """
    try:
        content = json.loads(manifest.read_text())
        files, intact = content["files"], content.pop("digest") == digest(content)
        if not intact:
            raise ValueError("its content does not match its own digest")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFile(f"{manifest} is corrupt: {error}. Delete it and run the same command again.") from error
    found = {name: sha for name, sha in sha256_directory(directory).items() if name != ".snakemake_timestamp"}
    if unknown := sorted(set(found) - set(files)):
        raise CorruptFile(
            f"{directory / unknown[0]} is corrupt: it is not in {manifest}. "
            f"Delete {directory} and run the same command again."
        )
    for name, expected in files.items():
        if found.get(name) != expected:
            raise CorruptFile(
                f"{directory / name} is corrupt: its bytes do not match the SHA-256 in {manifest}. "
                f"Delete {directory} and run the same command again."
            )
