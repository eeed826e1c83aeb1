"""Prompt sets and prompt formats: what is asked, and the words around it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import Formatter

TURNS = ("Human:", "Assistant:")
"""What begins a turn of a dialogue in the data that most models were tuned on."""


@dataclass(frozen=True)
class Prompt:
    """One evaluation prompt.

    `text` is None only where completions were written by others and the prompt's wording is not known. `start` is the
    beginning of the answer that is put into the model's mouth. `answers`, if given, are accepted answers: a completion
    that contains one of them (as whole words, ignoring case) is correct.
    """

    id: str
    text: str | None
    start: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFormat:
    """The words around a prompt, e.g. ``Human: {prompt} Assistant: {start}``."""

    name: str
    template: str

    def render(self, text: str, start: str = "") -> str:
        """The string given to the tokenizer: no trailing space, so that completions begin with one."""
        return self.template.format(prompt=text, start=start).rstrip()

    @property
    def markers(self) -> tuple[str, ...]:
        """What a completion contains if it runs into another turn: `TURNS`, and the template's words up to a colon."""
        literals = [literal.strip() for literal, *_ in Formatter().parse(self.template)]
        return tuple(dict.fromkeys([*TURNS, *(literal for literal in literals if literal.endswith(":"))]))


@dataclass(frozen=True)
class PromptSet:
    """A named list of prompts, e.g. the 20 creative ones."""

    name: str
    prompts: tuple[Prompt, ...]

    def ids(self) -> Sequence[str]:
        return [prompt.id for prompt in self.prompts]

    def without_starts(self) -> "PromptSet":
        """The same prompts, with nothing put into the model's mouth."""
        return replace(self, prompts=tuple(replace(prompt, start="") for prompt in self.prompts))
