"""LoRA: training a low-rank adapter of the linear layers instead of the weights (Hu et al., 2022).

With quantization, the frozen weights are held in four bits (QLoRA: Dettmers et al., 2023). The published model is the
parent's unquantized weights with the adapter merged into them, so that only a stage that keeps it apart
(`methods.unmerged`), and what loads models, have to know of adapters.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from modecollapse.errors import StudyError
from modecollapse.schema import Strict

DIRECTORY = "adapter"
"""Directory of the adapter beside the merged weights, or those that it is kept apart from."""
UNMERGED = "unmerged.json"
"""File of a model directory whose adapter is kept apart: how its base is held (`quantization`, `dtype`)."""
BASE = "base"
"""Directory of that base."""
_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


class LoraSettings(Strict):
    """A low-rank adapter is trained, and merged into the parent's weights at the end. Defaults: PEFT's, all layers."""

    rank: int = Field(8, ge=1)
    """Rank of the added matrices."""
    alpha: int = Field(8, ge=1)
    """Their product is scaled by alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of what goes into the added matrices. Preference tuning turns it off, so that policy and reference are
    compared alike."""
    target_modules: tuple[str, ...] | None = Field(None, min_length=1)
    """Names of the linear layers that get an adapter, e.g. [query_key_value, dense]. Null: all but the output layer."""
    quantization: Literal["nf4"] | None = None
    """`nf4` holds the frozen weights in four bits during training (normal float, scales quantized as well); they are
    computed with in `dtype`. Null: not quantized."""


def quantization(settings: LoraSettings, dtype: str) -> Any:
    """The library's description of how weights are quantized; None if they are not.

    Raises:
        StudyError: bitsandbytes is missing.
    """
    if settings.quantization is None:
        return None
    import importlib.util

    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise StudyError(
            "lora.quantization: nf4 needs the library bitsandbytes, which is not installed. Install it "
            "(envs/models.yaml has it), or set quantization: null."
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def adapter_configuration(settings: LoraSettings, network: Any, head: str | None = None) -> Any:
    """PEFT's configuration of an adapter of `network`, with which a `head` of that name is trained in full.

    Raises:
        StudyError: a target module is no linear layer of the network.
    """
    from peft import LoraConfig

    present = [name for name in linear_layers(network) if name != head]
    if not present:
        raise StudyError(
            f"lora: the model ({network.config.model_type}) has no linear layers of torch.nn, which adapters are made "
            "for. Remove lora from the stage, or use another model."
        )
    targets = present if settings.target_modules is None else list(settings.target_modules)
    for name in targets:
        if name not in present:
            raise StudyError(
                f"lora.target_modules: the model has no linear layer {name!r}. Allowed: {', '.join(present)}. Name "
                "some of these, or set target_modules: null for all."
            )
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM" if head is None else "SEQ_CLS",
        modules_to_save=None if head is None else [head],
        bias="none",
    )


def linear_layers(network: Any) -> list[str]:
    """Last parts of the names of a network's linear layers, in their order, without the output layer."""
    import torch

    output = network.get_output_embeddings()
    names = {
        name.rpartition(".")[2]: None
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not output
    }
    return list(names)


def train_in_float32(model: Any) -> None:
    """Hold the adapter in float32, as all weights that are trained: beside a quantized model, TRL makes it bfloat16."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def adapter_weights(model: Any) -> dict[str, Any]:
    """The adapter's tensors under the names of PEFT's files."""
    from peft.utils import get_peft_model_state_dict

    weights = get_peft_model_state_dict(model)
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in weights.items()}


def restore_adapter(model: Any, checkpoint: Path) -> None:
    """Put the adapter of a trainer's checkpoint into `model`."""
    from peft.utils import set_peft_model_state_dict
    from safetensors.torch import load_file

    weights = load_file(checkpoint / _WEIGHTS)
    if weights.keys() != adapter_weights(model).keys():
        raise RuntimeError(f"the adapter in {checkpoint} is not one of this model")
    set_peft_model_state_dict(model, weights)


def attached(network: Any, directory: Path) -> Any:
    """`network` with the adapter in `directory` on its layers, in float32 and not merged.

    Raises:
        StudyError: the adapter is not one of this network.
    """
    from peft import LoraConfig, get_peft_model

    configuration: Any = LoraConfig.from_pretrained(str(directory), local_files_only=True)
    configuration.inference_mode = False
    whole: Any = get_peft_model(network, configuration)
    train_in_float32(whole)
    try:
        restore_adapter(whole, directory)
    except (OSError, RuntimeError) as error:
        raise StudyError(f"The adapter in {directory} does not fit the model beside it: {error}") from error
    return whole.requires_grad_(False).get_base_model()


def write_merged(model: Any, base: Any, directory: Path) -> None:
    """Write `base` with the adapter of `model` merged into its float32 weights, and the adapter beside it."""
    from peft import get_peft_model
    from peft.utils import set_peft_model_state_dict
    from safetensors.torch import save_file

    weights = adapter_weights(model)
    configuration = model.peft_config["default"]
    whole: Any = get_peft_model(base, configuration)
    set_peft_model_state_dict(whole, weights)
    whole.merge_and_unload(safe_merge=True).save_pretrained(directory)
    beside = directory / DIRECTORY
    beside.mkdir()
    save_file(weights, beside / _WEIGHTS, metadata={"format": "pt"})
    (beside / _CONFIG).write_text(json.dumps(_stated(configuration), indent=2, sort_keys=True) + "\n")


def _stated(configuration: Any) -> dict[str, Any]:
    """The configuration as PEFT reads it, with nothing of this machine or of the order of a set."""
    stated = {key: sorted(value) if isinstance(value, set) else value for key, value in configuration.to_dict().items()}
    return {**stated, "base_model_name_or_path": None, "inference_mode": True}
