"""Specs of figures beside their tables."""

from modecollapse.digests import canonical
from modecollapse.figures.features import FACTS
from modecollapse.figures.registry import Drawing
from modecollapse.lineage import ordered
from modecollapse.study import Study


def figure_spec(study: Study, drawing: Drawing) -> str:
    """What decides a figure beside its tables and the modules that draw it."""
    stages = study.config.stages
    context = {
        "title": study.config.title,
        "labels": {stage: study.label(stage) for stage in stages},
        "methods": {name: stage.method for name, stage in stages.items()},
        "data": {name: stage.data for name, stage in stages.items()},
        "lineage": {stage: list(parents) for stage, parents in study.lineage.items()},
        "temperature": study.config.analysis.temperature,
        "prompts": {
            name: {prompt.id: prompt.text or prompt.id for prompt in prompts.prompts}
            for name, prompts in study.prompts.items()
        },
    }
    if study.stages != ordered(dict(sorted(study.lineage.items()))):
        context["stages"] = study.stages  # a canonical string sorts names, and would lose their order
    if study.runs.stages:
        context["runs"] = {stage: run for run, stages in study.runs.stages.items() for stage in stages}
    context |= {name: fact for name in drawing.spec.facts if (fact := FACTS[name](study)) is not None}
    if drawing.view is not None:
        context["view"] = {"name": drawing.view, "formats": study.views()[drawing.view]}
    return canonical(
        {
            "kind": drawing.kind,
            "size": drawing.size,
            "tables": [*drawing.spec.tables, *drawing.spec.further_tables],
            "options": dict(drawing.spec.options),
            "sizes": list(study.config.models),
            "context": context,
        }
    )
