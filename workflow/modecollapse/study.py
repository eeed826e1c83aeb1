"""A study: its configuration, read, validated as a whole and resolved into models and cells."""

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modecollapse import lineage, wordings
from modecollapse.cells import Cell, Model, ReferenceScores, SampledData
from modecollapse.comparison_checks import check_reference
from modecollapse.config import (
    FORMATS,
    STAGE_MODELS,
    ChatFormat,
    CompletionsStage,
    Sampled,
    Stage,
    StageBase,
    StudyConfig,
)
from modecollapse.config_errors import explain
from modecollapse.data.columns import COLUMNS, PAIR_COLUMNS
from modecollapse.data.sources.files import local_files
from modecollapse.epochs import Runs
from modecollapse.errors import StudyError
from modecollapse.file_digests import FileDigests
from modecollapse.hub import Kind, Lock, Needed, Revision, lock_path, read_lock
from modecollapse.measures.benchmarks import Task, find_tasks, hub_revisions
from modecollapse.methods import METHODS
from modecollapse.methods.base import Method
from modecollapse.methods.reference_file import PairSettings
from modecollapse.methods.reward_functions import ANNOTATORS, FUNCTIONS
from modecollapse.metrics.registry import METRICS
from modecollapse.paths import Paths
from modecollapse.prompt_files import read_prompts
from modecollapse.prompts import Chat, PromptFormat, PromptSet
from modecollapse.reward_checks import TRAIN, check_rewards, check_sampled
from modecollapse.schema import Strict
from modecollapse.sources import FilesSource, GgufSource, HubSource, PathSource, Source
from modecollapse.study_checks import (
    check_prompts,
    check_references,
    check_stage,
)
from modecollapse.study_likeness import resolved_likeness


