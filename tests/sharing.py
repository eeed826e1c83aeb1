"""What several workers need and one of them makes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_directory(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A directory that all workers of this run of the tests see."""
    base = factory.getbasetemp()
    return base if worker_id == "master" else base.parent


def made_by_one_worker(directory: Path, make: Callable[[Path], None]) -> Path:
    """Have one worker fill a directory, while others wait for it; where that failed, nobody tries again."""
    done, failed = directory.with_suffix(".done"), directory.with_suffix(".failed")
    with FileLock(directory.with_suffix(".lock")):
        if failed.exists():
            pytest.fail(f"It has failed for all who need it: {failed.read_text()}")
        if not done.exists():
            try:
                make(directory)
            except BaseException as error:
                failed.write_text(f"{type(error).__name__}: {error}")
                raise
            done.touch()
    return directory
