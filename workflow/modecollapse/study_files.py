"""The study that the workflow's settings name: found, claimed and loaded."""

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError
from modecollapse.file_digests import FileDigests
from modecollapse.judging.checks import check_judgements
from modecollapse.measures.embedder import find_embedder
from modecollapse.publishing import publish_file
from modecollapse.refused_writes import refusal
from modecollapse.resources.machine import read_machine
from modecollapse.resources.machine_checks import check_machine
from modecollapse.source_checks import check_sources
from modecollapse.study import Study, parse_study
from modecollapse.study_inheritance import read_study, study_names

_SETTINGS = ("completions", "machine", "reference", "results", "store", "store_limit_gb", "study")


def load_study(settings: Mapping[str, Any], config_directory: Path) -> Study:
    """The study that the workflow's configuration names.

    Args:
        settings: `study` (a name in ``config/studies`` or a path), `results` (directory for results) and, for studies
            of finished completions, `completions` (their directory) and `reference` (that of results to compare with);
            `machine` (see `modecollapse.resources.machine`); `partitions`, which only Slurm's plugin reads.
        config_directory: the project's ``config`` directory.

    Raises:
        StudyError: anything about the study that can be known to be wrong before work starts.
    """
    unknown = set(settings) - {*_SETTINGS, "about", "partitions"}
    if unknown:
        raise StudyError(
            f"--config {sorted(unknown)[0]}=…: no such key. Allowed: {', '.join(_SETTINGS)}. What belongs to the "
            "science goes into the study file."
        )
    machine = read_machine(settings)
    for key in ("study", "results", "store", "completions", "reference"):
        if key in settings and not str(settings[key] or "").strip():
            raise StudyError(f"--config {key}=: it is empty. Give a name or a directory.")
    path = _study_file(str(settings["study"]), config_directory)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", path.stem):
        raise StudyError(f"{path}: its name is part of paths. Allowed: letters, digits, '.', '_' and '-'. Rename it.")
    _check_limit(settings.get("store_limit_gb", 1))
    results, directory = Path(str(settings.get("results", "results"))), settings.get("completions")
    study = parse_study(read_study(path, config_directory), path.stem, path, config_directory, results)
    if (store := settings.get("store")) is not None:
        study = replace(study, file_digests=FileDigests(Path(str(store)) / "digests.json"))
    if directory is not None:
        study = replace(study, completions=Path(str(directory)))
    if settings.get("reference") is not None:
        study = replace(study, reference=Path(str(settings["reference"])))
    _check_owner(study)
    check_judgements(study)
    check_sources(study)
    if study.embeds() or study.embeds_answers():
        find_embedder(study.config.measures.diversity.embedder)
    check_machine(study, machine)
    return study


def load_study_or_exit(settings: Mapping[str, Any], config_directory: Path) -> Study:
    """`load_study` for the Snakefile: an error is printed as it is, without a traceback, and ends with status 1."""
    try:
        return load_study(settings, config_directory)
    except StudyError as error:
        print(f"\n{error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)


def claim_results(study: Study) -> None:
    """Record beside the study's results which file they belong to, so that no other study of its name takes them."""
    with publish_file(_owner(study)) as partial:
        partial.write_text(json.dumps({"study": str(_identity(study))}) + "\n")


def claim_results_or_exit(study: Study) -> None:
    """`claim_results` for the Snakefile: results that cannot be written are said before any job starts."""
    try:
        claim_results(study)
    except OSError as error:
        message = refusal(error, {"results": Path(study.paths.root).parent})
        if message is None:
            raise
        print(f"\n{study.file}: {message}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)


def _owner(study: Study) -> Path:
    return Path(study.paths.root) / "study.json"


def _identity(study: Study) -> Path:
    """The study file's path: relative where file and results lie in the working directory, which can be moved then."""
    here, path = Path.cwd(), study.file.resolve()
    inside = path.is_relative_to(here) and Path(study.paths.root).resolve().is_relative_to(here)
    return path.relative_to(here) if inside else path


def _check_owner(study: Study) -> None:
    """The results of this name were not made by another study file that still exists."""
    record = _owner(study)
    try:
        owner = Path(json.loads(record.read_text(encoding="utf-8"))["study"])
        others = [path for path in record.parent.iterdir() if path != record]
    except (OSError, ValueError, KeyError, TypeError):
        return  # nobody's yet
    if others and owner != _identity(study) and owner.is_file():
        raise StudyError(
            f"{study.file}: {study.paths.root} holds the results of another study of this name, {owner}. "
            "Rename one of the two files, or keep the results apart with --config results=DIR."
        )


def _check_limit(limit: object) -> None:
    try:
        intact = not isinstance(limit, bool) and 0 < float(str(limit)) < math.inf
    except ValueError:
        intact = False
    if not intact:
        raise StudyError(f"--config store_limit_gb={limit}: it is no number above 0. Give a number of gigabytes.")


def _study_file(study: str, config_directory: Path) -> Path:
    if study.endswith((".yaml", ".yml")):
        path = Path(study)
        if path.is_file():
            return path
        raise StudyError(f"--config study={study}: there is no such file. Give the path of a study file.")
    path = config_directory / "studies" / f"{study}.yaml"
    if not path.is_file():
        raise StudyError(
            f"--config study={study}: there is no such study. Allowed: {', '.join(study_names(config_directory))}, "
            "or the path of a file *.yaml."
        )
    return path
