"""The shape of a model: what its memory and its work are computed from, known before its weights are loaded."""

import json
import logging
import struct
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.hub import snapshot_directory
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.weight_files import find_weights
from modecollapse.resources.settings import ShapeSettings
from modecollapse.sources import GgufSource
from modecollapse.study import Study

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shape:
    """A decoder of the usual kind."""

    parameters: int
    layers: int
    hidden_size: int
    vocabulary: int
    intermediate_size: int
    gated: bool
    key_value_size: int
    """Width of the keys of one position and layer; values are as wide."""
    context: int | None = None
    stored_bytes: int = 4
    """Bytes per parameter in the files of weights, as far as known."""
    assumed: bool = False
    """Whether nothing is known of the model, so that it has a shape that most models stay below."""

    @property
    def embedding(self) -> int:
        """Parameters of one matrix with a row per token."""
        return self.vocabulary * self.hidden_size

    @property
    def layer(self) -> int:
        """Parameters of one layer, about."""
        return max(1, (self.parameters - self.embedding) // self.layers)


ASSUMED = Shape(
    parameters=8_030_261_248,
    layers=32,
    hidden_size=4096,
    vocabulary=128_256,
    intermediate_size=14_336,
    gated=True,
    key_value_size=4096,
    assumed=True,
)
"""What a model is taken for of which nothing is known: Llama-3-8B, with keys for every head."""


def neox_shape(architecture: ArchitectureSettings, vocabulary: int) -> Shape:
    """The exact shape of a GPT-NeoX that is trained here (`modecollapse.methods.architecture`).

    Per layer: two norms (4h), queries, keys and values (3h² + 3h), their projection (h² + h), and two feed-forward
    matrices (8h² + 5h); beside the layers two embeddings and a norm.
    """
    h, layers = architecture.hidden_size, architecture.layers
    return Shape(
        parameters=2 * vocabulary * h + layers * (12 * h * h + 13 * h) + 2 * h,
        layers=layers,
        hidden_size=h,
        vocabulary=vocabulary,
        intermediate_size=4 * h,
        gated=False,
        key_value_size=h,
        context=architecture.context,
    )


def stated_shape(settings: ShapeSettings) -> Shape:
    """The shape that a study states."""
    return Shape(
        parameters=settings.parameters,
        layers=settings.layers,
        hidden_size=settings.hidden_size,
        vocabulary=settings.vocabulary,
        intermediate_size=settings.intermediate_size or 4 * settings.hidden_size,
        gated=settings.gated,
        key_value_size=settings.key_value_size or settings.hidden_size,
        context=settings.context,
    )


_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx")
_HEADS = ("num_attention_heads", "n_head", "n_heads")
_INTERMEDIATE = ("intermediate_size", "ffn_dim", "n_inner")
_UNGATED = frozenset(
    {"gpt_neox", "gpt2", "gptj", "gpt_neo", "opt", "bloom", "phi", "falcon", "mpt", "codegen", "stablelm"}
)
"""Types of model whose feed-forward layers have two matrices; all others are taken to have three, which is more."""


@cache
def directory_shape(directory: Path) -> Shape | None:
    """The shape of a Hugging Face directory from its configuration and the headers of its weights; None if unclear."""
    try:
        config: dict[str, Any] = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        parameters, stored = _weights(directory)
    except (OSError, ValueError, KeyError, struct.error, StudyError):
        return None  # what is wrong with it is said by whoever needs it
    layers, hidden = (_first(config, names) for names in (_LAYERS, _HIDDEN))
    vocabulary, heads = config.get("vocab_size"), _first(config, _HEADS)
    if not all(isinstance(number, int) and number > 0 for number in (layers, hidden, vocabulary, heads, parameters)):
        return None
    assert layers is not None
    assert hidden is not None
    assert heads is not None
    key_heads = config.get("num_key_value_heads")
    size = config.get("head_dim") or hidden // heads
    return Shape(
        parameters=parameters,
        layers=layers,
        hidden_size=hidden,
        vocabulary=int(config["vocab_size"]),
        intermediate_size=_first(config, _INTERMEDIATE) or 4 * hidden,
        gated=config.get("model_type") not in _UNGATED,
        key_value_size=(key_heads if isinstance(key_heads, int) else heads) * size,
        context=_first(config, _CONTEXT),
        stored_bytes=stored,
    )


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    return next((value for name in names if isinstance(value := config.get(name), int)), None)


_CONSTANTS = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}


