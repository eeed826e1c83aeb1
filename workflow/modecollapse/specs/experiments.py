"""Specs of experiments with single prompts, and of their tables."""

import json

from modecollapse.digests import canonical
from modecollapse.specs.tables import reward_table_spec
from modecollapse.study import Study


def continuations_spec(study: Study) -> str:
    """What decides the tables and the page of coloured continuations, beside these."""
    attractor, probes = study.config.measures.attractor, study.config.measures.probes
    known = {
        "negations": attractor.negations if attractor else {},
        "questions": [list(each) for each in (probes.continuations if probes else {}).items()],
        "labels": {stage: study.label(stage) for stage in study.stages},
    }
    return canonical({**json.loads(reward_table_spec(study)), **known})
