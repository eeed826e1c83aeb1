"""Loading a causal language model from a directory: safetensors only, no remote code, every weight accounted for."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from modecollapse.errors import StudyError
from modecollapse.methods import lora

# Constants that older checkpoints store beside the weights; the library computes them itself.
_STORED_CONSTANTS = (".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias")


@dataclass(frozen=True)
class CausalModel:
    """A model in evaluation mode and its tokenizer."""

    network: Any
    tokenizer: Any
    device: torch.device
    end_tokens: tuple[int, ...]
    """Ids that end a text: the tokenizer's and the configuration's end-of-text tokens."""
    context: int | None
    """Positions that the model knows; None if it has no limit."""

    @property
    def vocabulary_size(self) -> int:
        """Length of the logits (not of the tokenizer, which may know fewer tokens)."""
        return int(self.network.config.vocab_size)

    @property
    def prefix_token(self) -> int:
        """The token that stands before a text: beginning of text, or end of text where there is none."""
        token = self.tokenizer.bos_token_id
        return int(self.end_tokens[0] if token is None else token)


def load_causal_model(directory: Path, dtype: str, threads: int, device: str, quantization: Any = None) -> CausalModel:
    """The model and tokenizer in `directory`, on `device`; sets the process's number of CPU threads.

    With `quantization` (a description of the library's), weights of linear layers are quantized as they are read. A
    directory whose adapter is kept apart (`methods.unmerged`) says itself how its base is quantized.

    Raises:
        StudyError: the directory holds no loadable safetensors model and tokenizer, weights are missing or of another
            shape, no end-of-text token is known, or the attention is of a kind that generation does not support.
    """
    torch.set_num_threads(threads)
    if (directory / lora.UNMERGED).is_file():
        assert quantization is None, "nothing is trained from it"
        network = _load_unmerged(directory, dtype, device)
    else:
        network = load_network(AutoModelForCausalLM, directory, dtype, device, quantization)
    tokenizer = load_tokenizer(directory)
    ends = end_tokens_of(tokenizer, network.config, directory)
    return CausalModel(
        network=network,
        tokenizer=tokenizer,
        device=torch.device(device),
        end_tokens=ends,
        context=getattr(network.config, "max_position_embeddings", None),
    )


def _load_unmerged(directory: Path, dtype: str, device: str) -> Any:
    """The network with its adapter, in evaluation mode."""
    held = json.loads((directory / lora.UNMERGED).read_text(encoding="utf-8"))
    quantization = lora.quantization(lora.LoraSettings(quantization=held["quantization"]), held["dtype"])
    read_as = dtype if quantization is None else "float32"  # what training quantizes
    base = load_network(AutoModelForCausalLM, directory / lora.BASE, read_as, device, quantization)
    for parameter in base.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(getattr(torch, dtype))
    return lora.attached(base, directory / lora.DIRECTORY).eval()


def load_network(
    family: Any,
    directory: Path,
    dtype: str,
    device: str,
    quantization: Any = None,
    missing: tuple[str, ...] = (),
    unexpected: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """The network in `directory` as one of a `family` (a class of transformers' `AutoModelFor…`), to be computed with.

    `missing` and `unexpected` are beginnings of the names of weights that the directory may lack, and may hold in vain;
    `options` change its configuration.

    Raises:
        StudyError: the directory holds no loadable safetensors model, weights are missing, left over or of another
            shape, or the attention is of a kind that generation does not support.
    """
    transformers.utils.logging.disable_progress_bar()
    verbosity = transformers.utils.logging.get_verbosity()
    if not (directory / "config.json").is_file():
        raise StudyError(f"{directory} is not a model directory: it has no config.json.")
    if missing or unexpected:  # of which it would warn
        transformers.utils.logging.set_verbosity_error()
    try:
        network, loading = family.from_pretrained(
            directory,
            dtype=getattr(torch, dtype),
            **({"quantization_config": quantization, "device_map": {"": device}} if quantization else {}),
            attn_implementation="sdpa",
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are in the loading info then, and refused below by their names
            **options,
        )
    except (OSError, ValueError, RuntimeError) as error:
        if "scaled_dot_product_attention" in str(error):  # the library's advice is to change its call
            raise _unsupported(directory, "has no attention that torch's own function computes") from error
        raise StudyError(f"The model in {directory} cannot be loaded: {error}") from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    # The library fills what is missing with random numbers and only warns.
    allowed = {"missing_keys": missing, "mismatched_keys": (), "unexpected_keys": unexpected}
    for problem, fine in allowed.items():
        found = sorted(key for key in map(_described, loading[problem]) if not key.endswith(_STORED_CONSTANTS))
        keys = [key for key in found if not key.startswith(fine)]
        if keys:
            named = ", ".join(keys[:3]) + (" and more" if len(keys) > 3 else "")
            raise StudyError(
                f"The weights in {directory} do not fit its config.json: {problem.replace('_', ' ')} {named}. "
                "Use the config.json that belongs to them."
            )
    _check_attention(network.config, directory)
    network.requires_grad_(False)
    if quantization:
        _check_blocks(network, directory)
        for module in network.modules():
            # On processors with AVX-512 BF16 bitsandbytes packs weights anew for inference, in bfloat16, and refuses
            # layers whose number of outputs 32 does not divide: neither is what training computes.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        return network.eval()
    return network.eval().to(device)


def _check_blocks(network: Any, directory: Path) -> None:
    """Refuse four-bit layers that bitsandbytes 0.50.2 reads back wrongly, and says nothing, on processors with AVX-512:
    those whose rows are no whole number of blocks.
    """
    for name, module in network.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None and module.weight.device.type == "cpu" and state.shape[-1] % state.blocksize:
            raise StudyError(
                f"The layer {name} of the model in {directory} has {state.shape[-1]} inputs. Allowed on a processor in "
                f"four bits: multiples of {state.blocksize}. Use a GPU or another model, or set quantization: null."
            )


def end_tokens_of(tokenizer: Any, config: Any, directory: Path) -> tuple[int, ...]:
    """Ids that end a text: the tokenizer's and the configuration's end-of-text tokens.

    Raises:
        StudyError: there are none.
    """
    configured = config.eos_token_id
    configured = [configured] if isinstance(configured, int) else list(configured or ())
    ends = tuple(dict.fromkeys(token for token in (tokenizer.eos_token_id, *configured) if token is not None))
    if not ends:
        raise StudyError(f"Neither the tokenizer nor the config.json in {directory} names an end-of-text token.")
    return ends


def _described(key: Any) -> str:
    """A tensor's name, with the two shapes of one that is mismatched."""
    if isinstance(key, str):
        return key
    name, stored, expected = key
    return f"{name} ({list(stored)} instead of {list(expected)})"


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer in `directory`.

    Raises:
        StudyError: there is none that can be loaded.
    """
    try:
        return AutoTokenizer.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StudyError(f"The tokenizer in {directory} cannot be loaded: {error}") from error


def _check_attention(config: Any, directory: Path) -> None:
    """Generation keeps all keys and masks them itself, which is right for full attention only."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if kinds != {"full_attention"} or window:
        raise _unsupported(directory, f"has layers of the kinds {sorted(kinds)} (sliding window: {window})")
    if getattr(config, "alibi", False):  # its biases stand in the mask
        raise _unsupported(directory, "tells positions by biases of its attention (alibi)")


def _unsupported(directory: Path, why: str) -> StudyError:
    return StudyError(
        f"The model in {directory} {why}; supported are models with full attention in every layer, such as GPT-NeoX, "
        "Llama, Qwen2, Phi or OLMo. Use another model, or import completions that were sampled elsewhere."
    )
