"""The store: finished cells, scores and checkpoints, kept outside the outputs and found again by their key.

Snakemake deletes the outputs of a job before it starts and after it fails. What was finished also lives here under the
digest of everything that decides it, so a rerun, or going back to an old setting, puts it back instead of computing it.
Entries are written beside their place and renamed, so jobs that write the same entry at once do no harm.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from modecollapse.errors import CorruptFile
from modecollapse.manifest import read_manifest
from modecollapse.publishing import publish_directory, publish_file
from modecollapse.sealed import read_sealed

logger = logging.getLogger(__name__)


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
        """Put the kept file at `path`, if there is an intact one; a corrupt one is thrown away with a warning."""
        place = self._place(kind, key)
        if not self._intact(place, read_sealed):
            return False
        with publish_file(path) as partial:
            shutil.copyfile(place, partial)
        return True

    def keep_model(self, key: str, directory: Path) -> None:
        """Keep a published model directory (weights, curves, manifest), hard-linked where possible."""
        place = self._place("models", key)
        if not place.exists():
            with publish_directory(place) as partial:
                _link_tree(directory, partial)

    def restore_model(self, key: str, directory: Path) -> bool:
        """Put the kept model at `directory`, if there is an intact one."""

        def check(place: Path) -> None:
            read_manifest(place / "manifest.json").verify(place / "weights")
            read_sealed(place / "curves.parquet")

        place = self._place("models", key)
        if not self._intact(place, check):
            return False
        with publish_directory(directory) as partial:
            _link_tree(place, partial)
        return True

    def state(self, key: str) -> Path:
        """Where a training job with this key keeps what it needs to resume."""
        place = self._place("state", key)
        place.mkdir(parents=True, exist_ok=True)
        return place

    @contextmanager
    def locked(self, key: str) -> Iterator[None]:
        """Hold the only right to train what has this key; a second job that wants it waits for the first."""
        place = self.root / "locks" / key
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            logger.warning("another job is making the same model; waiting for it (%s)", place)
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

    def _intact(self, place: Path, check: Callable[[Path], object]) -> bool:
        if not place.exists():
            return False
        try:
            check(place)
        except CorruptFile as error:
            logger.warning("the store's copy is not used: %s", error)
            _remove(place)
            return False
        os.utime(place)
        return True

    def prune(self, limit_bytes: int) -> list[tuple[Path, int]]:
        """Remove the entries that were not used for longest until the store is at most `limit_bytes` large.

        Returns the removed entries with their sizes in bytes. A hard-linked file counts although deleting it frees
        nothing while a result still uses it.
        """
        entries = [entry for entry in self.root.glob("*/*/*")]
        sizes = {entry: _size(entry) for entry in entries}
        total = sum(sizes.values())
        removed = []
        for entry in sorted(entries, key=lambda path: path.stat().st_mtime):
            if total <= limit_bytes:
                break
            _remove(entry)
            total -= sizes[entry]
            removed.append((entry, sizes[entry]))
        return removed


def _link_tree(source: Path, destination: Path) -> None:
    for path in sorted(source.rglob("*")):
        if not path.is_file() or path.name == ".snakemake_timestamp":
            continue
        target = destination / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, target)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, target)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
