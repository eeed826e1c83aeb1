"""A finished LoRA adapter (of the library PEFT), merged into the weights of the parent stage."""

import re
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field

from modecollapse.errors import StudyError
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.model_files import TOKENIZER_FILES, copy_files, copy_tokenizer
from modecollapse.methods.weight_files import (
    check_blobs,
    check_tokenizer,
    check_vocabulary,
    find_weights,
    has_tokenizer,
    read_json,
    read_pickled,
    tensor_names,
)
from modecollapse.schema import Strict
from modecollapse.sources import AdapterSource, HubSource

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLED = "adapter_model.bin"


class AdapterSettings(Strict):
    """A LoRA adapter that others trained on the weights of the stage `from`, merged into these."""

    source: AdapterSource
    """`{hub: OWNER/NAME, revision: main}` or `{path: DIRECTORY}`: adapter_config.json and adapter_model.safetensors
    (or .bin). Merged in float32, saved in the parent's precision. If it has a tokenizer, that replaces the parent's."""
    trained_on: str | None = Field(None, min_length=1)
    """The base that the adapter's adapter_config.json names (`base_model_name_or_path`), where the stage `from` has
    equal weights from elsewhere; `{size}` and `{seed}` are filled in. Null: if both are repositories of the hub, they
    have to be the same one."""


def run(job: TrainingJob) -> TrainingRecord:
    """Merge the adapter in `job.source` into the model in `job.parent` and write the result to `job.output`.

    Raises:
        StudyError: the adapter is not a complete LoRA adapter, was made for another base, or does not load fully.
    """
    from modecollapse.generation.models import load_causal_model

    assert isinstance(job.settings, AdapterSettings)
    assert job.source is not None
    assert job.parent is not None
    check_adapter(job.source)
    if isinstance(job.settings.source, HubSource):
        check_blobs(job.source, (_weights(job.source).name,))
    parent = load_causal_model(job.parent, "float32", job.threads, "cpu")
    merged = _merge(parent.network, job.source, job.parent)
    merged.to(_dtype(job.parent)).save_pretrained(job.output)
    copy_files(job.parent, job.output, ("generation_config.json",))
    copy_tokenizer(job.source if has_tokenizer(job.source) else job.parent, job.output)
    check_vocabulary(job.output)
    return TrainingRecord(steps=0, tokens=0)


def check_adapter(source: Path) -> None:
    """Check that a directory has what a LoRA adapter needs.

    Raises:
        StudyError: no directory; no configuration or weights in it; or an adapter of another kind.
    """
    if not source.is_dir():
        raise StudyError(f"{source}: there is no such directory. Name one with a PEFT adapter.")
    if not (source / CONFIG).is_file():
        raise StudyError(f"{source} has no {CONFIG}. Name the directory of a PEFT adapter.")
    kind = read_json(source / CONFIG).get("peft_type")
    if kind != "LORA":
        raise StudyError(f"{source}/{CONFIG}: peft_type: found {kind!r}. Allowed: 'LORA'. Use a LoRA adapter.")
    weights = _weights(source)
    if weights.name == WEIGHTS:
        tensor_names(weights)
    check_tokenizer(source)


def files_taken_over(source: Path) -> list[Path]:
    """The files of an adapter's directory that decide the stage."""
    tokenizer = TOKENIZER_FILES if has_tokenizer(source) else ()
    return sorted(source / name for name in (CONFIG, _weights(source).name, *tokenizer) if (source / name).is_file())


def _weights(source: Path) -> Path:
    for name in (WEIGHTS, PICKLED):
        if (source / name).is_file():
            return source / name
    raise StudyError(f"{source} has neither {WEIGHTS} nor {PICKLED}. Download the adapter again.")


