"""Models from everywhere, end to end: every kind of source, the study of the documentation, and the shipped studies."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
import zstandard

from modecollapse.cells import Model
from modecollapse.manifest import read_manifest
from modecollapse.sealed import read_sealed
from modecollapse.study_files import load_study
from tests.gguf_files import write_llama
from tests.pretend_hub import cache_repository, environment, files_of
from tests.projects import ROOT, Project, make_project
from tests.tiny_models import save_adapter, save_llama, save_neox

CONFIG = ROOT / "config"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, which jobs find through their environment."""
    cache = tmp_path / "hub"
    for name, value in environment(cache).items():
        monkeypatch.setenv(name, value)
    return cache


def pickled(directory: Path) -> dict[str, bytes]:
    """The files of a model, its weights as older repositories have them."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(directory / "model.safetensors"), directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    return files_of(directory)


def sources(directory: Path, hub: Path) -> dict[str, Any]:
    """A stage for every kind of source; those of one family have one tokenizer, and are said to descend."""
    neox, llama = save_neox(directory / "neox"), save_llama(directory / "llama")
    cache_repository(hub, "org/tiny-tuned", files_of(save_neox(directory / "tuned", seed=1)))
    adapter = save_adapter(directory / "tuned", directory / "adapter", ["query_key_value", "dense"])
    write_llama(llama, directory / "llama.gguf")
    cache_repository(hub, "org/llama-pickled", pickled(save_llama(directory / "pickled", seed=2)))
    cache_repository(hub, "org/llama-gguf", {"small.gguf": (directory / "llama.gguf").read_bytes()})
    checkpoint = {"method": "checkpoint"}
    return {
        "neox": {**checkpoint, "source": {"path": str(neox)}},
        "tuned": {**checkpoint, "from": "neox", "source": {"hub": "org/{size}-tuned"}},
        "adapted": {"method": "adapter", "from": "tuned", "source": {"path": str(adapter)}},
        "llama": {**checkpoint, "source": {"path": str(llama)}},
        "pickled": {**checkpoint, "from": "llama", "source": {"hub": "org/llama-pickled"}},
        "gguf": {**checkpoint, "from": "llama", "source": {"hub": "org/llama-gguf", "gguf": "small.gguf"}},
    }


def study(directory: Path, hub: Path) -> dict[str, Any]:
    (directory / "text.jsonl").write_text('{"text": "A text."}\n{"text": "Another one, a little longer."}\n')
    template = "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}<|assistant|>"
    stages = sources(directory, hub)
    for name in ("llama", "pickled"):
        stages[name]["formats"] = ["plain", "okay", "human", "own", "own-chat", "chat"]
    return {
        "title": "Every kind of source",
        "data": {"text": {"source": {"path": str(directory / "text.jsonl")}}},
        "models": {"tiny": {}},
        "stages": stages,
        "formats": {"own": "Q: {prompt}\nA: {start}", "own-chat": {"template": template, "system": "Be brief."}},
        "prompts": {"creative": "prompts/nano-smoke-creative.yaml"},
        "generation": {
            "temperatures": ["1.0"],
            "completions": 3,
            "max_new_tokens": 12,
            "formats": ["plain", "okay", "human", "own", "own-chat"],
        },
        "measures": {
            "tokens": {"data": "text", "context": 32},
            "diversity": {"metrics": ["self_bleu", "mean_length"], "controlled_completions": 0},
        },
        "analysis": {"resamples": 200},
    }


@pytest.mark.slow
def test_every_kind_of_source_goes_through_every_format_to_tables_and_figures(tmp_path: Path, hub: Path) -> None:
    project = make_project(tmp_path / "project", study="mine.yaml")
    (project.root / "mine.yaml").write_text(yaml.safe_dump(study(tmp_path, hub), sort_keys=False))
    refused = project.run(succeeds=False)
    assert "snakemake download --config study=mine.yaml" in refused
    assert not (project.root / "results/mine").exists()
    project.run("download")
    lock = yaml.safe_load((project.root / "mine.lock.yaml").read_text())
    assert set(lock["models"]) == {"org/tiny-tuned", "org/llama-pickled", "org/llama-gguf"}
    project.run("tables", "results/mine/figures/attribution.svg", "results/mine/figures/samples_tiny+human.svg")
    made = load_study(
        {"study": str(project.root / "mine.yaml"), "results": str(project.root / "results")}, ROOT / "config"
    )
    manifests = {model.stage: read_manifest(Path(made.paths.manifest(model))) for model in made.trained()}
    assert manifests["tuned"].spec["source"]["commit"] == lock["models"]["org/tiny-tuned"]["main"]
    assert len({manifest.weights for manifest in manifests.values()}) == len(manifests)
    for model in made.trained():
        weights = Path(made.paths.weights(model))
        assert {path.suffix for path in weights.iterdir()} <= {
            ".json",
            ".safetensors",
            ".jinja",
            ".snakemake_timestamp",
            "",
        }
    curves = read_sealed(Path(made.paths.table("curves"))).to_pandas()
    for stage in made.stages:
        assert set(curves.loc[curves["stage"] == stage, "format"]) == set(made.formats(stage))
    attribution = read_sealed(Path(made.paths.table("attribution"))).to_pandas()
    assert set(attribution["path"]) == {"neox>tuned>adapted", "llama>pickled", "llama>gguf"}
    # The GGUF file holds the Llama itself, in full precision: nothing has changed.
    tokens = attribution[(attribution["path"] == "llama>gguf") & (attribution["metric"] == "perplexity")]
    assert tokens["delta"].abs().max() < 1e-3
    assert project.plan("tables") == []


def documented() -> str:
    """The study of ten lines in the documentation."""
    text = (ROOT / "docs/studies.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"## Ten lines\n\n```yaml\n(.*?)```", text, re.DOTALL)
    return block


@pytest.mark.slow
def test_the_ten_lines_of_the_documentation_are_ten_and_run_as_they_stand(tmp_path: Path, hub: Path) -> None:
    assert documented().count("\n") == 10
    for seed, repository in enumerate(["EleutherAI/pythia-70m", "lomahony/pythia-70m-helpful-sft"]):
        cache_repository(hub, repository, files_of(save_neox(tmp_path / f"model{seed}", seed=seed)))
    project: Project = make_project(tmp_path / "project", study="mine.yaml")
    (project.root / "mine.yaml").write_text(documented())
    project.run("download")
    assert any("quality_diversity_pythia-70m" in job for job in project.plan())
    project.run("tables", "results/mine/figures/attribution.svg", "results/mine/figures/format_effect.svg")
    attribution = read_sealed(project.root / "results/mine/tables/attribution.parquet").to_pandas()
    assert set(attribution["format"]) == {"okay", "human"}


@pytest.mark.parametrize(
    ("name", "models", "cells"),
    [
        ("pythia", 6 * 3, 6 * 3 * 2 * 2 * 15),
        pytest.param("pythia-published", 6 * 3, 6 * 3 * 2 * 2 * 15, marks=pytest.mark.slow),  # a grid as pythia's
        ("pythia-epochs", 16, 16 * 2 * 2 * 15),
        ("llama2", 8, 8 * 2 * 2 * 15),
        ("rlhf", 7, 7 * 2 * 2 * 5),
        ("mistral-orca", 3, 3 * 2 * 2),
    ],
)
def test_the_whole_grid_of_a_study_of_real_models_is_planned_without_a_network(
    name: str, models: int, cells: int, tmp_path: Path, hub: Path
) -> None:
    made = load_study({"study": name}, CONFIG)
    assert len(made.language_models()) == models
    assert sum(len(made.cells(model)) for model in made.language_models()) == cells
    project = make_project(tmp_path / "project", study=name)
    plan = project.plan()
    for rule, number in {"measure_tokens": models, "score": models}.items():
        assert len([job for job in plan if job.startswith(f"{rule} ")]) == number
    assert len([job for job in plan if job.startswith("generate")]) == models


def test_a_study_of_real_models_stops_before_its_first_job_and_says_what_fetches_them(
    tmp_path: Path, hub: Path
) -> None:
    refused = make_project(tmp_path / "project", study="rlhf").run("--quiet", succeeds=False)
    assert "snakemake download --config study=rlhf" in refused
    assert "Nothing was started" in refused


@pytest.mark.slow
def test_the_study_pythia_runs_with_a_tiny_model_in_the_place_of_the_real_one(tmp_path: Path, hub: Path) -> None:
    cache_repository(hub, "EleutherAI/pythia-70m", files_of(save_neox(tmp_path / "neox", context=512)))
    turn = {
        "prompt": "\n\nHuman: Are bugs real?\n\nAssistant: ",
        "response": "Yes.",
        "chosen": "Yes.",
        "rejected": "No.",
    }
    cache_repository(hub, "Dahoas/static-hh", {"train.jsonl": (json.dumps(turn) + "\n").encode() * 70}, kind="dataset")
    corpus = zstandard.compress(b'{"text": "A document."}\n' * 30)
    cache_repository(hub, "mit-han-lab/pile-val-backup", {"val.jsonl.zst": corpus}, kind="dataset")
    sizes = ["pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b", "pythia-2.8b"]
    changes = {
        "extends": "pythia",
        "models": dict.fromkeys(sizes),
        "stages": {"sft": {"max_length": 512}, "dpo": {"warmup_steps": 1}},
        "generation": {"temperatures": [1.0], "completions": 2, "max_new_tokens": 4},
        "measures": {
            "tokens": {"context": 64},
            "benchmarks": None,
            "diversity": {"metrics": ["self_bleu", "leak_rate"], "controlled_completions": 0},
        },
        "analysis": {"resamples": 100},
        "threads": 1,
    }
    project = make_project(tmp_path / "project", study="small.yaml")
    (project.root / "small.yaml").write_text(yaml.safe_dump(changes))
    project.run("download")
    project.run("tables", "results/small/figures/format_effect.svg", "results/small/figures/attribution.svg")
    tables = {
        name: read_sealed(project.root / f"results/small/tables/{name}.parquet").to_pandas()
        for name in ("attribution", "format_effect", "published_tokens")
    }
    paper = tables["attribution"].query("format == 'paper' and step == 'plm>sft'")
    assert set(zip(paper["format_before"], paper["format_after"], strict=True)) == {("okay", "human")}
    assert {"stage", "format", "apparent"} <= set(tables["format_effect"]["effect"])
    assert set(tables["published_tokens"]["stage"]) == {"plm", "sft", "dpo"}


def test_preference_tuning_by_epochs_has_the_settings_of_the_study_that_it_extends() -> None:
    one, epochs = (load_study({"study": name}, CONFIG) for name in ("pythia", "pythia-epochs"))
    other = {"epochs", "each_epoch", "dtype"}
    expected = one.settings(Model("pythia-2.8b", 0, "dpo")).model_dump(exclude=other)
    for run in range(4):
        model = Model("pythia-2.8b", 0, f"sft{run}-dpo-1")
        assert epochs.settings(model).model_dump(exclude=other) == expected
        assert epochs.stage(model).train_format == one.stage(Model("pythia-2.8b", 0, "dpo")).train_format


def test_no_shipped_study_names_a_machine_or_a_token() -> None:
    for path in CONFIG.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert not re.search(r"hf_[A-Za-z0-9]{20,}", text)
        assert os.sep + "tmp" not in text
