"""What a study states of models and data that are not on this machine yet, for plans. No result depends on it."""

from pydantic import Field

from modecollapse.schema import Strict


class Expected(Strict):
    """How much text a data set holds, for plans made before it is on this machine. No result depends on it."""

    rows: int | None = Field(None, gt=0)
    """Rows of the whole set, before a sample is drawn; null: unknown, and taken to be a million."""
    tokens: int | None = Field(None, gt=0)
    """Tokens of a row on average: of a document, or of a prompt with one answer; null: as many as settings allow."""


class ShapeSettings(Strict):
    """The shape of models that are taken over from the hub, for plans that are made before they are on this machine.

    Where the weights themselves are at hand, they count. No result depends on it.
    """

    parameters: int = Field(gt=0)
    """Parameters, embeddings included."""
    layers: int = Field(gt=0)
    """Decoder layers."""
    hidden_size: int = Field(gt=0)
    """Width of the hidden state."""
    vocabulary: int = Field(gt=0)
    """Length of the logits."""
    intermediate_size: int | None = Field(None, gt=0)
    """Width of the feed-forward layers; null is four times the hidden size."""
    gated: bool = False
    """Whether feed-forward layers have a gate, as Llama's do."""
    key_value_size: int | None = Field(None, gt=0)
    """Width of the keys of one position and layer (heads of keys times their size); null is the hidden size."""
    context: int | None = Field(None, gt=0)
    """Positions that the model knows; null: unknown."""
