"""Runs that cannot write, or that are one too many, say so in one message, and what is finished stays."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace

import psutil

from modecollapse import stopping
from modecollapse.digests import sha256_file
from modecollapse.sealed import read_sealed
from tests.projects import Project, SmallDisk

DATA = "nano-smoke/data/corpus.parquet"


def wait_for(condition: Callable[[], bool], run: "subprocess.Popen[str]") -> None:
    while not condition():
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.01)


def test_results_that_do_not_fit_are_one_error_and_are_made_once_there_is_room(
    fresh: Project, small_disk: Callable[[str], SmallDisk]
) -> None:
    disk = small_disk("16k")
    project = replace(fresh, settings=(f"results={disk.path}",))
    target = disk.path / DATA
    output = project.run(str(target), succeeds=False)
    assert f"{target} cannot be written: no space is left (the file system at {disk.path} has" in output
    assert "are needed" in output
    assert "Make room there, or name another place with --config results=DIR" in output
    assert "Traceback" not in output
    assert not [path for path in disk.path.rglob("*") if "partial" in path.name]
    disk.remount("size=50m")
    project.run(str(target))
    assert read_sealed(target).num_rows


def test_results_that_are_read_only_are_told_before_any_job_starts(
    fresh: Project, small_disk: Callable[[str], SmallDisk]
) -> None:
    disk = small_disk("1m")
    disk.remount("ro")
    output = replace(fresh, settings=(f"results={disk.path}",)).run(succeeds=False)
    assert f"{disk.path}/nano-smoke/study.json cannot be written: it is read-only" in output
    assert "Make it writable, or name another place with --config results=DIR" in output
    assert "Nothing was started and nothing was changed." in output
    assert "Traceback" not in output
    assert "sample_data:" not in output.split("Select jobs")[-1].replace("localrule", "")
    assert not (fresh.root / "store").exists()


def test_a_run_whose_processes_are_all_signalled_waits_for_its_job(fresh: Project) -> None:
    fresh.edit_study("n: 400", "n: 40000")
    run = fresh.start(f"results/{DATA}", new_session=True)
    log = fresh.root / "logs/nano-smoke/sample_data/corpus.log"
    wait_for(log.exists, run)
    time.sleep(0.5)
    os.killpg(run.pid, signal.SIGTERM)  # as Slurm does
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "sample_data: stopped by SIGTERM; what was finished is kept" in output
    assert f"returned non-zero exit status {stopping.EXIT_STATUS}" in output
    assert "Traceback" not in output
    assert not list((fresh.root / "results").rglob("*corpus*"))


def test_of_two_runs_of_one_study_the_second_is_refused_and_another_study_may_run(fresh: Project) -> None:
    study = fresh.root / "config/studies/nano-smoke.yaml"
    study.with_stem("other").write_text(study.read_text())
    first = fresh.start(f"results/{DATA}", new_session=True)
    locks = fresh.root / ".snakemake" / "locks"
    try:
        wait_for(lambda: any(lock.stat().st_size for lock in locks.glob("*.lock")), first)
        family = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
        for process in family:
            process.suspend()
        second = fresh.run(f"results/{DATA}", succeeds=False)
        assert "Directory cannot be locked" in second
        assert "make sure that no other Snakemake process is trying to create the same files" in second
        assert "--unlock" in second
        replace(fresh, study="other").run(f"results/{DATA.replace('nano-smoke', 'other')}")
        for process in family:
            process.resume()
        output, _ = first.communicate(timeout=120)
        assert first.returncode == 0, output
    finally:
        if first.poll() is None:
            first.kill()
    one, other = (fresh.root / "results" / name for name in (DATA, DATA.replace("nano-smoke", "other")))
    assert sha256_file(one) == sha256_file(other)
