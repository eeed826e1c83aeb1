"""Specs of completions: sampled, chosen and imported."""

import json
from typing import Any

from modecollapse.cells import Cell, Model
from modecollapse.digests import canonical
from modecollapse.revisions import REVISIONS
from modecollapse.specs.parts import plain, reward_part
from modecollapse.stage_config import CompletionsStage
from modecollapse.study import Study


def generation_spec(study: Study, model: Model) -> str:
    """What decides the completions of a model beside its weights. Temperatures are not in it: each is a cell's own."""
    engine = study.config.generation.engine
    return canonical(
        {
            "revision": REVISIONS["vllm" if engine == "vllm" else "generation"],
            "engine": engine,
            "sampling": plain(study.config.generation, "temperatures", "formats", "starts", "engine"),
            "threads": study.config.threads,
            "prompts": {
                name: [[prompt.id, prompt.text, prompt.start] for prompt in prompts.prompts]
                for name, prompts in study.prompts.items()
            },
            "formats": {name: study.format(name).spec for name in study.formats(model.stage)},
        }
    )


def choice_spec(study: Study, model: Model) -> str:
    """What decides the completions of a stage that chooses, beside the weights of its parent and its reward."""
    method, settings = study.method(model), study.settings(model)
    assert method is not None
    choice = {
        "revision": method.revision,
        **plain(settings),
        "reward": reward_part(study, study.reward(model), study.stage(model).reward),
    }
    return canonical({**json.loads(generation_spec(study, model)), "choice": choice})


def cell_spec(study_spec: dict[str, Any], cell: Cell) -> str:
    """What decides one cell beside the weights: its share of a generation spec, and its identity."""
    return canonical(
        {
            **study_spec,
            "prompts": study_spec["prompts"][cell.prompts],
            "formats": study_spec["formats"][cell.format],
            "temperature": cell.temperature,
            "stream": str(cell),
        }
    )


def import_spec(study: Study, model: Model) -> str:
    """What decides imported completions beside the file itself."""
    stage = study.stage(model)
    assert isinstance(stage, CompletionsStage)
    return canonical(
        {
            "revision": REVISIONS["import"],
            "layout": stage.layout,
            "prompts": {name: prompts.ids() for name, prompts in study.prompts.items()},
            # These files do not name their temperatures: the study's order does.
            "order": list(study.config.generation.temperatures) if stage.layout == "analyse-llms" else None,
        }
    )
