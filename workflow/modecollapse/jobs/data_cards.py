"""Data cards: their table, and a page with the lineage, the numbers and a few rows of every set."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modecollapse.analysis.data_cards import ALL, CLASSIFIER, CardSet, data_cards_table, shown_rows
from modecollapse.analysis.table_files import write_table
from modecollapse.comparison.page import Section, render
from modecollapse.data.sets import read_sets
from modecollapse.data.transformations.perplexity import perplexity_of
from modecollapse.errors import CorruptFile
from modecollapse.publishing import publish_file, write_digests
from modecollapse.sealed import SEAL, read_metadata, read_sealed

ROWS, CHARACTERS = 3, 1000
"""Rows that a card shows, and how much of each of their texts."""
_ANSWERS = ("chosen", "rejected")


def tabulate_data_cards(
    spec: Mapping[str, Any],
    data: Sequence[Path],
    references: Sequence[Path],
    labels: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write the table `data_cards` and the page of cards.

    Args:
        spec: the spec of the cards.
        data: the sets, in its order.
        references: what models give to the answers of sets (`methods.reference_file.SCHEMA`), in its order.
        labels: what annotators say of candidates, in its order.
        outputs: the table; and the page.

    Raises:
        CorruptFile: a file is not what was published, or log-probabilities are of other pairs.
    """
    labelled = {tuple(of): read_sealed(path).to_pandas() for of, path in zip(spec["labels"], labels, strict=True)}
    sets = []
    for (name, size, seed), path in zip(spec["sets"], data, strict=True):
        table, metadata = read_sets([path]), read_metadata(path)
        sets.append(
            CardSet(
                data=name,
                size=size,
                seed=seed,
                columns={column: table[column].to_pylist() for column in table.column_names},
                classified=name in spec["classified"],
                perplexities={
                    f"{stage} ({of_size}, seed {of_seed})": _perplexities(path, scores)
                    for (of_data, of_size, of_seed, stage), scores in zip(spec["scores"], references, strict=True)
                    if of_data == name and size in ("", of_size) and seed in ("", of_seed)
                },
                labels=labelled.get((name, size, seed)),
                report=json.loads(metadata["report"]) if "report" in metadata else None,
            )
        )
    frame = data_cards_table(sets, spec["prompts"])
    write_table("data_cards", [frame], outputs["data_cards"], outputs["data_cards_csv"])
    page = render([section for each in sets for section in card_sections(each, frame, spec["lineage"])], "Data cards")
    with publish_file(outputs["page"]) as partial:
        partial.write_text(page, encoding="utf-8")
    write_digests(outputs["page_sha256"], [outputs["page"]])


def _perplexities(data: Path, scores: Path) -> dict[str, list[float]]:
    if read_metadata(scores).get("data") != read_metadata(data)[SEAL]:
        raise CorruptFile(
            f"{scores} is corrupt: it holds the log-probabilities of other pairs than those of {data}. Delete it and "
            "run the same command again to make it anew."
        )
    table = read_sealed(scores)
    columns = {name: table[name].to_numpy() for name in table.column_names}
    return {each: perplexity_of(columns[f"{each}_logp"], columns[f"{each}_tokens"]).tolist() for each in _ANSWERS}


def card_sections(each: CardSet, table: pd.DataFrame, lineage: Mapping[str, Sequence[str]]) -> Iterator[Section]:
    """One card: how the set came about and its numbers by task; and a few rows of it."""
    keys = (table["data"] == each.data) & (table["size"] == each.size) & (table["seed"] == each.seed)
    own = table[keys]
    title = f"{each.data} ({each.size}, seed {each.seed})" if each.size else each.data
    types = "the classifier of docs/data.md" if (own["types"] == CLASSIFIER).any() else "the column task"
    told = [f"Tasks are told by {types}. Values; in brackets, intervals of 95 % of shares, where given, and n."]
    if each.report is not None:
        told.append(f"{each.report['kept']} of {each.report['rows']} rows were kept ({each.report['transformation']}).")
    tasks = [ALL, *sorted(set(own["task"]) - {ALL})]
    told = ["How it is made, from its origin on:\n" + "\n".join(lineage[each.data]), *told]
    order = own[["quantity", "other", "level"]].drop_duplicates().itertuples(index=False)
    values = {
        (row.quantity, row.other, _level(row.level), row.task): _value(row) for row in own.itertuples(index=False)
    }
    rows = tuple(
        (
            _called(str(quantity), str(other), _level(level)),
            *(values.get((quantity, other, _level(level), task), "") for task in tasks),
        )
        for quantity, other, level in order
    )
    yield Section(title, tuple(told), ("quantity", *tasks), rows)
    for number, (task, prompt, chosen, rejected) in enumerate(shown_rows(each.columns, ROWS), 1):
        texts = {"Prompt": prompt, "Chosen": chosen, "Rejected": rejected}
        shown = tuple(f"{name}: {_cut(text)}" for name, text in texts.items())
        yield Section(f"{title}: example {number}{f', {task}' if task else ''}", shown)


def _level(level: Any) -> str:
    return "" if np.isnan(level) else f"{level:.0%}"


def _called(quantity: str, other: str, level: str) -> str:
    words = quantity.replace("_", " ")
    return f"{words}{f', {other}' if other else ''}{f', quantile {level}' if level else ''}"


def _value(row: Any) -> str:
    if row.quantity == "pairs":
        return f"{row.value:.0f}"
    interval = "" if np.isnan(row.low) else f"{row.low:.3f} to {row.high:.3f}; "
    return f"{row.value:.4g} ({interval}{row.n})"


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} … ({len(text)} characters)"
