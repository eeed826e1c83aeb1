"""Parts that the specs of several jobs hold."""

import json
from pathlib import Path
from typing import Any

from modecollapse.cells import Model
from modecollapse.measures.embedder import embedder_digest
from modecollapse.prompts import PromptSet
from modecollapse.revisions import REVISIONS
from modecollapse.schema import Strict
from modecollapse.study import Study

ACROSS_FORMATS = "across_formats"
"""The key of `analysis` that only tables across formats depend on."""


def plain(settings: Strict, *without: str) -> Any:
    """Settings as JSON values, all but the keys named."""
    return json.loads(settings.model_dump_json(exclude=set(without)))


def world_part(study: Study) -> dict[str, Any] | None:
    """The world that data, utility and true values come from; None if the study has none."""
    world = study.config.world
    return {"revision": REVISIONS["world"], "settings": plain(world)} if world else None


def embedder_part(study: Study) -> dict[str, Any]:
    """The sentence embedder: its settings, and SHA-256 of a directory's files."""
    embedder = study.config.measures.diversity.embedder
    # A packaged embedder is known by its name; a directory may come to hold other weights.
    files = embedder_digest(embedder) if Path(embedder.model).is_dir() else None
    return {"embedder": plain(embedder), "files": files}


def embedding_part(study: Study) -> dict[str, Any]:
    """What decides the sentence vectors of whole texts."""
    return {"revision": REVISIONS["embedding"], **embedder_part(study), "threads": study.config.threads}


def prompt_parts(prompts: PromptSet) -> list[list[Any]]:
    """Prompts with what scores are computed from: identity, text, start and right answers."""
    return [[prompt.id, prompt.text, prompt.start, list(prompt.answers)] for prompt in prompts.prompts]


def reward_part(study: Study, model: Model | None, name: str | None) -> dict[str, Any]:
    """What decides the scores of answers beside the weights of a reward model."""
    if model is None:
        return {"function": name, "world": world_part(study)}
    # Its digest counts, and its name nothing.
    return {"format": study.format(study.stage(model).train_format).spec}
