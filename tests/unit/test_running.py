"""The frame around a job: how it ends when it is asked to stop, and when a file cannot be written."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from modecollapse import stopping

FRAME = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from modecollapse import stopping
from modecollapse.jobs.running import running
from modecollapse.publishing import publish_file

stopping.ONE_REQUEST_SECONDS = 0.3
snakemake = SimpleNamespace(
    threads=1, resources={}, rule="toy", log=["logs/toy.log"], config={"results": "results", "store": "store"}
)
"""
WORKS_UNTIL_ASKED = """
with running(polls=True) as job:
    print("ready", flush=True)
    while not stopping.requested():
        time.sleep(0.01)
    time.sleep(0.1)
    with publish_file(Path("results/kept")) as partial:
        partial.write_text("kept")
    stopping.check()
"""
NEVER_ASKS = """
with running(polls=True) as job:
    print("ready", flush=True)
    time.sleep(60)
"""
DOES_NOT_POLL = """
with running() as job:
    with publish_file(Path("results/table")) as partial:
        partial.write_text("half")
        print("ready", flush=True)
        try:
            time.sleep(60)
        except Exception:
            print("taken for an error")
"""


def start(directory: Path, body: str) -> "subprocess.Popen[str]":
    """A process that runs `body` as a job; returns when it says that it is ready."""
    package = Path(sys.modules["modecollapse"].__file__ or "").parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", FRAME + textwrap.dedent(body)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(package)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()
    return process


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_job_that_is_asked_to_stop_keeps_what_it_has_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, WORKS_UNTIL_ASKED)
    process.send_signal(number)
    process.send_signal(signal.SIGTERM)  # Slurm signals a process more than once
    _, errors = process.communicate(timeout=30)
    assert process.returncode == stopping.EXIT_STATUS, errors
    assert (tmp_path / "results" / "kept").read_text() == "kept"
    # Two signals that wait together are not always delivered in the order of sending.
    assert errors.strip() in [
        f"toy: stopped by {name}; what was finished is kept, and the same command goes on from there."
        for name in (number.name, "SIGTERM")
    ]
    assert errors.strip().removeprefix("toy: ") in (tmp_path / "logs" / "toy.log").read_text()


def test_a_job_with_nothing_to_keep_ends_at_once_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = start(tmp_path, DOES_NOT_POLL)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == stopping.EXIT_STATUS, errors
    assert "stopped by SIGTERM" in errors
    assert output == ""
    assert not list((tmp_path / "results").iterdir())


def test_a_signal_that_comes_again_ends_a_job_that_does_not_heed_it(tmp_path: Path) -> None:
    process = start(tmp_path, NEVER_ASKS)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == -signal.SIGTERM


def test_a_job_can_do_without_libraries_that_others_would_import() -> None:
    code = """
        import sys
        from modecollapse.jobs.running import Job
        Job(None).do_without("pandas", "scipy")
        import pyarrow as pa
        pa.table({"text": ["a"]}).to_pylist()
        assert "pandas" not in sys.modules
        import pandas
        try:
            import scipy
        except ImportError:
            print("absent")
    """
    package = Path(sys.modules["modecollapse"].__file__ or "").parent.parent
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "absent\n", done.stderr
