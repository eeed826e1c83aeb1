"""Files that were published once stay readable: the identity in them has one form."""

from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse.cells import Cell, Model
from modecollapse.identities import cell_of_table, identity_metadata, model_of_table
from modecollapse.sealed import read_sealed, write_sealed

MODEL = Model("tiny", 3, "sft")
CELL = Cell(MODEL, "factual", "human", "0.7")
STATED_MODEL = '{"seed":3,"size":"tiny","stage":"sft"}'
STATED_CELL = '{"format":"human","prompts":"factual","seed":3,"size":"tiny","stage":"sft","temperature":"0.7"}'


def test_the_identity_of_a_file_is_stated_in_the_form_that_finished_files_have() -> None:
    assert identity_metadata(MODEL) == {"model": STATED_MODEL}
    assert identity_metadata(CELL) == {"cell": STATED_CELL}


def test_the_identity_is_read_back_whatever_columns_are_read(tmp_path: Path) -> None:
    table = pa.table({"value": [1.0], "other": ["x"]})
    write_sealed(table, tmp_path / "model", {"model": STATED_MODEL})
    write_sealed(table, tmp_path / "cell", {"cell": STATED_CELL})
    assert model_of_table(read_sealed(tmp_path / "model", ["value"])) == MODEL
    assert cell_of_table(read_sealed(tmp_path / "cell", ["value"])) == CELL
    with pytest.raises(KeyError):
        model_of_table(read_sealed(tmp_path / "cell"))
