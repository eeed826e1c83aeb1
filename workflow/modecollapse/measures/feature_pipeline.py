"""Which spaCy pipeline text features are computed with; cheap to import and to check.

What of a pipeline is trusted: a package is code, and is imported. A directory that `nlp.to_disk` wrote is data: spaCy
reads it as JSON, msgpack and arrays without pickles (PyTorch's weights as weights only), and its `config.cfg` names
functions that installed packages registered, or other installed pipelines, but can bring no code of its own.
"""

import importlib.util
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.schema import Name, Strict

BLANK = "blank"

_LIBRARIES = ("spacy", "textdescriptives", "pyphen", "spacy-lookups-data")

_TOKENIZERS = {"ja": "sudachipy", "ko": "natto", "th": "pythainlp", "vi": "pyvi"}
"""Languages whose tokenizer is another package's module."""

_FILES = ("config.cfg", "tokenizer", "vocab")
"""Besides meta.json, what every directory written by `nlp.to_disk` has."""


class PipelineSettings(Strict):
    """The spaCy pipeline that finds words, sentences and, if it can, parts of speech and dependencies."""

    pipeline: str = BLANK
    """`blank`: the tokenizer of `language` and a splitter of sentences by rules; otherwise the name of an installed
    package with a spaCy pipeline (`en_core_web_md`), or a directory that `nlp.to_disk` wrote, with a `/` in it."""
    language: Name = "en"
    """Language of `blank`, as spaCy abbreviates it; any other pipeline has its own."""
    vocabulary: Literal["vectors", "lexemes"] = "vectors"
    """Which words count as known for `oov_ratio`: `vectors`, those that have a vector in the pipeline; or `lexemes`,
    those of spaCy's table of word probabilities, in exactly this spelling."""


def check_pipeline(settings: PipelineSettings, key: str = "measures.text_features") -> None:
    """Refuse a pipeline that cannot be loaded, before any job starts. spaCy is not imported.

    Args:
        settings: the pipeline.
        key: what the settings are called in the study, for messages.

    Raises:
        StudyError: a package is not installed; no such language or pipeline; the directory is incomplete; or the
            vocabulary is `lexemes` and the language has no table of word probabilities.
    """
    for library in _LIBRARIES:
        _installed_version(library)
    if settings.pipeline == BLANK:
        _check_language(settings.language, f"{key}.language")
        language = settings.language
    else:
        language = _meta(pipeline_directory(settings, key), key)["lang"]
    if settings.vocabulary == "lexemes" and language not in (known := _with_probabilities()):
        raise StudyError(
            f"{key}.vocabulary: lexemes, but spaCy has no table of word probabilities of the language {language!r}. "
            f"Languages that have one: {', '.join(known)}. Choose vectors, with a pipeline that has word vectors."
        )


def pipeline_directory(settings: PipelineSettings, key: str = "measures.text_features") -> Path:
    """The directory of a pipeline other than `blank`: its own, or that of its package.

    Raises:
        StudyError: there is no such pipeline.
    """
    name = settings.pipeline
    if "/" in name:
        if not (Path(name) / "meta.json").is_file():
            raise StudyError(
                f"{key}.pipeline: {name!r} is no directory with a meta.json. Name a directory that spaCy's nlp.to_disk "
                f"wrote, an installed pipeline package, or {BLANK}."
            )
        return Path(name)
    specification = importlib.util.find_spec(name) if name.isidentifier() else None
    places = specification.submodule_search_locations if specification else None
    package = Path(next(iter(places))) if places else None
    if package is None or not (package / "meta.json").is_file():
        found = "is installed, but is no package of a spaCy pipeline" if specification else "is not installed"
        raise StudyError(
            f"{key}.pipeline: {name!r} {found}. Allowed: {BLANK} (words and sentences only), the name of an installed "
            "package with a spaCy pipeline such as en_core_web_md, or the path of a directory that nlp.to_disk wrote, "
            "with a / in it. Packages are to be had at https://github.com/explosion/spacy-models/releases, for pip."
        )
    return package


def pipeline_identity(settings: PipelineSettings) -> dict[str, str | dict[str, str]]:
    """All that decides a text's features besides the settings and our own code.

    It is the versions of the libraries and, as `pipeline`, a package's version or the SHA-256 of a directory's files.

    Raises:
        StudyError: a package is not installed, or there is no such pipeline.
    """
    found: dict[str, str | dict[str, str]] = {library: _installed_version(library) for library in _LIBRARIES}
    if settings.pipeline == BLANK:
        return found
    directory = pipeline_directory(settings)
    if "/" not in settings.pipeline:
        return found | {"pipeline": f"{settings.pipeline} {_meta(directory)['version']}"}
    return found | {"pipeline": sha256_directory(directory)}


def _installed_version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError as error:
        raise StudyError(
            f"Text features need the package {library}, which is not installed. Install the project's environment anew."
        ) from error


def _folder(module: str) -> Path:
    specification = importlib.util.find_spec(module)
    places = specification.submodule_search_locations if specification else None
    if not places:
        raise StudyError(f"The module {module} is not installed. Install the project's environment anew.")
    return Path(next(iter(places)))


def _check_language(language: str, key: str) -> None:
    known = sorted(path.parent.name for path in (_folder("spacy") / "lang").glob("*/__init__.py"))
    if language not in known:
        raise StudyError(f"{key}: spaCy does not know the language {language!r}. Allowed: {', '.join(known)}.")
    tokenizer = _TOKENIZERS.get(language)
    if tokenizer and importlib.util.find_spec(tokenizer) is None:
        raise StudyError(
            f"{key}: words of the language {language!r} are found by the module {tokenizer}, which is not installed. "
            "Install it, or choose another language."
        )


def _with_probabilities() -> list[str]:
    suffix = "_lexeme_prob.json.gz"
    return sorted(
        path.name.removesuffix(suffix) for path in (_folder("spacy_lookups_data") / "data").glob(f"*{suffix}")
    )


def _meta(directory: Path, key: str = "measures.text_features") -> Mapping[str, Any]:
    """What a pipeline says of itself.

    Raises:
        StudyError: that is not readable, or the pipeline is incomplete.
    """
    path = directory / "meta.json"
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{key}.pipeline: {path} is not readable ({error}). Write the pipeline anew.") from error
    absent = [name for name in ("lang", "name", "version") if not isinstance(meta, dict) or name not in meta]
    if absent:
        raise StudyError(f"{key}.pipeline: {path} does not say {', '.join(absent)}. Write the pipeline anew.")
    # A package keeps its data in a folder named for its version.
    data = directory / f"{meta['lang']}_{meta['name']}-{meta['version']}"
    data = data if data.is_dir() else directory
    absent = [name for name in _FILES if not (data / name).exists()]
    if absent:
        raise StudyError(
            f"{key}.pipeline: {data} lacks {', '.join(absent)}, which spaCy's nlp.to_disk writes. Write the pipeline "
            "anew, with spaCy 3."
        )
    return dict(meta)
