"""Stages that state their differences to another one (`stages.NAME.like`), resolved before anything is validated."""

import copy
from collections.abc import Mapping
from typing import Any

from modecollapse.errors import StudyError
from modecollapse.stage_config import STAGE_MODELS

_OWN = ("like", "label", "published_as", "each_epoch")
"""Keys that are never taken over."""


def resolved_likeness(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a study file with the keys of the other stage written out in every stage that is `like` it.

    Of a stage of another method the keys are taken over that both methods have. What single sizes do differently is
    taken over as well, but for keys that the stage states itself.

    Raises:
        StudyError: there is no such stage, or stages are like each other in a circle.
    """
    resolved = copy.deepcopy(dict(content))
    stages = resolved.get("stages")
    if not isinstance(stages, dict):
        return resolved  # what is wrong with it, validation says
    done: dict[str, Any] = {}
    for name in stages:
        _resolve(name, stages, resolved.get("models"), done, ())
    resolved["stages"] = {name: done[name] for name in stages}
    return resolved


def _resolve(name: str, stages: dict[str, Any], models: Any, done: dict[str, Any], below: tuple[str, ...]) -> None:
    if name in done:
        return
    if name in below:
        raise StudyError(
            f"stages.{name}.like: {' is like '.join([*below, name])}, which is a circle. Remove one of these keys."
        )
    stage = stages[name]
    if not isinstance(stage, dict) or stage.get("like") is None:
        done[name] = stage
        return
    base = stage["like"]
    if not isinstance(base, str) or base not in stages or base == name:
        others = ", ".join(other for other in stages if other != name)
        raise StudyError(
            f"stages.{name}.like: no other stage is called {base!r}. Allowed: {others}. Name one of these."
        )
    _resolve(base, stages, models, done, (*below, name))
    done[name] = _merged(done[base], stage)
    sizes = done[name].get("sizes")
    for size, model in models.items() if isinstance(models, dict) else ():
        of_size = model.get("stages") if isinstance(model, dict) else None
        if not isinstance(of_size, dict) or not isinstance(of_size.get(base), dict):
            continue
        if isinstance(sizes, list) and size not in sizes:
            continue
        taken = {key: value for key, value in of_size[base].items() if key not in stage}
        own = of_size.get(name) or {}
        if isinstance(own, dict) and (merged := _merged(taken, own, done[name].get("method"))):
            of_size[name] = merged


def _merged(base: Any, changes: Mapping[str, Any], method: Any = None) -> dict[str, Any]:
    """The keys of `base` that a stage of the method knows, and `changes` in their place."""
    taken = base if isinstance(base, Mapping) else {}
    method = method or changes.get("method", taken.get("method"))
    model = STAGE_MODELS.get(method) if isinstance(method, str) else None
    fields = model.model_fields.items() if model else ()
    known = {field.alias or key for key, field in fields}
    kept = {key: copy.deepcopy(value) for key, value in taken.items() if key in known and key not in _OWN}
    return {**kept, **{key: value for key, value in changes.items() if key != "like"}}
