"""Errors of configuration as sentences: the key, what was found, what is allowed, and the next step."""

import difflib
import types
import typing
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from modecollapse.errors import StudyError
from modecollapse.sources import Source


def explain(error: ValidationError, path: Path, model: type[BaseModel], prefix: str = "", skip: int = 0) -> StudyError:
    """One line per fault, each naming the file and the key.

    Args:
        error: what pydantic found.
        path: the file that was read.
        model: the model that it was read into.
        prefix: key under which the model stands in the file.
        skip: leading parts of pydantic's locations that are no keys of the file.
    """
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "too_short" and any(_is_inside(other["loc"], fault["loc"]) for other in faults):
            continue  # pydantic counts only the valid items, so this says nothing that the other fault does not
        location = fault["loc"][skip:]
        key = ".".join(filter(None, [prefix, *_keys(model, location)])) or "the file"
        lines.append(f"{path}: {key}: {_sentence(fault, model, location)}")
    return StudyError("\n".join(dict.fromkeys(lines)))


def check_names(key: str, names: Collection[str], allowed: Collection[str], what: str) -> None:
    """Check that a key of a study names only what there is.

    Args:
        key: the key, for the message.
        names: what it names.
        allowed: what it may name.
        what: what that is, in singular.

    Raises:
        StudyError: a name is not allowed.
    """
    for name in names:
        if name not in allowed:
            raise StudyError(
                f"{key}: no {what} is called {name!r}. Allowed: {', '.join(allowed) or 'none is defined'}. "
                f"Name one of these, or define {name!r}."
            )


def _is_inside(location: Sequence[Any], outer: Sequence[Any]) -> bool:
    return len(location) > len(outer) and tuple(location[: len(outer)]) == tuple(outer)


def _sentence(fault: Any, model: type[BaseModel], location: Sequence[Any]) -> str:
    found = fault.get("input")
    context = fault.get("ctx", {})
    match fault["type"]:
        case "extra_forbidden":
            names = sorted(_field_names(_walk(model, location[:-1])))
            close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.6)
            hint = f"Did you mean {close[0]!r}?" if close else "Remove it, or correct its name."
            return f"no such key. Allowed: {', '.join(names)}. {hint}"
        case "missing":
            return "this key is missing. Add it."
        case "union_tag_invalid":
            tag = context["discriminator"].strip("'")
            return f"{tag}: no such {tag}: {context['tag']!r}. Allowed: {context['expected_tags']}. Name one of these."
        case "union_tag_not_found":
            return "`method` is missing. Say how this stage comes to be, e.g. `method: sft`."
        case "literal_error":
            return f"found {found!r}. Allowed: {context['expected']}. Choose one of these."
        case "no_such_source":
            keys = ", ".join(map(str, found)) if isinstance(found, dict) else repr(found)
            return f"found {keys or 'nothing'}. Allowed: exactly one of {fault['msg']}. Name one source."
        case "value_error":
            return f"{context['error']}."
        case "string_pattern_mismatch" if location[-1] == "hub":
            return f"found {found!r}. Allowed: OWNER/NAME, e.g. 'EleutherAI/pythia-70m'. Name a repository of the hub."
        case "string_pattern_mismatch":
            return f"found {found!r}. Allowed: letters, digits, '.', '_' and '-'. Rename it."
        case _:
            return f"found {found!r}. {fault['msg'].replace('Input should', 'It should')}. Change it."


def _keys(model: type[BaseModel], location: Sequence[Any]) -> Iterator[str]:
    """The parts of a location that stand in the file: without the tags of unions and pydantic's own words."""
    for index, part in enumerate(location):
        if part == "[key]":
            continue
        here = _walk(model, location[:index])
        if isinstance(part, str) and part in {*_tags(here), *_kinds(here)}:
            continue
        yield str(part)


def _walk(model: Any, location: Sequence[Any]) -> list[Any]:
    """The annotations that a location can refer to."""
    here: list[Any] = [model]
    for part in location:
        following: list[Any] = []
        for annotation in here:
            for option in _options(annotation):
                if isinstance(option, type) and issubclass(option, BaseModel):
                    for name, field in option.model_fields.items():
                        if part in (name, field.alias):
                            following.append(field.annotation)
                    if part in {*_tags([option]), *_kinds(here)}:
                        following.append(option)
                elif typing.get_origin(option) is dict:
                    following.append(typing.get_args(option)[1])
                elif typing.get_origin(option) in (tuple, list):
                    following.append(typing.get_args(option)[0])
        here = following
    return here


def _options(annotation: Any) -> Iterator[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from _options(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for option in typing.get_args(annotation):
            yield from _options(option)
    else:
        yield annotation


def _tags(annotations: Sequence[Any]) -> set[str]:
    tags: set[str] = set()
    for annotation in annotations:
        for option in _options(annotation):
            if not isinstance(option, type) or not issubclass(option, BaseModel):
                continue
            if "method" in option.model_fields:
                tags.update(typing.get_args(option.model_fields["method"].annotation))
            elif issubclass(option, Source):
                tags.add(option.__name__)  # see `modecollapse.sources.one_of`
    return tags


def _kinds(annotations: Sequence[Any]) -> set[str]:
    """What pydantic calls the members of a union of text and a model in its locations."""
    options = [option for annotation in annotations for option in _options(annotation)]
    models = {option.__name__ for option in options if isinstance(option, type) and issubclass(option, BaseModel)}
    return {*models, "text", "null"} if models and str in options else set()


def _field_names(annotations: Sequence[Any]) -> set[str]:
    names: set[str] = set()
    for annotation in annotations:
        for option in _options(annotation):
            if isinstance(option, type) and issubclass(option, BaseModel):
                names.update(field.alias or name for name, field in option.model_fields.items())
    return names
