"""The model that fine-tuning starts from, which is also the reference of preference tuning."""

from pathlib import Path
from typing import Any, Literal

from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel, load_causal_model, load_tokenizer
from modecollapse.methods.lora import LoraSettings, quantization
from modecollapse.prompts import PromptFormat
from modecollapse.rendering import check_format


def load_start(
    directory: Path,
    form: PromptFormat | None,
    max_length: int,
    dtype: str,
    quantized: Literal["nf4"] | None,
    threads: int,
    device: str,
) -> CausalModel:
    """The model in `directory` in float32, or quantized to be computed with in `dtype`, and its tokenizer.

    Raises:
        StudyError: it cannot be loaded, has no end-of-text token, is asked for more context than it has, or its
            tokenizer cannot give prompts the format of training (before weights are read).
    """
    if form is not None and form.is_chat:
        check_format(form, load_tokenizer(directory))
    description = quantization(LoraSettings(quantization=quantized), dtype)
    model = load_causal_model(directory, "float32", threads, device, description)
    check_start(directory, model.tokenizer, model.context, max_length)
    return model


def check_start(directory: Path, tokenizer: Any, context: int | None, max_length: int) -> None:
    """Raises StudyError unless the tokenizer knows an end of text, and the model as much context as is asked for."""
    if tokenizer.eos_token_id is None:
        raise StudyError(f"The tokenizer in {directory} names no end-of-text token, which answers must end with.")
    if context is not None and max_length > context:
        raise StudyError(
            f"max_length {max_length} is longer than the context of the model in {directory}, "
            f"{context} tokens. Set max_length to at most {context}."
        )
