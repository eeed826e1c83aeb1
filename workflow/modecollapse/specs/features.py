"""Specs of text features and of the answers that have them."""

import json
from typing import Any

from modecollapse.digests import canonical
from modecollapse.lineage import nearest_before
from modecollapse.measures.asking import AskingSettings
from modecollapse.measures.feature_pipeline import PipelineSettings, pipeline_identity
from modecollapse.measures.text_features import TextFeatureSettings
from modecollapse.revisions import REVISIONS
from modecollapse.specs.parts import plain
from modecollapse.specs.tables import lineage_table_spec
from modecollapse.study import Study


def feature_answers_spec(study: Study) -> str:
    """What decides a model's answers to the prompts of pairs, beside its weights and the pairs."""
    settings, generation = _settings(study), study.config.generation
    return canonical(
        {
            "revision": REVISIONS["feature_answers"],
            "sets": list(settings.pair_sets),
            "count": settings.count,
            "sampling": json.loads(settings.model_dump_json(include=set(AskingSettings.model_fields))),
            "format": {"name": settings.format, "spec": study.format(settings.format).spec},
            "stop": list(generation.stop),
            "dtype": generation.dtype,
            "rows_per_batch": generation.rows_per_batch,
            "threads": study.config.threads,
        }
    )


def pair_features_spec(study: Study) -> str:
    """What decides the features of answers in pairs, beside the pairs."""
    settings = _settings(study)
    return canonical({**_extraction(settings), "count": settings.count, "seed": settings.seed})


def answer_features_spec(study: Study) -> str:
    """What decides the features of a model's answers, beside these."""
    return canonical(_extraction(_settings(study)))


def text_features_table_spec(study: Study) -> str:
    """What decides the tables of text features beside these: the pairs of stages, and which pairs are which."""
    settings = _settings(study)
    steps = [*nearest_before(study.compared_lineage, study.answering_stages).items(), *settings.contrasts]
    known = {
        "contrasts": [list(each) for each in dict.fromkeys(steps)],
        "splits": {name: split for split in ("train", "validation") if (name := getattr(settings, split)) is not None},
    }
    return canonical({**json.loads(lineage_table_spec(study)), **known})


def _settings(study: Study) -> TextFeatureSettings:
    settings = study.config.measures.text_features
    assert settings is not None
    return settings


def _extraction(settings: TextFeatureSettings) -> dict[str, Any]:
    stated = plain(PipelineSettings.model_validate(settings.model_dump(include=set(PipelineSettings.model_fields))))
    return {"revision": REVISIONS["features"], "pipeline": stated, "identity": pipeline_identity(settings)}