def _weights(directory: Path) -> tuple[int, int]:
    """(parameters, bytes of each) of a directory's weights, from headers; from the size of pickled files."""
    files = find_weights(directory)
    if files.pickled:
        size = sum((directory / shard).stat().st_size for shard in files.shards)
        stored = 4 if "32" in str(json.loads((directory / "config.json").read_text()).get("torch_dtype", "16")) else 2
        return size // stored, stored
    parameters = bytes_ = 0
    for shard in files.shards:
        with (directory / shard).open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name == "__metadata__" or name.endswith(_CONSTANTS):
                continue
            number = 1
            for dimension in tensor["shape"]:
                number *= dimension
            parameters += number
            bytes_ += number * _BYTES.get(tensor["dtype"], 4)
    return parameters, max(1, round(bytes_ / max(1, parameters)))


@cache
def gguf_shape(file: Path) -> Shape | None:
    """The shape of the model in a GGUF file; None if it does not say."""
    import gguf

    try:
        reader = gguf.GGUFReader(file)
        kind = str(reader.fields["general.architecture"].contents())

        def number(key: str) -> int:
            return int(reader.fields[f"{kind}.{key}"].contents())

        hidden, heads = number("embedding_length"), number("attention.head_count")
        key_heads = f"{kind}.attention.head_count_kv"
        return Shape(
            parameters=sum(int(tensor.n_elements) for tensor in reader.tensors),
            layers=number("block_count"),
            hidden_size=hidden,
            vocabulary=next(
                int(tensor.n_elements) // hidden for tensor in reader.tensors if tensor.name == "token_embd.weight"
            ),
            intermediate_size=number("feed_forward_length"),
            gated=kind not in ("gpt2", "gptneox", "falcon", "bloom"),
            key_value_size=hidden
            // heads
            * (number("attention.head_count_kv") if key_heads in reader.fields else heads),
            context=number("context_length"),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError, StopIteration):
        return None


def shape_of(study: Study, model: Model) -> Shape:
    """The shape of a model, which is that of the one whose weights it goes back to.

    Exact where it is trained here from nothing, or where the weights are on this machine; else as `models.SIZE.shape`
    states it; else `ASSUMED`, with a warning that names the key.
    """
    origin = study.origin(model)
    size = study.config.models[origin.size]
    if study.stage(origin).has("starts_from_nothing") and size.architecture is not None:
        vocabulary = study.config.tokenizer.vocabulary if study.config.tokenizer else 0
        return neox_shape(size.architecture, vocabulary)
    found = _found(study, origin)
    if found is not None:
        return found
    if size.shape is not None:
        return stated_shape(size.shape)
    needed = study.needed_of(origin)
    _warn_of_assumption(str(study.file), origin.size, str(needed.revision if needed else study.local_source(origin)))
    return ASSUMED


def _found(study: Study, origin: Model) -> Shape | None:
    path, source, needed = study.local_source(origin), study.source(origin), study.needed_of(origin)
    if path is None and needed is not None and (commit := study.lock.commit(needed.revision)) is not None:
        path = snapshot_directory(needed.revision, commit)
        path = path / source.gguf if isinstance(source, GgufSource) else path
    if path is None or not path.exists():
        return None
    return gguf_shape(path) if isinstance(source, GgufSource) else directory_shape(path)


@cache
def _warn_of_assumption(file: str, size: str, source: str) -> None:
    """Once for each size."""
    logger.warning(
        "%s: models.%s.shape: nothing is known of %s yet, so memory and time are planned for a model of %.1f billion "
        "parameters. State `shape: {parameters: …, layers: …, hidden_size: …, vocabulary: …}`, or download it.",
        file,
        size,
        source,
        ASSUMED.parameters / 1e9,
    )
