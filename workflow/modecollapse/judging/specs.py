"""The specs of judged comparisons: what decides verdicts, sheets and tables (see `modecollapse.specs`)."""

import json
from typing import Any

from modecollapse.digests import canonical
from modecollapse.judging.comparisons import Comparisons, Judgement
from modecollapse.revisions import REVISIONS
from modecollapse.specs import reward_part, reward_table_spec
from modecollapse.study import Study


def judgements_spec(study: Study, judgement: Judgement) -> str:
    """What decides the verdicts of a judge beside the answers and, if it is one, the reward model."""
    comparisons = Comparisons(study)
    judge, reward = comparisons.judges[judgement.judge], comparisons.reward(judgement)
    by: dict[str, Any]
    if judge.reward is not None:
        by = reward_part(study, reward, judge.reward)
        if reward is not None:
            by |= {"max_new_tokens": study.config.generation.max_new_tokens, "threads": study.config.threads}
    elif judge.endpoint is not None:
        by = judge.endpoint.question(task for of_set in comparisons.tasks.values() for task in of_set)
    else:
        files = comparisons.label_files(judgement.judge)
        by = {"files": sorted(map(study.file_digests.sha256, files)), "overlap": judge.overlap}
    return canonical({**json.loads(sheet_spec(study)), "judge": {judge.kind: by}})


def sheet_spec(study: Study) -> str:
    """What decides a sheet that people label beside the answers: which pairs are compared."""
    comparisons = Comparisons(study)
    assert comparisons.settings is not None
    return canonical(
        {
            "revision": REVISIONS["judgements"],
            "temperatures": comparisons.temperatures,
            "completions": comparisons.settings.completions,
            "prompts": {
                name: [
                    [prompt.id, prompt.text, prompt.start, task]
                    for prompt, task in zip(prompts, comparisons.tasks[name], strict=True)
                ]
                for name, prompts in comparisons.prompts.items()
            },
        }
    )


def judgement_tables_spec(study: Study) -> str:
    """What decides the tables of judged comparisons beside the judgements."""
    settings = study.config.measures.judgements
    assert settings is not None
    stages = (settings.reference, *Comparisons(study).stages)
    known = {"reference": settings.reference, "labels": {stage: study.label(stage) for stage in stages}}
    return canonical({**json.loads(reward_table_spec(study)), **known})
