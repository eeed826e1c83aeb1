"""What tests of all kinds start from: the project without results, the smoke study finished once, a hub's cache."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pretend_hub import cache_repository
from tests.projects import Project, SmallDisk, make_project, start_server
from tests.sharing import made_by_one_worker, shared_directory


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], SmallDisk]]:
    """Mounts file systems of a given size, e.g. "64k"; they are gone after the test."""
    disks = []

    def mount(size: str) -> SmallDisk:
        disk = SmallDisk(tmp_path / f"disk{len(disks)}", size)
        disks.append(disk)
        return disk

    yield mount
    for disk in disks:
        disk.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """The project without any results."""
    return make_project(tmp_path / "fresh")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, bytes]], Path]:
    """Puts a data set (name → content of its files) into a hub cache of its own; returns its snapshot's directory."""
    root = tmp_path / "hub-cache"
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))

    def add(repository: str, files: dict[str, bytes]) -> Path:
        commit = cache_repository(root, repository, files, kind="dataset")
        return root / f"datasets--{repository.replace('/', '--')}" / "snapshots" / commit

    return add


@pytest.fixture(scope="session", autouse=True)
def snakemakes() -> None:
    """Projects import the package from their own copies, so no test may have the server import it before they do."""
    start_server()


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """The smoke study, run from nothing to its figures, once for all workers. Tests take `finished`, a copy of it."""

    def make(directory: Path) -> None:
        make_project(directory / "project").run()

    return Project(made_by_one_worker(shared_directory(tmp_path_factory, worker_id) / "smoke", make) / "project")


@pytest.fixture
def finished(finished_once: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of the finished smoke study that a test may edit."""
    project = finished_once.copy(tmp_path / "project")
    yield project
    shutil.rmtree(project.root, ignore_errors=True)


@pytest.fixture(scope="session")
def smoke_report(finished_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snakemake's HTML report of the smoke study."""
    project = finished_once.copy(tmp_path_factory.mktemp("report") / "project")
    project.run("--report", "report.html")
    return project.root / "report.html"
