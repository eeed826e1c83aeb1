"""What a study compares can be compared: stages with each other, and its results with those of others."""

from collections.abc import Mapping
from typing import Any

from modecollapse import lineage, wordings
from modecollapse.comparison.stored_results import KEYS, STORED, Kind
from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.prompts import PromptSet
from modecollapse.stage_config import CompletionsStage


def check_wordings(config: StudyConfig, formats: Mapping[str, Any]) -> None:
    """Stages of a path can be compared: under a common format, or across formats in a way that the study names."""
    across = config.analysis.across_formats
    used = {
        name: stage.formats or config.generation.formats
        for name, stage in config.stages.items()
        if not stage.has("scores")
    }
    paths = lineage.paths(lineage.restricted(config.parents(), used))
    for name, wording in across.items():
        key = f"analysis.across_formats.{name}"
        if name in formats:
            raise StudyError(f"{key}: a prompt format is called so as well; give the comparison another name.")
        check_names(key, wording, used, "stage")
        for stage, form in wording.items():
            if form not in used[stage]:
                raise StudyError(
                    f"{key}.{stage}: the stage is not measured under the format {form!r}. Allowed: "
                    f"{', '.join(used[stage])}. Name one of these, or add {form!r} to stages.{stage}.formats."
                )
        if not wordings.compared(wording, paths):
            raise StudyError(
                f"{key}: it names {', '.join(wording)}, but not all stages of any path, so nothing would be compared. "
                f"Name all of {' or of '.join(', '.join(path) for path in paths if len(path) > 1) or 'a path'}."
            )
    for path in paths:
        if len(path) > 1:
            wordings.path_wordings(path, used, across)


def check_divergence(config: StudyConfig) -> None:
    """The reference of the divergence predicts tokens, and something descends from it."""
    if config.measures.divergence is None:
        return
    name, key = config.measures.divergence.reference, "measures.divergence.reference"
    parents = {stage.parent for stage in config.stages.values() if not stage.has("scores")}
    allowed = [
        each
        for each, stage in config.stages.items()
        if each in parents and stage.method in METHODS and not stage.has("decodes")
    ]
    if name not in allowed:
        what = "has no descendant that is compared with it" if name in config.stages else "is no stage of the study"
        raise StudyError(
            f"{key}: {name!r} {what}. Allowed: {', '.join(allowed) or 'none: no stage continues one with weights'}. "
            "Name the stage that tuning started from, or remove measures.divergence."
        )


def check_controlled(config: StudyConfig, completions: int, source: str) -> None:
    """The definition "controlled" asks for no more completions than there are, if the study says how many it uses.

    The default may be more: its values are then undefined.
    """
    diversity = config.measures.diversity
    number = diversity.controlled_completions or 0
    if "controlled_completions" in diversity.model_fields_set and number > completions:
        raise StudyError(
            f"measures.diversity.controlled_completions: {number} is more than the {completions} completions per "
            f"prompt ({source}). Allowed: 2 to {completions}, or 0 to leave the definition out."
        )


def check_published(config: StudyConfig) -> None:
    """A published model is named by its size and its stage: one key without the other would compare nothing."""
    sizes = [name for name, model in config.models.items() if model.published_as]
    stages = [f"stages.{name}" for name, stage in config.stages.items() if stage.published_as]
    for size, model in config.models.items():
        stages += [f"models.{size}.stages.{name}" for name, keys in model.stages.items() if keys.get("published_as")]
    if sizes and not stages:
        raise StudyError(
            f"models.{sizes[0]}.published_as: {config.models[sizes[0]].published_as} is compared stage by stage, but "
            "no stage says which one it is. Add `published_as: plm`, `sft` or `dpo` to stages, or remove this key."
        )
    if stages and not sizes:
        raise StudyError(
            f"{stages[0]}.published_as: no size says which model it is. Add `published_as: pythia-…` to a size in "
            "`models`, or remove this key."
        )


def check_reference(config: StudyConfig, prompts: Mapping[str, PromptSet]) -> None:
    """Stored results can be compared: of finished completions, cut alike, with a metric in common."""
    reference = config.reference
    if reference is None:
        return
    check_names("reference.files", reference.files, config.stages, "stage")
    for name, file in reference.files.items():
        stage = config.stages[name]
        if not isinstance(stage, CompletionsStage):
            raise StudyError(
                f"reference.files.{name}: the stage's completions are sampled here, so nobody else can have measured "
                "them. Allowed: stages of the method completions. Remove it."
            )
        formats = stage.formats or config.generation.formats
        if len(formats) > 1:
            raise StudyError(
                f"reference.files.{name}: the stage is measured under {len(formats)} prompt formats, and stored "
                "results have one. Give it one format."
            )
        for place, values in (("{size}", config.models), ("{seed}", config.seeds)):
            if len(values) > 1 and place not in file:
                raise StudyError(
                    f"reference.files.{name}: {file} would count for {len(values)} models. Put {place} into the name."
                )
    if set(prompts) != set(KEYS):
        raise StudyError(
            f"reference: its files hold the prompt sets {', '.join(KEYS)}, but the study has {', '.join(prompts)}. "
            "Name the study's prompt sets so, or remove `reference`."
        )
    sizes = {len(prompt_set.prompts) for prompt_set in prompts.values()}
    if len(sizes) > 1:
        raise StudyError(
            f"reference: which prompts stored values belong to is decided by comparing them with both sets, but these "
            f"have {' and '.join(map(str, sorted(sizes)))} prompts. Give both the same number, or remove `reference`."
        )
    diversity = config.measures.diversity
    if reference.words not in diversity.words:
        raise StudyError(
            f"reference.words: nothing is measured on the first {reference.words} words. Allowed: "
            f"{', '.join(map(str, diversity.words))}, which is measures.diversity.words. Add {reference.words} there."
        )
    exact = [entry.metric for entry in STORED.values() if entry.kind is Kind.EXACT]
    if not set(exact) & set(diversity.metrics):
        raise StudyError(
            "reference: none of the metrics of measures.diversity can be compared exactly. "
            f"Add at least one of {', '.join(exact)}."
        )
