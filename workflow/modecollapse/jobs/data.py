"""Data sets that are read from files, local ones or of the hub."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modecollapse.data.sources.files import hub_files
from modecollapse.data.sources.rows import Reading, read_rows
from modecollapse.digests import canonical
from modecollapse.errors import StudyError
from modecollapse.sealed import write_sealed_texts
from modecollapse.snapshots import snapshot
from modecollapse.study import Study

logger = logging.getLogger(__name__)


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
        return hub_files(directory, data.subset, data.hub_split, data.files)
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
