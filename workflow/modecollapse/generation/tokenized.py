"""Prompts as token ids, and where texts end: what every engine needs of a model beside its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError
from modecollapse.generation.models import end_tokens_of, load_tokenizer
from modecollapse.rendering import token_ids


@dataclass(frozen=True)
class TextModel:
    """What is known of a causal language model without its weights."""

    tokenizer: Any
    end_tokens: tuple[int, ...]
    """Ids that end a text: the tokenizer's and the configuration's end-of-text tokens."""
    context: int | None
    """Positions that the model knows; None if it has no limit."""

    @property
    def prefix_token(self) -> int:
        """The token that stands before a text: beginning of text, or end of text where there is none."""
        token = self.tokenizer.bos_token_id
        return int(self.end_tokens[0] if token is None else token)


def load_text_model(directory: Path) -> TextModel:
    """The tokenizer and the configuration in `directory`.

    Raises:
        StudyError: they cannot be loaded, or name no end-of-text token.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(directory)
    try:
        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StudyError(f"The config.json in {directory} cannot be loaded: {error}") from error
    ends = end_tokens_of(tokenizer, config, directory)
    return TextModel(tokenizer, ends, getattr(config, "max_position_embeddings", None))


def tokenize_prompts(model: Any, prompts: Sequence[tuple[str, str]]) -> tuple[tuple[str, ...], list[list[int]]]:
    """Ids and token ids of prompts, pairs of (id, rendered text); `model` has a tokenizer and a `prefix_token`.

    A prompt is tokenised by `modecollapse.rendering.token_ids` (with one beginning-of-text token where the tokenizer
    adds it); an empty prompt becomes that token, or the end-of-text token where there is none.

    Raises:
        StudyError: no prompt, or an id given twice.
    """
    ids = tuple(prompt for prompt, _ in prompts)
    if not ids or len(set(ids)) < len(ids):
        raise StudyError(f"Prompts need distinct ids, and at least one of them: found {list(ids)}.")
    texts = [text for _, text in prompts]
    return ids, [tokens or [model.prefix_token] for tokens in token_ids(model.tokenizer, texts)]


def check_context(ids: Sequence[str], tokens: Sequence[Sequence[int]], new: int, context: int | None) -> None:
    """Check that prompts and `new` tokens after them fit the positions of a model.

    Raises:
        StudyError: a prompt does not.
    """
    for prompt, row in zip(ids, tokens, strict=True):
        if context is not None and len(row) + new > context:
            raise StudyError(
                f"Prompt {prompt!r} has {len(row)} tokens; with max_new_tokens = {new} that is {len(row) + new}, "
                f"more than the {context} positions of the model. Shorten the prompt, or set max_new_tokens to at "
                f"most {context - len(row)}."
            )
