"""An adapter that is kept apart: the model that training saw, beside the one that it is merged into."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoModelForCausalLM

from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from modecollapse.methods import METHODS
from modecollapse.methods.base import AdaptedBase, TrainingJob
from modecollapse.methods.lora import LoraSettings, quantization
from modecollapse.sealed import read_sealed
from tests.projects import make_project
from tests.workflow.test_lora import LORA, NF4, settings

TEXTS = torch.arange(3, 24)[torch.randint(0, 21, (8, 24), generator=torch.Generator().manual_seed(0))]
"""Token ids of fixed texts."""
ROUNDING = 2e-5
"""Of float32, in logits and in nats per token."""


@pytest.fixture(scope="module")
def tuned(wide_toy, tmp_path_factory) -> dict[str, TrainingJob]:
    """Finished tunings by DPO: with the base in float32, and in four bits."""
    jobs = {}
    for name, lora in (("float32", LORA), ("nf4", NF4)):
        jobs[name] = wide_toy.job("dpo", tmp_path_factory.mktemp(name), settings(lora))
        METHODS["dpo"].run(jobs[name])
    return jobs


def unmerged(job: TrainingJob, output: Path, bits: Any = None, dtype: str | None = None) -> Path:
    """The directory of the stage that keeps the adapter of a finished tuning apart."""
    output.mkdir(parents=True)
    apart = METHODS["unmerged"]
    assert job.parent is not None
    base = AdaptedBase(job.parent, bits, dtype)
    apart.run(replace(job, settings=apart.settings(), output=output, parent=job.output, adapted=base))
    return output


def network(directory: Path | None, dtype: str = "float32", bits: Any = None) -> Any:
    assert directory is not None
    return load_causal_model(directory, dtype, 1, "cpu", bits).network


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(TEXTS).logits.float()


def log_probabilities(values: torch.Tensor) -> torch.Tensor:
    """Of every token of the texts but the first."""
    return values[:, :-1].log_softmax(-1).gather(-1, TEXTS[:, 1:, None]).squeeze(-1)


def test_without_quantization_merged_and_unmerged_agree_to_rounding(tuned, tmp_path):
    merged, apart = (
        logits(network(each)) for each in (tuned["float32"].output, unmerged(tuned["float32"], tmp_path / "a"))
    )
    torch.testing.assert_close(apart, merged, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(log_probabilities(apart), log_probabilities(merged), rtol=0, atol=ROUNDING)
    base = logits(network(tuned["float32"].parent))
    assert (log_probabilities(apart) - log_probabilities(base)).abs().mean() > 0.1, "the adapter has learned something"


def test_in_four_bits_merged_and_unmerged_differ_by_what_quantization_does_to_the_base(tuned, tmp_path):
    job, four_bits = tuned["nf4"], quantization(LoraSettings(quantization="nf4"), "float32")
    apart = network(unmerged(job, tmp_path / "a", "nf4", "float32"))
    found = logits(apart)
    # The very weights that training held, merged in float32: then nothing is left but rounding.
    dequantized = network(job.parent, bits=four_bits).dequantize()
    whole = PeftModel.from_pretrained(dequantized, job.output / "adapter").merge_and_unload()
    torch.testing.assert_close(found, logits(whole), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(log_probabilities(found), log_probabilities(logits(whole)), rtol=0, atol=ROUNDING)
    # The published one has the unquantized weights, and is as far from it as these are from the quantized ones.
    held, base = logits(network(job.parent, bits=four_bits)), logits(network(job.parent))
    differences = {
        name: (log_probabilities(one) - log_probabilities(other)).abs().mean().item()
        for name, one, other in (("base", held, base), ("tuned", found, logits(network(job.output))))
    }
    print("mean difference of log-probabilities in nats:", differences)  # docs/methods.md has them
    assert 0 < differences["tuned"] < 2 * differences["base"]
    # Without the adapter it is the quantized base, bit by bit.
    for module in apart.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(False)
    assert torch.equal(logits(apart), held)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_four_bits_are_computed_with_as_in_training_and_never_in_half_precision(dtype, tuned, tmp_path):
    directory = unmerged(tuned["nf4"], tmp_path / "a", "nf4", "bfloat16")
    apart = network(directory, dtype)
    assert {module.compute_dtype for module in apart.modules() if isinstance(module, Linear4bit)} == {torch.bfloat16}
    dtypes = {name: each.dtype for name, each in apart.named_parameters() if each.is_floating_point()}
    assert {dtypes[name] for name in dtypes if "lora_" in name} == {torch.float32}
    assert {dtypes[name] for name in dtypes if "lora_" not in name} == {getattr(torch, dtype)}
    assert not any(each.requires_grad for each in apart.parameters())
    # Whatever the number format of the rest is, the quantized weights are those of training.
    bits = quantization(LoraSettings(quantization="nf4"), "bfloat16")
    held = dict(network(tuned["nf4"].parent, bits=bits).named_parameters())
    here = {name.replace(".base_layer", ""): each for name, each in apart.named_parameters()}
    packed = [name for name, each in held.items() if not each.is_floating_point()]
    assert packed
    assert all(torch.equal(here[name], held[name]) for name in packed)
    merged = log_probabilities(logits(network(tuned["nf4"].output)))
    assert (log_probabilities(logits(apart)) - merged).abs().mean() < 0.5


def test_it_is_sampled_from_as_the_merged_one_is(tuned, tmp_path):
    sampling = SamplingSettings(completions=4, max_new_tokens=8)
    answers = []
    for directory in (tuned["float32"].output, unmerged(tuned["float32"], tmp_path / "a")):
        engine = TransformersEngine(directory, sampling, 1, "cpu")
        answers.append(
            engine.sample(engine.prepare([("fox", "tell me of a fox .")]), 1.0, "stream")["text"].to_pylist()
        )
    assert answers[0] == answers[1]


def test_others_do_not_take_its_base_for_the_tuned_model(tuned, tmp_path):
    directory = unmerged(tuned["float32"], tmp_path / "a")
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForCausalLM.from_pretrained(directory, local_files_only=True)
    assert json.loads((directory / "unmerged.json").read_text()) == {"quantization": None, "dtype": None}


def test_four_bits_without_their_library_are_one_clear_error(tuned, tmp_path, monkeypatch):
    directory, found = unmerged(tuned["nf4"], tmp_path / "a", "nf4", "bfloat16"), importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else found(name, *rest)
    )
    with pytest.raises(StudyError, match="needs the library bitsandbytes"):
        network(directory)


def test_four_bits_of_rows_that_are_no_whole_blocks_are_refused_on_a_processor(toy, tmp_path):
    job = toy.job("dpo", tmp_path / "dpo", {**settings(LORA), "epochs": 1})
    METHODS["dpo"].run(job)
    with pytest.raises(StudyError, match=r"query_key_value .* has 16 inputs\. Allowed on a processor in four bits"):
        network(unmerged(job, tmp_path / "a", "nf4", "bfloat16"))


def test_weights_or_an_adapter_that_do_not_fit_are_refused(tuned, tmp_path):
    directory = unmerged(tuned["float32"], tmp_path / "a")
    config = directory / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "target_modules": ["query_key_value"]}))
    with pytest.raises(StudyError, match=r"The adapter in .* does not fit the model beside it"):
        network(directory)
    shutil.rmtree(directory / "base")
    (directory / "base").mkdir()
    with pytest.raises(StudyError, match=r"base is not a model directory: it has no config\.json"):
        network(directory)


@pytest.mark.slow
def test_a_study_samples_and_measures_the_unmerged_stage_beside_the_merged_one(tmp_path):
    """Of a base in four bits; answers are also chosen among its own."""
    changes = {
        "extends": "nano-smoke",
        "models": {"tiny": {"architecture": {"hidden_size": 64}}},
        "stages": {
            "dpo": {"lora": NF4, "dtype": "bfloat16"},
            "apart": {"method": "unmerged", "from": "dpo"},
            "chosen": {"method": "best_of_n", "from": "apart", "reward": "words", "n": 2},
        },
        "measures": {"divergence": {"reference": "sft"}, "truth": False},
    }
    project = make_project(tmp_path / "project", study="small.yaml")
    (project.root / "small.yaml").write_text(yaml.safe_dump(changes))
    project.run("tables")
    results = project.root / "results/small"
    tokens, divergence = (
        read_sealed(results / f"tables/{name}.parquet").to_pandas() for name in ("tokens_pooled", "divergence")
    )
    assert {"dpo", "apart"} <= set(tokens["stage"])
    assert {"dpo", "apart"} <= set(divergence["stage"])
    assert "chosen" in set(read_sealed(results / "tables/curves.parquet")["stage"].to_pylist())
    (weights,) = results.glob("models/**/apart/weights/unmerged.json")
    assert json.loads(weights.read_text()) == {"quantization": "nf4", "dtype": "bfloat16"}
    assert project.plan("tables") == []
