"""What has to hold within a study's configuration, beyond the types of its keys."""

from collections.abc import Mapping

from modecollapse.attractor_checks import check_attractor
from modecollapse.comparison_checks import check_controlled, check_divergence, check_published, check_wordings
from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.data.nano.benchmarks import FACTS
from modecollapse.data_checks import check_columns, check_task_data, check_tokenizer_data
from modecollapse.data_lineage import is_of_model
from modecollapse.errors import StudyError
from modecollapse.feature_checks import check_text_features
from modecollapse.format_config import FORMATS
from modecollapse.methods import METHODS
from modecollapse.persona_checks import check_personas
from modecollapse.probe_checks import check_probes
from modecollapse.prompts import PromptSet
from modecollapse.reward_checks import check_reward_data
from modecollapse.serving.temperatures import check_temperature
from modecollapse.stage_config import CompletionsStage, StageBase

_OF_STAGES = ("models", "stages", "prompts", "generation")
"""Keys that belong together: a study has all of them, or compares data alone and has none."""


def check_parts(config: StudyConfig) -> None:
    """A study has models, stages, prompts and generation; or none of them, and preference pairs that are compared.

    Raises:
        StudyError: some of these keys are missing, or a measure needs them.
    """
    given = [key for key in _OF_STAGES if key in config.model_fields_set and getattr(config, key)]
    missing = [key for key in _OF_STAGES if key not in given]
    features = config.measures.text_features
    if not missing:
        return
    if given or features is None or features.train is None:
        raise StudyError(
            f"{missing[0]}: it is missing or empty. Allowed: a study with {', '.join(_OF_STAGES)}, or without all four "
            f"if it compares preference pairs alone (measures.text_features.train). Add `{missing[0]}`."
        )
    measured = [name for name in config.measures.model_fields_set - {"text_features"} if getattr(config.measures, name)]
    if measured:
        raise StudyError(
            f"measures.{sorted(measured)[0]}: the study has no stages, so there is nothing to measure. Allowed: "
            "text_features. Remove it, or add models, stages, prompts and generation."
        )


def check_references(config: StudyConfig) -> None:
    """What parts of the study say of other parts fits these: names, sizes, formats, data sets and measures."""
    for size, model in config.models.items():
        check_names(f"models.{size}.stages", model.stages, config.stages, "stage")
    _check_sizes(config)
    if any(data.world for data in config.data.values()) and config.world is None:
        raise StudyError("data: its sets are parts of a world, but the study has no `world`. Add `world: {seed: 0}`.")
    check_text_features(config)
    if not config.stages:
        return
    formats = {**FORMATS, **config.formats}
    check_names("generation.formats", config.generation.formats, formats, "prompt format")
    unknown = [name for name, template in config.formats.items() if template is None]
    for name, stage in config.stages.items():
        used = {*(stage.formats or config.generation.formats), stage.train_format}
        if not isinstance(stage, CompletionsStage) and used.intersection(unknown):
            raise StudyError(
                f"stages.{name}: the prompt format {used.intersection(unknown).pop()!r} has no template, so only "
                "finished completions can have it. Write its template in `formats`."
            )
        check_names(f"stages.{name}.formats", stage.formats or (), formats, "prompt format")
        check_names(f"stages.{name}.train_format", [stage.train_format], formats, "prompt format")
    taken = set(config.formats) & set(FORMATS)
    if taken:
        raise StudyError(f"formats.{sorted(taken)[0]}: this format is built in; give yours another name.")
    if config.measures.truth and config.world is None:
        raise StudyError("measures.truth: true values are known only in a `world`. Set it to false, or add `world`.")
    semantic = config.measures.semantic
    if semantic:
        check_names("measures.semantic.prompts", semantic.prompts, config.prompts, "prompt set")
        _check_sampled(config, "measures.semantic.temperature", semantic.temperature)
    check_attractor(config)
    check_probes(config)
    check_personas(config)
    if config.measures.tokens:
        check_columns(config, "measures.tokens.data", config.measures.tokens.data, ("text",))
    for name, data in config.data.items():
        if data.world == "choices" and (data.n or 0) > FACTS:
            raise StudyError(
                f"data.{name}.n: {data.n} questions, but each fact of the world is asked for once. Set it to at most "
                f"{FACTS}."
            )
    check_divergence(config)
    check_reward_data(config)
    benchmarks = config.measures.benchmarks
    if benchmarks:
        for task, changes in benchmarks.tasks.items():
            if changes.data is not None:
                check_task_data(config, f"measures.benchmarks.tasks.{task}.data", changes.data)
        check_names("measures.benchmarks.chat_template", benchmarks.chat_template, config.stages, "stage")
    check_tokenizer_data(config)
    if any(not isinstance(stage, CompletionsStage) for stage in config.stages.values()):
        check_controlled(config, config.generation.completions, "generation.completions")
    check_published(config)
    _check_engine(config)
    check_wordings(config, formats)
    _check_sampled(config, "analysis.temperature", config.analysis.temperature)


