"""Features of pairs and answers as files: whose they are, and what comes back from the store."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from modecollapse.cells import Cell, Model
from modecollapse.identities import identity_metadata, model_of_table
from modecollapse.jobs import text_features as module
from modecollapse.jobs.feature_tables import tabulate_text_features
from modecollapse.jobs.running import Job
from modecollapse.jobs.text_features import measure_answer_features, measure_pair_features
from modecollapse.measures.text_features import ANSWERS, COLUMNS, MISSING
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

MODEL = Model("tiny", 0, "sft")
SPEC: dict[str, Any] = {"revision": 1, "pipeline": {"pipeline": "blank", "language": "en", "vocabulary": "vectors"}}
PAIRS: dict[str, Any] = {**SPEC, "count": None, "seed": 0}
ODD = ["", "   ", "One", "🙂🙂", "| a | b |\n|---|---|\n| 1 | 2 |", "def f(x):\n    return x\n", "…"]


def data(directory: Path, rows: int = 12) -> Path:
    path = directory / "pairs.parquet"
    chosen = [f"This is answer {row}. It {'really ' * (row % 3)}helps." for row in range(rows)]
    rejected = [*ODD, *(f"No {row}." for row in range(rows - len(ODD)))]
    columns = {"prompt": [f"Q{row}?" for row in range(rows)], "chosen": chosen, "rejected": rejected}
    write_sealed(pa.table(columns), path)
    return path


def answers(directory: Path, stage: str, text: str) -> Path:
    path = directory / f"{stage}.parquet"
    rows = [
        {"set": "pairs", "item": str(row), "sample": 0, "text": f" {text * (row % 4 + 1)}\n", "ended": True}
        for row in range(12)
    ]
    write_sealed(pa.Table.from_pylist(rows, ANSWERS), path, identity_metadata(Model("tiny", 0, stage)))
    return path


def measure_pairs(directory: Path, path: Path, processes: int = 1, store: str = "store") -> Path:
    output = directory / f"{store}{processes}.parquet"
    measure_pair_features(PAIRS, "pairs", path, output, Store(directory / store), Job(None), processes)
    return output


def test_pairs_have_both_sides_and_odd_answers_say_why_they_lack_features(tmp_path: Path) -> None:
    output = measure_pairs(tmp_path, data(tmp_path))
    table = read_sealed(output)
    assert table.schema.remove_metadata() == COLUMNS
    frame = table.to_pandas()
    assert list(frame["role"]) == ["chosen"] * 12 + ["rejected"] * 12
    assert set(frame["kind"]) == {"pairs"}
    assert list(frame["item"]) == [str(row) for row in range(12)] * 2
    rejected = frame[frame["role"] == "rejected"].reset_index()
    assert rejected.loc[:1, "token_length_mean"].isna().all()
    assert rejected.loc[:1, "reason"].notna().all()
    assert rejected.loc[2:, "n_characters"].gt(0).all()
    missing = json.loads(read_metadata(output)[MISSING])
    assert {"pos_prop_NOUN", "dependency_distance_mean", "first_order_coherence", "oov_ratio"} <= set(missing)
    assert frame[list(missing)].isna().all().all()


def test_the_files_of_one_and_of_two_processes_are_the_same(tmp_path: Path) -> None:
    path = data(tmp_path, 40)
    one, two = measure_pairs(tmp_path, path), measure_pairs(tmp_path, path, 2, "other")
    assert one.read_bytes() == two.read_bytes()


def test_features_come_back_from_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data(tmp_path)
    first = measure_pairs(tmp_path, path).read_bytes()

    def fail(*_: Any) -> None:
        raise AssertionError("computed again although it is in the store")

    monkeypatch.setattr(module, "_features", fail)
    assert measure_pairs(tmp_path, path).read_bytes() == first


def test_answers_and_completions_of_a_model_are_one_file(tmp_path: Path) -> None:
    cell = tmp_path / "cell.parquet"
    rows = {"prompt": ["sea", "sea", "sky"], "sample": [0, 1, 0], "text": [" Blue.", " Deep blue.", " High."]}
    write_sealed(pa.table(rows), cell, identity_metadata(Cell(MODEL, "creative", "human", "1.0")))
    output = tmp_path / "out.parquet"
    path = answers(tmp_path, "sft", "Well. ")
    measure_answer_features(SPEC, MODEL, [path], [cell], output, Store(tmp_path / "store"), Job(None))
    table = read_sealed(output)
    assert model_of_table(table) == MODEL
    frame = table.to_pandas()
    assert list(frame["kind"]) == ["pairs"] * 12 + ["prompts"] * 3
    assert list(frame["item"][12:]) == ["sea", "sea", "sky"]
    assert list(frame["words"][:4]) == [1, 2, 3, 4]
    # White space around an answer is none of it.
    assert frame["n_characters"][0] == len("Well.")


def test_the_tables_set_stages_beside_each_other_and_the_data(tmp_path: Path) -> None:
    pairs = measure_pairs(tmp_path, data(tmp_path))
    files = []
    for stage, text in (("plm", "Well."), ("sft", "It is really so. I think that helps.")):
        files.append(tmp_path / f"features_{stage}.parquet")
        path = answers(tmp_path, stage, text)
        model = Model("tiny", 0, stage)
        measure_answer_features(SPEC, model, [path], [], files[-1], Store(tmp_path / "store"), Job(None))
    spec = {
        **{"analysis": {"resamples": 200, "seed": 0}, "contrasts": [["sft", "plm"]], "splits": {"pairs": "train"}},
        "lineage": {"plm": [], "sft": ["plm"]},
    }
    names = ("text_features", "text_feature_alignment", "text_feature_rows", "text_feature_means")
    outputs = {
        f"{name}{suffix}": tmp_path / f"{name}{end}" for name in names for suffix, end in (("", ".p"), ("_csv", ".c"))
    }
    tabulate_text_features(spec, [pairs], files, outputs)
    rows = read_sealed(outputs["text_features"]).to_pandas()
    words = rows[(rows["feature"] == "n_tokens") & (rows["definition"] == "corrected") & (rows["stage"] == "sft")]
    assert words["answer_difference"].item() == pytest.approx(np.mean([row % 4 + 1 for row in range(12)]) * 7)
    # Words only: unavailable features have a row that says so.
    tagged = rows[(rows["feature"] == "pos_prop_NOUN") & (rows["stage"] == "sft")]
    assert tagged["answer_difference"].isna().all()
    assert tagged["reason"].eq("the pipeline gives no parts of speech").all()
    dropped = read_sealed(outputs["text_feature_rows"]).to_pandas()
    replica = dropped[(dropped["definition"] == "replica") & (dropped["stage"] == "sft")].set_index("whose")
    assert replica.loc["rejected", "dropped"] >= 2
    assert read_sealed(outputs["text_feature_alignment"]).num_rows == 2
