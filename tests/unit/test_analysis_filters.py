"""The tables of what transformations kept, and of the perplexities that filters went by."""

import math

import pytest

from modecollapse.analysis.filters import filters_table, perplexities_table

ONE = {"data": "on", "size": "tiny", "seed": "0"}
WHOLE = {"data": "unique", "size": "", "seed": ""}
FILTERED = {
    "transformation": "perplexity",
    "rows": 10,
    "kept": 5,
    "counts": [
        {"task": "a", "outcome": "kept", "kept": True, "n": 5},
        {"task": "a", "outcome": "chosen above", "kept": False, "n": 3},
        {"task": "b", "outcome": "unknown task", "kept": False, "n": 2},
    ],
    "bounds": {"a": {"bound": 7.5, "n": 40}},
    "quantiles": {
        "a": {"own": {"n": 40, "values": [1.0, 4.0, 9.0]}, "chosen": {"n": 8, "values": [2.0, 5.0, 9.0]}},
        "b": {"chosen": {"n": 2, "values": [3.0, 4.0, 5.0]}},
    },
}
MERGED = {
    "transformation": "deduplicate",
    "rows": 4,
    "kept": 3,
    "counts": [
        {"task": "all", "outcome": "kept", "kept": True, "n": 3},
        {"task": "all", "outcome": "duplicate", "kept": False, "n": 1},
    ],
}


def test_every_outcome_is_a_row_of_its_task_and_of_all_tasks():
    table = filters_table([(ONE, FILTERED), (WHOLE, MERGED)])
    rows = {(row["data"], row["task"], row["outcome"]): row for row in table.to_dict("records")}
    assert len(rows) == len(table) == 8
    assert rows["on", "all", "kept"]["n"] == 5
    assert rows["on", "all", "kept"]["share"] == 0.5
    assert rows["on", "a", "chosen above"]["share"] == pytest.approx(3 / 8)
    assert rows["on", "a", "kept"]["bound"] == 7.5
    assert rows["on", "a", "kept"]["n_own"] == 40
    assert math.isnan(rows["on", "b", "unknown task"]["bound"])
    assert rows["unique", "all", "duplicate"]["share"] == 0.25
    assert rows["unique", "all", "duplicate"]["size"] == ""


def test_perplexities_are_told_as_quantiles_beside_the_bound_of_their_task():
    table = perplexities_table([(ONE, FILTERED), (WHOLE, MERGED)])
    own = table[(table["task"] == "a") & (table["text"] == "own")]
    assert own["quantile"].tolist() == [0.0, 0.5, 1.0]
    assert own["perplexity"].tolist() == [1.0, 4.0, 9.0]
    assert set(own["bound"]) == {7.5}
    assert set(own["n"]) == {40}
    assert table[table["task"] == "b"]["bound"].isna().all()
    assert len(table) == 9


def test_studies_without_filters_have_empty_tables():
    assert filters_table([]).empty
    assert perplexities_table([(WHOLE, MERGED)]).empty
