"""Copies of the project in directories of their own, ways to edit and plan them, and a disk that is full soon."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "workflow", "scripts", "config", "profiles", "envs")

TARGETS = ("all", "models", "generations", "measurements", "tables", "figures", "labelling_sheets")
"""Rules that make nothing themselves."""

PUBLISHED = Path(os.environ.get("MODECOLLAPSE_PUBLISHED", ROOT.parent / "shared" / "published"))


_SNAKEMAKES = multiprocessing.get_context("forkserver")
# What each of them would import. Never the package itself, of which every project has its own.
_SNAKEMAKES.set_forkserver_preload(
    [
        "snakemake.cli",
        "snakemake.report.html_reporter",
        "snakemake.storage",
        "snakemake_executor_plugin_slurm",
        "PIL.Image",
        "docutils.core",
        "jinja2",
        "pyarrow.parquet",
        "requests",
        "smart_open",
        "yte",
        "tests.projects",
    ]
)


def start_server() -> None:
    """Start the server that forks them. A process has one such server: whoever starts it says what it imports."""
    forkserver.ensure_running()


@dataclass(frozen=True)
class Project:
    """A working copy of the project whose own package is imported, so that tests may edit anything."""

    root: Path
    study: str = "nano-smoke"
    settings: tuple[str, ...] = ()

    def options(self, *arguments: str) -> list[str]:
        """What Snakemake is called with."""
        return ["--cores", "2", *arguments, "--config", f"study={self.study}", *self.settings]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *self.options(*arguments)]

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        # The copy keeps its compiled modules: a study's jobs would each compile them again.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {
            **inherited,
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
        with tempfile.NamedTemporaryFile() as output:
            call = (self.root, self.options(*arguments), self.environment(), output.name)
            process = _SNAKEMAKES.Process(target=_snakemake, args=call)
            process.start()
            process.join(timeout=1800)
            process.kill()
            said = Path(output.name).read_text()
        assert process.exitcode is not None, f"it did not end: {said}"
        assert (process.exitcode == 0) == succeeds, said
        return said

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


def _snakemake(root: Path, arguments: list[str], environment: dict[str, str], output: str) -> None:
    """What `python -m snakemake` does, in this process; everything that it prints goes to the file `output`."""
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in environment
    os.chdir(root)
    sys.path[:0] = [str(root), str(root / "workflow")]
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main()


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
