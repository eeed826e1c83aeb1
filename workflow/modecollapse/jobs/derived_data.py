"""Data sets that are made from others: merged, and perhaps filtered by a transformation."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modecollapse.data.columns import COLUMNS, TASK
from modecollapse.data.sets import read_sets
from modecollapse.data.transformations.base import (
    ALL_TASKS,
    Columns,
    Given,
    Perplexities,
    Selection,
    Transformation,
    counted,
    merge,
    tasks_of,
)
from modecollapse.data.transformations.perplexity import TOO_FEW, UNKNOWN_TASK, perplexity_of
from modecollapse.data.transformations.registry import TRANSFORMATIONS
from modecollapse.digests import canonical
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed

logger = logging.getLogger(__name__)

MERGE = "merge"
"""What a set without a transformation is called in reports."""


def derive_data(
    spec: Mapping[str, Any],
    name: str,
    data: Sequence[Path],
    output: Path,
    references: Sequence[Path] = (),
    own: Path | None = None,
) -> None:
    """Publish the rows of data sets that a transformation keeps, in their order.

    The file's metadata has `report`, a JSON object: the `transformation`, the `rows` there were, how many are `kept`,
    `counts` of every outcome by task (`base.counted`), and what the transformation found besides.

    Args:
        spec: the spec of a derived set.
        name: what it is called, for messages.
        data: sealed Parquet files of the same columns.
        output: the file.
        references: of a perplexity filter, what the scorer gives to the pairs of each of `data`
            (`methods.reference_file.SCHEMA`).
        own: and its own answers (`jobs.own_answers.SCHEMA`).

    Raises:
        CorruptFile: an input is not what was published, or of other pairs.
        StudyError: nothing is left; or as `read_sets` and the transformation.
    """
    table = read_sets(data)
    columns: dict[str, list[str]] = {column: table[column].to_pylist() for column in table.column_names}
    key, stated = next(iter(spec["transformation"].items()), (MERGE, {}))
    transformation = TRANSFORMATIONS.get(key)
    settings = None if transformation is None else transformation.settings.model_construct(**stated)
    table, columns = _classified(table, columns, transformation, settings)
    try:
        perplexities = None if own is None else _perplexities(data, references, own, "task" in columns)
        given = Given(spec["seed"] or 0, spec["prompts"] or {}, perplexities)
        selection = _selected(columns, transformation, settings, given)
    except CorruptFile:
        raise
    except StudyError as error:
        raise StudyError(f"data.{name}: {error}") from error
    counts = counted(tasks_of(columns), selection)
    kept = sum(selection.kept)
    if not kept:
        told = "; ".join(f"{entry['task']}: {entry['n']} {entry['outcome']}" for entry in counts) or "it had none"
        relax = transformation.relax if transformation else "Name other columns or other sets"
        raise StudyError(f"data.{name}: no row of {len(selection.kept)} is left ({told}). {relax}.")
    report = {"transformation": key, "rows": len(selection.kept), "kept": kept, "counts": counts, **selection.found}
    digests = {"data": [read_metadata(path)[SEAL] for path in data]}
    if own is not None:
        digests |= {"own": [read_metadata(own)[SEAL]], "references": [read_metadata(path)[SEAL] for path in references]}
    metadata = {"spec": canonical(dict(spec)), "inputs": canonical(digests), "report": canonical(report)}
    write_sealed(table.filter(pa.array(selection.kept)), output, metadata)
    logger.info("%s: %d of %d rows are kept: %s", name, kept, len(selection.kept), canonical(counts))
    for entry in counts:
        if entry["outcome"] in (UNKNOWN_TASK, TOO_FEW):
            logger.warning(
                "%s: %d pairs of the task %r have no bound (%s) and are dropped",
                *(name, entry["n"], entry["task"], entry["outcome"]),
            )


def _classified(
    table: pa.Table, columns: dict[str, list[str]], transformation: Transformation | None, settings: Any
) -> tuple[pa.Table, dict[str, list[str]]]:
    """The rows with the tasks that the transformation says they are of, if it says so."""
    if transformation is None or transformation.tasks is None or "prompt" not in columns:
        return table, columns
    columns = {**columns, TASK: transformation.tasks(columns, settings)}
    return pa.table({name: pa.array(columns[name], pa.string()) for name in COLUMNS if name in columns}), columns


def _selected(columns: Columns, transformation: Transformation | None, settings: Any, given: Given) -> Selection:
    """What becomes of every row: by `merge` first, and then by the transformation."""
    merged = merge(columns)
    if transformation is None:
        return merged
    missing = [column for column in transformation.needs(settings) if column not in columns]
    if missing:
        raise StudyError(
            f"it has the columns {', '.join(columns)}, but {transformation.name} needs {', '.join(missing)}. Name it "
            "in data.SET.columns of the sets that it is made from."
        )
    rows = [row for row, kept in enumerate(merged.kept) if kept]
    found = transformation.select(
        {column: [texts[row] for row in rows] for column, texts in columns.items()},
        settings,
        replace(given, perplexities=_of_rows(given.perplexities, rows)),
    )
    outcomes, kept = list(merged.outcomes), list(merged.kept)
    for row, outcome, keeps in zip(rows, found.outcomes, found.kept, strict=True):
        outcomes[row], kept[row] = outcome, keeps
    return Selection(outcomes, kept, found.found)


def _of_rows(perplexities: Perplexities | None, rows: Sequence[int]) -> Perplexities | None:
    if perplexities is None:
        return None
    chosen, rejected = ([values[row] for row in rows] for values in (perplexities.chosen, perplexities.rejected))
    return replace(perplexities, chosen=chosen, rejected=rejected)


def _perplexities(data: Sequence[Path], references: Sequence[Path], own: Path, tasks: bool) -> Perplexities:
    """Of the pairs, and of the scorer's own answers: by task if the pairs have tasks, else all together."""
    tables = [_scored(*each) for each in zip(data, references, strict=True)]
    chosen, rejected = (
        np.concatenate(
            [
                perplexity_of(table[f"{answer}_logp"].to_numpy(), table[f"{answer}_tokens"].to_numpy())
                for table in tables
            ]
        ).tolist()
        for answer in ("chosen", "rejected")
    )
    answers = read_sealed(own, ["task", "logp"])
    if tasks and answers["task"].null_count:
        raise StudyError(
            "its pairs have tasks, but the prompts that its scorer answers have none, so no task has a bound. Name "
            "the column `task` in data.SET.columns of the prompts, or name other ones in `prompts`."
        )
    asked = answers["task"].to_pylist() if tasks else [ALL_TASKS] * answers.num_rows
    by_task: dict[str, list[float]] = {task: [] for task in asked}
    values = perplexity_of(answers["logp"].to_numpy(), np.ones(answers.num_rows)).tolist()
    for task, value in zip(asked, values, strict=True):
        if not math.isnan(value):
            by_task[task].append(value)
    return Perplexities(chosen, rejected, by_task)


def _scored(data: Path, reference: Path) -> pa.Table:
    """The log-probabilities of a set's pairs, which must be of that very set."""
    table = read_sealed(reference)
    stated, seal = read_metadata(reference).get("data"), read_metadata(data)[SEAL]
    if stated != seal:
        raise CorruptFile(
            f"{reference} is corrupt: it holds the log-probabilities of other pairs than those of {data} (digest "
            f"{stated}, not {seal}). Delete it and run the same command again to make it anew."
        )
    return table