def _merge(base: Any, source: Path, parent: Path) -> Any:
    """`base` with the adapter's products added to its weights."""
    from peft import LoraConfig, get_peft_model
    from peft.utils import set_peft_model_state_dict

    made_for = read_json(source / CONFIG).get("base_model_name_or_path") or "a base that it does not name"
    refused = f"The adapter in {source} does not fit the model in {parent}; it was made for {made_for}"
    advice = "Name the stage in `from` whose weights it was trained on."
    _check_keys(source, {field.name for field in fields(LoraConfig)})
    tensors = _tensors(source)
    try:
        config = LoraConfig.from_pretrained(str(source), local_files_only=True)
        config.inference_mode = True
        config.base_model_name_or_path = None  # a hint only, and nothing is looked up under it
        model = get_peft_model(base, config)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError, re.error) as error:
        raise StudyError(f"{refused}: {error} {advice}") from error
    # PEFT loads what it finds and only warns of the rest, so every name and shape is compared beforehand.
    if fault := _difference(tensors, _shapes(model, with_embeddings=False), _shapes(model, with_embeddings=True)):
        raise StudyError(f"{refused}: {fault}. {advice}")
    try:
        outcome: Any = set_peft_model_state_dict(model, tensors)
        if outcome.unexpected_keys:
            raise StudyError(f"{refused}: {sorted(outcome.unexpected_keys)[0]} has no place in it. {advice}")
        return model.merge_and_unload(safe_merge=True)
    except (RuntimeError, KeyError, ValueError) as error:
        raise StudyError(f"{refused}: {error} {advice}") from error


def _check_keys(source: Path, known: set[str]) -> None:
    """Every setting of the adapter is one that PEFT knows: it would drop others with a warning, and merge without."""
    for key, value in read_json(source / CONFIG).items():
        # Newer versions state their new settings in all files; one that is off changes nothing.
        if key not in known and value not in (None, False, "", [], {}):
            raise StudyError(
                f"{source}/{CONFIG}: {key}: found {value!r}, which PEFT {version('peft')} does not know, so the "
                "adapter cannot be merged as it was trained. Use a version of PEFT that knows it, or another adapter."
            )


def _tensors(source: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    weights = _weights(source)
    return dict(load_file(weights)) if weights.name == WEIGHTS else read_pickled(weights)


def _shapes(model: Any, with_embeddings: bool) -> dict[str, tuple[int, ...]]:
    """Name → shape of what an adapter file of this model holds, at least or at most."""
    from peft.utils import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, save_embedding_layers=with_embeddings)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _difference(
    tensors: Mapping[str, Any], required: Mapping[str, tuple[int, ...]], allowed: Mapping[str, tuple[int, ...]]
) -> str | None:
    """The first difference between an adapter's tensors and what the model has a place for; None if there is none."""
    for name in sorted(set(required) - set(tensors)):
        return f"it has no {name}"
    for name, tensor in sorted(tensors.items()):
        if name not in allowed:
            return f"the model has no place for its {name}"
        if tuple(tensor.shape) != allowed[name]:
            return f"its {name} has the shape {tuple(tensor.shape)}, the model's {allowed[name]}"
    return None


def _dtype(parent: Path) -> Any:
    """The precision in which the largest share of the parent's weights is stored."""
    import torch
    from safetensors import safe_open

    names = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    sizes: dict[Any, int] = {}
    for shard in find_weights(parent).shards:
        with safe_open(parent / shard, framework="numpy") as file:
            for tensor in file.keys():  # noqa: SIM118 (it is no mapping)
                header = file.get_slice(tensor)
                if (dtype := names.get(header.get_dtype())) is not None:
                    number = 1
                    for length in header.get_shape():
                        number *= length
                    sizes[dtype] = sizes.get(dtype, 0) + number
    return max(sizes, key=lambda dtype: sizes[dtype])


METHOD = Method(
    name="adapter",
    revision=1,
    settings=AdapterSettings,
    run=run,
    needs_parent=True,
    data_columns=(),
    modules=(
        "methods.adapter",
        "methods.weight_files",
        "methods.model_files",
        "generation.models",
        "methods.lora",
    ),
    libraries=("transformers.modeling_utils", "transformers:AutoTokenizer", "peft"),
    trains=False,
    check_source=check_adapter,
    files_taken_over=files_taken_over,
)
