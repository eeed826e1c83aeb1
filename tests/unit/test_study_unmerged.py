"""Stages that keep an adapter apart: what is refused of them, what they are made from, and what decides them."""

import json
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.resources.demands import Demands
from modecollapse.resources.machine import Machine
from modecollapse.specs import model_spec
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse, put

APART = Model("tiny", 0, "apart")
LORA: dict[str, Any] = {"rank": 4, "quantization": "nf4"}


def content() -> dict[str, Any]:
    """The smoke study with an adapter on its tuned model, which is kept apart as well."""
    study: dict[str, Any] = read_yaml(SMOKE)
    study["stages"]["dpo"] |= {"lora": dict(LORA), "dtype": "bfloat16"}
    study["stages"]["apart"] = {"method": "unmerged", "from": "dpo"}
    return study


def further(**stage: Any) -> Any:
    return put("stages", "further", {"from": "apart", **stage})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("stages", "dpo", "lora", None),
            r"stages\.apart\.from \(tiny\): found dpo, which trains no adapter\. .*none",
        ),
        (put("models", "tiny", "stages", {"dpo": {"lora": None}}), r"apart\.from \(tiny\): found dpo, which trains no"),
        (
            put("stages", "apart", "from", "sft"),
            r"found sft, .*Allowed: stages with `lora` \(dpo\)\. Name one, or set st",
        ),
        (put("stages", "apart", {"method": "unmerged"}), r"stages\.apart\.from: .*continues another stage"),
        (put("stages", "apart", "data", "answers"), r"stages\.apart\.data: the method unmerged uses no data"),
        (put("stages", "apart", "lora", LORA), r"stages\.apart\.lora: no such key"),
        (further(method="sft", data="answers"), r"stages\.further\.from: found apart, .*Name dpo, whose weights have"),
        (further(method="reward", data="preferences"), r"stages\.further\.from: found apart, which keeps its adapter"),
        (further(method="unmerged"), r"stages\.further\.from: found apart, which keeps its adapter apart"),
        (further(method="adapter", source={"path": "here"}), r"stages\.further\.from: found apart, which keeps its ad"),
        (
            put("generation", "engine", "vllm"),
            r"engine: found vllm, .*but apart keeps its adapter.*Allowed: transformers",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_runs(change: Any, message: str) -> None:
    study = content()
    change(study)
    with pytest.raises(StudyError, match=message):
        parse(study)


def test_it_is_made_from_the_tuned_stage_and_what_that_was_tuned_from() -> None:
    study = parse(content())
    targets = Targets(study)
    assert study.adapted(APART) == Model("tiny", 0, "sft")
    assert study.adapted(Model("tiny", 0, "dpo")) is None
    inputs = targets.training_inputs(APART)
    assert set(inputs) == {"parent_manifest", "parent_weights", "base_manifest", "base_weights"}
    assert "/sft/" in str(inputs["base_manifest"])
    assert "/dpo/" in str(inputs["parent_manifest"])


def test_it_is_sampled_and_measured_as_every_other_stage() -> None:
    study = parse(content())
    assert APART in study.language_models()
    assert APART in study.sampled()
    assert study.lineage["apart"] == ["dpo"]
    assert "apart" in Targets(study).training_stages()
    assert study.stage(APART).writes
    chosen = content()
    chosen["stages"]["bon"] = {"method": "best_of_n", "from": "apart", "reward": "words"}
    assert Model("tiny", 0, "bon") in parse(chosen).choosing()


def test_the_base_of_a_run_of_epochs_is_what_the_run_began_with() -> None:
    written = content()
    written["stages"]["dpo"] |= {"each_epoch": True, "epochs": 2}
    written["stages"]["apart"]["from"] = "dpo-2"
    assert parse(written).adapted(APART) == Model("tiny", 0, "sft")


def test_its_spec_says_how_the_base_is_held() -> None:
    def stated(**changes: Any) -> dict[str, Any]:
        written = content()
        written["stages"]["dpo"] |= changes
        spec: dict[str, Any] = json.loads(model_spec(parse(written), APART))
        return spec

    assert stated()["adapted"] == {"quantization": "nf4", "dtype": "bfloat16"}
    assert stated(dtype="float32")["adapted"] == {"quantization": "nf4", "dtype": "float32"}
    assert stated(lora={"rank": 4})["adapted"] == {"quantization": None, "dtype": None}
    assert stated(learning_rate=1.0) == stated(), "that is in the weights of its parent"
    assert "seed" not in stated()
    assert "adapted" not in model_spec(parse(content()), Model("tiny", 0, "dpo"))


def test_it_asks_for_no_gpu_and_little_memory() -> None:
    demands = Demands(parse(content()), Machine(gpus_per_node=1))
    apart, tuned = (demands.model(Model("tiny", 0, stage)) for stage in ("apart", "dpo"))
    assert (apart.gpus, tuned.gpus) == (0, 1)
    assert apart.memory < tuned.memory
