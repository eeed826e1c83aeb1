"""The store: finished cells, scores and checkpoints, kept outside the outputs and found again by their key.

Snakemake deletes the outputs of a job before it starts and after it fails. What was finished also lives here under the
digest of everything that decides it, so a rerun, or going back to an old setting, puts it back instead of computing it.
Entries are written beside their place and renamed, so jobs that write the same entry at once do no harm.
"""

import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from filelock import FileLock, Timeout

from modecollapse.errors import CorruptFile
from modecollapse.manifest import read_manifest
from modecollapse.publishing import publish_directory, publish_file
from modecollapse.sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOCKS = "locks"
_OF_ONE_JOB = ("models", "state")
"""Kinds whose entries belong to the job that holds the lock with their key."""


@dataclass(frozen=True)
class Store:
    """A directory of finished work."""

    root: Path

    def _place(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def keep_table(self, kind: str, key: str, path: Path) -> None:
        """Keep a copy of the sealed Parquet file at `path`."""
        place = self._place(kind, key)
        if not place.exists():
            with publish_file(place) as partial:
                shutil.copyfile(path, partial)

    def restore_table(self, kind: str, key: str, path: Path) -> bool:
        """Put the kept file at `path`, if there is an intact one that is not of another key.

        A file that is corrupt, or that states another key in its metadata, is thrown away with a warning.
        """
        place = self._place(kind, key)
        if self._read(place, lambda place: _sealed_of(place, key, [])) is None:
            return False
        try:
            with publish_file(path) as partial:
                shutil.copyfile(place, partial)
        except FileNotFoundError:  # pruned since it was checked
            return False
        return True

    def write_table(self, kind: str, key: str, table: pa.Table) -> None:
        """Keep `table`, which stands in no file of its own."""
        write_sealed(table, self._place(kind, key), {"key": key})

    def read_table(self, kind: str, key: str) -> pa.Table | None:
        """The kept table, under the same conditions as `restore_table`; None if there is none."""
        return self._read(self._place(kind, key), lambda place: _sealed_of(place, key))

    def keep_model(self, key: str, directory: Path) -> None:
        """Keep a published model directory (weights, curves, manifest, and the record of the run if there is one).

        The files of the weights are hard-linked where possible, which makes them read-only in both places.
        """
        place = self._place("models", key)
        if not place.exists():
            with publish_directory(place) as partial:
                _copy_model(directory, partial)

    def restore_model(self, key: str, directory: Path) -> bool:
        """Put the kept model at `directory`, if there is an intact one."""

        def check(place: Path) -> bool:
            read_manifest(place / "manifest.json").verify(place / "weights")
            read_sealed(place / "curves.parquet")
            return True

        place = self._place("models", key)
        if not self._read(place, check):
            return False
        with publish_directory(directory) as partial:
            _copy_model(place, partial)
        return True

    def state(self, key: str) -> Path:
        """Where a training job with this key keeps what it needs to resume."""
        place = self._place("state", key)
        place.mkdir(parents=True, exist_ok=True)
        os.utime(place)
        return place

    def _lock(self, key: str) -> FileLock:
        place = self.root / _LOCKS / key
        place.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(place)

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the only right to train what has this key; a second job that wants it waits for the first."""
        lock = self._lock(key)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.warning("another job is making the same model; waiting for it (%s)", lock.lock_file)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def drop_state(self, key: str) -> None:
        """Remove the trainer state of a finished job."""
        shutil.rmtree(self._place("state", key), ignore_errors=True)

    def cache(self, kind: str) -> Path:
        """A directory for content-addressed shards of this kind."""
        place = self.root / kind
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _read(self, place: Path, read: Callable[[Path], _T]) -> _T | None:
        """What `read` returns for the entry at `place`, which counts as used then; None if it is absent or corrupt."""
        if not place.exists():
            return None
        try:
            value = read(place)
            os.utime(place)
        except FileNotFoundError:  # pruned by another process in the meantime
            return None
        except CorruptFile as error:
            logger.warning("the store's copy is not used: %s", error)
            _remove(place)
            return None
        return value

    def prune(self, limit_bytes: int) -> list[tuple[Path, int]]:
        """Remove the entries that were not used for longest until the store is at most `limit_bytes` large.

        Jobs may use the store meanwhile: what is being written, the locks, and the model and the trainer state of a
        running job stay.

        Returns the removed entries with their sizes in bytes. A hard-linked file counts although deleting it frees
        nothing while a result still uses it.
        """
        found = [(used, entry, _size(entry)) for entry in self._entries() if (used := _last_used(entry)) is not None]
        total = sum(size for _, _, size in found)
        removed = []
        for _, entry, size in sorted(found):
            if total <= limit_bytes:
                break
            if self._remove_unless_locked(entry):
                total -= size
                removed.append((entry, size))
        return removed

    def _entries(self) -> Iterator[Path]:
        """Every finished entry: names with a leading dot are being written."""
        for entry in self.root.glob("*/*/*"):
            parts = entry.relative_to(self.root).parts
            if parts[0] != _LOCKS and not any(part.startswith(".") for part in parts):
                yield entry

    def _remove_unless_locked(self, entry: Path) -> bool:
        if entry.relative_to(self.root).parts[0] not in _OF_ONE_JOB:
            _remove(entry)
            return True
        lock = self._lock(entry.name)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        try:
            _remove(entry)
        finally:
            lock.release()
        return True


def _sealed_of(path: Path, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The sealed table at `path`, unless it states that it is of another key."""
    table = read_sealed(path, columns)
    stated = (table.schema.metadata or {}).get(b"key", key.encode()).decode()
    if stated != key:
        raise CorruptFile(f"{path} is corrupt: it states the key {stated}, but stands under {key}.")
    return table


def _copy_model(source: Path, destination: Path) -> None:
    """Copy a model directory; its weights are linked, as they are large, and read-only, as an edit would alter both.

    The other files are copied and stay writable: Snakemake refuses to run a job again one of whose outputs is not. It
    asks that of the directory of the weights alone, not of the files in it.
    """
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.name == ".snakemake_timestamp":
            continue
        target = destination / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.parent == destination:
            shutil.copyfile(path, target)
        else:
            _link_read_only(path, target)


def _link_read_only(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
    mode = stat.S_IMODE(target.stat().st_mode)
    if mode & 0o222:
        target.chmod(mode & ~0o222)


def _last_used(path: Path) -> float | None:
    """Modification time of an entry; None if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _size(path: Path) -> int:
    """Bytes of a file or of all files of a directory; what vanishes meanwhile counts nothing."""
    files = [path] if path.is_file() else [Path(at, name) for at, _, names in os.walk(path) for name in names]
    total = 0
    for file in files:
        with suppress(FileNotFoundError):
            total += file.stat().st_size
    return total


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
