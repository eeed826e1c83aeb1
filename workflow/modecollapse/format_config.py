"""Prompt formats in study files: the built-in ones, and those of a study's own."""

import string
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from modecollapse.schema import Strict


def _template(value: str) -> str:
    try:
        fields = [field for field in string.Formatter().parse(value) if field[1] is not None]
    except ValueError:
        fields = [("", "", "", None)]
    if any(name not in ("prompt", "start") or form or conversion for _, name, form, conversion in fields):
        raise ValueError("only {prompt} and {start} may stand in braces")
    if [name for _, name, _, _ in fields].count("prompt") != 1:
        raise ValueError("{prompt} must occur once")
    return value


def _jinja(value: str) -> str:
    from jinja2 import Environment, TemplateError  # few studies need it

    try:
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(value)
    except TemplateError as error:
        raise ValueError(f"the chat template is no Jinja template: {error}") from None
    if "messages" not in value:
        raise ValueError("the chat template never reads `messages`, so it cannot contain the prompt")
    return value


class ChatFormat(Strict):
    """A prompt format that is a chat: the prompt is the user's message, and the model answers as the assistant.

    A study's own format is either a text, in which `{prompt}` and `{start}` stand for the prompt and the start of its
    answer, or has these keys; `{}` is the built-in format `chat`.
    """

    system: Annotated[str, Field(min_length=1)] | None = None
    """System message before the prompt; null for none (a template may put one of its own)."""
    template: Annotated[str, AfterValidator(_jinja)] | None = None
    """Jinja chat template; null for the one in the model's tokenizer. Where one asks for the date, it is 26 July 2024.
    """


FORMATS: Mapping[str, str | ChatFormat] = {
    "human": "Human: {prompt} Assistant: {start}",
    "okay": "{prompt} Okay, here goes: {start}",
    "qa": "Question: {prompt} Answer: {start}",
    "plain": "{prompt} {start}",
    "dialogue": "{prompt}",
    "chat": ChatFormat(),
}
"""Prompt formats that every study can name; the first two are those of O'Mahony et al. (2024), section 2.3, `dialogue`
is for training on prompts that hold their turns already, as those of `Dahoas/static-hh` do, and `chat` is the chat
template in each model's tokenizer."""


def _kind_of_format(value: Any) -> str:
    if value is None:
        return "null"
    return "ChatFormat" if isinstance(value, dict | ChatFormat) else "text"


OwnFormat = Annotated[
    Annotated[str, AfterValidator(_template), Tag("text")]
    | Annotated[ChatFormat, Tag("ChatFormat")]
    | Annotated[None, Tag("null")],
    Discriminator(_kind_of_format),
]
"""A study's own prompt format; faults are told of the kind that it is."""
