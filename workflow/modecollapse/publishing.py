"""Outputs are complete or absent: everything is written beside its place and renamed into it."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from modecollapse.digests import sha256_file
from modecollapse.errors import CorruptFile
from modecollapse.refused_writes import naming


@contextmanager
def publish_file(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed to disk and renamed to `path`.

    On an exception the partial file is removed and whatever stood at `path` before is untouched. A write that the file
    system refuses names `path`, and `size`, the bytes of the file, if they are given.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with naming(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with suppress(OSError):  # what it ends with says more
            partial.unlink(missing_ok=True)


@contextmanager
def publish_directory(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yield a new directory beside `path` to fill; on success it takes the place of `path` as a whole.

    Errors are those of `publish_file`.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with naming(path, size):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.mkdir()
            yield partial
            replace_directory(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def replace_directory(source: Path, path: Path) -> None:
    """Move the directory `source` to `path`; what stood at `path` is moved aside first and then deleted."""
    staged = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    shutil.move(source, staged)  # a copy if `source` is on another file system, so not yet into its place
    while True:
        try:
            staged.rename(path)
            return
        except OSError as error:
            # A directory that is not empty stands there: an earlier one, or that of a job that publishes the same.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                shutil.rmtree(staged, ignore_errors=True)
                raise
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
        with suppress(FileNotFoundError):
            path.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def write_digests(path: Path, files: Sequence[Path]) -> None:
    """Publish the SHA-256 of files beside `path`, in the format that `sha256sum -c` checks."""
    with publish_file(path) as partial:
        partial.write_text("".join(f"{sha256_file(file)}  {file.name}\n" for file in files))


def verify_digests(path: Path) -> None:
    """Check the files that `write_digests` listed.

    Raises:
        CorruptFile: a file is missing or altered, or the list itself is no such list.
    """
    again = "Delete it and run the same command again to make it anew."
    lines = [line.split("  ") for line in path.read_bytes().decode(errors="replace").splitlines()]
    if not lines or any(len(line) != 2 or len(line[0]) != 64 for line in lines):
        raise CorruptFile(f"{path} is corrupt: it is no list of SHA-256 digests. {again}")
    for expected, name in lines:
        file = path.parent / name
        if not file.is_file() or sha256_file(file) != expected:
            raise CorruptFile(f"{file} is corrupt: its bytes do not match the SHA-256 in {path}. {again}")
