"""The shape of a model before its weights are loaded."""

import json
import logging
from pathlib import Path

import pytest
import yaml
from transformers import AutoModelForCausalLM

from modecollapse.cells import Model
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.resources.settings import ShapeSettings
from modecollapse.resources.shapes import (
    ASSUMED,
    directory_shape,
    gguf_shape,
    neox_shape,
    shape_of,
    stated_shape,
)
from modecollapse.study_files import load_study
from tests.gguf_files import write_llama
from tests.projects import ROOT
from tests.tiny_models import save_llama, save_neox

CONFIG = ROOT / "config"
PYTHIA = {
    "pythia-70m": (6, 512, 8, 70_426_624),
    "pythia-160m": (12, 768, 12, 162_322_944),
    "pythia-410m": (24, 1024, 16, 405_334_016),
    "pythia-1b": (16, 2048, 8, 1_011_781_632),
    "pythia-1.4b": (24, 2048, 16, 1_414_647_808),
    "pythia-2.8b": (32, 2560, 32, 2_775_208_960),
}
"""Layers, hidden size, heads and parameters as published."""


@pytest.mark.parametrize("size", PYTHIA)
def test_the_parameters_of_an_architecture_are_counted_exactly_and_the_study_states_them(size: str) -> None:
    layers, hidden, heads, parameters = PYTHIA[size]
    architecture = ArchitectureSettings(hidden_size=hidden, layers=layers, heads=heads, context=2048)
    shape = neox_shape(architecture, 50_304)
    assert shape.parameters == parameters
    stated = yaml.safe_load((CONFIG / "studies/pythia.yaml").read_text())["models"][size]["shape"]
    assert stated_shape(ShapeSettings(**stated)) == shape


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_a_directory_has_the_shape_of_the_model_in_it(family: str, tmp_path: Path) -> None:
    directory = (save_neox if family == "neox" else save_llama)(tmp_path / "model")
    shape = directory_shape(directory)
    assert shape is not None
    network = AutoModelForCausalLM.from_pretrained(directory)
    assert shape.parameters == sum(tensor.numel() for tensor in network.parameters())
    assert (shape.layers, shape.hidden_size, shape.vocabulary, shape.intermediate_size) == (2, 32, 104, 64)
    # 4 heads of 8; Llama has keys for 2 of them.
    assert shape.key_value_size == (32 if family == "neox" else 16)
    assert shape.gated == (family == "llama")
    assert (shape.context, shape.stored_bytes, shape.assumed) == (256, 4, False)


def test_a_gguf_file_tells_the_shape_of_its_model(tmp_path: Path) -> None:
    directory = save_llama(tmp_path / "model")
    assert gguf_shape(write_llama(directory, tmp_path / "model.gguf")) == directory_shape(directory)


def test_a_directory_that_says_too_little_has_no_shape(tmp_path: Path) -> None:
    directory = save_neox(tmp_path / "model")
    config = json.loads((directory / "config.json").read_text())
    del config["num_hidden_layers"]
    (directory / "config.json").write_text(json.dumps(config))
    assert directory_shape(directory) is None


STUDY = """
title: A model of the hub
models: {tiny: {SHAPE}}
stages: {base: {method: checkpoint, source: {SOURCE}}}
prompts: {factual: prompts/nano-factual.yaml}
generation: {temperatures: ["1.0"], completions: 2, max_new_tokens: 4}
"""


def shape_in(tmp_path: Path, source: str, shape: str = ""):  # type: ignore[no-untyped-def]
    file = tmp_path / "own.yaml"
    file.write_text(STUDY.replace("SHAPE", shape).replace("SOURCE", source))
    study = load_study({"study": str(file), "results": str(tmp_path / "results")}, CONFIG)
    return shape_of(study, Model("tiny", 0, "base"))


def test_an_unknown_model_is_taken_to_be_large_with_one_warning_that_names_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert shape_in(tmp_path, "hub: nobody/nothing") == ASSUMED
        assert shape_in(tmp_path, "hub: nobody/nothing") == ASSUMED
    (message,) = [record.getMessage() for record in caplog.records]
    assert "models.tiny.shape" in message
    assert "nobody/nothing@main" in message
    assert "8.0 billion parameters" in message


def test_weights_at_hand_count_more_than_what_a_study_states(tmp_path: Path) -> None:
    stated = "shape: {parameters: 5, layers: 1, hidden_size: 1, vocabulary: 1}"
    assert shape_in(tmp_path, "hub: nobody/nothing", stated).parameters == 5
    directory = save_neox(tmp_path / "model")
    assert shape_in(tmp_path, f"path: {directory}", stated) == directory_shape(directory)
