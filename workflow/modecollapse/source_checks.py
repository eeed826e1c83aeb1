"""What a study takes from elsewhere is there and fits it: completions, results, weights and data sets.

All of it is checked when the study is planned, as far as it is on this machine; what is fetched from the hub is checked
in the same ways where it is downloaded.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from modecollapse.adapter_bases import check_base
from modecollapse.cells import Model
from modecollapse.comparison.stored_results import read_results
from modecollapse.comparison_checks import check_controlled
from modecollapse.completions import check_completions
from modecollapse.data.sources.records import first_columns
from modecollapse.errors import StudyError
from modecollapse.hub import check_revision, snapshot_directory
from modecollapse.methods.adapter import CONFIG
from modecollapse.methods.checkpoint import context_of
from modecollapse.methods.gguf_files import check_gguf
from modecollapse.methods.model_files import has_chat_template
from modecollapse.methods.weight_files import has_tokenizer
from modecollapse.prompts import Chat
from modecollapse.rendering import no_template
from modecollapse.sources import GgufSource
from modecollapse.stage_config import CompletionsStage
from modecollapse.study import Study
from modecollapse.study_checks import check_lengths


def check_sources(study: Study) -> None:
    """Check everything that the study takes from elsewhere, as far as it is on this machine.

    Raises:
        StudyError: something is missing or damaged, or is not what the study asks of it.
    """
    _check_completions(study)
    _check_results(study)
    _check_weights(study)
    _check_data(study)


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
            file = study.completions_file(model, prompts)
            number = check_completions(
                file,
                layout=stage.layout,
                prompts=prompt_set.ids(),
                temperatures=study.config.generation.temperatures,
            )
            try:
                check_controlled(study.config, number, str(file))
            except StudyError as error:
                raise StudyError(f"{study.file}: {error}") from error


def _check_results(study: Study) -> None:
    """The stored results of others are what the study says, if their directory is named."""
    if study.reference is None:
        return
    if study.config.reference is None:
        raise StudyError(
            f"--config reference={study.reference}: the study {study.name} names no stored results. "
            "Add the section `reference` to it, or leave the setting out."
        )
    if not study.reference.is_dir():
        raise StudyError(
            f"--config reference={study.reference}: there is no such directory. Name the one that holds "
            f"{study.reference_file(study.compared()[0]).name}."
        )
    prompts = {name: prompt_set.ids() for name, prompt_set in study.prompts.items()}
    for model in study.compared():
        path = study.reference_file(model)
        if not path.is_file():
            beside = sorted(entry.name for entry in study.reference.iterdir())
            raise StudyError(
                f"{study.file}: reference.files.{model.stage} ({model}): {path} is no file; {study.reference} holds "
                f"{', '.join(beside[:12]) or 'nothing'}. Name another directory, or correct the file's name."
            )
        read_results(path, study.config.generation.temperatures, prompts)


def _check_weights(study: Study) -> None:
    """Weights of this machine that are taken over are complete; what stages are asked for fits their context.

    Of the hub's repositories only what the cache happens to hold can be known yet: a plan needs neither lock nor cache.
    """
    for model in study.trained():
        try:
            if (needed := study.needed_of(model)) is not None:
                check_revision(needed.revision)
            if (path := study.local_source(model)) is not None:
                _check_braces(path, "{size} and {seed} are filled in")
                check_source(study, model, path)
        except StudyError as error:
            raise StudyError(f"{study.file}: stages.{model.stage}.source ({model}): {error}") from error
        try:
            adapter = _known_adapter(study, model)
            if adapter is not None:
                check_base(study, model, adapter)
            _check_chat(study, model)
            directory = _known_directory(study, study.origin(model))
            _check_benchmark_chat(study, model)
            context = context_of(directory) if directory is not None else None
            if context is not None:
                check_lengths(study.config, model.size, model.stage, study.stage(model), context)
        except StudyError as error:
            raise StudyError(f"{study.file}: {study.runs.as_written(str(error))}") from error


def check_source(study: Study, model: Model, path: Path) -> None:
    """Check that the directory or GGUF file `path` has what a model is taken over from; of weights only the headers.

    Raises:
        StudyError: something is missing or damaged, or of a kind that is not read.
    """
    method = study.method(model)
    assert method is not None
    assert method.check_source is not None
    check = check_gguf if isinstance(study.source(model), GgufSource) else method.check_source
    check(path)


def _check_braces(path: Path, allowed: str) -> None:
    """A path is no pattern to Snakemake, which has no way to write braces that are none."""
    if re.search(r"\{.*\}", str(path)):
        raise StudyError(
            f"{path}: Snakemake takes what stands in braces for a wildcard. Allowed: {allowed}. Rename it."
        )


def _known_directory(study: Study, origin: Model) -> Path | None:
    """Where the configuration of a taken-over model is, if it is on this machine."""
    if not study.stage(origin).has("copies_source") or isinstance(study.source(origin), GgufSource):
        return None
    directory = _source_directory(study, origin)
    return directory if directory and (directory / "config.json").is_file() else None


def _known_adapter(study: Study, model: Model) -> Path | None:
    """The directory of a model's own adapter, if it is one and on this machine."""
    if not study.stage(model).has("merges_adapter"):
        return None
    directory = _source_directory(study, model)
    return directory if directory and (directory / CONFIG).is_file() else None


