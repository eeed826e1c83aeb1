"""What the creativity measures have in common: one question, asked many times. Importing this module is cheap."""

from collections.abc import Mapping

from pydantic import Field

from modecollapse.schema import Strict
from modecollapse.temperatures import Temperature

KINDS: Mapping[str, tuple[str, ...]] = {
    "personas": ("personas",),
    "semantic": ("asked",),
    "top_entropy": ("top_entropy",),
    "attractor": ("modes", "continuations"),
    "probes": ("confidence", "next_tokens", "choices", "responses"),
}
"""Measure → the files that it has of each model."""


class AskingSettings(Strict):
    """How often a question is asked and how its answers are sampled: by the model's own probabilities alone."""

    completions: int = Field(100, ge=1)
    """Outputs that are sampled."""
    max_new_tokens: int = Field(64, ge=1)
    """Tokens of an output at most, the end-of-text token included."""
    temperature: Temperature = "1.0"
    """Sampling temperature."""
    seed: int = Field(0, ge=0)
    """Seed of the sampling streams."""