@dataclass(frozen=True)
class Study:
    """A validated study. Iteration orders are those of the study file, parents before children."""

    name: str
    file: Path
    config: StudyConfig
    paths: Paths
    prompts: Mapping[str, PromptSet]
    resolved: Mapping[tuple[str, str], StageBase]
    """(size, stage) → the stage with that size's differences applied."""
    lock: Lock
    """The commits of the hub that the study's revisions stand for."""
    runs: Runs = field(default_factory=Runs)
    """The stages that are epochs of one training run."""
    benchmarks: Sequence[Task] = field(default=(), compare=False)
    """The tasks of `measures.benchmarks`, found and checked."""
    file_digests: FileDigests = field(default_factory=FileDigests, compare=False)
    """Digests of files that the study takes from elsewhere."""
    completions: Path | None = field(default=None, compare=False)
    reference: Path | None = field(default=None, compare=False)
    """Directory of the results of others that are to be compared with ours; None leaves the comparison out."""

    @cached_property
    def lineage(self) -> lineage.Lineage:
        return self.config.parents()

    @cached_property
    def stages(self) -> list[str]:
        return lineage.ordered(self.lineage)

    @cached_property
    def answering_stages(self) -> list[str]:
        """The stages that have completions: those that are compared."""
        return [stage for stage in self.stages if not self.config.stages[stage].has("scores")]

    @cached_property
    def compared_lineage(self) -> dict[str, list[str]]:
        """The lines along which stages are compared: first parents, of stages that have completions."""
        return lineage.restricted(self.lineage, self.answering_stages)

    @cached_property
    def models(self) -> list[Model]:
        """Every stage of every size that has it, with every seed."""
        return [
            Model(size, seed, stage)
            for size in self.config.models
            for seed in self.config.seeds
            for stage in self.stages
            if self.has(size, stage)
        ]

    def has(self, size: str, stage: str) -> bool:
        """Whether a size has a stage."""
        sizes = self.config.stages[stage].sizes
        return sizes is None or size in sizes

    def stage(self, model: Model) -> StageBase:
        return self.resolved[model.size, model.stage]

    def method(self, model: Model) -> Method | None:
        """How the model comes to be; None where only finished completions exist."""
        return METHODS.get(self.stage(model).method)

    def settings(self, model: Model) -> Strict:
        """The settings of the model's method."""
        method, stage = self.method(model), self.stage(model)
        assert method is not None
        fields = method.settings.model_fields
        return method.settings.model_validate({name: getattr(stage, name) for name in fields})

    def trained(self) -> list[Model]:
        """The models that have weights here."""
        return [
            model for model in self.models if self.method(model) is not None and not self.stage(model).has("decodes")
        ]

    def language_models(self) -> list[Model]:
        """Those of them that predict tokens: all but reward models."""
        return [model for model in self.trained() if not self.stage(model).has("scores")]

    def answering(self) -> list[Model]:
        """The models that have completions, sampled here or imported."""
        return [model for model in self.models if not self.stage(model).has("scores")]

    def sampled(self) -> list[Model]:
        """Those of them that are sampled from here."""
        return [model for model in self.answering() if self.method(model) is not None]

    def choosing(self) -> list[Model]:
        """Those whose completions are chosen among their parent's."""
        return [model for model in self.models if self.stage(model).has("decodes")]

    def imported(self) -> list[Model]:
        """The models of which only finished completions are known."""
        return [model for model in self.models if self.method(model) is None]

    def parent(self, model: Model) -> Model | None:
        """The model that this one continues: for a later epoch of a run, the epoch before."""
        name = self.stage(model).parent
        return Model(model.size, model.seed, name) if name else None

    def run(self, model: Model) -> list[Model]:
        """The models that one training run makes, the given one among them, in the order of epochs."""
        run = self.runs.run_of(model.stage)
        stages = [model.stage] if run is None else self.runs.stages[run]
        return [Model(model.size, model.seed, stage) for stage in stages]

    def epoch(self, model: Model) -> int | None:
        """After how many epochs of its run the model was kept; None if it is trained alone."""
        return None if self.runs.run_of(model.stage) is None else self.run(model).index(model) + 1

    def start(self, model: Model) -> Model | None:
        """The model whose weights the training run begins with; None if it begins with nothing."""
        return self.parent(self.run(model)[0]) if self.stage(model).has("needs_parent") else None

    def reward(self, model: Model) -> Model | None:
        """The reward model that scores answers for this one; None if a function does, or nothing."""
        name = self.stage(model).reward
        return None if name is None or name in FUNCTIONS else Model(model.size, model.seed, name)

    def sampled_data(self, model: Model) -> SampledData | None:
        """The data set that the model is trained on, if a stage writes it."""
        name = self.stage(model).data
        return None if name is None or self.config.data[name].sampled is None else self.data_for(name, model)

    def all_sampled_data(self) -> list[SampledData]:
        """Those that models are trained on, or reward models judged by, each once."""
        found = [data for model in self.trained() if (data := self.sampled_data(model))]
        for model in self.judged_rewards():
            names = self.reward_data(model).values()
            found += [self.data_for(name, model) for name in names if self.config.data[name].sampled is not None]
        return list(dict.fromkeys(found))

    def data_for(self, name: str, model: Model) -> SampledData:
        """The data set of that name for a model, if a stage writes it."""
        return SampledData(model.size, model.seed, name)

    def sampling(self, data: SampledData) -> Sampled:
        """How a data set is sampled."""
        sampled = self.config.data[data.data].sampled
        assert sampled is not None
        return sampled

    def writer(self, data: SampledData) -> Model:
        """The model that writes a data set."""
        return Model(data.size, data.seed, self.sampling(data).stage)

    def judge(self, data: SampledData) -> Model | None:
        """The reward model that scores what it writes; None if a function does, or the annotators."""
        name = self.sampling(data).reward
        return None if name in FUNCTIONS or name == ANNOTATORS else Model(data.size, data.seed, name)

    def reference_scores(self, model: Model) -> ReferenceScores | None:
        """The log-probabilities that training the model needs of the one that it starts from; None if it needs none."""
        stage, start = self.stage(model), self.start(model)
        if not stage.has("needs_reference"):
            return None
        settings = self.settings(model)
        assert start is not None
        assert stage.data is not None
        names = ("max_length", "max_prompt_length", "too_long", "dtype")
        lora = getattr(settings, "lora", None)
        shown = PairSettings(
            **{name: getattr(settings, name) for name in names}, quantization=lora.quantization if lora else None
        )
        return ReferenceScores(start, stage.data, stage.train_format, shown)

    def all_reference_scores(self) -> list[ReferenceScores]:
        """Those of all models, each once."""
        return list(dict.fromkeys(found for model in self.trained() if (found := self.reference_scores(model))))

    def first(self, model: Model) -> Model:
        """The model's root: the pretrained model it goes back to."""
        return Model(model.size, model.seed, lineage.first(self.lineage, model.stage))

    def origin(self, model: Model) -> Model:
        """The model whose weights it goes back to: the nearest one that continues no other, perhaps itself."""
        while self.stage(model).has("needs_parent"):
            parent = self.parent(model)
            assert parent is not None
            model = parent
        return model

    def formats(self, stage: str) -> Sequence[str]:
        return self.config.stages[stage].formats or self.config.generation.formats

    def format(self, name: str) -> PromptFormat:
        template = {**FORMATS, **self.config.formats}[name]
        if isinstance(template, ChatFormat):
            return PromptFormat(name, Chat(template.system, template.template))
        return PromptFormat(name, template or "")

    @cached_property
    def formats_by_stage(self) -> dict[str, Sequence[str]]:
        return {stage: self.formats(stage) for stage in self.answering_stages}

    def views(self) -> dict[str, dict[str, str]]:
        """The choices of one prompt format per stage that figures show one at a time; see `modecollapse.wordings`."""
        return wordings.views(self.formats_by_stage, self.config.analysis.across_formats)

    def compared_views(self) -> list[str]:
        """Those views in which the stages of some path can be compared."""
        return [name for name, view in self.views().items() if wordings.compared(view, self._paths())]

    def format_changes(self) -> list[wordings.Change]:
        """The steps, and whole paths, whose apparent effect is partly one of format and can be split."""
        across = self.config.analysis.across_formats
        return wordings.format_changes(self._paths(), self.formats_by_stage, across)

    def has_formats(self) -> bool:
        """Whether there are several prompt formats, so that figures have to say which they show."""
        return len({name for formats in self.formats_by_stage.values() for name in formats}) > 1

    def has_format_effects(self) -> bool:
        """Whether some stage is measured under several prompt formats."""
        return any(len(formats) > 1 for formats in self.formats_by_stage.values())

    def about(self) -> dict[str, Any]:
        """What the report's front page says of the study."""
        config = self.config
        return {"title": config.title, "description": config.description, "world": config.world is not None}

    def label(self, stage: str) -> str:
        return self.config.stages[stage].label or stage.upper()

    def cells(self, model: Model) -> list[Cell]:
        return [
            Cell(model, prompts, form, temperature)
            for prompts in self.config.prompts
            for form in self.formats(model.stage)
            for temperature in self.config.generation.temperatures
        ]

    def completions_file(self, model: Model, prompts: str) -> Path:
        """The file with the finished completions of an imported model."""
        stage = self.stage(model)
        assert isinstance(stage, CompletionsStage)
        assert self.completions is not None
        return self.completions / stage.files[prompts].replace("{size}", model.size).replace("{seed}", str(model.seed))

    def compares(self) -> bool:
        """Whether there are stored results of others to compare with."""
        return self.config.reference is not None and self.reference is not None

    def compared(self) -> list[Model]:
        """The models whose results others have stored; none if the study does not compare."""
        reference = self.config.reference if self.compares() else None
        return [model for model in self.models if model.stage in reference.files] if reference else []

    def reference_file(self, model: Model) -> Path:
        """The file with the stored results of a compared model."""
        assert self.config.reference is not None
        assert self.reference is not None
        file = self.config.reference.files[model.stage]
        return self.reference / file.replace("{size}", model.size).replace("{seed}", str(model.seed))

    def source(self, model: Model) -> Source | None:
        """Where a stage that is not trained here takes its weights from, size and seed filled in."""
        source: Source | None = getattr(self.stage(model), "source", None)
        return source.filled(size=model.size, seed=model.seed) if source else None

    def local_source(self, model: Model) -> Path | None:
        """The directory or file of this machine that the weights are taken from; None if they come from the hub."""
        match self.source(model):
            case PathSource(path=path):
                return Path(path)
            case GgufSource(gguf=file, hub=None):
                return Path(file)
        return None

    def needed_of(self, model: Model) -> Needed | None:
        """What the model itself, without its ancestors, needs of the hub."""
        source = self.source(model)
        if isinstance(source, HubSource):
            return Needed(source.of(Kind.MODEL))
        if isinstance(source, GgufSource) and (revision := source.of(Kind.MODEL)):
            return Needed(revision, (glob.escape(source.gguf),))
        return None

    def needed(self) -> list[Needed]:
        """Everything that the study needs of the hub, each once."""
        found = [self.needed_of(model) for model in self.trained()]
        found += [self.needed_of_data(name) for name in self.used_data()]
        found += [Needed(revision) for revision in hub_revisions(self.benchmarks)]
        return list(dict.fromkeys(needed for needed in found if needed))

    def revisions(self) -> list[Revision]:
        """Every revision of the hub that the study needs, each once."""
        return list(dict.fromkeys(needed.revision for needed in self.needed()))

    def called(self) -> str:
        """How the study is named on the command line."""
        return self.name if self.file.parts[-3:-1] == ("config", "studies") else str(self.file)

    def needed_of_data(self, name: str) -> Needed | None:
        """What a data set needs of the hub."""
        data = self.config.data[name]
        if not isinstance(data.source, HubSource):
            return None
        return Needed(data.source.of(Kind.DATASET), (data.files,) if data.files else ())

    def data_sample(self, name: str) -> int | None:
        """How many rows of a data set with a source are drawn; None for all of them."""
        data, tokens = self.config.data[name], self.config.measures.tokens
        if data.sample is None and tokens and name not in self.used_data(tokens=False):
            return tokens.documents
        return data.sample

    def data_columns(self, name: str) -> dict[str, str]:
        """Our columns of a data set with a source, in a fixed order → the source's.

        As the study says, or else those that are used, by our names.

        Raises:
            StudyError: the study does not say, and the set is used only where any column would do.
        """
        named = self.config.data[name].columns
        if named is None:
            used = self._used_columns(name)
            if not used:
                raise StudyError(
                    f"data.{name}.columns: nothing that uses the set says which columns it needs. Add e.g. "
                    "`columns: {text: text}`."
                )
            named = {column: column for column in COLUMNS if column in used}
        return {column: named[column] for column in COLUMNS if column in named}

    def _used_columns(self, name: str) -> set[str]:
        measures, used = self.config.measures, set[str]()
        for stage in self.resolved.values():
            if stage.data == name and stage.method in METHODS:
                used.update(METHODS[stage.method].columns(stage))
        if measures.tokens and measures.tokens.data == name:
            used.add("text")
        if measures.rewards and name in measures.rewards.data:
            used.update(PAIR_COLUMNS)
        if any(data.sampled is not None and data.sampled.prompts == name for data in self.config.data.values()):
            used.add("prompt")
        return used

    def used_data(self, tokens: bool = True) -> list[str]:
        """The data sets that something needs, in the order of the file; perhaps but for token statistics."""
        config, measures = self.config, self.config.measures
        used = {stage.data for stage in self.resolved.values()}
        used.update(config.tokenizer.data if config.tokenizer else ())
        used.update([measures.tokens.data] if measures.tokens and tokens else ())
        used.update(measures.rewards.data if measures.rewards else ())
        used.update(task.data for task in (measures.benchmarks.tasks.values() if measures.benchmarks else ()))
        sampled = {name: data.sampled for name, data in config.data.items() if data.sampled is not None}
        used |= {each.prompts for name, each in sampled.items() if name in used}
        return [name for name in config.data if name in used]

    def data_files(self, name: str) -> list[Path]:
        """The local files of a data set; none if it comes from elsewhere.

        Raises:
            StudyError: they are not there.
        """
        source = self.config.data[name].source
        if not isinstance(source, FilesSource):
            return []
        try:
            return local_files(source.path, self.file)
        except StudyError as error:
            raise StudyError(f"{self.file}: data.{name}.source: {error}") from error

    def published(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(size, stage) of models with weights → (model, stage) under which their results were published."""
        named: dict[tuple[str, str], tuple[str, str]] = {}
        for model in self.trained():
            size, stage = self.config.models[model.size].published_as, self.stage(model).published_as
            if size and stage:
                named[model.size, model.stage] = (size, stage)
        return named

    def embeds(self) -> bool:
        """Whether a metric needs sentence vectors."""
        return any(METRICS[name].needs_embeddings for name in self.config.measures.diversity.metrics)

    def scores_quality(self) -> bool:
        """Whether completions have a quality score: some prompts have accepted answers, or the world its annotators."""
        asked = (prompt for prompts in self.prompts.values() for prompt in prompts.prompts)
        return self.config.world is not None or any(prompt.answers for prompt in asked)

    def measures_tokens(self) -> bool:
        return self.config.measures.tokens is not None and bool(self.language_models())

    def diverging(self) -> list[Model]:
        """The models whose divergence from the reference stage is measured: those that descend from it and predict."""
        settings = self.config.measures.divergence
        if settings is None:
            return []
        lines = [path[path.index(settings.reference) + 1 :] for path in self._paths() if settings.reference in path]
        below = {stage for line in lines for stage in line}
        return [model for model in self.language_models() if model.stage in below]

    def diverging_from(self, model: Model) -> Model:
        """The model that the divergence is measured from."""
        settings = self.config.measures.divergence
        assert settings is not None
        return Model(model.size, model.seed, settings.reference)

    def _paths(self) -> list[list[str]]:
        return lineage.paths(self.compared_lineage)

    def judged_rewards(self) -> list[Model]:
        """The reward models that are judged by pairs of answers."""
        if self.config.measures.rewards is None:
            return []
        return [model for model in self.trained() if self.stage(model).has("scores")]

    def reward_data(self, model: Model) -> dict[str, str]:
        """What a reward model is judged by: what tables call it → the data set."""
        assert self.config.measures.rewards is not None
        own = self.stage(model).data
        assert own is not None
        return {TRAIN: own, **{name: name for name in self.config.measures.rewards.data}}

    def runs_benchmarks(self) -> bool:
        return bool(self.benchmarks) and bool(self.language_models())


def parse_study(content: Mapping[str, Any], name: str, path: Path, config_directory: Path, results: Path) -> Study:
    """Validate the content of a study file as a whole and resolve it.

    Args:
        content: what the file holds.
        name: the study's name in paths.
        path: the file, for messages and to find prompt files beside it.
        config_directory: the project's ``config`` directory.
        results: directory below which the study's results stand.

    Raises:
        StudyError: anything that can be known to be wrong from this file and its prompt files.
    """
    try:
        content = resolved_likeness(content)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    try:
        config = StudyConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise explain(error, path, StudyConfig) from error
    runs = Runs()
    try:
        runs = Runs.of(config)
        written, config = config, runs.expanded(config)
        check_rewards(config)
        check_sampled(config)
        lineage.ordered(config.parents())
        check_references(config)
    except StudyError as error:
        raise StudyError(f"{path}: {runs.as_written(str(error))}") from error
    resolved = {
        (size, key): each
        for size, model in written.models.items()
        for name, stage in written.stages.items()
        if stage.sizes is None or size in stage.sizes or name in model.stages
        for key, each in runs.epochs(name, _override(stage, model.stages.get(name, {}), path, size, name)).items()
    }
    prompts = {key: read_prompts(_find(file, path, config_directory), key) for key, file in config.prompts.items()}
    if not config.generation.starts:
        prompts = {key: prompt_set.without_starts() for key, prompt_set in prompts.items()}
    try:
        for (size, key), stage in resolved.items():
            check_stage(config, size, key, stage)
        check_prompts(config, prompts)
        check_reference(config, prompts)
    except StudyError as error:
        raise StudyError(f"{path}: {runs.as_written(str(error))}") from error
    benchmarks = config.measures.benchmarks
    tasks = find_tasks(benchmarks, path, config_directory) if benchmarks else ()
    lock = read_lock(lock_path(path))
    return Study(name, path, config, Paths(results / name), prompts, resolved, lock, runs, tasks)


def _find(file: str, study: Path, config_directory: Path) -> Path:
    for base in (study.parent, config_directory):
        if (base / file).is_file():
            return base / file
    raise StudyError(f"{study}: prompts: there is no file {file} beside the study or in {config_directory}.")


def _override(stage: StageBase, changes: Mapping[str, Any], path: Path, size: str, name: str) -> StageBase:
    if not changes:
        return stage
    for key in ("formats", "label", "sizes", "like"):
        if key in changes:
            raise StudyError(
                f"{path}: models.{size}.stages.{name}.{key}: it is the same for all sizes. Set it in stages.{name}."
            )
    for key in ("method", "from", "reward"):
        if key in changes:
            raise StudyError(
                f"{path}: models.{size}.stages.{name}.{key}: the lineage is the same for all sizes. Allowed: "
                f"keys of the stage's settings. Add a stage of its own in `stages` instead."
            )
    merged = {**json.loads(stage.model_dump_json(by_alias=True, exclude_unset=True)), **changes}
    try:
        return TypeAdapter(Stage).validate_json(json.dumps(merged), strict=True)
    except ValidationError as error:
        model = STAGE_MODELS[merged["method"]]
        raise explain(error, path, model, f"models.{size}.stages.{name}", skip=1) from error
