"""A finished checkpoint, taken over as it is: weights that exist already become a stage without training."""

from pathlib import Path

from modecollapse.errors import StudyError
from modecollapse.methods.base import Method, TrainingJob, TrainingRecord
from modecollapse.methods.gguf_files import convert_gguf
from modecollapse.methods.model_files import TOKENIZER_FILES, copy_files, copy_tokenizer
from modecollapse.methods.weight_files import (
    CONFIGURATION,
    check_blobs,
    check_embeddings,
    check_tokenizer,
    check_vocabulary,
    find_weights,
    has_tokenizer,
    read_json,
    take_over,
)
from modecollapse.schema import Strict
from modecollapse.sources import GgufSource, HubSource, WeightSource


class CheckpointSettings(Strict):
    """Weights that exist already: a repository of the hub, a local Hugging Face directory, or a GGUF file."""

    source: WeightSource
    """Exactly one of `{hub: OWNER/NAME, revision: main}`, `{path: DIRECTORY}` and `{gguf: FILE}`, the latter also with
    `hub` for a file of a repository. safetensors are preferred to pickled weights, which are converted."""


def run(job: TrainingJob) -> TrainingRecord:
    """Put weights, configuration and tokenizer of `job.source` into `job.output`; nothing else is taken over.

    Raises:
        StudyError: no configuration, tokenizer or weights; damaged or incomplete weights; a tokenizer of another
            model; or a model that would need code from its repository.
    """
    assert isinstance(job.settings, CheckpointSettings)
    assert job.source is not None
    source = job.source
    if isinstance(job.settings.source, GgufSource):
        convert_gguf(source, job.output)
        check_vocabulary(job.output)
    else:
        check_files(source)
        weights = find_weights(source)
        from_hub = isinstance(job.settings.source, HubSource)
        if from_hub:
            check_blobs(source, weights.shards)
        copy_files(source, job.output, CONFIGURATION)
        copy_tokenizer(source, job.output)
        check_vocabulary(job.output)  # before gigabytes are copied or converted
        take_over(weights, job.output, link=from_hub)
    return TrainingRecord(steps=0, tokens=0)


def check_files(source: Path) -> None:
    """Check that a directory has what a checkpoint needs; of the weights only the headers are read.

    Raises:
        StudyError: no directory; no configuration, tokenizer or weights in it; incomplete weights, or ones of another
            vocabulary than the configuration's; or a model that transformers does not know without code from its
            repository.
    """
    if not source.is_dir():
        raise StudyError(f"{source}: there is no such directory. Name one with a complete Hugging Face model.")
    if not (source / "config.json").is_file():
        raise StudyError(f"{source} has no config.json. Name a complete Hugging Face model directory.")
    if not has_tokenizer(source):
        raise StudyError(f"{source} has no tokenizer. Put its files (e.g. tokenizer.json) beside the weights.")
    check_tokenizer(source)
    check_embeddings(find_weights(source))
    config = read_json(source / "config.json")
    # Many models had code of their own before transformers knew them, and still name it: its own code is used then.
    if "auto_map" in config and not _is_known(config.get("model_type")):
        raise StudyError(
            f"{source}/config.json asks for code of its own (auto_map), and no remote code is ever run: transformers "
            f"has no causal language model of the type {config.get('model_type')!r} itself. Use a model of a type that "
            "it knows."
        )


def _is_known(model_type: object) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def context_of(source: Path) -> int | None:
    """Positions that a checkpoint knows, as far as its configuration says so."""
    positions = read_json(source / "config.json").get("max_position_embeddings")
    return positions if isinstance(positions, int) and not isinstance(positions, bool) else None


def files_taken_over(source: Path) -> list[Path]:
    """The files of a checkpoint's directory that decide the stage: weights, configuration, tokenizer."""
    weights = find_weights(source)
    # Every safetensors file has counted since before there were other kinds, and finished work is known by these names.
    files = {source / name for name in weights.shards} if weights.pickled else set(source.glob("*.safetensors"))
    names = (*CONFIGURATION, weights.leading, *TOKENIZER_FILES)
    return sorted({*files, *(source / name for name in names if (source / name).is_file())})


METHOD = Method(
    name="checkpoint",
    revision=1,
    settings=CheckpointSettings,
    run=run,
    needs_parent=False,
    data_columns=(),
    modules=("methods.checkpoint", "methods.weight_files", "methods.gguf_files", "methods.model_files"),
    libraries=("transformers:AutoConfig", "transformers:AutoTokenizer"),
    trains=False,
    check_source=check_files,
    files_taken_over=files_taken_over,
)
