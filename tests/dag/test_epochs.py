"""Runs that keep every epoch: one job makes them, edits reach no further than they must, nothing finished is lost."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from modecollapse.digests import sha256_file
from modecollapse.yaml_files import read_yaml
from tests.projects import Project
from tests.sharing import made_by_one_worker, shared_directory
from tests.workflow.test_nothing_lost import kill_when

STAGES = ("sft-1", "sft-2", "dpo1-1", "dpo1-2")
FILE = "config/studies/nano-smoke.yaml"


def models(project: Project) -> dict[str, str]:
    root = project.result("models/tiny/s0")
    files = [path for stage in STAGES for path in (root / stage).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in files if path.name != "run.json"}


def log(project: Project, run: str) -> str:
    return (project.root / f"logs/{project.study}/train/tiny/s0/{run}.log").read_text()


def came_back(project: Project, run: str) -> list[str]:
    return [stage for stage in STAGES if f"tiny/s0/{stage} came back from the store" in log(project, run)]


def forget(project: Project, stage: str) -> None:
    """Delete a model from the results and from the store."""
    directory = project.result(f"models/tiny/s0/{stage}")
    weights = sha256_file(directory / "weights" / "model.safetensors")
    shutil.rmtree(directory)
    files = project.root.glob("store/models/*/*/weights/model.safetensors")
    (kept,) = (path for path in files if sha256_file(path) == weights)
    shutil.rmtree(kept.parents[1])


@pytest.fixture(scope="session")
def made_once(finished_once: Project, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    """Two epochs of SFT and two of DPO from the first of them, from the smoke study's first model: nothing measured."""

    def make(directory: Path) -> None:
        project = finished_once.copy(directory / "project")
        shutil.rmtree(project.root / "store/models")
        for stage in ("sft", "dpo"):
            shutil.rmtree(project.result(f"models/tiny/s0/{stage}"))
        content = read_yaml(project.root / FILE)
        stages = content["stages"]
        each = {"epochs": 2, "each_epoch": True}
        content["stages"] = {
            "plm": stages["plm"],
            "sft": {**stages["sft"], **each},
            "dpo1": {**stages["dpo"], **each, "from": "sft-1"},
        }
        (project.root / FILE).write_text(yaml.safe_dump(content, sort_keys=False))
        assert project.plan("models") == [
            "score_reference tiny/s0/sft-1/preferences/human/128-64-truncate-float32",
            "train_2_epochs tiny/s0/dpo1",
            "train_2_epochs tiny/s0/sft",
        ]
        project.run("models")

    return Project(made_by_one_worker(shared_directory(tmp_path_factory, worker_id) / "epochs", make) / "project")


@pytest.fixture
def made(made_once: Project, tmp_path: Path) -> Iterator[Project]:
    project = made_once.copy(tmp_path / "project")
    yield project
    shutil.rmtree(project.root, ignore_errors=True)


def test_one_job_makes_all_epochs_of_a_run_and_a_finished_study_schedules_none(made: Project) -> None:
    assert made.plan("models") == []
    assert {name.partition("/")[0] for name in models(made)} == set(STAGES)
    assert len({digest for name, digest in models(made).items() if name.endswith(".safetensors")}) == 4


def test_beta_schedules_the_run_of_dpo_only(made: Project) -> None:
    made.edit_study("beta: 0.1", "beta: 0.2")
    assert made.plan("models") == ["train_2_epochs tiny/s0/dpo1"]


@pytest.mark.slow
def test_deleted_weights_of_an_epoch_come_back_from_the_store(made: Project) -> None:
    before = models(made)
    shutil.rmtree(made.result("models/tiny/s0/sft-2/weights"))
    assert "train_2_epochs tiny/s0/sft" in made.plan("models")
    made.run("models")
    assert came_back(made, "sft") == ["sft-1", "sft-2"]
    assert models(made) == before
    assert made.plan("models") == []


@pytest.mark.slow
def test_an_epoch_that_the_store_lost_is_made_again_and_the_others_stay(made: Project) -> None:
    before = models(made)
    forget(made, "sft-2")
    made.run("models")
    assert came_back(made, "sft") == ["sft-1"]
    assert came_back(made, "dpo1") in ([], ["dpo1-1", "dpo1-2"])
    assert models(made) == before
    assert not any(path.is_file() for path in (made.root / "store/state").rglob("*"))


@pytest.mark.slow
def test_one_epoch_more_leaves_the_earlier_ones_as_they_are(made: Project) -> None:
    before = models(made)
    path = made.root / FILE
    content = read_yaml(path)
    content["stages"]["sft"]["epochs"] = 3
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert "train_3_epochs tiny/s0/sft" in made.plan("models")
    made.run("models")
    assert came_back(made, "sft") == ["sft-1", "sft-2"]
    assert models(made) == before
    assert made.result("models/tiny/s0/sft-3/manifest.json").is_file()


@pytest.mark.slow
def test_an_ordinary_run_of_one_epoch_is_the_first_epoch_in_the_store(made: Project) -> None:
    manifest = made.result("models/tiny/s0/sft-1/manifest.json").read_bytes()
    path = made.root / FILE
    content = read_yaml(path)
    stages = content["stages"]
    content["stages"] = {"plm": stages["plm"], "sft": {**stages["sft"], "epochs": 1, "each_epoch": False}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    made.run("models")
    assert "tiny/s0/sft came back from the store" in log(made, "sft")
    ordinary = made.result("models/tiny/s0/sft/manifest.json").read_bytes()
    digests = [[line for line in text.splitlines() if b"model.safetensors" in line] for text in (manifest, ordinary)]
    assert digests[0] == digests[1] != []


@pytest.mark.slow
@pytest.mark.parametrize("run", ["dpo1"])
def test_a_killed_run_ends_with_the_models_of_an_undisturbed_one(made: Project, run: str) -> None:
    before = models(made)
    for stage in (f"{run}-1", f"{run}-2"):
        forget(made, stage)
    state, target = made.root / "store/state", f"results/nano-smoke/models/tiny/s0/{run}-2/manifest.json"
    kill_when(made, "train_epochs", state, 5, target)
    made.run(target)
    assert came_back(made, run) == []
    assert {name: digest for name, digest in models(made).items() if name.startswith(run)} == {
        name: digest for name, digest in before.items() if name.startswith(run)
    }
    assert not any(path.is_file() for path in state.rglob("*"))


@pytest.mark.slow
def test_a_run_killed_while_it_is_published_is_not_trained_again(made: Project) -> None:
    before = models(made)
    kept = made.root / "store/models"
    whole = len(list(kept.glob("*/*/manifest.json")))
    for stage in ("sft-1", "sft-2"):
        forget(made, stage)
    published = made.result("models/tiny/s0/sft-1")
    target = "results/nano-smoke/models/tiny/s0/sft-2/manifest.json"
    kill_when(made, "train_epochs", published, 3, target)
    assert len(list(kept.glob("*/*/manifest.json"))) == whole, "kept before it is published"
    made.run(target)
    assert came_back(made, "sft") == ["sft-1", "sft-2"]
    assert models(made) == before
