"""A LoRA adapter is merged into the parent's weights, all of it or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.methods import METHODS
from modecollapse.methods.adapter import AdapterSettings
from modecollapse.methods.base import TrainingJob
from tests.tiny_models import save_adapter, save_llama, save_neox

TARGETS = {"neox": ["query_key_value", "dense", "dense_h_to_4h"], "llama": ["q_proj", "v_proj", "down_proj"]}
SAVE = {"neox": save_neox, "llama": save_llama}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A NeoX and a Llama with an adapter each, whose matrices are not zero."""
    root = tmp_path_factory.mktemp("models")
    for family, save in SAVE.items():
        save(root / family)
        save_adapter(root / family, root / f"{family}-adapter", TARGETS[family])
    return root


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(torch.arange(3, 40)[None]).logits


def run(source: Path, parent: Path, output: Path) -> Path:
    output.mkdir()
    settings = AdapterSettings(source={"path": "x"})
    job = TrainingJob(settings, seed=0, threads=1, output=output, state=output.parent, parent=parent, source=source)
    METHODS["adapter"].run(job)
    return output


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_a_merged_model_answers_as_base_and_adapter_do(made: Path, tmp_path: Path, family: str) -> None:
    output = run(made / f"{family}-adapter", made / family, tmp_path / "output")
    base = AutoModelForCausalLM.from_pretrained(made / family)
    before = logits(base)
    expected = logits(PeftModel.from_pretrained(base, made / f"{family}-adapter").eval())
    merged = logits(AutoModelForCausalLM.from_pretrained(output))
    assert torch.allclose(merged, expected, atol=1e-4)
    assert not torch.allclose(merged, before, atol=1e-2)
    loaded = load_causal_model(output, "float32", 1, "cpu")
    assert torch.allclose(logits(loaded.network), expected, atol=1e-4)


def test_a_merged_model_has_the_precision_and_tokenizer_of_its_parent(made: Path, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(made / "llama", parent)
    weights = parent / "model.safetensors"
    save_file({name: t.to(torch.bfloat16) for name, t in load_file(weights).items()}, weights, {"format": "pt"})
    output = run(made / "llama-adapter", parent, tmp_path / "output")
    assert {tensor.dtype for tensor in load_file(output / "model.safetensors").values()} == {torch.bfloat16}
    assert (output / "tokenizer.json").read_bytes() == (parent / "tokenizer.json").read_bytes()


def test_pickled_adapter_weights_are_merged_as_safetensors_are(made: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(made / "llama-adapter", adapter)
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    one = run(adapter, made / "llama", tmp_path / "pickled")
    other = run(made / "llama-adapter", made / "llama", tmp_path / "safe")
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_an_adapter_with_modules_trained_in_full_is_merged(made: Path, tmp_path: Path) -> None:
    save_adapter(made / "llama", tmp_path / "adapter", ["q_proj"], modules_to_save=["lm_head"])
    output = run(tmp_path / "adapter", made / "llama", tmp_path / "output")
    base = AutoModelForCausalLM.from_pretrained(made / "llama")
    expected = logits(PeftModel.from_pretrained(base, tmp_path / "adapter").eval())
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(output)), expected, atol=1e-4)


def edit(adapter: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, adapter / "adapter_model.safetensors", {"format": "pt"})


def configure(adapter: Path, **changes: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda adapter: shutil.rmtree(adapter), "there is no such directory"),
        (lambda adapter: (adapter / "adapter_config.json").unlink(), r"has no adapter_config\.json"),
        (lambda adapter: (adapter / "adapter_model.safetensors").unlink(), "has neither adapter_model.safetensors nor"),
        (lambda adapter: (adapter / "adapter_model.safetensors").write_bytes(b"x" * 40), "cannot be read"),
        (lambda adapter: configure(adapter, peft_type="IA3"), r"peft_type: found 'IA3'. Allowed: 'LORA'"),
        (lambda adapter: edit(adapter, lambda tensors: tensors.pop(FIRST)), rf"does not fit.*it has no {FIRST}"),
        (
            lambda adapter: edit(adapter, lambda tensors: tensors.update({"other.weight": torch.ones(2)})),
            r"does not fit.*no place for its other\.weight",
        ),
        (
            lambda adapter: edit(adapter, lambda tensors: tensors.update({FIRST: torch.ones(4, 31)})),
            r"does not fit.*has the shape \(4, 31\), the model's \(4, 32\)",
        ),
        (
            lambda adapter: edit(adapter, lambda tensors: tensors.update({FIRST: torch.full((4, 32), torch.nan)})),
            "does not fit.*NaN",
        ),
        (lambda adapter: configure(adapter, target_modules=["query_key_value"]), "does not fit.*not found"),
        (lambda adapter: configure(adapter, target_modules="("), "does not fit.*unterminated subpattern"),
        (
            lambda adapter: configure(adapter, hyper_scaling=3),
            r"adapter_config\.json: hyper_scaling: found 3, which PEFT \S+ does not know",
        ),
    ],
)
def test_an_adapter_that_is_not_complete_is_refused(
    made: Path, tmp_path: Path, damage: Callable[[Path], None], word: str
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(made / "llama-adapter", adapter)
    damage(adapter)
    with pytest.raises(StudyError, match=f"(?s){word}"):
        run(adapter, made / "llama", tmp_path / "output")


def test_a_setting_of_a_newer_version_that_is_off_does_not_matter(made: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(made / "llama-adapter", adapter)
    configure(adapter, hyper_scaling=None, use_something=False)
    one = run(adapter, made / "llama", tmp_path / "one")
    other = run(made / "llama-adapter", made / "llama", tmp_path / "other")
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


def test_an_adapter_of_another_architecture_or_a_longer_model_is_refused_by_name(made: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"neox-adapter does not fit the model in .*llama; it was made for .*neox"):
        run(made / "neox-adapter", made / "llama", tmp_path / "a")
    longer = AutoModelForCausalLM.from_pretrained(made / "llama").config
    longer.num_hidden_layers = 3
    longer.layer_types = None
    torch.manual_seed(0)
    shutil.copytree(made / "llama", tmp_path / "longer")
    AutoModelForCausalLM.from_config(longer).save_pretrained(tmp_path / "longer")
    with pytest.raises(StudyError, match=r"it has no base_model\.model\.model\.layers\.2"):
        run(made / "llama-adapter", tmp_path / "longer", tmp_path / "b")
