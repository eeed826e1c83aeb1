"""A study of models of the hub: planned without anything, run only after `download`, stale where a commit changes."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests import pretend_hub
from tests.pretend_hub import PretendHub, files_of
from tests.projects import Project, make_project
from tests.tiny_models import save_neox

STUDY = """
title: Two models of the hub, one with a stage on top
models: {tiny: {}}
stages:
  base: {method: checkpoint, source: {hub: "someone/{size}-base"}}
  tuned: {method: checkpoint, source: {hub: "someone/{size}-tuned", revision: v1}}
prompts: {factual: prompts/nano-factual.yaml}
generation: {temperatures: ["1.0"], completions: 2, max_new_tokens: 4}
measures: {diversity: {metrics: [self_bleu], words: [5]}}
"""
ASKED = ("models", "results/own/generations/tiny/s0/tuned/factual/human/T1.0.parquet")


@dataclass(frozen=True)
class HubProject(Project):
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self.variables}

    def lock(self) -> Path:
        return self.root / "config/studies/own.lock.yaml"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, bytes]]:
    root = tmp_path_factory.mktemp("models")
    return [files_of(save_neox(root / str(seed), seed=seed)) for seed in range(3)]


@pytest.fixture
def project(tmp_path: Path) -> HubProject:
    made = make_project(tmp_path / "project", "own")
    (made.root / "config/studies/own.yaml").write_text(STUDY)
    return HubProject(made.root, "own", variables=pretend_hub.environment(tmp_path / "cache"))


def online(project: HubProject, hub: PretendHub) -> HubProject:
    cache = Path(project.variables["HF_HUB_CACHE"])
    return HubProject(project.root, "own", variables=pretend_hub.environment(cache, hub, token=hub.token))


def test_without_a_lock_a_study_is_planned_and_a_run_stops_before_any_job(project: HubProject) -> None:
    plan = project.plan("generations")
    assert plan == [f"{rule} tiny/s0/{stage}" for rule in ("generate", "train") for stage in ("base", "tuned")]
    said = project.run("generations", succeeds=False)
    assert "someone/tiny-base@main: no commit is locked for it" in said
    assert "someone/tiny-tuned@v1: no commit is locked for it" in said
    assert "Run `snakemake download --config study=own` where there is a network" in said
    assert "Nothing was started" in said
    assert "Traceback" not in said
    assert "rule train" not in said
    assert not (project.root / "results").exists()
    # The working directory is not left locked, and nothing is fetched where that is forbidden.
    assert "HF_HUB_OFFLINE is set" in project.run("download", succeeds=False)


def test_a_study_is_downloaded_and_run_without_a_network_and_follows_its_lock(
    project: HubProject, weights: list[dict[str, bytes]]
) -> None:
    with PretendHub().running() as hub:
        base = hub.repository("someone/tiny-base", gated=True).push(weights[0])
        tuned = hub.repository("someone/tiny-tuned").push(weights[1], "v1")
        said = online(project, hub).run("download")
        assert f"someone/tiny-base@main: commit {base}" in said
        other = hub.repository("someone/tiny-tuned").push(weights[2], "v1")
        assert "someone/tiny-tuned@v1 HAS MOVED" in online(project, hub).run("download")
        secrets = [
            path for path in project.root.rglob("*") if path.is_file() and hub.token.encode() in path.read_bytes()
        ]
        assert secrets == []
    locked = yaml.safe_load(project.lock().read_text())["models"]
    assert locked == {"someone/tiny-base": {"main": base}, "someone/tiny-tuned": {"v1": tuned}}

    project.run(*ASKED)
    manifest = json.loads(project.result("models/tiny/s0/tuned/manifest.json").read_text())
    assert manifest["spec"]["source"] == {"hub": "someone/tiny-tuned", "commit": tuned}
    assert project.plan(*ASKED) == []
    snapshot = Path(project.variables["HF_HUB_CACHE"]) / "models--someone--tiny-tuned" / "snapshots"
    assert project.result("models/tiny/s0/tuned/weights/model.safetensors").samefile(
        snapshot / tuned / "model.safetensors"
    )

    # Another commit in the lock: what was made from it is stale, and nothing else.
    content = project.lock().read_text()
    project.lock().write_text(content.replace(tuned, other))
    assert project.plan(*ASKED) == ["generate tiny/s0/tuned", "train tiny/s0/tuned"]
    # An entry of something else: nothing is stale.
    project.lock().write_text(content + '  someone/further:\n    main: "' + "a" * 40 + '"\n')
    assert project.plan(*ASKED) == []
    # No entry: the stage is stale, and only that.
    project.lock().write_text("".join(line for line in content.splitlines(True) if tuned not in line))
    assert project.plan(*ASKED) == ["generate tiny/s0/tuned", "train tiny/s0/tuned"]
    # Finished work needs neither cache nor network.
    project.lock().write_text(content)
    shutil.rmtree(project.variables["HF_HUB_CACHE"])
    assert project.plan(*ASKED) == []
