"""Nothing that was finished is computed again: after a kill, a failure, or a mistaken edit that is taken back."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from modecollapse.digests import sha256_file
from tests.projects import Project


def digests(project: Project, *patterns: str) -> dict[str, str]:
    root = project.result(".")
    files = [path for pattern in patterns for path in root.glob(pattern)]
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}


RESULTS = ("tables/*.parquet", "tables/*.csv", "generations/**/*.parquet", "models/**/*.safetensors", "figures/*.svg")


def made(project: Project, stage: str) -> tuple[int, ...]:
    """(current, restored, made) cells of the last generation job of a stage, from its log."""
    log = (project.root / f"logs/nano-smoke/generate/tiny/s0/{stage}.log").read_text()
    found = re.search(r"cells: (\d+) current, (\d+) from the store, (\d+) to make", log)
    assert found is not None
    return tuple(map(int, found.groups()))


def complete(directory: "os.PathLike[str]") -> int:
    """How many files a directory holds that are not being written."""
    return sum(path.is_file() and not path.name.endswith(".partial") for path in Path(directory).rglob("*"))


def kill_when(project: Project, script: str, ready: "os.PathLike[str]", count: int, *targets: str) -> None:
    """Start a run, and kill the job that runs `script` as soon as `ready` holds `count` complete files."""
    log = project.root / "killed.log"
    with log.open("w") as file:
        run = project.start(*targets, output=file)
    try:
        killed = False
        while run.poll() is None:
            if not killed and complete(ready) >= count:
                for process in psutil.Process(run.pid).children(recursive=True):
                    if any(argument.endswith(f".{script}.py") for argument in process.cmdline()):
                        process.send_signal(signal.SIGKILL)
                        killed = True
            time.sleep(0.005)
        assert killed, f"the run ended before the job could be killed: {log.read_text()}"
        assert run.returncode != 0
    finally:
        if run.poll() is None:
            run.kill()


def test_a_generation_killed_half_way_is_not_generated_again(finished: Project) -> None:
    temperatures = [f"0.{digit}" for digit in range(2, 10)] + ["1.0"]
    finished.edit_study('temperatures: ["0.5", "1.0"]', f"temperatures: {temperatures}")
    finished.edit_study("completions: 3", "completions: 12")
    targets = [
        f"results/nano-smoke/generations/tiny/s0/dpo/{prompts}/human/T{temperature}.parquet"
        for prompts in ("creative", "factual")
        for temperature in temperatures
    ]
    cells = finished.root / "store" / "cells"
    before = complete(cells)
    total = 2 * len(temperatures)
    kill_when(finished, "generate", cells, before + total // 2, *targets)
    kept = complete(cells) - before
    assert total // 2 <= kept < total
    finished.run(*targets)
    current, restored, generated = made(finished, "dpo")
    assert (current + restored, generated) == (kept, total - kept)


def test_a_setting_changed_and_changed_back_computes_nothing_twice(finished: Project) -> None:
    before = digests(finished, *RESULTS)
    finished.edit_study("beta: 0.1", "beta: 0.7")
    finished.run("generations")
    assert finished.plan("generations") == [], "a run after an edit leaves nothing to do"
    assert digests(finished, *RESULTS) != before
    finished.edit_study("beta: 0.7", "beta: 0.1")
    finished.run("generations")
    log = finished.root / "logs/nano-smoke/train/tiny/s0/dpo.log"
    assert "came back from the store" in log.read_text()
    assert made(finished, "dpo") == (0, 4, 0), "all four cells of dpo came back"
    assert digests(finished, *RESULTS) == before


@pytest.mark.parametrize("stage", ["plm", *(pytest.param(stage, marks=pytest.mark.slow) for stage in ("sft", "dpo"))])
def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(
    finished: Project, stage: str, tmp_path: Path
) -> None:
    weights = finished.result(f"models/tiny/s0/{stage}/weights/model.safetensors")
    undisturbed = sha256_file(weights)
    for directory in ("results/nano-smoke/models", "store/models", "store/state"):
        subprocess.run(["rm", "-rf", str(finished.root / directory)], check=True)
    parents = ["plm", "sft", "dpo"][: ["plm", "sft", "dpo"].index(stage)]
    if parents:
        finished.run(f"results/nano-smoke/models/tiny/s0/{parents[-1]}/manifest.json")
    state = finished.root / "store" / "state"
    target = f"results/nano-smoke/models/tiny/s0/{stage}/manifest.json"
    # A trainer checkpoint of the smoke study has at least five files: the first one is then complete.
    kill_when(finished, "train", state, 5, target)
    finished.run(target)
    assert sha256_file(weights) == undisturbed
    assert not any(path.is_file() for path in state.rglob("*")), "what was kept for resuming is removed"


@pytest.mark.slow  # a run on the test cluster is compared with a local one, too
def test_two_runs_from_nothing_give_the_same_digests(finished: Project, fresh: Project) -> None:
    fresh.run()
    assert digests(fresh, *RESULTS) == digests(finished, *RESULTS)
    assert len(digests(fresh, "tables/*.parquet")) >= 9
