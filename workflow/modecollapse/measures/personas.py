"""Customer personas and their reviews of a product: how many different ones a model invents.

The first experiment of Mohammadi (2024), "Creativity Has Left the Chat: The Price of Debiasing Language Models".
"""

import re
from enum import StrEnum
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator, Field

from modecollapse.measures.asking import AskingSettings
from modecollapse.schema import Name, Strict

PRODUCT = "A coffee machine that connects to your smartwatch so it keeps your coffee warm if you are far away from it."
"""The paper's."""

OUTPUTS = pa.schema(
    [
        *(("format", pa.string()), ("sample", pa.int32()), ("text", pa.string())),
        *(("finish_reason", pa.string()), ("n_tokens", pa.int32())),
    ]
)
"""What is sampled: one row per output, without the words of the prompt."""


class FieldKind(StrEnum):
    """What the values of a field are."""

    NAME = "name"
    """Proper names, of which there are many: drawn as a word cloud."""
    CATEGORY = "category"
    NUMBER = "number"


def _pattern(value: str) -> str:
    try:
        found = re.compile(value)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if not found.groupindex:
        raise ValueError("it has no named group; name each field's, e.g. (?P<age>[0-9]+)")
    return value


class PersonaTemplate(Strict):
    """What is asked in one prompt format, and how the answer is read."""

    text: Annotated[str, Field(min_length=1)]
    """The prompt."""
    start: str = ""
    """Start of the answer, put into the model's mouth where the format has {start}."""
    lead: str = ""
    """What the answer is read with in front of it: the label that the words before it end with, e.g. `First name:`."""
    pattern: Annotated[str, AfterValidator(_pattern)] | None = None
    """A regular expression whose named groups are fields, searched for in the answer; null reads lines `Label: value`
    or a JSON object."""
    truth: dict[Name, Name] = Field(default_factory=dict)
    """In a study with a world: field → the rule of its grammar that writes the field's values after these words."""


_LABELS = ("First name", "Last name", "Gender", "Age", "Nationality", "Ethnicity", "Personality type (Myers-Briggs)")
_FORM = "\n".join([*(f"{label}: ..." for label in _LABELS), "Review: ..."])

TEMPLATES = {
    "plain": PersonaTemplate(
        text=f"Product: {PRODUCT}\n\nThe form that a customer filled in, with a review of this product:\n",
        start="First name:",
        lead="First name:",
    ),
    "chat": PersonaTemplate(
        text=f"Invent a customer, and write the customer's review of this product: {PRODUCT} "
        f"Answer in this form and write nothing else:\n{_FORM}"
    ),
}
"""The paper does not print its prompts. These ask for the same: a base model continues a form, a chat model fills it
in."""


FIELDS = {
    "first_name": FieldKind.NAME,
    "last_name": FieldKind.NAME,
    "gender": FieldKind.CATEGORY,
    "age": FieldKind.NUMBER,
    "nationality": FieldKind.CATEGORY,
    "ethnicity": FieldKind.CATEGORY,
    "personality": FieldKind.CATEGORY,
}
"""The paper's seven."""


class PersonaSettings(AskingSettings):
    """Personas (the CR paper's experiment 1): their fields, and the reviews that they write."""

    max_new_tokens: int = Field(300, ge=1)
    """Tokens of an output at most, the end-of-text token included."""
    templates: Annotated[dict[Name, PersonaTemplate], Field(min_length=1)] = TEMPLATES
    """Prompt format → what is asked in it. A stage is asked in the first of its formats that is here."""
    fields: Annotated[dict[Name, FieldKind], Field(min_length=1, strict=False)] = FIELDS
    """The fields: `name`, `category` or `number`."""
    review: Name | None = "review"
    """The field that is a text: its length, its polarity and its sentences are looked at; null for none."""
    most_clusters: int = Field(20, ge=2)
    """Clusters of the reviews' sentences that are tried at most."""
    perplexity: float = Field(30.0, gt=0, allow_inf_nan=False)
    """Of t-SNE; where there are few sentences, at most a third of the others."""
