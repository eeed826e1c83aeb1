"""Specs of the creativity measures that ask models questions of their own."""

import json

from modecollapse.digests import canonical
from modecollapse.specs.parts import world_part
from modecollapse.specs.tables import lineage_table_spec
from modecollapse.study import Study


def top_entropy_table_spec(study: Study) -> str:
    """What decides the tables of entropy along outputs beside what was sampled."""
    settings = study.config.measures.top_entropy
    assert settings is not None
    known = {"text": settings.text, "max_new_tokens": settings.max_new_tokens, "shown": settings.shown}
    return canonical({**json.loads(lineage_table_spec(study)), **known, "world": world_part(study)})


def probes_table_spec(study: Study) -> str:
    """What decides the tables of probes beside what was sampled: the lineage, and which truths are known."""
    settings = study.config.measures.probes
    assert settings is not None
    rules = {name: choice.rule for name, choice in settings.choices.items() if choice.rule is not None}
    world = world_part(study) if rules else None
    return canonical({**json.loads(lineage_table_spec(study)), "rules": rules, "world": world})