def _check_sampled(config: StudyConfig, key: str, temperature: str) -> None:
    allowed = config.generation.temperatures
    if temperature not in allowed:
        raise StudyError(f"{key}: {temperature} is not sampled. Allowed: {', '.join(allowed)}.")


def _check_sizes(config: StudyConfig) -> None:
    """Whatever a stage is made from, all of its sizes have."""
    parents = config.parents()
    for name, stage in config.stages.items():
        check_names(f"stages.{name}.sizes", stage.sizes or (), config.models, "size")
        for parent in parents[name]:
            there = config.stages[parent].sizes
            lacking = [size for size in stage.sizes or config.models if there is not None and size not in there]
            if lacking:
                raise StudyError(
                    f"stages.{name}.sizes: {name} is made from {parent}, which {lacking[0]} does not have. Allowed: "
                    f"{', '.join(there or ())}. Give both the same sizes."
                )
    for size, model in config.models.items():
        for name in model.stages:
            sizes = config.stages[name].sizes
            if sizes is not None and size not in sizes:
                raise StudyError(
                    f"models.{size}.stages.{name}: the size does not have the stage. Allowed: {', '.join(sizes)}, as "
                    f"stages.{name}.sizes says. Remove it, or add {size} there."
                )


def _check_engine(config: StudyConfig) -> None:
    """The engine can sample at every temperature."""
    if config.generation.engine == "vllm":
        for name, stage in config.stages.items():
            if stage.has("keeps_adapter"):
                raise StudyError(
                    f"generation.engine: found vllm, which serves whole weights, but {name} keeps its adapter apart "
                    f"(method {stage.method}). Allowed: transformers. Set that, or remove the stage."
                )
        for temperature in config.generation.temperatures:
            check_temperature(float(temperature), "generation.temperatures")


def check_stage(config: StudyConfig, size: str, name: str, stage: StageBase) -> None:
    """A stage, as a size has it, has what its method needs, and nothing that it does not use."""
    key = f"stages.{name}"
    check_names(f"{key}.train_format ({size})", [stage.train_format], {**FORMATS, **config.formats}, "prompt format")
    if isinstance(stage, CompletionsStage):
        for prompts in config.prompts:
            if prompts not in stage.files:
                raise StudyError(f"{key}.files: no file for the prompt set {prompts!r}; add `{prompts}: FILE`.")
        check_names(f"{key}.files", stage.files, config.prompts, "prompt set")
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
    if method.starts_from_nothing and stage.parent is not None:
        raise StudyError(f"{key}.from: the method {method.name} starts from nothing. Remove `from`.")
    if stage.parent and isinstance(config.stages[stage.parent], CompletionsStage):
        raise StudyError(f"{key}.from: {stage.parent} has no weights, only completions. Name a stage with weights.")
    columns = method.columns(stage)
    if columns and stage.data is None:
        raise StudyError(f"{key}.data: the method {method.name} needs data. Add `data: SET`.")
    if stage.data is not None:
        if not columns:
            raise StudyError(f"{key}.data: the method {method.name} uses no data. Remove it.")
        check_columns(config, f"{key}.data", stage.data, columns)
        if is_of_model(config, stage.data) and config.stages[name].data != stage.data:
            raise StudyError(
                f"models.{size}.{key}.data: {stage.data} is written by a stage, or filtered by one, and the "
                "lineage is the same for all sizes. Set it in `stages`."
            )
    architecture = config.models[size].architecture
    if method.starts_from_nothing and architecture is None:
        raise StudyError(
            f"models.{size}.architecture: the stage {name} pretrains, so the size needs its shape, e.g. "
            "{hidden_size: 48, layers: 2, heads: 2, context: 128}."
        )
    if method.starts_from_nothing and config.tokenizer is None:
        raise StudyError(f"tokenizer: the stage {name} pretrains and needs one. Add `tokenizer: {{data: …}}`.")
    if _origin(config, stage).has("starts_from_nothing") and architecture is not None:
        check_lengths(config, size, name, stage, architecture.context)


