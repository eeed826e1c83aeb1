"""Jobs on one machine compute on GPUs of their own."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from modecollapse.errors import StudyError
from modecollapse.resources.gpus import VISIBLE, require_gpus_or_exit, take_gpus

LIMIT = "resources: gpu=1, but machine.gpus_per_node is 4"
JOB = """
import os, sys, time
from modecollapse.resources.gpus import take_gpus
take_gpus(int(sys.argv[1]), {"gpus_per_node": int(sys.argv[2])})
print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
time.sleep(600)
"""


@pytest.fixture
def jobs(tmp_path: Path):
    """Starts a job that takes GPUs and holds them until it is killed."""
    started = []

    def start(asked: int, gpus: int, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, str(asked), str(gpus)],
            env={**os.environ, "MODECOLLAPSE_GPU_LOCKS": str(tmp_path), **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def seen(process: subprocess.Popen[str]) -> set[str]:
    assert process.stdout is not None
    return set(process.stdout.readline().strip().split(","))


def test_jobs_at_the_same_time_see_different_gpus_and_the_next_one_waits(jobs):
    first, second = jobs(1, 3), jobs(1, 3)
    of_first, of_second = seen(first), seen(second)
    assert of_first | of_second < {"0", "1", "2"}
    assert of_first.isdisjoint(of_second)
    waiting = jobs(2, 3)
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(timeout=2)
    os.kill(first.pid, signal.SIGKILL)  # after which nothing tidies up
    assert seen(waiting) == {"0", "1", "2"} - of_second


def test_only_gpus_that_are_visible_are_taken(jobs):
    assert seen(jobs(2, 8, CUDA_VISIBLE_DEVICES="5,GPU-ab12")) == {"5", "GPU-ab12"}


def test_more_gpus_than_the_machine_has_are_refused(tmp_path):
    with pytest.raises(
        StudyError, match=r"asks for 2, but there are 1 \(machine\.gpus_per_node, CUDA_VISIBLE_DEVICES=3\)"
    ):
        take_gpus(2, {"gpus_per_node": 4}, {VISIBLE: "3", "MODECOLLAPSE_GPU_LOCKS": str(tmp_path)})


@pytest.mark.parametrize(
    ("asked", "machine", "environment"),
    [(0, {"gpus_per_node": 2}, {}), (1, {"gpus_per_node": 2}, {"SLURM_JOB_ID": "7"})],
)
def test_nothing_is_taken_where_none_is_asked_for_or_a_scheduler_hands_them_out(asked, machine, environment):
    take_gpus(asked, machine, environment)
    assert VISIBLE not in environment


@pytest.mark.parametrize(
    ("limit", "executor", "refused"), [(1, "local", True), (4, "local", False), (1, "slurm", False)]
)
def test_a_limit_of_gpus_that_is_not_what_the_machine_has_is_refused(
    limit: int, executor: str, refused: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    resources = {"gpu": SimpleNamespace(value=limit)}
    workflow = SimpleNamespace(global_resources=resources, executor_plugin=SimpleNamespace(name=executor))
    if not refused:
        require_gpus_or_exit(workflow, 4)
        return
    with pytest.raises(SystemExit):
        require_gpus_or_exit(workflow, 4)
    assert LIMIT in capsys.readouterr().err


def test_of_an_allocation_of_slurms_with_several_gpus_each_job_takes_its_own(tmp_path: Path) -> None:
    environment = {"SLURM_JOB_ID": "7", VISIBLE: "0,1,2,3", "MODECOLLAPSE_GPU_LOCKS": str(tmp_path)}
    take_gpus(1, {}, environment)
    assert environment[VISIBLE] == "0"
    chosen = {"SLURM_JOB_ID": "8", VISIBLE: "0", "MODECOLLAPSE_GPU_LOCKS": str(tmp_path)}
    take_gpus(1, {}, chosen)
    assert chosen[VISIBLE] == "0", "Slurm has chosen it"


def test_where_jobs_compute_on_processors_they_see_no_gpu() -> None:
    environment = {VISIBLE: "0,1"}
    take_gpus(1, {"accelerator": "cpu", "gpus_per_node": 2}, environment)
    assert environment[VISIBLE] == ""
