"""Adapters that are trained here: the published model is whole, and equals the parent with the adapter beside it."""

import importlib.util
import json
import signal
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from modecollapse import stopping
from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.layout import Layout
from modecollapse.methods.lora import LoraSettings, quantization
from tests.workflow.test_epochs import finish, run_job
from tests.workflow.test_resume import run_in_fork

LORA: dict[str, Any] = {"rank": 4, "alpha": 8}
NF4: dict[str, Any] = {**LORA, "quantization": "nf4"}
IDS = torch.arange(3, 20)[None]


def settings(lora: dict[str, Any]) -> dict[str, Any]:
    return {"lora": LoraSettings(**lora), "learning_rate": 1e-2}


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(IDS).logits


def unmerged(job: TrainingJob, in_bits: Any = None) -> Any:
    base = load_causal_model(job.parent, "float32", 1, "cpu", in_bits).network
    return PeftModel.from_pretrained(base, job.output / "adapter")


@pytest.mark.parametrize(
    ("method", "lora"), [("sft", LORA), ("dpo", NF4), ("dpo", LORA), ("kto", LORA), ("orpo", LORA)]
)
def test_the_merged_model_is_whole_and_answers_as_the_adapter_does(method, lora, toy, wide_toy, tmp_path):
    job = (wide_toy if lora == NF4 else toy).job(method, tmp_path, settings(lora))
    record = METHODS[method].run(job)
    losses = [point["loss"] for point in record.curves]
    assert sum(losses[-4:]) < sum(losses[:4])
    if method == "dpo":
        assert losses[0] == pytest.approx(0.693147, abs=1e-4), "the reference is the model without the adapter"

    merged, loading = AutoModelForCausalLM.from_pretrained(job.output, output_loading_info=True)
    assert not any(loading.values())
    assert {str(weights.dtype) for weights in merged.parameters()} == {"torch.float32"}
    adapted = unmerged(job)
    torch.testing.assert_close(logits(merged), logits(adapted), rtol=0, atol=3e-6)
    with adapted.disable_adapter():
        assert (logits(merged) - logits(adapted)).abs().max() > 0.1, "the adapter has learned something"
    if lora == NF4:
        # Four bits in place of 32 under the same adapter: an eighth of the logits' spread on average.
        four_bits = unmerged(job, quantization(job.settings.lora, "float32"))
        difference = (logits(merged) - logits(four_bits)).abs().mean()
        assert 0 < difference < 0.15 * logits(merged).std()

    config = json.loads((job.output / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == ["dense", "dense_4h_to_h", "dense_h_to_4h", "query_key_value"]
    assert str(tmp_path) not in json.dumps(config)
    assert str(job.parent) not in json.dumps(config)


def test_preference_tuning_continues_a_model_that_an_adapter_was_merged_into(toy, tmp_path):
    first = toy.job("sft", tmp_path / "sft", settings(LORA))
    METHODS["sft"].run(first)
    second = toy.job("dpo", tmp_path / "dpo", settings(LORA), parent=first.output)
    record = METHODS["dpo"].run(second)
    assert record.curves[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    merged = AutoModelForCausalLM.from_pretrained(second.output)
    torch.testing.assert_close(logits(merged), logits(unmerged(second)), rtol=0, atol=3e-6)


@pytest.mark.parametrize(
    "lora", [{**NF4, "dropout": 0.1}, pytest.param({**LORA, "dropout": 0.1}, marks=pytest.mark.slow)]
)
def test_a_stopped_adapter_ends_with_the_bytes_of_an_undisturbed_one(lora, wide_toy, tmp_path):
    undisturbed = wide_toy.job("sft", tmp_path / "undisturbed", settings(lora))
    record = METHODS["sft"].run(undisturbed)
    job = wide_toy.job("sft", tmp_path / "stopped", settings(lora))
    status, said = run_in_fork("sft", job, tmp_path, signal.SIGTERM, 5)
    assert status == stopping.EXIT_STATUS, said
    assert METHODS["sft"].run(job) == record
    assert sha256_directory(job.output) == sha256_directory(undisturbed.output)


def test_every_epoch_of_an_adapter_is_a_whole_model(toy, tmp_path):
    job = run_job(
        "sft", toy, tmp_path / "run", {**settings(LORA), "each_epoch": True, "epochs": 2, "schedule": "constant"}
    )
    digests, _ = finish("sft", job)
    one = toy.job("sft", tmp_path / "one", {**settings(LORA), "epochs": 1, "schedule": "constant"})
    METHODS["sft"].run(one)
    assert digests[0] == sha256_directory(one.output)
    assert "adapter/adapter_model.safetensors" in digests[1]
    assert digests[1] != digests[0]


def test_a_module_that_the_model_does_not_have_is_named_beside_those_that_it_has(toy, tmp_path):
    job = toy.job("sft", tmp_path, settings({**LORA, "target_modules": ("q_proj",)}))
    with pytest.raises(StudyError, match=r"no linear layer 'q_proj'. Allowed: query_key_value, dense, dense_h_to_4h"):
        METHODS["sft"].run(job)


def test_four_bits_without_their_library_are_one_clear_error(toy, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else found(name)
    )
    with pytest.raises(StudyError, match="needs the library bitsandbytes"):
        METHODS["sft"].run(toy.job("sft", tmp_path, settings(NF4)))


def test_four_bits_of_rows_that_are_no_whole_blocks_are_refused_on_a_processor(toy, tmp_path):
    with pytest.raises(StudyError, match=r"query_key_value .* has 16 inputs\. Allowed on a processor in four bits"):
        METHODS["sft"].run(toy.job("sft", tmp_path, settings(NF4)))


def test_an_adapter_is_not_sharded(toy, tmp_path):
    job = toy.job("sft", tmp_path, settings(LORA), layout=Layout(zero_stage=2))
    with pytest.raises(StudyError, match="lora: this job was given ZeRO stage 2"):
        METHODS["sft"].run(job)
