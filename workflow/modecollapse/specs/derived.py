"""Specs of data sets that are made from others, and of what models answer for them."""

import json
from typing import Any

from modecollapse.cells import ModelData
from modecollapse.digests import canonical
from modecollapse.revisions import REVISIONS
from modecollapse.study import Study

_SAMPLING = ("n", "temperature", "max_new_tokens", "count")


def derived_spec(study: Study, name: str) -> str:
    """What decides a data set that is made from others, beside these and what a scorer gives to them."""
    data = study.config.data[name]
    made: dict[str, Any] = {}
    spec: dict[str, Any] = {"revision": REVISIONS["derived"], "transformation": made, "seed": None, "prompts": None}
    if data.transformation is not None:
        transformation, settings = data.transformation
        stated = json.loads(settings.model_dump_json(exclude=set(transformation.elsewhere)))
        made[transformation.name] = stated
        spec["transformation_revision"] = transformation.revision
        spec["seed"] = data.seed if transformation.draws else None
        spec["prompts"] = evaluation_prompts(study) if transformation.reads_prompts else None
    return canonical(spec)


def own_answers_spec(study: Study, data: ModelData) -> str:
    """What decides the answers of a filter's scorer, beside that model and the prompts."""
    settings, scorer = study.filter(data), study.scorer(data)
    seed = study.config.data[data.data].seed
    shown = study.filter_scores(data)[0].settings
    return canonical(
        {
            "revision": REVISIONS["own_answers"],
            "sampling": json.loads(settings.model_dump_json(include=set(_SAMPLING))),
            "settings": json.loads(shown.model_dump_json()),
            "seed": seed,
            "stream": f"{seed}/{scorer}",
            "format": study.format(study.stage(scorer).train_format).spec,
            "threads": study.config.threads,
        }
    )


def filters_spec(study: Study, sets: list[tuple[str, str, str, str]]) -> str:
    """What decides the tables of derived sets beside their files: whose they are, as (name, size, seed, file)."""
    return canonical({"revision": REVISIONS["analysis"], "sets": [list(each[:3]) for each in sets]})


def evaluation_prompts(study: Study) -> dict[str, dict[str, list[str]]]:
    """Prompt set → id → its text and its accepted answers."""
    return {
        name: {prompt.id: [prompt.text, *prompt.answers] for prompt in prompts.prompts if prompt.text is not None}
        for name, prompts in study.prompts.items()
    }
