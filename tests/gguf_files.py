"""Tiny GGUF files, written as llama.cpp's converter writes Llama models."""

import json
from pathlib import Path
from typing import Any

import numpy as np

_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_llama(
    model: Path,
    file: Path,
    quantisation: str = "F32",
    architecture: str = "llama",
    tokenizer: bool = True,
    leave_out: str | None = None,
) -> Path:
    """Write the Llama that `tests.tiny_models.save_llama` saved as one GGUF file.

    Args:
        model: its directory.
        file: where to write.
        quantisation: type of the matrices (norms stay float32).
        architecture: what the file says it is.
        tokenizer: whether the tokenizer is put in.
        leave_out: a tensor that is left out.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((model / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    if tokenizer:
        _add_tokenizer(writer, model)
    for name, values in load_file(model / "model.safetensors").items():
        tensor = _name(name)
        if tensor == leave_out:
            continue
        if tensor.endswith(("attn_q.weight", "attn_k.weight")):
            values = _interleaved(values, heads if "attn_q" in tensor else kv_heads)
        kind = gguf.GGMLQuantizationType[quantisation if values.ndim == 2 else "F32"]
        data = gguf.quantize(values.astype(np.float32), kind) if kind.name != "F32" else values
        writer.add_tensor(tensor, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _add_tokenizer(writer: Any, model: Path) -> None:
    content = json.loads((model / "tokenizer.json").read_text())
    vocabulary = {**content["model"]["vocab"], **{token["content"]: token["id"] for token in content["added_tokens"]}}
    special = {token["content"] for token in content["added_tokens"]}
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])  # control, or normal
    # There are no merges: each token is one character. An empty list cannot be written; scores make an empty one.
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_bos_token_id(vocabulary["<s>"])
    writer.add_eos_token_id(vocabulary["</s>"])
    writer.add_unk_token_id(vocabulary["<unk>"])
    writer.add_add_bos_token(True)


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{_NAMES[part]}.weight"
    return f"{_NAMES[stem]}.weight"


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp keeps the two halves of each head's rotary pairs side by side."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
