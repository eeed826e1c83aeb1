"""What decides how a cell is sampled. Importing this module is cheap, so that the configuration can."""

from typing import Annotated, Literal

from pydantic import Field

from modecollapse.schema import Strict

EngineName = Literal["transformers", "vllm"]

SAMPLING_MODULES = (
    "generation.cache",
    "generation.completions",
    "generation.decoding",
    "generation.prefill",
    "generation.rollouts",
    "generation.sampling",
    "generation.streams",
    "generation.tokenized",
)
"""Modules whose code decides the answers of `generation.rollouts.sample_rollouts`, beside the model's own."""


class SamplingSettings(Strict):
    """Every parameter of sampling, explicit: nothing is ever taken from a model's `generation_config`."""

    completions: Annotated[int, Field(ge=1)] = 25
    """Completions per prompt."""
    max_new_tokens: Annotated[int, Field(ge=1)] = 70
    """Tokens generated at most, the end-of-text token included."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Keep the k most probable tokens (and those tied with the k-th); 0 keeps all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Keep the smallest set of most probable tokens that holds this much probability; 1 keeps all."""
    # Not strict on the outside only: YAML and JSON have lists, never tuples.
    stop: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] = ()
    """A completion ends where one of these strings begins."""
    rows_per_batch: Annotated[int, Field(ge=1)] | None = None
    """Completions sampled side by side; null leaves it to the memory rule of the engine, which records its choice."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations."""