def _origin(config: StudyConfig, stage: StageBase) -> StageBase:
    """The stage whose weights this one goes back to: the nearest one that continues no other, perhaps itself."""
    if not stage.has("needs_parent") or stage.parent is None:
        return stage
    return _origin(config, config.stages[stage.parent])


def check_kept_adapters(config: StudyConfig, resolved: Mapping[tuple[str, str], StageBase]) -> None:
    """An adapter that is kept apart is one of its parent stage, and nothing continues it."""
    for (size, name), stage in resolved.items():
        method, parent = METHODS.get(stage.method), config.stages.get(stage.parent or "")
        if method is None or parent is None or not method.needs_parent:
            continue
        if parent.has("keeps_adapter") and not method.decodes:
            raise StudyError(
                f"stages.{name}.from: found {stage.parent}, which keeps its adapter apart from its weights (method "
                f"{parent.method}), so that nothing continues it. Allowed: stages with whole weights. Name "
                f"{parent.parent}, whose weights have the adapter merged in."
            )
        if method.keeps_adapter and getattr(resolved[size, str(stage.parent)], "lora", None) is None:
            tuned = [other for (at, other), each in resolved.items() if at == size and getattr(each, "lora", None)]
            raise StudyError(
                f"stages.{name}.from ({size}): found {stage.parent}, which trains no adapter. Allowed: stages with "
                f"`lora` ({', '.join(tuned) or 'there are none'}). Name one, or set stages.{stage.parent}.lora."
            )


def check_lengths(config: StudyConfig, size: str, name: str, stage: StageBase, context: int) -> None:
    """Everything that is measured in tokens fits the model's context; new tokens leave room for a prompt."""
    limits = {
        f"stages.{name}.{key}": (getattr(stage, key), context)
        for key in ("sequence_length", "max_length")
        if hasattr(stage, key)
    }
    limits["generation.max_new_tokens"] = (config.generation.max_new_tokens, context - 1)
    for written, data in config.data.items():
        if data.sampled is not None and data.sampled.stage == name:
            limits[f"data.{written}.sampled.max_new_tokens"] = (data.sampled.max_new_tokens, context - 1)
        if data.perplexity is not None and data.perplexity.scorer == name:
            limits[f"data.{written}.perplexity.max_length"] = (data.perplexity.max_length, context)
    features = config.measures.text_features
    if features and features.train is not None and not stage.has("scores"):
        limits["measures.text_features.max_new_tokens"] = (features.max_new_tokens, context - 1)
    if config.measures.tokens:
        limits["measures.tokens.context"] = (config.measures.tokens.context, context)
    for setting, (length, limit) in limits.items():
        if length > limit:
            raise StudyError(
                f"{setting}: {length} tokens do not fit the context of {size}, {context}. Set it to at most {limit}."
            )


def check_prompts(config: StudyConfig, prompts: Mapping[str, PromptSet]) -> None:
    """Prompts that are answered here have a text."""
    generated = [name for name, stage in config.stages.items() if not isinstance(stage, CompletionsStage)]
    for name, prompt_set in prompts.items():
        unknown = [prompt.id for prompt in prompt_set.prompts if prompt.text is None]
        if unknown and generated:
            raise StudyError(
                f"prompts.{name}: {unknown[0]} has no text, but the stage {generated[0]} has to answer it. "
                "Give every prompt its `text`."
            )
