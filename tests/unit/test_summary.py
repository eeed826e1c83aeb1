"""What a run that ended well says about where its time went."""

import json
from pathlib import Path
from types import SimpleNamespace

import jinja2

from modecollapse.jobs.summary import JobTimes, job_times, shares
from tests.projects import ROOT

JOBS = [
    JobTimes("train", 50, 10, cpu=40, startup_cpu=8),
    JobTimes("generate_human+bare", 30, 10, cpu=30, startup_cpu=10),
    JobTimes("train_tokenizer", 5, 2, cpu=5, startup_cpu=2),
    JobTimes("plot_truth", 5, 2, cpu=5, startup_cpu=2),
]


def test_the_share_of_the_work_counts_snakemake_shells_and_start_up_as_none() -> None:
    # 32 + 20 of 100 s: the jobs' 80, 12 of shells beside them, and 8 of Snakemake.
    assert shares(JOBS, own=8, children=92) == (
        "Training, sampling and measuring: 52% of 100 s of processor time "
        "(start-up of processes 22%, data, tables and figures 6%, Snakemake and its shells 20%)."
    )


def test_jobs_that_ran_elsewhere_count_although_they_are_no_children() -> None:
    assert shares(JOBS, own=20, children=1).startswith("Training, sampling and measuring: 52% of 100 s")


def test_jobs_of_an_earlier_run_do_not_count(tmp_path: Path) -> None:
    for number, started in enumerate((1.0, 5.0, 3.0)):
        entry = {"rule": f"rule{number}", "started": started, "ready": started + 1, "ended": started + 4}
        (tmp_path / f"{number}.timing.json").write_text(json.dumps({**entry, "cpu": 2.0, "ready_cpu": 0.5}))
    (tmp_path / "old.timing.json").write_text(json.dumps({"rule": "old", "started": 0, "ready": 1, "ended": 2}))
    assert job_times(tmp_path, since=2.0) == [JobTimes("rule2", 4, 1, 2.0, 0.5), JobTimes("rule1", 4, 1, 2.0, 0.5)]


def test_the_reports_front_page_names_stages_that_fail_their_guard_rails() -> None:
    template = jinja2.Template((ROOT / "workflow/report/workflow.rst").read_text())
    about = {"title": "A study", "description": "", "world": False}
    said = "DPO (small) falls below SFT by more than its guard rails allow: it fails piqa."
    with_one, without = (
        template.render(snakemake=SimpleNamespace(config={"about": {**about, "failing": failing}}))
        for failing in ([said], [])
    )
    assert f"\n- {said}\n" in with_one
    assert "guard rails" not in without
