"""What has to hold within a study's configuration, beyond the types of its keys."""

from collections.abc import Mapping, Sequence
from typing import Any

from modecollapse import lineage
from modecollapse.config import FORMATS, CompletionsStage, Data, StageBase, StudyConfig
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.prompts import PromptSet


def _known(key: str, names: Mapping[str, Any] | Sequence[str], allowed: Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in allowed:
            raise StudyError(
                f"{key}: no {what} is called {name!r}. Allowed: {', '.join(allowed) or 'none is defined'}. "
                f"Name one of these, or define {name!r}."
            )


def check_references(config: StudyConfig) -> None:
    for size, model in config.models.items():
        _known(f"models.{size}.stages", model.stages, config.stages, "stage")
    formats = {**FORMATS, **config.formats}
    _known("generation.formats", config.generation.formats, formats, "prompt format")
    unknown = [name for name, template in config.formats.items() if template is None]
    for name, stage in config.stages.items():
        used = {*(stage.formats or config.generation.formats), stage.train_format}
        if not isinstance(stage, CompletionsStage) and used.intersection(unknown):
            raise StudyError(
                f"stages.{name}: the prompt format {used.intersection(unknown).pop()!r} has no template, so only "
                "finished completions can have it. Write its template in `formats`."
            )
        _known(f"stages.{name}.formats", stage.formats or (), formats, "prompt format")
        _known(f"stages.{name}.train_format", [stage.train_format], formats, "prompt format")
    taken = set(config.formats) & set(FORMATS)
    if taken:
        raise StudyError(f"formats.{sorted(taken)[0]}: this format is built in; give yours another name.")
    if config.data and config.world is None:
        raise StudyError("data: its sets are parts of a world, but the study has no `world`. Add `world: {seed: 0}`.")
    if config.measures.truth and config.world is None:
        raise StudyError("measures.truth: true values are known only in a `world`. Set it to false, or add `world`.")
    if config.measures.tokens:
        _known_data(config, "measures.tokens.data", config.measures.tokens.data, ("text",))
    if config.tokenizer:
        for name in config.tokenizer.data:
            _known_data(config, "tokenizer.data", name, ())
    _check_published(config)
    if config.analysis.temperature not in config.generation.temperatures:
        raise StudyError(
            f"analysis.temperature: {config.analysis.temperature} is not sampled. "
            f"Allowed: {', '.join(config.generation.temperatures)}."
        )


def _check_published(config: StudyConfig) -> None:
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


def check_stage(config: StudyConfig, size: str, name: str, stage: StageBase) -> None:
    key = f"stages.{name}"
    _known(f"{key}.train_format ({size})", [stage.train_format], {**FORMATS, **config.formats}, "prompt format")
    if isinstance(stage, CompletionsStage):
        for prompts in config.prompts:
            if prompts not in stage.files:
                raise StudyError(f"{key}.files: no file for the prompt set {prompts!r}; add `{prompts}: FILE`.")
        _known(f"{key}.files", stage.files, config.prompts, "prompt set")
        for prompts, file in stage.files.items():
            if len(config.seeds) > 1 and "{seed}" not in file:
                raise StudyError(
                    f"{key}.files.{prompts}: {file} would count as the completions of all {len(config.seeds)} seeds. "
                    "Put {seed} into the name, or give one seed in `seeds`."
                )
        return
    method = METHODS[stage.method]
    if method.needs_parent and stage.parent is None:
        raise StudyError(f"{key}.from: the method {method.name} continues another stage. Add `from: STAGE`.")
    if not method.needs_parent and stage.parent is not None:
        raise StudyError(f"{key}.from: the method {method.name} starts from nothing. Remove `from`.")
    if stage.parent and isinstance(config.stages[stage.parent], CompletionsStage):
        raise StudyError(f"{key}.from: {stage.parent} has no weights, only completions. Name a stage with weights.")
    columns = method.columns(stage)
    if columns and stage.data is None:
        raise StudyError(f"{key}.data: the method {method.name} needs data. Add `data: SET`.")
    if stage.data is not None:
        if not columns:
            raise StudyError(f"{key}.data: the method {method.name} uses no data. Remove it.")
        _known_data(config, f"{key}.data", stage.data, columns)
    architecture = config.models[size].architecture
    if method.name == "pretrain" and architecture is None:
        raise StudyError(
            f"models.{size}.architecture: the stage {name} pretrains, so the size needs its shape, e.g. "
            "{hidden_size: 48, layers: 2, heads: 2, context: 128}."
        )
    if method.name == "pretrain" and config.tokenizer is None:
        raise StudyError(f"tokenizer: the stage {name} pretrains and needs one. Add `tokenizer: {{data: …}}`.")
    root = config.stages[lineage.first(config.parents(), name)]
    if root.method == "pretrain" and architecture is not None:
        _check_lengths(config, size, name, stage, architecture.context)


def _check_lengths(config: StudyConfig, size: str, name: str, stage: StageBase, context: int) -> None:
    """Everything that is measured in tokens fits the context of a model that is pretrained here."""
    lengths = {
        f"stages.{name}.{key}": getattr(stage, key) for key in ("sequence_length", "max_length") if hasattr(stage, key)
    }
    lengths["generation.max_new_tokens"] = config.generation.max_new_tokens
    if config.measures.tokens:
        lengths["measures.tokens.context"] = config.measures.tokens.context
    for setting, length in lengths.items():
        if length > context:
            raise StudyError(
                f"{setting}: {length} tokens do not fit the context of {size}, {context}. Set it to at most {context}."
            )


COLUMNS = {
    "pretraining": ("text",),
    "heldout": ("text",),
    "answers": ("prompt", "completion"),
    "preferences": ("prompt", "chosen", "rejected"),
}
"""Columns of each part of the world."""


def _known_data(config: StudyConfig, key: str, name: str, columns: Sequence[str]) -> None:
    _known(key, [name], config.data, "data set")
    data: Data = config.data[name]
    missing = [column for column in columns if column not in COLUMNS[data.world]]
    if missing:
        raise StudyError(
            f"{key}: {name} has the columns {', '.join(COLUMNS[data.world])}, but {', '.join(missing)} is needed. "
            "Name a data set that has it."
        )


def check_prompts(config: StudyConfig, prompts: Mapping[str, PromptSet]) -> None:
    generated = [name for name, stage in config.stages.items() if not isinstance(stage, CompletionsStage)]
    for name, prompt_set in prompts.items():
        unknown = [prompt.id for prompt in prompt_set.prompts if prompt.text is None]
        if unknown and generated:
            raise StudyError(
                f"prompts.{name}: {unknown[0]} has no text, but the stage {generated[0]} has to answer it. "
                "Give every prompt its `text`."
            )
