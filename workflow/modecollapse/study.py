"""A study: its configuration, read, validated as a whole and resolved into models and cells."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from modecollapse import lineage
from modecollapse.cells import Cell, Model
from modecollapse.completions import check_completions
from modecollapse.config import FORMATS, STAGE_MODELS, CompletionsStage, Data, Stage, StageBase, StudyConfig
from modecollapse.config_errors import explain
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.base import Method
from modecollapse.metrics.registry import METRICS
from modecollapse.paths import Paths
from modecollapse.prompt_files import read_prompts
from modecollapse.prompts import PromptFormat, PromptSet
from modecollapse.schema import Strict
from modecollapse.yaml_files import read_yaml


@dataclass(frozen=True)
class Study:
    """A validated study. Iteration orders are those of the study file, parents before children."""

    name: str
    config: StudyConfig
    paths: Paths
    prompts: Mapping[str, PromptSet]
    resolved: Mapping[tuple[str, str], StageBase]
    """(size, stage) → the stage with that size's differences applied."""
    completions: Path | None = field(default=None, compare=False)

    @cached_property
    def lineage(self) -> lineage.Lineage:
        return {name: [stage.parent] if stage.parent else [] for name, stage in self.config.stages.items()}

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

    def embeds(self) -> bool:
        """Whether a metric needs sentence vectors."""
        return any(METRICS[name].needs_embeddings for name in self.config.measures.diversity.metrics)

    def measures_tokens(self) -> bool:
        return self.config.measures.tokens is not None and bool(self.trained())


def load_study(settings: Mapping[str, Any], config_directory: Path) -> Study:
    """The study that the workflow's configuration names.

    Args:
        settings: `study` (a name in ``config/studies`` or a path), `results` (directory for results) and, for studies
            of finished completions, `completions` (their directory).
        config_directory: the project's ``config`` directory.

    Raises:
        StudyError: anything about the study that can be known to be wrong before work starts.
    """
    unknown = set(settings) - {"study", "results", "store", "store_limit_gb", "completions", "about"}
    if unknown:
        raise StudyError(
            f"--config {sorted(unknown)[0]}=…: no such key. Allowed: completions, results, store, store_limit_gb, "
            "study. What belongs to the science goes into the study file."
        )
    for key in ("study", "results", "store", "completions"):
        if key in settings and not str(settings[key] or "").strip():
            raise StudyError(f"--config {key}=: it is empty. Give a name or a directory.")
    path = _study_file(str(settings["study"]), config_directory)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        raise StudyError(f"{path}: its name is part of paths. Allowed: letters, digits, '.', '_' and '-'. Rename it.")
    study = parse_study(
        read_yaml(path), path.stem, path, config_directory, Path(str(settings.get("results", "results")))
    )
    directory = settings.get("completions")
    resolved = Study(
        study.name,
        study.config,
        study.paths,
        study.prompts,
        study.resolved,
        Path(str(directory)) if directory else None,
    )
    _check_completions(resolved)
    return resolved


