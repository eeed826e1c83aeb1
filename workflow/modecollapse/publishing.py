"""Outputs are complete or absent: everything is written beside its place and renamed into it."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed to disk and renamed to `path`.

    On an exception the partial file is removed and whatever stood at `path` before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def publish_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory beside `path` to fill; on success it takes the place of `path` as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir()
    try:
        yield partial
        replace_directory(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_directory(source: Path, path: Path) -> None:
    """Rename the directory `source` to `path`; what stood at `path` is moved aside first and then deleted."""
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
    if path.exists():
        path.rename(old)
    source.rename(path)
    shutil.rmtree(old, ignore_errors=True)
