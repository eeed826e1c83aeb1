"""Prompt sets and prompt formats: what is asked, and the words around it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from string import Formatter
from typing import Any

TURNS = ("Human:", "Assistant:")
"""What begins a turn of a dialogue in the data that most models were tuned on."""


@dataclass(frozen=True)
class Prompt:
    """One evaluation prompt.

    `text` is None only where completions were written by others and the prompt's wording is not known. `start` is the
    beginning of the answer that is put into the model's mouth. `answers`, if given, are accepted answers: a completion
    that contains one of them (as whole words, ignoring case) is correct. `task` is what kind of task it is; None stands
    for the name of its set.
    """

    id: str
    text: str | None
    start: str = ""
    answers: tuple[str, ...] = ()
    task: str | None = None


@dataclass(frozen=True)
class Chat:
    """A chat format: the prompt is the user's message, and a chat template puts the words around it."""

    system: str | None = None
    """The system message; None for none."""
    template: str | None = None
    """A Jinja chat template in place of the tokenizer's own."""


@dataclass(frozen=True)
class PromptFormat:
    """The words around a prompt: a template, e.g. ``Human: {prompt} Assistant: {start}``, or a chat."""

    name: str
    template: str | Chat

    @property
    def is_chat(self) -> bool:
        """Whether a chat template decides the words, so that a tokenizer is needed to render a prompt."""
        return isinstance(self.template, Chat)

    @property
    def spec(self) -> Any:
        """What it contributes to specs: everything about it that can change a rendered text."""
        if isinstance(self.template, Chat):
            return {"chat": {"system": self.template.system, "template": self.template.template}}
        # Such templates used to lose their line break, so what was made with them then is not what it would be now.
        return {"template": self.template, "end": "\n"} if self._ends_with_a_line_break else self.template

    @classmethod
    def from_spec(cls, name: str, spec: Any) -> "PromptFormat":
        """The format that `spec` was written for."""
        if isinstance(spec, str):
            return cls(name, spec)
        return cls(name, Chat(**spec["chat"]) if "chat" in spec else spec["template"])

    def fill(self, text: str, start: str = "") -> str:
        """The text of a template that is no chat: no space at its end, so that completions begin with one.

        A line break at the end of the template itself stays: the model was trained to answer after it.
        """
        assert isinstance(self.template, str)
        filled = self.template.format(prompt=text, start=start)
        return filled.rstrip(" ") if self._ends_with_a_line_break and not start.strip() else filled.rstrip()

    @property
    def markers(self) -> tuple[str, ...]:
        """What a completion contains if it runs into another turn: `TURNS`, and the template's marks of turns.

        Those of a chat are known only where its template is: see `modecollapse.rendering.chat_markers`.
        """
        if isinstance(self.template, Chat):
            return TURNS
        return tuple(dict.fromkeys([*TURNS, *turn_marks(literal for literal, *_ in Formatter().parse(self.template))]))

    @property
    def _ends_with_a_line_break(self) -> bool:
        return isinstance(self.template, str) and self.template.replace("{start}", "").rstrip(" ").endswith("\n")


def turn_marks(literals: Iterable[str]) -> list[str]:
    """The lines of these literal parts of a template that mark a turn: words up to a colon, or with brackets or ``#``.

    Bare words ("user") are none: completions contain them for other reasons.
    """
    lines = [line.strip() for literal in literals for line in literal.splitlines()]
    return [
        line for line in lines if re.search(r"[^\W\d_]", line) and (line.endswith(":") or re.search(r"[<\[{|#]", line))
    ]


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
