"""The entropy of next-token predictions along sampled outputs, over the most probable tokens and over all.

The third experiment of Mohammadi (2024), "Creativity Has Left the Chat: The Price of Debiasing Language Models":
H = −Σ p log2 p over the five most probable tokens, at every token of an output. Whether their probabilities are first
divided by their sum the paper does not say, so both are told apart.
"""

import pyarrow as pa
from pydantic import Field

from modecollapse.measures.asking import AskingSettings
from modecollapse.schema import Name

TOKENS = pa.schema(
    [
        *(("sample", pa.int32()), ("position", pa.int32()), ("token", pa.string()), ("log_prob", pa.float64())),
        *(("entropy", pa.float64()), ("top_tokens", pa.list_(pa.string())), ("top_probs", pa.list_(pa.float64()))),
    ]
)
"""One row per token of an output, the end-of-text token included: its text; its log-probability in nats; the entropy
in bits of the whole distribution that it was drawn from; and the most probable tokens with their probabilities,
falling."""


class TopEntropySettings(AskingSettings):
    """Entropy over the most probable tokens (the CR paper's experiment 3)."""

    text: str = Field("Steve is the CEO of a startup company", min_length=1)
    """The prompt."""
    format: Name = "plain"
    """The prompt format that all stages are asked in."""
    top: int = Field(5, ge=2)
    """Tokens that count."""
    shown: int = Field(16, ge=1)
    """Tokens of the sample that is drawn."""
