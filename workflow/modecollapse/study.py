"""A study: its configuration, read, validated as a whole and resolved into models and cells."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modecollapse import lineage
from modecollapse.cells import Cell, Model
from modecollapse.config import FORMATS, STAGE_MODELS, CompletionsStage, Stage, StageBase, StudyConfig
from modecollapse.config_errors import explain
from modecollapse.errors import StudyError
from modecollapse.measures.benchmarks import Task, find_tasks
from modecollapse.methods import METHODS
from modecollapse.methods.base import Method
from modecollapse.metrics.registry import METRICS
from modecollapse.paths import Paths
from modecollapse.prompt_files import read_prompts
from modecollapse.prompts import PromptFormat, PromptSet
from modecollapse.schema import Strict
from modecollapse.study_checks import check_prompts, check_reference, check_references, check_stage


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
    benchmarks: Sequence[Task] = field(default=(), compare=False)
    """The tasks of `measures.benchmarks`, found and checked."""
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
    def models(self) -> list[Model]:
        sizes, seeds = self.config.models, self.config.seeds
        return [Model(size, seed, stage) for size in sizes for seed in seeds for stage in self.stages]

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
        return [model for model in self.models if self.method(model) is not None]

    def imported(self) -> list[Model]:
        """The models of which only finished completions are known."""
        return [model for model in self.models if self.method(model) is None]

    def parent(self, model: Model) -> Model | None:
        name = self.stage(model).parent
        return Model(model.size, model.seed, name) if name else None

    def first(self, model: Model) -> Model:
        """The model's root: the pretrained model it goes back to."""
        return Model(model.size, model.seed, lineage.first(self.lineage, model.stage))

    def formats(self, stage: str) -> Sequence[str]:
        return self.config.stages[stage].formats or self.config.generation.formats

    def format(self, name: str) -> PromptFormat:
        return PromptFormat(name, {**FORMATS, **self.config.formats}[name] or "")

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

    def checkpoint(self, model: Model) -> Path:
        """The local directory that a `checkpoint` stage takes its weights from."""
        path: str = self.stage(model).path  # type: ignore[attr-defined]
        return Path(path.replace("{size}", model.size).replace("{seed}", str(model.seed)))

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
        return self.config.measures.tokens is not None and bool(self.trained())

    def runs_benchmarks(self) -> bool:
        return bool(self.benchmarks) and bool(self.trained())


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
        config = StudyConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise explain(error, path, StudyConfig) from error
    try:
        order = lineage.ordered(config.parents())
        check_references(config)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    resolved = {
        (size, stage): _override(config.stages[stage], model.stages.get(stage, {}), path, size, stage)
        for size, model in config.models.items()
        for stage in order
    }
    prompts = {key: read_prompts(_find(file, path, config_directory), key) for key, file in config.prompts.items()}
    try:
        for (size, key), stage in resolved.items():
            check_stage(config, size, key, stage)
        check_prompts(config, prompts)
        check_reference(config, prompts)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    benchmarks = config.measures.benchmarks
    tasks = find_tasks(benchmarks, path, config_directory) if benchmarks else ()
    return Study(name, path, config, Paths(results / name), prompts, resolved, tasks)


def _find(file: str, study: Path, config_directory: Path) -> Path:
    for base in (study.parent, config_directory):
        if (base / file).is_file():
            return base / file
    raise StudyError(f"{study}: prompts: there is no file {file} beside the study or in {config_directory}.")


def _override(stage: StageBase, changes: Mapping[str, Any], path: Path, size: str, name: str) -> StageBase:
    if not changes:
        return stage
    for key in ("formats", "label"):
        if key in changes:
            raise StudyError(
                f"{path}: models.{size}.stages.{name}.{key}: it is the same for all sizes. Set it in stages.{name}."
            )
    for key in ("method", "from"):
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
