"""Data sets that are made from others: of what there is, of the same columns, and by a stage that can answer."""

from collections.abc import Sequence

from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.data.columns import COLUMNS
from modecollapse.data_checks import check_columns, columns_of
from modecollapse.data_lineage import check_circles
from modecollapse.errors import StudyError


def check_derived(config: StudyConfig) -> None:
    """Every set that is made from others can be made."""
    for name, data in config.data.items():
        check_names(f"data.{name}.from", data.parents, config.data, "data set")
        if data.perplexity is not None:
            _check_scorer(config, f"data.{name}.perplexity", data.perplexity.scorer)
            if data.perplexity.prompts is not None:
                check_names(f"data.{name}.perplexity.prompts", [data.perplexity.prompts], config.data, "data set")
    check_circles(config)
    for name, data in config.data.items():
        if not data.parents:
            continue
        _check_same_columns(config, name, data.parents)
        if data.transformation is not None:
            transformation, settings = data.transformation
            for parent in data.parents:
                check_columns(config, f"data.{name}.{transformation.name}", parent, transformation.needs(settings))
        if data.perplexity is not None and data.perplexity.prompts is not None:
            check_columns(config, f"data.{name}.perplexity.prompts", data.perplexity.prompts, ("prompt",))


def _check_scorer(config: StudyConfig, key: str, scorer: str) -> None:
    check_names(f"{key}.scorer", [scorer], config.stages, "stage")
    if not config.stages[scorer].writes:
        raise StudyError(
            f"{key}.scorer: {scorer} cannot answer prompts: its method is {config.stages[scorer].method}. Allowed: "
            f"{', '.join(name for name, stage in config.stages.items() if stage.writes)}. Name one of these."
        )


def _check_same_columns(config: StudyConfig, name: str, parents: Sequence[str]) -> None:
    """Sets that are put together have the same columns of text, as far as the study says which they have."""
    known = {parent: columns for parent in parents if (columns := columns_of(config, parent)) is not None}
    for parent, columns in known.items():
        first, others = next(iter(known.items()))
        if not set(columns) <= set(COLUMNS):
            raise StudyError(
                f"data.{name}.from: {parent} has the columns {', '.join(columns)}, but only sets of texts can be made "
                f"into others ({', '.join(COLUMNS)}). Name such sets."
            )
        if set(columns) != set(others):
            raise StudyError(
                f"data.{name}.from: {first} has the columns {', '.join(others)}, but {parent} has "
                f"{', '.join(columns)}. Name sets with the same columns, or the same ones in their `columns`."
            )
