"""Which model or cell a sealed file is of: stated in its metadata, written and read in one way."""

import json
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from modecollapse.cells import Cell, Model
from modecollapse.digests import canonical

_MODEL, _CELL = "model", "cell"


def identity_metadata(of: Model | Cell) -> dict[str, str]:
    """The entry of a file's metadata that states whose it is."""
    if isinstance(of, Model):
        return {_MODEL: canonical(asdict(of))}
    flat = {**asdict(of.model), "prompts": of.prompts, "format": of.format, "temperature": of.temperature}
    return {_CELL: canonical(flat)}


def model_of_table(table: pa.Table) -> Model:
    """The model that the file of `table` is of.

    Raises:
        KeyError: the file states no model.
    """
    return Model(**_stated(table, _MODEL))


def cell_of_table(table: pa.Table) -> Cell:
    """The cell that the file of `table` is of.

    Raises:
        KeyError: the file states no cell.
    """
    stated = _stated(table, _CELL)
    model = Model(stated["size"], stated["seed"], stated["stage"])
    return Cell(model, stated["prompts"], stated["format"], stated["temperature"])


def _stated(table: pa.Table, name: str) -> dict[str, Any]:
    stated: dict[str, Any] = json.loads((table.schema.metadata or {})[name.encode()])
    return stated
