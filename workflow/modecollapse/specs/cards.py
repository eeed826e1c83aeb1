"""What decides data cards beside the sets themselves."""

import json
from collections.abc import Sequence
from typing import Any

from modecollapse.card_targets import CARD
from modecollapse.cells import ReferenceScores
from modecollapse.data.transformations.decontaminate import DecontaminateSettings
from modecollapse.data.transformations.words import words_of
from modecollapse.data_lineage import family
from modecollapse.digests import canonical
from modecollapse.hub import Kind
from modecollapse.revisions import REVISIONS
from modecollapse.sources import HubSource
from modecollapse.specs.derived import evaluation_prompts
from modecollapse.study import Study


def data_cards_spec(study: Study, sets: Sequence[CARD], scores: Sequence[ReferenceScores]) -> str:
    """What decides the cards: which sets they are of, how these are made, whose perplexities are known, the prompts."""
    labelled = [each for each in study.all_sampled_data() if study.sampling(each).labelled_apart]
    names = {name for name, *_ in sets}
    return canonical(
        {
            "revision": REVISIONS["analysis"],
            "sets": [list(each[:3]) for each in sets],
            "scores": [[each.data, each.model.size, str(each.model.seed), each.model.stage] for each in scores],
            "labels": [[each.data, each.size, str(each.seed)] for each in labelled if each.data in names],
            "lineage": {name: [_origin(study, each) for each in family(study.config, name)] for name in sorted(names)},
            "classified": sorted(name for name in names if _is_classified(study, name)),
            "prompts": _looked_for(study),
        }
    )


def _looked_for(study: Study) -> dict[str, dict[str, list[str]]]:
    """The evaluation prompts, with those of their accepted answers that are long enough to be looked for."""
    length = DecontaminateSettings().words
    return {
        name: {
            prompt: [text, *(answer for answer in answers if len(words_of(answer)) >= length)]
            for prompt, (text, *answers) in of_set.items()
        }
        for name, of_set in evaluation_prompts(study).items()
    }


def _origin(study: Study, name: str) -> str:
    """Where a data set is from, in words."""
    data = study.config.data[name]
    if data.world is not None:
        return f"{name}: {data.n} rows of the world's {data.world}, seed {data.seed}"
    if data.sampled is not None:
        sampled = data.sampled
        labelled = f"labelled by {sampled.reward}" if sampled.reward else "told apart by repetition"
        asked = f"answers of the stage {sampled.stage} to the prompts of {sampled.prompts}"
        return f"{name}: {asked}, {sampled.n} to each, two chosen by {sampled.choose}, {labelled}"
    if data.parents:
        how = ", as they are"
        if data.transformation is not None:
            transformation, settings = data.transformation
            how = f", {transformation.name} {canonical(json.loads(settings.model_dump_json(exclude_none=True)))}"
        return f"{name}: made from {' and '.join(data.parents)}{how}"
    rows = f", {study.data_sample(name)} rows of it, seed {data.seed}" if study.data_sample(name) else ""
    columns = ", ".join(f"{ours} from {theirs}" for ours, theirs in study.data_columns(name).items())
    if isinstance(data.source, HubSource):
        commit = study.lock.commit(data.source.of(Kind.DATASET))
        part = data.files or f"{data.subset or 'default'}/{data.hub_split or 'train'}"
        return f"{name}: {data.source.hub} on the hub at {commit}, {part}{rows} ({columns})"
    digests = ", ".join(study.file_digests.sha256(path) for path in study.data_files(name))
    return f"{name}: files of SHA-256 {digests}{rows} ({columns})"


def _is_classified(study: Study, name: str) -> bool:
    """Whether the column `task` of a set comes from the classifier."""
    data: Any = study.config.data[name]
    if data.classify is not None:
        return True
    before = data.parents or ((data.sampled.prompts,) if data.sampled else ())
    return any(_is_classified(study, each) for each in before)
