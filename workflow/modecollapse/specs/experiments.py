"""Specs of the creativity measures that sample outputs of their own."""

import json
from typing import Any

from modecollapse.cells import Model
from modecollapse.digests import canonical
from modecollapse.measures.asking import AskingSettings
from modecollapse.measures.probes import ChoiceSettings
from modecollapse.measures.semantic import ModeSettings
from modecollapse.revisions import REVISIONS
from modecollapse.specs.parts import embedding_part, plain, world_part
from modecollapse.specs.tables import lineage_table_spec, reward_table_spec
from modecollapse.study import Study

_ASKING = tuple(AskingSettings.model_fields)


def experiments_spec(study: Study, model: Model) -> str:
    """What decides the outputs that creativity measures sample from a model, beside its weights."""
    generation = study.config.generation
    shared = {"stop": list(generation.stop), "dtype": generation.dtype, "rows_per_batch": generation.rows_per_batch}
    return canonical(
        {
            "revision": REVISIONS["experiments"],
            **shared,
            "threads": study.config.threads,
            "parts": {name: _PARTS[name](study, model) for name in study.experiments()},
        }
    )


def _format(study: Study, name: str) -> dict[str, Any]:
    return {"name": name, "spec": study.format(name).spec}


def _personas(study: Study, model: Model) -> dict[str, Any]:
    settings = study.config.measures.personas
    assert settings is not None
    form = study.persona_format(model.stage)
    template = settings.templates[form]
    asking = {key: getattr(settings, key) for key in _ASKING}
    return {**asking, "format": _format(study, form), "text": template.text, "start": template.start}


def _semantic(study: Study, model: Model) -> dict[str, Any]:
    settings = study.config.measures.semantic
    assert settings is not None
    asking = {key: getattr(settings, key) for key in _ASKING}
    return {**asking, "format": _format(study, settings.format), "asked": dict(settings.asked)}


def _top_entropy(study: Study, model: Model) -> dict[str, Any]:
    settings = study.config.measures.top_entropy
    assert settings is not None
    return {**plain(settings, "format", "shown"), "format": _format(study, settings.format)}


def _attractor(study: Study, model: Model) -> dict[str, Any]:
    settings, semantic = study.config.measures.attractor, study.config.measures.semantic
    assert settings is not None
    assert semantic is not None
    # The digest of a spec knows no order, so which question is the first is said here.
    question, text = next(iter(semantic.asked.items()))
    temperatures = [semantic.temperature, *([settings.low_temperature] if study.first(model) == model else [])]
    return {
        "semantic": {**_semantic(study, model), "asked": {question: text}},
        "modes": semantic.model_dump(include=set(ModeSettings.model_fields)),
        "continuations": settings.continuations,
        "negations": dict(settings.negations),
        "temperatures": list(dict.fromkeys(temperatures)),
        # Modes are found among sentence vectors.
        "embedding": embedding_part(study),
    }


def _probes(study: Study, model: Model) -> dict[str, Any]:
    settings = study.config.measures.probes
    assert settings is not None
    return {
        **plain(settings, "format", "choices"),
        "format": _format(study, settings.format),
        "own_format": _format(study, study.formats(model.stage)[0]),
        "choices": {
            name: {"text": choice.text, "among": _among(study, choice)} for name, choice in settings.choices.items()
        },
    }


def _among(study: Study, settings: ChoiceSettings) -> list[str]:
    """What there is to choose from."""
    if settings.integers is not None:
        return list(map(str, range(settings.integers[0], settings.integers[1] + 1)))
    if settings.phrases is not None:
        return list(settings.phrases)
    from modecollapse.data.nano.world import World  # few studies need it here

    assert settings.rule is not None
    return list(World(study.config.world).phrases(settings.rule))


def continuations_spec(study: Study) -> str:
    """What decides the tables and the page of coloured continuations, beside these."""
    attractor, probes = study.config.measures.attractor, study.config.measures.probes
    known = {
        "negations": attractor.negations if attractor else {},
        "questions": [list(each) for each in (probes.continuations if probes else {}).items()],
        "labels": {stage: study.label(stage) for stage in study.stages},
    }
    return canonical({**json.loads(reward_table_spec(study)), **known})


def top_entropy_table_spec(study: Study) -> str:
    """What decides the tables of entropy along outputs beside what was sampled."""
    settings = study.config.measures.top_entropy
    assert settings is not None
    known = {"text": settings.text, "max_new_tokens": settings.max_new_tokens, "shown": settings.shown}
    # The truth is that of answers as fine-tuning has them, which are asked for in its words and at its temperature.
    tuned = {study.config.stages[stage].train_format for stage in study.answering_stages}
    is_known = settings.temperature == "1.0" and settings.format in tuned
    world = world_part(study) if is_known else None
    return canonical({**json.loads(lineage_table_spec(study)), **known, "world": world})


def probes_table_spec(study: Study) -> str:
    """What decides the tables of probes beside what was sampled: the lineage, and which truths are known."""
    settings = study.config.measures.probes
    assert settings is not None
    rules = {name: choice.rule for name, choice in settings.choices.items() if choice.rule is not None}
    world = world_part(study) if rules else None
    return canonical({**json.loads(lineage_table_spec(study)), "rules": rules, "world": world})


_PARTS = {
    "personas": _personas,
    "semantic": _semantic,
    "top_entropy": _top_entropy,
    "attractor": _attractor,
    "probes": _probes,
}
