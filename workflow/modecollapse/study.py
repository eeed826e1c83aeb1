"""A study: its configuration, read, validated as a whole and resolved into models, cells and measures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modecollapse import lineage
from modecollapse.cells import Model
from modecollapse.comparison_checks import check_reference
from modecollapse.config import StudyConfig
from modecollapse.config_errors import explain
from modecollapse.derived_checks import check_derived
from modecollapse.epochs import Runs
from modecollapse.errors import StudyError
from modecollapse.guard_rails.checks import check_guard_rails, check_run_guards, judged_stages, resolved_rails
from modecollapse.hub import lock_path, read_lock
from modecollapse.measures.benchmarks import find_tasks
from modecollapse.measures.guard_rails import Rail
from modecollapse.methods.guard_settings import RunGuards
from modecollapse.metrics.registry import METRICS
from modecollapse.paths import Paths
from modecollapse.prompt_files import read_prompts
from modecollapse.reward_checks import check_rewards, check_sampled
from modecollapse.stage_config import STAGE_MODELS, Stage, StageBase
from modecollapse.study_checks import check_kept_adapters, check_parts, check_prompts, check_references, check_stage
from modecollapse.study_likeness import resolved_likeness
from modecollapse.study_sources import Sources


@dataclass(frozen=True, kw_only=True)
class Study(Sources):
    """A validated study: its grid (`study_grid`), data sets (`study_data`), sources (`study_sources`) and measures."""

    rails: tuple[Rail, ...] = field(default=(), compare=False)
    """The guard rails of `measures.guard_rails`, resolved."""

    def embeds(self) -> bool:
        """Whether a metric needs sentence vectors."""
        return any(METRICS[name].needs_embeddings for name in self.config.measures.diversity.metrics)

    def scores_quality(self) -> bool:
        """Whether completions have a quality score: some prompts have accepted answers, or the world its annotators."""
        asked = (prompt for prompts in self.prompts.values() for prompt in prompts.prompts)
        return self.config.world is not None or any(prompt.answers for prompt in asked)

    def measures_tokens(self) -> bool:
        return self.config.measures.tokens is not None and bool(self.language_models())

    def published(self) -> dict[tuple[str, str], tuple[str, str]]:
        """(size, stage) of models with weights → (model, stage) under which their results were published."""
        named: dict[tuple[str, str], tuple[str, str]] = {}
        for model in self.trained():
            size, stage = self.config.models[model.size].published_as, self.stage(model).published_as
            if size and stage:
                named[model.size, model.stage] = (size, stage)
        return named

    def experiments(self) -> list[str]:
        """The creativity measures that sample outputs of their own."""
        measures = self.config.measures
        asked = measures.semantic is not None and bool(measures.semantic.asked)
        wanted = {
            "personas": measures.personas is not None,
            "semantic": asked,
            "top_entropy": measures.top_entropy is not None,
            "attractor": measures.attractor is not None,
            "probes": measures.probes is not None,
        }
        return [name for name, is_wanted in wanted.items() if is_wanted]

    def experimented(self) -> list[Model]:
        """The models that are asked for them: those that have weights and predict tokens."""
        return self.language_models() if self.experiments() else []

    def persona_format(self, stage: str) -> str:
        """The prompt format that a stage is asked for personas in."""
        settings = self.config.measures.personas
        assert settings is not None
        return next(form for form in self.formats(stage) if form in settings.templates)

    def diverging(self) -> list[Model]:
        """The models whose divergence from the reference stage is measured: those that descend from it and predict."""
        settings = self.config.measures.divergence
        if settings is None:
            return []
        below = lineage.below(self.compared_paths, settings.reference)
        return [model for model in self.language_models() if model.stage in below]

    def diverging_from(self, model: Model) -> Model:
        """The model that the divergence is measured from."""
        settings = self.config.measures.divergence
        assert settings is not None
        return Model(model.size, model.seed, settings.reference)

    def runs_benchmarks(self) -> bool:
        return bool(self.benchmarks) and bool(self.language_models())

    def judged_stages(self) -> list[str]:
        """The stages that must not fall below the reference of the guard rails; none if there are no such rails."""
        settings = self.config.measures.guard_rails
        judged = judged_stages(self.config, settings) if settings else []
        return [stage for stage in self.stages if stage in judged]

    def guards(self, model: Model) -> RunGuards | None:
        """The benchmarks that the model is put to while it is tuned; None if to none."""
        found: RunGuards | None = getattr(self.stage(model), "guard_rails", None)
        return found

    def run_rails(self, model: Model) -> list[Rail]:
        """The guard rails that it is looked at by then."""
        guards = self.guards(model)
        return [rail for rail in self.rails if guards and (guards.tasks is None or rail.task in guards.tasks)]


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
        check_parts(config)
        check_rewards(config)
        check_derived(config)
        check_sampled(config)
        lineage.ordered(config.parents())
        check_references(config)
        check_guard_rails(config)
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
        check_kept_adapters(config, resolved)
        for (size, key), stage in resolved.items():
            check_stage(config, size, key, stage)
            check_run_guards(config, key, stage)
        check_prompts(config, prompts)
        check_reference(config, prompts)
    except StudyError as error:
        raise StudyError(f"{path}: {runs.as_written(str(error))}") from error
    benchmarks = config.measures.benchmarks
    tasks = find_tasks(benchmarks, path, config_directory) if benchmarks else ()
    try:
        rails = resolved_rails(config, tasks)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    return Study(
        name=name,
        file=path,
        config=config,
        paths=Paths(results / name),
        prompts=prompts,
        resolved=resolved,
        runs=runs,
        benchmarks=tasks,
        rails=rails,
        lock=read_lock(lock_path(path)),
    )


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
