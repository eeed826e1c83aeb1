"""Specs of what is read out of sampled personas, and of their tables."""

import json
from typing import Any

from modecollapse.cells import Model
from modecollapse.data.nano.world import World
from modecollapse.digests import canonical
from modecollapse.measures.persona_parsing import PersonaReader
from modecollapse.measures.personas import PersonaSettings
from modecollapse.measures.semantic import ModeSettings
from modecollapse.revisions import REVISIONS
from modecollapse.specs.parts import embedding_part
from modecollapse.specs.tables import lineage_table_spec
from modecollapse.study import Study


def _personas(study: Study) -> PersonaSettings:
    settings = study.config.measures.personas
    assert settings is not None
    return settings


def personas_spec(study: Study, model: Model) -> str:
    """What decides what is read out of a model's sampled personas, and the clusters of their reviews' sentences."""
    settings = _personas(study)
    read = settings.templates[study.persona_format(model.stage)]
    return canonical(
        {
            "revision": REVISIONS["personas"],
            "lead": read.lead,
            "pattern": read.pattern,
            "fields": dict(settings.fields),
            "review": settings.review,
            "clusters": {name: getattr(settings, name) for name in ModeSettings.model_fields},
            "embedding": embedding_part(study),
        }
    )


def personas_table_spec(study: Study) -> str:
    """What decides the tables of personas beside what was read: with a world the true probabilities of values."""
    settings = _personas(study)
    known = {**json.loads(lineage_table_spec(study)), "fields": dict(settings.fields), "review": settings.review}
    return canonical({**known, "truth": _truth(study, settings)})


def _truth(study: Study, settings: PersonaSettings) -> dict[str, dict[str, Any]]:
    """Prompt format → field → value, in the form in which answers count, → its probability in the world."""
    truth: dict[str, dict[str, Any]] = {}
    if study.config.world is None:
        return truth
    world = World(study.config.world)
    for form, template in settings.templates.items():
        reader = PersonaReader(template.lead, template.pattern, settings.fields, settings.review)
        for field, rule in template.truth.items():
            shares: dict[str, float] = {}
            for phrase, share in world.phrases(rule).items():
                value = reader.normalised(field, phrase)
                if value is not None:
                    shares[value] = shares.get(value, 0.0) + share
            truth.setdefault(form, {})[field] = shares
    return truth
