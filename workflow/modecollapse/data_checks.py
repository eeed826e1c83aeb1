"""The data sets of a study have what they are used for."""

from collections.abc import Sequence

from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.data.columns import LABEL_COLUMNS, PAIR_COLUMNS, TASK
from modecollapse.data_config import Data
from modecollapse.data_lineage import is_of_model
from modecollapse.errors import StudyError

WORLD_COLUMNS = {
    "pretraining": ("text",),
    "heldout": ("text",),
    "answers": ("prompt", "completion", "task"),
    "preferences": (*PAIR_COLUMNS, "task"),
    "choices": ("question", "choices", "answer", "relation"),
    "contrasts": ("sentences", "right"),
}
"""Columns of each part of the world."""


def check_columns(config: StudyConfig, key: str, name: str, columns: Sequence[str]) -> None:
    """What a key of the study names is a data set, with these columns as far as the study says which it has."""
    check_names(key, [name], config.data, "data set")
    present = columns_of(config, name)
    if present is None:
        return  # they are looked for under our names; see `study_data.DataSets.data_columns`
    missing = [column for column in columns if column not in present]
    if missing:
        raise StudyError(
            f"{key}: {name} has the columns {', '.join(present)}, but {', '.join(missing)} is needed. "
            + (f"Add it to data.{name}.columns." if config.data[name].source else "Name a data set that has it.")
        )


def columns_of(config: StudyConfig, name: str) -> tuple[str, ...] | None:
    """The columns of a data set as far as the study says; None if a source is to be asked for those that are used."""
    data: Data = config.data[name]
    if data.world is not None:
        return WORLD_COLUMNS[data.world]
    if data.sampled is not None:
        prompts = columns_of(config, data.sampled.prompts) if data.sampled.prompts in config.data else None
        return (*PAIR_COLUMNS, *(column for column in LABEL_COLUMNS if column in (prompts or ())))
    if data.parents:
        known = (columns_of(config, parent) for parent in data.parents)
        found = next((columns for columns in known if columns is not None), None)
        return found if found is None or data.classify is None else tuple(dict.fromkeys((*found, TASK)))
    return None if data.columns is None else tuple(data.columns)


def check_task_data(config: StudyConfig, key: str, name: str) -> None:
    """Of a data set with a source only columns of texts are kept, but tasks have questions, choices and answers."""
    worlds = {each: data for each, data in config.data.items() if data.world is not None}
    if name not in config.data:
        check_names(key, [name], worlds, "data set")
    if name not in worlds:
        raise StudyError(
            f"{key}: {name} is read from a source, of which only texts are kept and not what a task asks for. Allowed: "
            f"sets of the study's world ({', '.join(worlds) or 'it has none'}). Remove the key and name the files in a "
            "task file of your own: `dataset_path: json` with `dataset_kwargs: {data_files: {test: FILE}}`, or "
            "`dataset_path: OWNER/NAME`."
        )


def check_tokenizer_data(config: StudyConfig) -> None:
    """The tokenizer is trained on data sets that are there before it."""
    for name in config.tokenizer.data if config.tokenizer else ():
        check_columns(config, "tokenizer.data", name, ())
        if is_of_model(config, name):
            raise StudyError(
                f"tokenizer.data: {name} is written by a stage, or filtered by one, which needs the tokenizer itself. "
                f"Allowed: {', '.join(each for each in config.data if not is_of_model(config, each))}. Remove it."
            )