def load_study_or_exit(settings: Mapping[str, Any], config_directory: Path) -> Study:
    """`load_study` for the Snakefile: an error is printed as it is, without a traceback, and ends with status 1."""
    try:
        return load_study(settings, config_directory)
    except StudyError as error:
        print(f"\n{error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)


def parse_study(content: Mapping[str, Any], name: str, path: Path, config_directory: Path, results: Path) -> Study:
    """Validate the content of a study file; see `load_study`."""
    try:
        config = StudyConfig.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise explain(error, path, StudyConfig) from error
    try:
        order = lineage.ordered({key: [stage.parent] if stage.parent else [] for key, stage in config.stages.items()})
        _check_references(config)
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
            _check_stage(config, size, key, stage)
        _check_prompts(config, prompts)
    except StudyError as error:
        raise StudyError(f"{path}: {error}") from error
    return Study(name, config, Paths(results / name), prompts, resolved)


def _study_file(study: str, config_directory: Path) -> Path:
    if study.endswith((".yaml", ".yml")):
        path = Path(study)
        if path.is_file():
            return path
        raise StudyError(f"--config study={study}: there is no such file. Give the path of a study file.")
    path = config_directory / "studies" / f"{study}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in (config_directory / "studies").glob("*.yaml"))
        raise StudyError(
            f"--config study={study}: there is no such study. Allowed: {', '.join(known)}, "
            "or the path of a file *.yaml."
        )
    return path


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


def _known(key: str, names: Mapping[str, Any] | Sequence[str], allowed: Mapping[str, Any], what: str) -> None:
    for name in names:
        if name not in allowed:
            raise StudyError(
                f"{key}: no {what} is called {name!r}. Allowed: {', '.join(allowed) or 'none is defined'}. "
                f"Name one of these, or define {name!r}."
            )


def _check_references(config: StudyConfig) -> None:
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
    if config.analysis.temperature not in config.generation.temperatures:
        raise StudyError(
            f"analysis.temperature: {config.analysis.temperature} is not sampled. "
            f"Allowed: {', '.join(config.generation.temperatures)}."
        )


def _check_stage(config: StudyConfig, size: str, name: str, stage: StageBase) -> None:
    key = f"stages.{name}"
    _known(f"{key}.train_format ({size})", [stage.train_format], {**FORMATS, **config.formats}, "prompt format")
    if isinstance(stage, CompletionsStage):
        for prompts in config.prompts:
            if prompts not in stage.files:
                raise StudyError(f"{key}.files: no file for the prompt set {prompts!r}; add `{prompts}: FILE`.")
        _known(f"{key}.files", stage.files, config.prompts, "prompt set")
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
    if method.name == "pretrain":
        architecture = config.models[size].architecture
        if architecture is None:
            raise StudyError(
                f"models.{size}.architecture: the stage {name} pretrains, so the size needs its shape, e.g. "
                "{hidden_size: 48, layers: 2, heads: 2, context: 128}."
            )
        if config.tokenizer is None:
            raise StudyError(f"tokenizer: the stage {name} pretrains and needs one. Add `tokenizer: {{data: …}}`.")
        longest = {f"{key}.sequence_length": stage.sequence_length}  # type: ignore[attr-defined]
        longest["generation.max_new_tokens"] = config.generation.max_new_tokens
        if config.measures.tokens:
            longest["measures.tokens.context"] = config.measures.tokens.context
        for setting, length in longest.items():
            if length > architecture.context:
                raise StudyError(
                    f"{setting}: {length} tokens do not fit the context of {size}, {architecture.context}. "
                    f"Set it to at most {architecture.context}."
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


def _check_prompts(config: StudyConfig, prompts: Mapping[str, PromptSet]) -> None:
    generated = [name for name, stage in config.stages.items() if not isinstance(stage, CompletionsStage)]
    for name, prompt_set in prompts.items():
        unknown = [prompt.id for prompt in prompt_set.prompts if prompt.text is None]
        if unknown and generated:
            raise StudyError(
                f"prompts.{name}: {unknown[0]} has no text, but the stage {generated[0]} has to answer it. "
                "Give every prompt its `text`."
            )


def _check_completions(study: Study) -> None:
    if not study.imported():
        return
    if study.completions is None:
        raise StudyError(
            f"The study {study.name} measures finished completions, but `completions` is not set. "
            "Name their directory: --config completions=DIR."
        )
    if not study.completions.is_dir():
        raise StudyError(
            f"--config completions={study.completions}: there is no such directory. Name the one that holds "
            f"{study.completions_file(study.imported()[0], next(iter(study.config.prompts))).name}."
        )
    for model in study.imported():
        stage = study.stage(model)
        assert isinstance(stage, CompletionsStage)
        for prompts, prompt_set in study.prompts.items():
            check_completions(
                study.completions_file(model, prompts),
                layout=stage.layout,
                prompts=prompt_set.ids(),
                temperatures=study.config.generation.temperatures,
            )
