"""Prompt files: YAML with `prompts`, each with `id`, `text` and optionally `start`, `answers` and `task`."""

import json
from pathlib import Path

from pydantic import Field, ValidationError

from modecollapse.config_errors import explain
from modecollapse.errors import StudyError
from modecollapse.prompts import Prompt, PromptSet
from modecollapse.schema import Name, Strict
from modecollapse.yaml_files import read_yaml

ALL_TASKS = "all"
"""What tables call all tasks together, so that no task may be called so."""


class _Prompt(Strict):
    id: Name
    text: str | None
    start: str = ""
    answers: tuple[str, ...] = ()
    task: str | None = Field(None, pattern=r"^[^\s/]([^/\n]*[^\s/])?$")


class _PromptFile(Strict):
    name: str
    description: str = ""
    prompts: tuple[_Prompt, ...]


def read_prompts(path: Path, name: str) -> PromptSet:
    """The prompt set in a YAML file, under the name that the study gives it.

    Raises:
        StudyError: misspelt keys, no prompts, empty texts or answers, or an id or text that occurs twice.
    """
    try:
        content = _PromptFile.model_validate_json(json.dumps(read_yaml(path)))
    except ValidationError as error:
        raise explain(error, path, _PromptFile) from error
    if not content.prompts:
        raise StudyError(f"{path}: prompts is empty. Add at least one prompt with `id` and `text`.")
    seen: dict[tuple[str, str], str] = {}
    for prompt in content.prompts:
        if prompt.text is not None and not prompt.text.strip():
            raise StudyError(f"{path}: the prompt {prompt.id} has an empty text. Write its text, or remove it.")
        for answer in prompt.answers:
            if not any(character.isalnum() for character in answer):
                raise StudyError(
                    f"{path}: the prompt {prompt.id} accepts the answer {answer!r}, which every completion contains. "
                    "Write an answer with a letter or digit, or remove it."
                )
        if prompt.task == ALL_TASKS:
            raise StudyError(
                f"{path}: the prompt {prompt.id} has the task {ALL_TASKS!r}, as tables call all tasks together. "
                "Give it another name."
            )
        for kind, value in (("id", prompt.id), ("text", prompt.text)):
            if value is None:
                continue
            if (kind, value) in seen:
                raise StudyError(
                    f"{path}: the {kind} {value!r} is used twice (prompts {seen[kind, value]} and {prompt.id}). "
                    "Each prompt counts once; remove or change one."
                )
            seen[kind, value] = prompt.id
    return PromptSet(name, tuple(Prompt(p.id, p.text, p.start, p.answers, p.task) for p in content.prompts))