def _source_directory(study: Study, model: Model) -> Path | None:
    """Where the files of a model's source are, or will be."""
    directory, needed = study.local_source(model), study.needed_of(model)
    if directory is None and needed is not None:
        commit = study.lock.commit(needed.revision)
        directory = snapshot_directory(needed.revision, commit or "not-locked")
    return directory


def _known_tokenizer(study: Study, model: Model) -> Path | None:
    """The directory that the model's tokenizer comes from; None if it is made here, or not on this machine yet.

    Each stage has its parent's tokenizer, unless an adapter brings its own.
    """
    current: Model | None = model
    while current is not None:
        stage = study.stage(current)
        if stage.has("merges_adapter"):
            adapter = _known_adapter(study, current)
            if adapter is None or has_tokenizer(adapter):
                return adapter
        if not stage.has("needs_parent"):
            return _known_directory(study, current)
        current = study.parent(current)
    return None


def _check_chat(study: Study, model: Model) -> None:
    """The tokenizer that the model will have, as far as it is known, has the chat template that the formats need."""
    source = _known_tokenizer(study, model)
    if source is None:
        return
    stage = study.stage(model)
    used = {name: f"stages.{model.stage}.formats" for name in study.formats(model.stage)}
    if stage.has("trains"):
        used[stage.train_format] = f"stages.{model.stage}.train_format"
    features = study.config.measures.text_features
    if features is not None and features.pair_sets and model in study.language_models():
        used.setdefault(features.format, "measures.text_features.format")
    for name, key in used.items():
        template = study.format(name).template
        if isinstance(template, Chat) and template.template is None and not has_chat_template(source):
            raise StudyError(f"{key} ({model}): {no_template(str(source), name)}")


def _check_benchmark_chat(study: Study, model: Model) -> None:
    """A model that benchmarks are to ask in its chat template has one, as far as its tokenizer is known."""
    benchmarks = study.config.measures.benchmarks
    if benchmarks is None or model.stage not in benchmarks.chat_template:
        return
    source = _known_tokenizer(study, model)
    made_here = study.stage(study.origin(model)).has(
        "starts_from_nothing"
    )  # tokenizers that are trained here have none
    if made_here or (source is not None and not has_chat_template(source)):
        raise StudyError(
            f"measures.benchmarks.chat_template: {model.stage} ({model}): "
            f"{'its tokenizer' if made_here else source} has no chat template. Remove the stage from the list; its "
            "questions are then asked as the tasks' files write them."
        )


def _check_data(study: Study) -> None:
    """Local data sets are there, in a format that is known, and their first rows have the columns that are used."""
    for name in study.used_data():
        if study.config.data[name].source is None:
            continue
        files, needed = study.data_files(name), study.needed_of_data(name)
        try:
            if needed is not None:
                check_revision(needed.revision)
            for file in files:
                _check_braces(file, "none")
        except StudyError as error:
            raise StudyError(f"{study.file}: data.{name}.source: {error}") from error
        check_columns(study, name, files[:1])


def check_columns(study: Study, name: str, files: Sequence[Path]) -> None:
    """Check that the first rows of these files of a data set have the columns that are used of it.

    Raises:
        StudyError: a column is missing, or a file cannot be read.
    """
    try:
        columns = study.data_columns(name)
    except StudyError as error:
        raise StudyError(f"{study.file}: {error}") from error
    for file in files:
        try:
            present = first_columns(file)
        except StudyError as error:
            raise StudyError(f"{study.file}: data.{name}: {error}") from error
        missing = [column for column in columns.values() if present is not None and column not in present]
        if present is not None and missing:
            raise StudyError(
                f"{study.file}: data.{name}.columns: the first row of {file} has no {missing[0]!r}; it has "
                f"{', '.join(present) or 'no columns'}. Say how they are called: `columns: {{ours: theirs}}`."
            )
