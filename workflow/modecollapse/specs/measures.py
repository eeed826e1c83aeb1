"""Specs of what is measured of models and of completions."""

import json
from typing import Any

from modecollapse.cells import Model
from modecollapse.digests import canonical
from modecollapse.measures.benchmarks import harness_version
from modecollapse.measures.semantic import ModeSettings
from modecollapse.methods.reward_file import TruncationSettings
from modecollapse.revisions import REVISIONS
from modecollapse.specs.parts import embedder_part, embedding_part, plain, prompt_parts, world_part
from modecollapse.study import Study


def tokens_spec(study: Study) -> str:
    """What decides token statistics beside the models and the documents."""
    assert study.config.measures.tokens is not None
    return canonical(
        {
            "revision": REVISIONS["tokens"],
            "settings": plain(study.config.measures.tokens, "data"),
            "threads": study.config.threads,
        }
    )


def divergence_spec(study: Study, model: Model) -> str:
    """What decides the divergence of a model beside its weights and those of the reference."""
    settings, generation = study.config.measures.divergence, study.config.generation
    assert settings is not None
    form = study.formats(model.stage)[0]
    return canonical(
        {
            "revision": REVISIONS["divergence"],
            "settings": plain(settings, "reference"),
            "max_new_tokens": generation.max_new_tokens,
            "seed": generation.seed,
            "format": {"name": form, "spec": study.format(form).spec},
            "threads": study.config.threads,
            "prompts": {
                name: [[prompt.id, prompt.text, prompt.start] for prompt in prompts.prompts]
                for name, prompts in study.prompts.items()
            },
        }
    )


def benchmarks_spec(study: Study, model: Model) -> str:
    """What decides a model's benchmarks beside its weights and the study's own data sets."""
    settings = study.config.measures.benchmarks
    assert settings is not None
    return canonical(
        {
            "revision": REVISIONS["benchmarks"],
            "harness": harness_version(),
            "settings": plain(settings, "tasks", "shots", "limit", "include", "chat_template"),
            "chat": model.stage in settings.chat_template,
            "threads": study.config.threads,
            "tasks": [
                {
                    **task.identity,
                    "commit": study.lock.commit(task.hub) if task.hub else None,
                    "limit": settings.limit_of(task.name),
                    "shots": list(settings.shots_of(task.name)),
                }
                for task in study.benchmarks
            ],
        }
    )


def benchmark_spec(model_spec: dict[str, Any], task: dict[str, Any], shots: int) -> dict[str, Any]:
    """What decides one task with one number of shots: its share of a benchmarks spec."""
    return {**model_spec, "tasks": None, "task": {**task, "shots": shots}}


def rewards_spec(study: Study, model: Model) -> str:
    """What decides what a reward model gives to pairs of answers, beside its weights and the data sets."""
    settings = study.settings(model)
    return canonical(
        {
            "revision": REVISIONS["rewards"],
            "settings": settings.model_dump(include=set(TruncationSettings.model_fields)),
            "format": study.format(study.stage(model).train_format).spec,
            "data": list(study.reward_data(model)),
            "world": world_part(study),
            "threads": study.config.threads,
        }
    )


def repetition_spec(study: Study) -> str:
    """What decides the counts of repetitive completions beside these."""
    settings = study.config.measures.repetition
    assert settings is not None
    return canonical({"revision": REVISIONS["repetition"], "settings": plain(settings)})


def semantic_spec(study: Study) -> str:
    """What decides the semantic modes of given completions."""
    settings = study.config.measures.semantic
    assert settings is not None
    decides = {
        "revision": REVISIONS["semantic"],
        "settings": settings.model_dump(include=set(ModeSettings.model_fields)),
    }
    return canonical({**decides, "embedding": embedding_part(study)})


def embedding_spec(study: Study) -> str:
    """What decides sentence vectors beside the texts."""
    diversity = study.config.measures.diversity
    return canonical(
        {
            "revision": REVISIONS["embedding"],
            **embedder_part(study),
            "words": list(diversity.words),
            "threads": study.config.threads,
        }
    )


def score_spec(study: Study) -> str:
    """What decides the scores of given completions."""
    diversity = study.config.measures.diversity
    return canonical(
        {
            "revision": REVISIONS["diversity"],
            "words": list(diversity.words),
            "metrics": list(diversity.metrics),
            "controlled": diversity.controlled_completions or None,
            "markers": {
                name: list(study.format(name).markers)
                for stage in study.config.stages
                if stage in study.answering_stages
                for name in study.formats(stage)
            },
            "embedding": json.loads(embedding_spec(study)) if study.embeds() else None,
            "world": world_part(study),
            "prompts": {name: prompt_parts(prompts) for name, prompts in study.prompts.items()},
        }
    )


def toy_bandit_spec(study: Study) -> str:
    """What decides the toy bandit."""
    settings = study.config.measures.toy_bandit
    assert settings is not None
    return canonical({"revision": REVISIONS["toy_bandit"], "settings": plain(settings)})


def truth_spec(study: Study) -> str:
    """What decides the true values of the nano world."""
    return canonical(
        {
            "revision": REVISIONS["truth"],
            "world": world_part(study),
            "words": max(study.config.measures.diversity.words),
            "prompts": {name: prompt_parts(prompts) for name, prompts in study.prompts.items()},
        }
    )
