"""What Snakemake shows of the jobs' demands, and the plan of a study, which starts nothing."""

import re
from pathlib import Path

from tests.projects import Project, make_project
from tests.tiny_models import save_neox


def resources(output: str) -> dict[str, dict[str, str]]:
    """Rule and wildcards of each planned job → its resources."""
    jobs = {}
    for block in re.split(r"\n(?=(?:local)?rule )", output)[1:]:
        name, wildcards = re.match(r"(?:local)?rule (\S+):", block), re.search(r"\n +wildcards: (.*)", block)
        stated = re.search(r"\n +resources: (.*)", block)
        assert name is not None
        values = "/".join(re.findall(r"=([^,]+)", wildcards[1])) if wildcards else ""
        jobs[f"{name[1]} {values}".strip()] = dict(re.findall(r"(\w+)=([^,]+)", stated[1])) if stated else {}
    return jobs


def test_a_dry_run_of_the_papers_study_shows_what_its_jobs_ask_for(fresh: Project) -> None:
    machine = ("machine={gpus_per_node: 4, gpu_memory_gb: 40, training_gpus: {pythia-70m: 2}}",)
    shown = resources(Project(fresh.root, "pythia", machine).run("--dry-run", "models"))
    wanted = ("gpu", "zero_stage", "micro_batch")
    assert [shown["train pythia-70m/0/sft"][key] for key in wanted] == ["2", "0", "32"]
    large = shown["train pythia-2.8b/0/dpo"]
    assert (large["gpu"], large["zero_stage"]) == ("4", "2")
    small = shown["train pythia-410m/0/dpo"]
    assert (small["gpu"], small["zero_stage"]) == ("1", "0")
    reference = shown["score_reference pythia-2.8b/0/sft/helpful/dialogue/512-256-truncate-float32"]
    assert reference["gpu"] == "1"
    assert "zero_stage" not in reference
    for key in ("mem_mb", "runtime"):
        assert int(large[key]) > int(reference[key])
        assert int(large[key]) > int(small[key]) > 0
    assert int(shown["train pythia-2.8b/0/sft"]["disk_mb"]) > 2 * 12 * 2775 + 4 * 2775
    # Taking weights over and reading data needs no device.
    for job in ("train pythia-70m/0/plm", "read_data helpful"):
        assert not set(wanted) & set(shown[job])
        assert {"mem_mb", "runtime", "disk_mb"} <= set(shown[job])


def columns(page: str, line: str) -> tuple[list[float], list[float]]:
    """(jobs, GPU-hours, core-hours, GB) of a line of the plan: of the whole study, and of what is still to be done."""
    found = re.search(rf"^{line} +([^|\n]*\|.*)$", page, re.MULTILINE)
    assert found is not None, page
    whole, left, _ = found[1].split("|")
    return [float(number.replace(",", "")) for number in whole.split()], [
        float(number.replace(",", "")) for number in left.split()
    ]


STUDY = """
title: A model of this machine, and one tuned from it
models: {tiny: {}}
data: {answers: {world: answers, n: 64}}
world: {seed: 0, taste: 1.0}
stages:
  base: {method: checkpoint, source: {path: model}}
  tuned: {method: sft, from: base, data: answers, batch_size: 16, max_length: 64}
prompts: {factual: prompts/nano-smoke-factual.yaml}
generation: {temperatures: ["0.5", "1.0"], completions: 2, max_new_tokens: 4}
measures: {diversity: {metrics: [self_bleu], words: [5]}}
"""


def test_the_plan_counts_the_whole_study_and_what_is_stale_and_starts_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", "own", ("machine={gpus_per_node: 2, training_gpus: 2}",))
    (project.root / "config/studies/own.yaml").write_text(STUDY)
    save_neox(project.root / "model")
    page = project.run("plan")
    whole, left = columns(page, "all")
    assert whole == left
    assert whole[0] == sum(columns(page, rule)[0][0] for rule in rules(page)) == len(project.plan())
    assert columns(page, "train")[0][:1] == [2]
    assert columns(page, "generate")[0][1] > 0, "GPU-hours"
    assert columns(page, "score")[0][1] == 0, "GPU-hours"
    assert re.search(r"^tiny/tuned +2 +8 ", page, re.MULTILINE), page
    for sentence in ("Nothing was started", "Disk at its peak", "Assumptions:", "answers: 64 rows"):
        assert sentence in page
    assert not (project.root / "results").exists()

    Project(project.root, "own").run(
        project.result("models/tiny/s0/base/manifest.json").relative_to(project.root).as_posix()
    )
    page = project.run("plan")
    assert columns(page, "all")[0] == whole
    assert columns(page, "all")[1][0] == whole[0] - 1
    assert [columns(page, "train")[part][0] for part in (0, 1)] == [2, 1]


def rules(page: str) -> list[str]:
    return [
        line.split()[0] for line in page.splitlines() if line.count("|") == 2 and not line.startswith(("rule", "all"))
    ]


def test_a_machine_on_which_a_study_cannot_run_is_said_without_a_job(fresh: Project) -> None:
    machine = ("machine={gpus_per_node: 4, training_gpus: 3}",)
    said = Project(fresh.root, settings=machine).run("models", succeeds=False)
    assert "machine.training_gpus: found 3, which does not divide stages.sft.batch_size 16" in said
    assert "Nothing was started" in said
    assert "Traceback" not in said
    assert not (fresh.root / "results").exists()
