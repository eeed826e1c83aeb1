"""Which files a data set is read from, and in which order."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modecollapse.data.sources.patterns import select
from modecollapse.errors import StudyError

FORMATS = ("jsonl", "json", "csv", "parquet")
"""Formats by their suffix. `json` is JSON Lines, or one array of objects."""

COMPRESSIONS = ("gz", "zst")
"""Suffixes that may follow those of the formats but Parquet's, which is compressed inside."""


@dataclass(frozen=True)
class DataFormat:
    """How a file is read."""

    name: str
    compression: str | None = None

    def __str__(self) -> str:
        return ".".join(filter(None, [self.name, self.compression]))


def format_of(path: Path) -> DataFormat | None:
    """The format that a file's name states; None if it states none that is known."""
    parts = path.name.lower().split(".")[1:]
    compression = parts.pop() if parts and parts[-1] in COMPRESSIONS else None
    if not parts or parts[-1] not in FORMATS or (compression and parts[-1] == "parquet"):
        return None
    return DataFormat(parts[-1], compression)


def known_formats() -> str:
    """The suffixes that can be read, for messages."""
    plain = [f".{name}" for name in FORMATS]
    return ", ".join([*plain, *(f"{name}.{end}" for name in plain if name != ".parquet" for end in COMPRESSIONS)])


def local_files(path: str, study: Path) -> list[Path]:
    """The files that `path` names: itself, what matches the pattern, or all data files of the directory, sorted.

    A relative path is looked for beside the study file, then in the working directory. What is really there wins over
    its name's meaning as a pattern. Files of a directory that are hidden or in no known format are passed over.

    Raises:
        StudyError: nothing is there, or a file that is named is in no known format.
    """
    for base in (study.parent, Path()):
        place = base / path
        if place.is_file():
            found = [place]
        elif place.is_dir():
            inside = sorted(file for file in place.rglob("*") if file.is_file() and not _hidden(file, place))
            found = [file for file in inside if format_of(file)]
            if not found:
                raise StudyError(
                    f"{place} holds no data files. Allowed: {known_formats()}. Name the directory that holds them."
                )
        else:
            found = _matches(base, path)
        if found:
            unknown = [file for file in found if format_of(file) is None]
            if unknown:
                raise StudyError(f"{unknown[0]}: its format is not known. Allowed: {known_formats()}. Convert it.")
            return found
    raise StudyError(
        f"{path}: no file, no directory and no match of such a pattern, neither in {study.parent} (beside the study "
        f"file) nor in {Path.cwd()} (the working directory). Correct `path`."
    )


def _hidden(file: Path, directory: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(directory).parts)


def _matches(base: Path, pattern: str) -> list[Path]:
    if not any(letter in pattern for letter in "*?["):
        return []
    place = Path(pattern)
    if place.is_absolute():
        base, pattern = Path(place.anchor), str(place.relative_to(place.anchor))
    try:
        return sorted(file for file in base.glob(pattern) if file.is_file() and not file.name.startswith("."))
    except ValueError as error:  # ** beside other letters
        raise StudyError(f"{pattern}: {error}. Correct the pattern in `path`.") from error


def hub_files(snapshot: Path, subset: str | None, split: str | None, files: str | None) -> list[Path]:
    """The files of a hub data set that lies in the directory `snapshot`.

    `files`, a pattern, says so itself. Otherwise the library `datasets` decides which files make up the split, by the
    page's `configs` or by the files' names; nothing else of it is used, and no code of the repository is run.

    Raises:
        StudyError: there is no such subset or split, nothing matches, or a file is in no known format.
    """
    if files is not None:
        inside = sorted(file.relative_to(snapshot) for file in snapshot.rglob("*") if file.is_file())
        there = [file.as_posix() for file in inside]
        found = [snapshot / name for name in select(there, files)]
        if not found:
            raise StudyError(
                f"files: nothing in the data set matches {files!r}; it holds {', '.join(there[:12]) or 'nothing'}. "
                "Correct `files`."
            )
    else:
        found = _of_split(snapshot, subset, split or "train")
    unknown = [file for file in found if format_of(file) is None]
    if unknown:
        raise StudyError(
            f"{unknown[0].relative_to(snapshot)}: its format is not known. Allowed: {known_formats()}. "
            "Name other files with `files`."
        )
    return found


def _of_split(snapshot: Path, subset: str | None, split: str) -> list[Path]:
    import tempfile

    import datasets
    import yaml

    try:
        _check_page(snapshot)
        with tempfile.TemporaryDirectory() as cache:  # the library locks a directory that it would build in
            builder = datasets.load_dataset_builder(str(snapshot), subset, cache_dir=cache)
    # The page may hold anything, and the library expects the best.
    except (
        ValueError, TypeError, AttributeError, KeyError, OSError, yaml.YAMLError, datasets.exceptions.DatasetsError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise StudyError(
            f"`datasets` finds no files in the data set: {reason}. Name a `subset` that it has, or the files "
            "themselves with `files`."
        ) from error
    splits = {str(name): files for name, files in (builder.config.data_files or {}).items()}
    if split not in splits:
        raise StudyError(f"split: the data set has no {split!r}. Allowed: {', '.join(splits)}. Name one of these.")
    roots = (os.path.abspath(snapshot), snapshot.resolve())
    for file in splits[split]:  # as their paths are written: in the hub's cache they are links to elsewhere
        if not any(Path(os.path.normpath(file)).is_relative_to(root) for root in roots):
            raise _outside(file)
    return [Path(file) for file in splits[split]]


def _check_page(snapshot: Path) -> None:
    """Check the `configs` of the data set's page before the library follows them to other directories and hosts."""
    import yaml
    from datasets import config
    from huggingface_hub import DatasetCard

    page, settings = snapshot / config.REPOCARD_FILENAME, snapshot / config.REPOYAML_FILENAME
    headings = [DatasetCard.load(page).data.to_dict()] if page.is_file() else []
    headings += [yaml.safe_load(settings.read_text(encoding="utf-8")) or {}] if settings.is_file() else []
    for heading in headings:
        for entry in heading.get("configs") or []:
            for name in [*_strings(entry.get("data_files")), *_strings(entry.get("data_dir"))]:
                outside = os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir
                if outside or "://" in name or "::" in name:
                    raise _outside(name)


def _strings(value: Any) -> list[str]:
    """The texts in nested lists and the values of mappings."""
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for item in inside for text in _strings(item)]


def _outside(name: str) -> StudyError:
    return StudyError(
        f"the data set's page names {name!r}, which is not a file of the data set, and nothing else is read. Name a "
        "`subset` or a `split` of its own files, or the files themselves with `files`."
    )
