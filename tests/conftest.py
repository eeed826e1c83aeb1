"""A copy of the project in a directory of its own, the smoke study finished once, and ways to edit and plan."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from filelock import FileLock

from tests.pretend_hub import cache_repository

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "scripts", "config", "profiles", "envs")

TARGETS = ("all", "models", "generations", "measurements", "tables", "figures")
"""Rules that make nothing themselves."""

PUBLISHED = Path(os.environ.get("MODECOLLAPSE_PUBLISHED", ROOT.parent / "shared" / "published"))


@dataclass(frozen=True)
class Project:
    """A working copy of the project whose own package is imported, so that tests may edit anything."""

    root: Path
    study: str = "nano-smoke"
    settings: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        config = ["--config", f"study={self.study}", *self.settings]
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *config]

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {
            **os.environ,
            "PYTHONPATH": str(self.root / "workflow"),
            "PATH": path,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }

    def start(
        self, *arguments: str, output: int | IO[Any] = subprocess.PIPE, new_session: bool = False
    ) -> "subprocess.Popen[str]":
        """Start Snakemake; everything that it prints goes to `output`."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=new_session,
        )

    def run(self, *arguments: str, succeeds: bool = True) -> str:
        """Run Snakemake; returns everything it printed."""
        with self.start(*arguments) as process:
            try:
                output, _ = process.communicate(timeout=600)
            except BaseException:
                process.kill()
                raise
        assert (process.returncode == 0) == succeeds, output
        return output

    def plan(self, *arguments: str) -> list[str]:
        """The jobs that Snakemake would run, e.g. ["score tiny/s0/sft", "tabulate"], sorted."""
        return parse_plan(self.run("--dry-run", *arguments))

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.root / file
        text = path.read_text()
        assert text.count(old) >= 1, f"{file} does not contain {old!r}"
        path.write_text(text.replace(old, new))

    def edit_study(self, old: str, new: str) -> None:
        self.edit(f"config/studies/{self.study}.yaml", old, new)

    def result(self, name: str) -> Path:
        return self.root / "results" / self.study / name

    def copy(self, directory: Path, **changes: object) -> "Project":
        """The same project with everything it has made, modification times included."""
        shutil.copytree(self.root, directory, symlinks=True)
        return Project(**{**self.__dict__, "root": directory, **changes})


def parse_plan(output: str) -> list[str]:
    """Rule names with the values of their wildcards, from the output of a dry run."""
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", output)[1:]:
        name = re.match(r"(?:local)?rule (\S+):", block)
        assert name is not None
        wildcards = re.search(r"\n +wildcards: (.*)", block)
        values = dict(pair.split("=", 1) for pair in wildcards[1].split(", ")) if wildcards else {}
        if "seed" in values:
            values["seed"] = f"s{values['seed']}"
        jobs.append(" ".join([name[1], "/".join(values.values())]).strip())
    return sorted(job for job in jobs if job not in TARGETS)


def make_project(directory: Path, study: str = "nano-smoke", settings: tuple[str, ...] = ()) -> Project:
    """A fresh copy of the project's code, without results."""
    directory.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, directory / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, directory / part)
    return Project(directory, study, settings)


class SmallDisk:
    """A file system in memory, mounted at `path`, that is full soon."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path))

    def remount(self, options: str) -> None:
        """Give it another size (`size=…`), or make it read-only (`ro`)."""
        self._mount("-o", f"remount,{options}", str(self.path))

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"a small file system cannot be mounted, which only root may: {done.stderr.strip()}")


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


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """The smoke study, run from nothing to its figures, once for all workers. Tests take `finished`, a copy of it."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    project = Project(shared / "smoke" / "project")
    with FileLock(shared / "smoke.lock"):
        if not project.result("figures").exists():
            make_project(project.root)
            project.run()
    return project


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
