"""What has to hold within a study's configuration, beyond the types of its keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from modecollapse import lineage, wordings
from modecollapse.comparison.stored_results import KEYS, STORED, Kind
from modecollapse.config import FORMATS, CompletionsStage, Data, StageBase, StudyConfig
from modecollapse.data.columns import COLUMNS as KNOWN_COLUMNS
from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data.nano.benchmarks import FACTS
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.reward_functions import ANNOTATORS, FUNCTIONS
from modecollapse.prompts import PromptSet
from modecollapse.serving.temperatures import check_temperature

TRAIN = "train"
"""What tables call the data set that a reward model was trained on."""


def _known(key: str, names: Mapping[str, Any] | Sequence[str], allowed: Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in allowed:
            raise StudyError(
                f"{key}: no {what} is called {name!r}. Allowed: {', '.join(allowed) or 'none is defined'}. "
                f"Name one of these, or define {name!r}."
            )


def check_rewards(config: StudyConfig) -> None:
    """What scores answers is a reward stage or a function, where a method asks for it, and nothing continues one."""
    scoring = [name for name, stage in config.stages.items() if stage.has("scores")]
    for name, stage in config.stages.items():
        key, method = f"stages.{name}", METHODS.get(stage.method)
        if name in FUNCTIONS:
            raise StudyError(f"{key}: {name!r} is a reward function. Give the stage another name.")
        if stage.parent in scoring:
            raise StudyError(
                f"{key}.from: {stage.parent} is a reward model: it scores answers and cannot write any. Name the stage "
                f"that it judges, and give this one `reward: {stage.parent}` if its method takes one."
            )
        if stage.parent in config.stages and config.stages[stage.parent].has("decodes"):
            raise StudyError(
                f"{key}.from: {stage.parent} only chooses among answers of {config.stages[stage.parent].parent} and "
                "has no weights of its own. Name a stage with weights."
            )
        if name in scoring and stage.formats is not None:
            raise StudyError(f"{key}.formats: a reward model is asked nothing. Remove it.")
        if method is None or not method.needs_reward:
            if stage.reward is not None:
                raise StudyError(f"{key}.reward: the method {stage.method} needs none. Remove it.")
            continue
        if stage.parent is None:
            raise StudyError(f"{key}.from: the method {method.name} answers as another stage does. Add `from: STAGE`.")
        allowed = f"Allowed: {', '.join([*scoring, *FUNCTIONS])}"
        if stage.reward is None:
            raise StudyError(f"{key}.reward: the method {method.name} needs what scores answers. {allowed}. Add one.")
        if stage.reward not in scoring and stage.reward not in FUNCTIONS:
            other = config.stages.get(stage.reward)
            kind = "no stage of the study" if other is None else f"of the method {other.method}, which gives no scores"
            found = f"{kind}, and no function"
            raise StudyError(
                f"{key}.reward: {stage.reward!r} is {found}. {allowed}. Name one of these, or add a stage "
                "{method: reward, from: …, data: …}."
            )
        if method.trains and stage.reward in scoring:
            _same_format(config, f"{key}.reward", stage.reward, name)
        if stage.reward == "utility" and config.world is None:
            raise StudyError(
                f"{key}.reward: utility is the true one of a world's answers, but the study has no `world`. Name a "
                "stage of the method reward, or add `world: {seed: 0}`."
            )


def check_sampled(config: StudyConfig) -> None:
    """Data sets that stages write: by one that can, before any that is trained on them, and scored by what can."""
    scoring = [name for name, stage in config.stages.items() if stage.has("scores")]
    for name, data in config.data.items():
        sampled, key = data.sampled, f"data.{name}.sampled"
        if sampled is None:
            continue
        writing = [stage for stage, each in config.stages.items() if _writes(each)]
        if sampled.stage not in writing:
            _known(f"{key}.from", [sampled.stage], config.stages, "stage")
            raise StudyError(
                f"{key}.from: {sampled.stage} cannot answer prompts: its method is "
                f"{config.stages[sampled.stage].method}. Allowed: {', '.join(writing)}. Name one of these."
            )
        _known(f"{key}.prompts", [sampled.prompts], config.data, "data set")
        if config.data[sampled.prompts].sampled is not None:
            raise StudyError(
                f"{key}.prompts: {sampled.prompts} is written by a stage itself. Name the set that its prompts are "
                "from."
            )
        _known_data(config, f"{key}.prompts", sampled.prompts, ("prompt",))
        if sampled.reward not in (*scoring, *FUNCTIONS, ANNOTATORS):
            found = "a stage that gives no scores" if sampled.reward in config.stages else "no stage of the study"
            raise StudyError(
                f"{key}.reward: {sampled.reward!r} is {found}, and no function. Allowed: "
                f"{', '.join([*scoring, *FUNCTIONS, ANNOTATORS])}. Name one of these."
            )
        if ANNOTATORS in config.stages:
            raise StudyError(f"stages.{ANNOTATORS}: data sets name annotators so. Give the stage another name.")
        if sampled.reward in ("utility", ANNOTATORS) and config.world is None:
            raise StudyError(
                f"{key}.reward: {sampled.reward} is of a world, but the study has none. Name a stage of the method "
                "reward, or add `world: {seed: 0}`."
            )
        if sampled.reward in scoring:
            _same_format(config, f"{key}.reward", sampled.reward, sampled.stage)
    _check_circles(config)


def _writes(stage: StageBase) -> bool:
    """Whether a stage can be asked for answers."""
    return stage.method in METHODS and not stage.has("scores") and not stage.has("decodes")


def _same_format(config: StudyConfig, key: str, reward: str, stage: str) -> None:
    """A reward model judges answers to prompts as it was trained on them."""
    own, other = config.stages[reward].train_format, config.stages[stage].train_format
    if own != other:
        raise StudyError(
            f"{key}: {reward} was trained on prompts in the format {own!r}, but {stage} answers them in {other!r}. "
            "Give both the same train_format."
        )


def _check_circles(config: StudyConfig) -> None:
    """No stage is trained on what is written or scored by itself or by its descendants."""
    parents = config.parents()
    for name, stage in config.stages.items():
        data = config.data.get(stage.data) if stage.data else None
        if data is None or data.sampled is None:
            continue
        for source in (data.sampled.stage, data.sampled.reward):
            line = lineage.descent(parents, name, source)
            if line:
                way = " → ".join([*line, stage.data or ""])
                raise StudyError(
                    f"stages.{name}.data: {name} is trained on {stage.data}, which needs {source}, and that descends "
                    f"from {name} ({way}). Sample the set from an earlier stage, or train {name} on another."
                )


def _check_sizes(config: StudyConfig) -> None:
    """Whatever a stage is made from, all of its sizes have."""
    parents = config.parents()
    for name, stage in config.stages.items():
        _known(f"stages.{name}.sizes", stage.sizes or (), config.models, "size")
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


def check_references(config: StudyConfig) -> None:
    for size, model in config.models.items():
        _known(f"models.{size}.stages", model.stages, config.stages, "stage")
    _check_sizes(config)
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
    if any(data.world for data in config.data.values()) and config.world is None:
        raise StudyError("data: its sets are parts of a world, but the study has no `world`. Add `world: {seed: 0}`.")
    if config.measures.truth and config.world is None:
        raise StudyError("measures.truth: true values are known only in a `world`. Set it to false, or add `world`.")
    if config.measures.tokens:
        _known_data(config, "measures.tokens.data", config.measures.tokens.data, ("text",))
    for name, data in config.data.items():
        if data.world == "choices" and (data.n or 0) > FACTS:
            raise StudyError(
                f"data.{name}.n: {data.n} questions, but each fact of the world is asked for once. Set it to at most "
                f"{FACTS}."
            )
    _check_divergence(config)
    _check_reward_data(config)
    if config.measures.benchmarks:
        for task, changes in config.measures.benchmarks.tasks.items():
            if changes.data is not None:
                _check_task_data(config, f"measures.benchmarks.tasks.{task}.data", changes.data)
        _known("measures.benchmarks.chat_template", config.measures.benchmarks.chat_template, config.stages, "stage")
    if config.tokenizer:
        for name in config.tokenizer.data:
            _known_data(config, "tokenizer.data", name, ())
            if config.data[name].sampled is not None:
                raise StudyError(
                    f"tokenizer.data: {name} is written by a stage, which needs the tokenizer itself. Allowed: "
                    f"{', '.join(each for each, data in config.data.items() if data.sampled is None)}. Remove it."
                )
    if any(not isinstance(stage, CompletionsStage) for stage in config.stages.values()):
        check_controlled(config, config.generation.completions, "generation.completions")
    _check_published(config)
    _check_engine(config)
    _check_wordings(config, formats)
    if config.analysis.temperature not in config.generation.temperatures:
        raise StudyError(
            f"analysis.temperature: {config.analysis.temperature} is not sampled. "
            f"Allowed: {', '.join(config.generation.temperatures)}."
        )


def _check_reward_data(config: StudyConfig) -> None:
    """Reward models are judged by data sets of pairs, whose names do not say what another set is."""
    key = "measures.rewards.data"
    for name in config.measures.rewards.data if config.measures.rewards else ():
        _known_data(config, key, name, PAIR_COLUMNS)
        if name == TRAIN:
            raise StudyError(
                f"{key}: tables call the pairs that a reward model was trained on {TRAIN!r}, so no other set can be "
                "called so. Give the data set another name."
            )
        for stage, each in config.stages.items():
            sampled = config.data[name].sampled
            if sampled is None or not each.has("scores"):
                continue
            for writer in (sampled.stage, sampled.reward):
                there = config.stages[writer].sizes if writer in config.stages else None
                if there is not None and set(each.sizes or config.models) - set(there):
                    raise StudyError(
                        f"{key}: {name} is written for the sizes {', '.join(there)} only, which have {writer}, but "
                        f"{stage} has others as well. Give {stage} the same `sizes`, or leave the set out."
                    )


def _check_divergence(config: StudyConfig) -> None:
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


def _check_wordings(config: StudyConfig, formats: Mapping[str, Any]) -> None:
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
        _known(key, wording, used, "stage")
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


def _check_engine(config: StudyConfig) -> None:
    """The engine can sample at every temperature."""
    if config.generation.engine == "vllm":
        for temperature in config.generation.temperatures:
            check_temperature(float(temperature), "generation.temperatures")


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
        _known_data(config, f"{key}.data", stage.data, columns)
        if config.data[stage.data].sampled is not None and config.stages[name].data != stage.data:
            raise StudyError(
                f"models.{size}.{key}.data: {stage.data} is written by a stage, and the lineage is the same for all "
                "sizes. Set it in `stages`."
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
    if config.measures.tokens:
        limits["measures.tokens.context"] = (config.measures.tokens.context, context)
    for setting, (length, limit) in limits.items():
        if length > limit:
            raise StudyError(
                f"{setting}: {length} tokens do not fit the context of {size}, {context}. Set it to at most {limit}."
            )


def check_reference(config: StudyConfig, prompts: Mapping[str, PromptSet]) -> None:
    """Stored results can be compared: of finished completions, cut alike, with a metric in common."""
    reference = config.reference
    if reference is None:
        return
    _known("reference.files", reference.files, config.stages, "stage")
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


COLUMNS = {
    "pretraining": ("text",),
    "heldout": ("text",),
    "answers": ("prompt", "completion"),
    "preferences": PAIR_COLUMNS,
    "choices": ("question", "choices", "answer", "relation"),
    "contrasts": ("sentences", "right"),
}
"""Columns of each part of the world."""


def _check_task_data(config: StudyConfig, key: str, name: str) -> None:
    """Of a data set with a source only columns of texts are kept, but tasks have questions, choices and answers."""
    worlds = {each: data for each, data in config.data.items() if data.world is not None}
    if name not in config.data:
        _known(key, [name], worlds, "data set")
    if name not in worlds:
        raise StudyError(
            f"{key}: {name} is read from a source, of which only texts are kept and not what a task asks for. Allowed: "
            f"sets of the study's world ({', '.join(worlds) or 'it has none'}). Remove the key and name the files in a "
            "task file of your own: `dataset_path: json` with `dataset_kwargs: {data_files: {test: FILE}}`, or "
            "`dataset_path: OWNER/NAME`."
        )


def _known_data(config: StudyConfig, key: str, name: str, columns: Sequence[str]) -> None:
    _known(key, [name], config.data, "data set")
    data: Data = config.data[name]
    if data.source is not None and data.columns is None:
        return  # they are looked for under our names; see `columns_of`
    present = COLUMNS[data.world] if data.world else tuple(data.columns or PAIR_COLUMNS)
    missing = [column for column in columns if column not in present]
    if missing:
        raise StudyError(
            f"{key}: {name} has the columns {', '.join(present)}, but {', '.join(missing)} is needed. "
            + (f"Add it to data.{name}.columns." if data.source else "Name a data set that has it.")
        )


def columns_of(config: StudyConfig, stages: Iterable[StageBase], name: str) -> dict[str, str]:
    """Our columns of a data set with a source → the source's: as the study says, or else what it uses, by our names.

    Raises:
        StudyError: the set says nothing, and is used only where any column would do.
    """
    named = config.data[name].columns
    if named is None:
        used: set[str] = set()
        for stage in stages:
            if stage.data == name and stage.method in METHODS:
                used.update(METHODS[stage.method].columns(stage))
        if config.measures.tokens and config.measures.tokens.data == name:
            used.add("text")
        if config.measures.rewards and name in config.measures.rewards.data:
            used.update(PAIR_COLUMNS)
        if any(data.sampled is not None and data.sampled.prompts == name for data in config.data.values()):
            used.add("prompt")
        if not used:
            raise StudyError(
                f"data.{name}.columns: nothing that uses the set says which columns it needs. Add e.g. "
                "`columns: {text: text}`."
            )
        named = {column: column for column in KNOWN_COLUMNS if column in used}
    return {column: named[column] for column in KNOWN_COLUMNS if column in named}


def used_data(config: StudyConfig, stages: Iterable[StageBase], tokens: bool = True) -> list[str]:
    """The data sets that something in the study needs, in the order of the file; perhaps but for token statistics."""
    used = {stage.data for stage in stages}
    used.update(config.tokenizer.data if config.tokenizer else ())
    used.update([config.measures.tokens.data] if config.measures.tokens and tokens else ())
    used.update(config.measures.rewards.data if config.measures.rewards else ())
    used.update(task.data for task in (config.measures.benchmarks.tasks.values() if config.measures.benchmarks else ()))
    used |= {data.sampled.prompts for name, data in config.data.items() if name in used and data.sampled is not None}
    return [name for name in config.data if name in used]


def check_prompts(config: StudyConfig, prompts: Mapping[str, PromptSet]) -> None:
    generated = [name for name, stage in config.stages.items() if not isinstance(stage, CompletionsStage)]
    for name, prompt_set in prompts.items():
        unknown = [prompt.id for prompt in prompt_set.prompts if prompt.text is None]
        if unknown and generated:
            raise StudyError(
                f"prompts.{name}: {unknown[0]} has no text, but the stage {generated[0]} has to answer it. "
                "Give every prompt its `text`."
            )
