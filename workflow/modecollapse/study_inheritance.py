"""A study that states its differences to another one: `extends` is followed and merged before anything is validated."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError
from modecollapse.yaml_files import read_yaml


def read_study(path: Path, config_directory: Path) -> dict[str, Any]:
    """The content of a study file, with everything that it takes from the study it extends.

    Mappings are merged key by key; lists and single values are replaced; null removes a key. A stage that names another
    `method` replaces the whole stage, since keys of one method mean nothing to another, and a `source` is replaced as a
    whole. Prompt files beside a file that is extended are found there.

    Raises:
        StudyError: a file that cannot be read, that does not exist, or that extends itself.
    """
    chain: list[Path] = []
    content: dict[str, Any] = {}
    while True:
        if path.resolve() in [known.resolve() for known in chain]:
            names = " extends ".join(map(str, [*chain, path]))
            raise StudyError(f"{chain[0]}: extends: {names}, which is a circle. Remove one of these keys.")
        chain.append(path)
        below = read_yaml(path)
        if len(chain) > 1:
            _keep_prompts(below, path)
        base = below.pop("extends", None)
        content = _merged(below, content)
        if base is None:
            return content
        path = _base(base, path, config_directory)


def _base(name: Any, path: Path, config_directory: Path) -> Path:
    if not isinstance(name, str):
        raise StudyError(f"{path}: extends: found {name!r}. Give the name of a study, or the path of a study file.")
    is_file = name.endswith((".yaml", ".yml"))
    base = path.parent / name if is_file else config_directory / "studies" / f"{name}.yaml"
    if not base.is_file():
        allowed = "a path relative to this file" if is_file else ", ".join(study_names(config_directory))
        raise StudyError(f"{path}: extends: there is no study {name} ({base}). Allowed: {allowed}. Correct it.")
    return base


def study_names(config_directory: Path) -> list[str]:
    """The names of the studies in ``config/studies``."""
    files = (config_directory / "studies").glob("*.yaml")
    return sorted(file.stem for file in files if not file.stem.endswith(".lock"))


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any], *key: str) -> dict[str, Any]:
    merged = copy.deepcopy(dict(base))
    for name, value in changes.items():
        before = merged.get(name)
        if value is None and name in merged:
            del merged[name]
        elif (
            isinstance(value, Mapping)
            and isinstance(before, Mapping)
            and name != "source"
            and not _replaces(value, before, *key)
        ):
            merged[name] = _merged(before, value, *key, name)
        else:
            merged[name] = copy.deepcopy(value)
    return merged


def _replaces(value: Mapping[str, Any], before: Mapping[str, Any], *key: str) -> bool:
    """Whether a stage becomes another one as a whole."""
    return key == ("stages",) and value.get("method", before.get("method")) != before.get("method")


def _keep_prompts(content: dict[str, Any], path: Path) -> None:
    """Name prompt files beside `path` so that they are found wherever the study that extends it lies."""
    prompts = content.get("prompts")
    if isinstance(prompts, dict):
        beside = {name: path.parent / file for name, file in prompts.items() if isinstance(file, str)}
        prompts.update({name: str(file.resolve()) for name, file in beside.items() if file.is_file()})
