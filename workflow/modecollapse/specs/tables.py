"""Specs of tables beside what they are made from."""

import json
from collections.abc import Sequence
from dataclasses import astuple

from modecollapse.cells import ModelData
from modecollapse.digests import canonical
from modecollapse.revisions import REVISIONS
from modecollapse.specs.parts import ACROSS_FORMATS, plain
from modecollapse.study import Study


def analysis_spec(study: Study) -> str:
    """What decides tables beside the scores: the bootstrap and the order of the lineage."""
    return canonical(
        {
            "revision": REVISIONS["analysis"],
            "analysis": plain(
                study.config.analysis, *([] if study.config.analysis.across_formats else [ACROSS_FORMATS])
            ),
            "stages": study.answering_stages,
            "lineage": study.compared_lineage,
        }
    )


def costs_spec(study: Study) -> str:
    """What decides the costs of stages beside scores, divergences and true values."""
    settings = study.config.measures.divergence
    assert settings is not None
    stages = {stage: study.config.stages[stage] for stage in study.answering_stages}
    chosen: dict[str, dict[str, int]] = {
        size: {
            name: study.resolved[size, name].n  # type: ignore[attr-defined]
            for name, stage in stages.items()
            if stage.has("decodes") and stage.parent == settings.reference and study.has(size, name)
        }
        for size in study.config.models
    }
    formats = {stage: study.formats(stage)[0] for stage in stages}
    known = {"reference": settings.reference, "best_of": chosen, "formats": formats, "prompts": list(study.prompts)}
    return canonical({**json.loads(analysis_spec(study)), **known})


def reward_table_spec(study: Study) -> str:
    """What decides the table of reward models beside what they give to pairs."""
    return canonical(
        {"revision": REVISIONS["analysis"], "analysis": plain(study.config.analysis, "temperature", ACROSS_FORMATS)}
    )


def label_agreement_spec(study: Study, labelled: Sequence[ModelData]) -> str:
    """What decides the table of annotators' agreement beside the labels of these data sets."""
    sets = [[data.size, data.seed, data.data, study.sampling(data).reward] for data in labelled]
    return canonical({**json.loads(reward_table_spec(study)), "labels": sets})


def lineage_table_spec(study: Study) -> str:
    """What decides a table that has each stage beside the one before, beside what was measured."""
    return canonical({**json.loads(reward_table_spec(study)), "lineage": study.compared_lineage})


def format_effect_spec(study: Study) -> str:
    """What decides the split of stage and format effects beside the scores."""
    return canonical(
        {
            "revision": REVISIONS["analysis"],
            "analysis": plain(study.config.analysis, "temperature", ACROSS_FORMATS),
            "formats": {stage: list(study.formats(stage)) for stage in study.answering_stages},
            "changes": [astuple(change) for change in study.format_changes()],
        }
    )


def comparison_spec(study: Study) -> str:
    """What decides the comparison with stored results, beside these, our scores and the completions."""
    reference = study.config.reference
    assert reference is not None
    diversity = study.config.measures.diversity
    stages = [stage for stage in study.stages if stage in reference.files]
    return canonical(
        {
            "revision": REVISIONS["comparison"],
            "analysis": plain(study.config.analysis, "temperature", ACROSS_FORMATS),
            "words": reference.words,
            # These files do not name their temperatures and prompts: the study's order does.
            "temperatures": list(study.config.generation.temperatures),
            "prompts": {name: prompts.ids() for name, prompts in study.prompts.items()},
            "formats": {stage: study.formats(stage)[0] for stage in stages},
            "lineage": {stage: list(parents) for stage, parents in study.lineage.items()},
            "embedder": diversity.embedder.model if study.embeds() else None,
            "context": {
                "title": study.config.title,
                "description": study.config.description,
                "labels": {stage: study.label(stage) for stage in study.stages},
            },
        }
    )


def published_tokens_spec(study: Study) -> str:
    """What decides the comparison with published token statistics beside our table and theirs."""
    models = [[*ours, *theirs] for ours, theirs in study.published().items()]
    return canonical({"revision": REVISIONS["analysis"], "models": models})
