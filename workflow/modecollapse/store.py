"""The store: finished cells, scores and checkpoints, kept outside the outputs and found again by their key.

Snakemake deletes the outputs of a job before it starts and after it fails. What was finished also lives here under the
digest of everything that decides it, so a rerun, or going back to an old setting, puts it back instead of computing it.
Entries are written beside their place and renamed, so jobs that write the same entry at once do no harm.
"""

import logging
import math
import os
import shutil
import stat
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from filelock import FileLock, Timeout

from modecollapse import stopping
from modecollapse.digests import digest
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.manifest import read_manifest
from modecollapse.publishing import publish_directory, publish_file
from modecollapse.sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_LOCKS = "locks"
_OF_ONE_JOB = ("models", "state")
"""Kinds whose entries belong to the job that holds the lock with their key."""

_ABANDONED_SECONDS = 24 * 3600
"""After so long without a change nobody is writing a partial entry any more."""

_LOOK_SECONDS = 1.0
"""While a job waits for another one, it looks so often whether it was asked to stop."""

_BESIDE_WEIGHTS = ("curves.parquet", "manifest.json", "run.json")


@dataclass(frozen=True)
class Store:
    """A directory of finished work."""

    root: Path

    def _place(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    def publish_table(self, kind: str, key: str, table: pa.Table, path: Path, metadata: Mapping[str, str]) -> None:
        """Keep `table` and put it at `path`, in this order: what is published is never lost with its outputs."""
        self.write_table(kind, key, table, metadata)
        if not self.restore_table(kind, key, path):
            write_sealed(table, path, {**metadata, "key": key})

    def restore_table(self, kind: str, key: str, path: Path) -> bool:
        """Put the kept file at `path`, if there is an intact one that is not of another key.

        A file that is corrupt, or that states another key in its metadata, is thrown away with a warning.
        """
        place = self._place(kind, key)
        if self._read(place, lambda place: _sealed_of(place, key, [])) is None:
            return False
        try:
            with publish_file(path, place.stat().st_size) as partial:
                shutil.copyfile(place, partial)
        except FileNotFoundError:  # pruned since it was checked
            return False
        return True

    def write_table(self, kind: str, key: str, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
        """Keep `table`."""
        with self.keeping(kind):
            write_sealed(table, self._place(kind, key), {**(metadata or {}), "key": key})

    def read_table(self, kind: str, key: str) -> pa.Table | None:
        """The kept table, under the same conditions as `restore_table`; None if there is none."""
        return self._read(self._place(kind, key), lambda place: _sealed_of(place, key))

    def keep_model(self, key: str, directory: Path) -> None:
        """Keep a published model directory (weights, curves, manifest, and the record of the run if there is one).

        The files of the weights are hard-linked where possible, which makes them read-only in both places.
        """
        place = self._place("models", key)
        if not place.exists():
            with self.keeping("models"):
                place_model(directory, place)

    def restore_model(self, key: str, directory: Path) -> bool:
        """Put the kept model at `directory`, if there is an intact one that is not of another key.

        Its manifest and curves still name the model that it was made as.
        """

        def check(place: Path) -> bool:
            manifest = read_manifest(place / "manifest.json")
            if model_key(manifest.spec, manifest.inputs) != key:
                raise CorruptFile(f"{place} is corrupt: its manifest is of another key.")
            manifest.verify(place / "weights")
            read_sealed(place / "curves.parquet")
            return True

        place = self._place("models", key)
        if not self._read(place, check):
            return False
        place_model(place, directory)
        return True

    def state(self, key: str) -> Path:
        """Where a training job with this key keeps what it needs to resume.

        Raises:
            StudyError: the store cannot be written.
        """
        place = self._place("state", key)
        try:
            place.mkdir(parents=True, exist_ok=True)
            os.utime(place)
        except OSError as error:
            raise StudyError(
                f"{place} cannot be written: {error}. Training keeps there what it needs to resume. Make the store "
                "writable, or name another with --config store=DIR."
            ) from error
        return place

    def _lock(self, key: str) -> FileLock:
        place = self.root / _LOCKS / key
        place.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(place)

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the only right to train what has this key; a second job that wants it waits for the first."""
        try:
            lock = self._lock(key)
            lock.acquire(blocking=False)
        except Timeout:
            logger.warning("another job has the same in hand; waiting for it (%s)", lock.lock_file)
            while not lock.is_locked:
                stopping.check()
                with suppress(Timeout):
                    lock.acquire(timeout=_LOOK_SECONDS)
        except OSError as error:  # a store that may only be read has nothing that two jobs could both write
            logger.warning("the store cannot be locked: %s", error)
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def turns(self, keys: Sequence[str]) -> Generator[str]:
        """Each of the keys once, held from when it is given until the next one is asked for.

        Keys that other jobs hold come later; while they hold all that are left, this waits. A store that may only be
        read has nothing to lock: all keys are given at once then.

        Raises:
            Stopped: the process was asked to stop while it waited.
        """
        left = list(keys)
        while left:
            before = len(left)
            for key in list(left):
                try:
                    lock = self._lock(key)
                    lock.acquire(blocking=False)
                except Timeout:
                    continue
                except OSError as error:
                    logger.warning("the store cannot be locked: %s", error)
                    yield from left
                    return
                left.remove(key)
                try:
                    yield key
                finally:
                    lock.release()
            if len(left) == before:
                stopping.check()
                time.sleep(_LOOK_SECONDS)

    def drop_state(self, key: str) -> None:
        """Remove what a finished job kept to resume from: a directory, or a table."""
        with suppress(OSError):  # a store that may only be read
            _remove(self._place("state", key))

    def cache(self, kind: str) -> Path:
        """A directory for content-addressed shards of this kind."""
        place = self.root / kind
        with self.keeping(kind):
            place.mkdir(parents=True, exist_ok=True)
        return place

    def _read(self, place: Path, read: Callable[[Path], _T]) -> _T | None:
        """What `read` returns for the entry at `place`, which counts as used then; None if it is absent or corrupt."""
        if not place.exists():
            return None
        try:
            value = read(place)
        except FileNotFoundError:  # pruned by another process in the meantime
            return None
        except PermissionError as error:
            logger.warning("the store's copy is not used: %s", error)
            return None
        except (CorruptFile, IsADirectoryError, NotADirectoryError) as error:
            logger.warning("the store's copy is not used, and removed: %s", error)
            _remove(place)
            return None
        with suppress(OSError):  # pruned since, or a store that others may only read
            os.utime(place)
        return value

    @contextmanager
    def keeping(self, kind: str) -> Iterator[None]:
        """Where the store cannot be written, work goes on without it: it is computed again when it is needed again."""
        try:
            yield
        except OSError as error:
            logger.warning("the store cannot keep this (%s): %s", kind, error)

    def prune(self, limit_bytes: int) -> list[tuple[Path, int]]:
        """Remove the entries that were not used for longest until the store is at most `limit_bytes` large.

        Jobs may use the store meanwhile: what is being written, the locks, and the model and the trainer state of a
        running job stay. What a killed job was writing is removed after a day.

        Returns the removed entries with their sizes in bytes. A hard-linked file counts although deleting it frees
        nothing while a result still uses it.
        """
        for partial in self.root.glob("*/*/.*"):
            if (_last_used(partial) or math.inf) < time.time() - _ABANDONED_SECONDS:
                _remove(partial)
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


def model_key(spec: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """The key of a model: what was asked, and the digests of what it is made from."""
    return digest({"spec": spec, "inputs": inputs})


def place_model(source: Path, directory: Path) -> None:
    """Put the model directory `source` (weights, curves, manifest, perhaps the record of the run) at `directory`.

    The weights are linked, as they are large, and read-only, as an edit would alter both. The other files are copied
    and stay writable: Snakemake refuses to run a job again one of whose outputs is not. It asks that of the directory
    of the weights alone, not of the files in it.
    """
    with publish_directory(directory, _size(source)) as partial:
        for name in _BESIDE_WEIGHTS:
            if (source / name).is_file():
                shutil.copyfile(source / name, partial / name)
        for path in sorted((source / "weights").rglob("*")):
            if path.is_file() and not path.name.startswith("."):  # Snakemake's timestamp
                target = partial / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_read_only(path, target)


def _sealed_of(path: Path, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The sealed table at `path`, unless it states that it is of another key."""
    table = read_sealed(path, columns)
    stated = (table.schema.metadata or {}).get(b"key", b"none").decode()
    if stated != key:
        raise CorruptFile(f"{path} is corrupt: it states the key {stated}, but stands under {key}.")
    return table


def _link_read_only(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
    # Readable by whom the directory is: some writers make files that only their owner may read.
    mode = stat.S_IMODE(target.parent.stat().st_mode) & 0o444
    if stat.S_IMODE(target.stat().st_mode) != mode:
        with suppress(PermissionError):  # another user's file
            target.chmod(mode)


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
