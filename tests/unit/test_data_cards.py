"""Data cards tell of every set of preference pairs what its rows are like, by task."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modecollapse.analysis.data_cards import CardSet, data_cards_table
from modecollapse.data.transformations.perplexity import perplexity_of
from modecollapse.errors import CorruptFile
from modecollapse.figures.registry import Drawing
from modecollapse.jobs.data_cards import tabulate_data_cards
from modecollapse.jobs.derived_data import derive_data
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
from modecollapse.specs import data_cards_spec
from modecollapse.study import Study
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.figure_tables import figure_context, texts
from tests.studies import SMOKE, parse

ROWS = [
    ("What is a lake?", "Water among land.", "Water.", "a"),
    ("What is a mill?", "A house.", "A house that grinds.", "a"),
    ("what IS a lake?", "Water  among land.", "Water.", "b"),
    ("Say <b>no</b>.", "same", "same", "b"),
]
NAMES = ("prompt", "chosen", "rejected", "task")


def columns(rows: list[tuple[str, ...]], names: tuple[str, ...] = NAMES) -> dict[str, list[str]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def card(rows: list[tuple[str, ...]] = ROWS, names: tuple[str, ...] = NAMES, **known: Any) -> CardSet:
    return CardSet(**{"data": "own", "size": "", "seed": "", "columns": columns(rows, names), **known})


def found(table: pd.DataFrame, quantity: str, task: str = "all", **keys: Any) -> pd.DataFrame:
    rows = table[(table["quantity"] == quantity) & (table["task"] == task)]
    for name, value in keys.items():
        rows = rows[rows[name] == value]
    return rows


def value(table: pd.DataFrame, quantity: str, task: str = "all", **keys: Any) -> float:
    return float(found(table, quantity, task, **keys)["value"].item())


def test_lengths_and_duplicates_are_those_worked_by_hand() -> None:
    table = data_cards_table([card()], {})
    assert [value(table, "pairs", task) for task in ("all", "a", "b")] == [4, 2, 2]
    assert value(table, "better_longer_characters") == 0.5
    assert value(table, "better_shorter_characters") == 0.25
    assert value(table, "equal_length_characters") == 0.25
    assert value(table, "better_longer_of_unequal_characters") == pytest.approx(2 / 3)
    assert found(table, "better_longer_of_unequal_characters")["n"].item() == 3
    assert value(table, "better_longer_words", "a") == 0.5
    ratios = found(table, "length_ratio_words", "a")
    assert value(table, "length_ratio_words", "a", level=0.5) == pytest.approx(np.median([3, 2 / 4]))
    assert len(ratios) == 5
    assert value(table, "equal_answers") == 0.25
    assert value(table, "equal_answers", "a") == 0
    assert value(table, "duplicates") == 0.25, "case and white space make no difference"
    assert value(table, "duplicates", "b") == 0.5
    assert set(table["types"]) == {"column"}


def test_shares_have_the_score_interval_of_wilson() -> None:
    row = found(data_cards_table([card()], {}), "better_longer_characters").iloc[0]
    z, p, n = 1.959964, 0.5, 4
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half), abs=1e-6)


def test_a_set_without_tasks_is_classified_and_says_so() -> None:
    rows = [("Translate it.", "x", "yy"), ("Who is she?", "x", "y")]
    table = data_cards_table([card(rows, NAMES[:3])], {})
    assert set(table["task"]) == {"all", "translation", "open_qa"}
    assert set(table["types"]) == {"classifier"}
    told = data_cards_table([card(classified=True)], {})
    assert set(told["types"]) == {"classifier"}, "the column is from the classifier"


def test_overlap_is_told_with_every_set_that_a_model_may_see_beside_and_with_evaluation_prompts() -> None:
    own = card()
    one = card(ROWS[:1], data="one", size="tiny", seed="0")
    other = card(ROWS[1:2], data="one", size="tiny", seed="1")
    table = data_cards_table([own, one, other], {"facts": {"f0": ["What is a mill?"]}})
    common = found(table, "prompts_in_common", data="own")
    assert common["other"].tolist() == ["one (tiny, seed 0)", "one (tiny, seed 1)"]
    assert common["value"].tolist() == pytest.approx([1 / 3, 1 / 3]), "of three different prompts"
    assert found(table, "prompts_in_common", data="one", seed="0")["other"].tolist() == ["own"]
    assert value(table, "overlaps_evaluation", other="facts", data="own") == 0.25


def test_perplexities_and_agreement_are_told_where_they_are_known() -> None:
    labels = pd.DataFrame(
        [
            {"pair": pair, "row": 0, "annotator": who, "label": label, "shown_first": None, "task": "a"}
            for pair, given in (("p", "aaa"), ("q", "abb"))
            for who, label in zip("xyz", given, strict=True)
        ]
    )
    known = {"sft": {"chosen": [1.0, 2.0, 3.0, 4.0], "rejected": [9.0] * 4}}
    report = {"quantiles": {"a": {"own": {"n": 7, "values": list(range(101))}}}}
    table = data_cards_table([card(perplexities=known, labels=labels, report=report)], {})
    assert value(table, "perplexity_chosen", level=0.5, other="sft") == 2.5
    assert value(table, "perplexity_chosen", "b", level=0.5) == 3.5
    assert value(table, "perplexity_own_before_filter", "a", level=0.95) == 95
    assert value(table, "agreement_unanimous") == 0.5
    assert found(table, "agreement_unanimous", "b").empty
    assert found(data_cards_table([card()], {}), "agreement_unanimous").empty


def test_perplexity_is_the_exponential_of_the_mean_negative_log_likelihood() -> None:
    values = perplexity_of(np.array([-2 * math.log(3), -1e9], dtype=np.float32), np.array([2, 1]))
    assert values.tolist() == pytest.approx([3.0, math.exp(700)])


def written(path: Path, rows: list[tuple[str, ...]], names: tuple[str, ...] = NAMES) -> Path:
    write_sealed(pa.table(columns(rows, names)), path)
    return path


SPEC = {
    "sets": [["own", "", ""]],
    "scores": [["own", "tiny", "0", "sft"]],
    "labels": [],
    "classified": [],
    "lineage": {"own": ["own: files <of mine>"]},
    "prompts": {},
}


def outputs(root: Path) -> dict[str, Path]:
    return {name: root / name for name in ("data_cards", "data_cards_csv", "page", "page_sha256")}


def test_the_page_has_lineage_numbers_and_rows_and_escapes_them_all(tmp_path: Path) -> None:
    data = written(tmp_path / "own.parquet", [*ROWS[:1], ("<script>x</script>", "&amp;", "y" * 5000, "<i>t</i>")])
    scores = pa.table({f"{a}_{k}": [v, v] for a in ("chosen", "rejected") for k, v in (("logp", -1.0), ("tokens", 1))})
    write_sealed(scores, tmp_path / "scores.parquet", {"data": read_metadata(data)["modecollapse.sha256"]})
    made = outputs(tmp_path)
    tabulate_data_cards(SPEC, [data], [tmp_path / "scores.parquet"], [], made)
    page = made["page"].read_text(encoding="utf-8")
    assert "own: files &lt;of mine&gt;" in page
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "<script" not in page
    assert "&amp;amp;" in page
    assert "<i>" not in page
    assert "(5000 characters)" in page
    assert "y" * 1001 not in page
    assert value(read_sealed(made["data_cards"]).to_pandas(), "perplexity_chosen", level=0.5) == pytest.approx(math.e)


def test_log_probabilities_of_other_pairs_are_refused(tmp_path: Path) -> None:
    data = written(tmp_path / "own.parquet", ROWS)
    write_sealed(pa.table({"chosen_logp": [0.0]}), tmp_path / "scores.parquet", {"data": "other"})
    with pytest.raises(CorruptFile, match=r"scores\.parquet is corrupt: .*other pairs"):
        tabulate_data_cards(SPEC, [data], [tmp_path / "scores.parquet"], [], outputs(tmp_path))


def test_classify_writes_the_column_task_and_keeps_all_rows_but_pairs_of_equal_answers(tmp_path: Path) -> None:
    data = written(tmp_path / "own.parquet", [row[:3] for row in ROWS], NAMES[:3])
    spec = {"transformation": {"classify": {}}, "seed": None, "prompts": None}
    derive_data(spec, "typed", [data], tmp_path / "typed.parquet")
    table = read_sealed(tmp_path / "typed.parquet")
    assert table["task"].to_pylist() == ["open_qa"] * 3
    assert table.column_names == list(NAMES)
    counts = json.loads(read_metadata(tmp_path / "typed.parquet")["report"])["counts"]
    assert [(row["task"], row["outcome"]) for row in counts] == [("open_qa", "kept"), ("other", "equal answers")]


def test_classify_puts_rare_tasks_together_if_told_to(tmp_path: Path) -> None:
    rows = [("What is rain?", "x", "y")] * 9 + [("Brainstorm names.", "x", "y")]
    data = written(tmp_path / "own.parquet", rows, NAMES[:3])
    spec = {"transformation": {"classify": {"least": 0.2}}, "seed": None, "prompts": None}
    derive_data(spec, "typed", [data], tmp_path / "typed.parquet")
    assert read_sealed(tmp_path / "typed.parquet")["task"].to_pylist() == ["other"] * 10


def test_the_figure_has_a_line_for_each_task_and_set_of_its_size() -> None:
    sets = [card(), card(data="small one", size="small", seed="0"), card(data="other", size="large", seed="0")]
    figure = Drawing("data_cards", "small").draw({"data_cards": data_cards_table(sets, {})}, figure_context())
    lines = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert lines == [f"{task}: {name}" for task in ("all", "a", "b") for name in ("own", "small one")]
    empty = Drawing("data_cards", "small").draw({"data_cards": data_cards_table([], {})}, figure_context())
    assert "no pairs" in texts(empty)
    many = card([(f"prompt {kind}", "xx", "y", f"kind {kind}") for kind in range(30)])
    crowded = Drawing("data_cards", "small").draw({"data_cards": data_cards_table([many], {})}, figure_context())
    assert any("18 less frequent tasks are not shown" in text for text in texts(crowded))


def study() -> Study:
    content: dict[str, Any] = read_yaml(SMOKE)
    content["data"] |= {
        "typed": {"from": "preferences", "classify": {}},
        "even": {"from": "typed", "balance": {"task_ratio": 2.0}},
        "unused": {"from": "preferences"},
    }
    content["stages"]["dpo"]["data"] = "even"
    return parse(content)


def test_sets_that_stages_are_trained_on_have_a_card_with_what_these_are_made_from() -> None:
    parsed = study()
    targets = Targets(parsed)
    assert [name for name, *_ in targets.card_sets()] == ["preferences", "typed", "even"]
    assert {each.data for each in targets.card_scores()} == {"even"}
    spec = json.loads(data_cards_spec(parsed, targets.card_sets(), targets.card_scores()))
    assert spec["classified"] == ["even", "typed"]
    assert [line.split(":")[0] for line in spec["lineage"]["even"]] == ["preferences", "typed", "even"]
    assert "data_cards" in targets.table_names()


def test_a_study_without_pairs_has_no_cards() -> None:
    content: dict[str, Any] = read_yaml(SMOKE)
    del content["stages"]["dpo"]
    targets = Targets(parse(content))
    assert targets.card_tables() == []
    assert "data_cards" not in targets.table_names()


def test_pairs_that_are_classified_need_no_column_task_of_their_source(tmp_path: Path) -> None:
    content: dict[str, Any] = read_yaml(SMOKE)
    columns = {"prompt": "p", "chosen": "c", "rejected": "r"}
    for given in (columns, None):
        source = {"source": {"path": str(tmp_path / "*.jsonl")}, **({"columns": given} if given else {})}
        content["data"] |= {
            "read": source,
            "typed": {"from": "read", "classify": {}},
            "even": {"from": "typed", "balance": {"task_ratio": 2.0}},
        }
        content["stages"]["dpo"]["data"] = "even"
        assert list(parse(content).data_columns("read")) == ["prompt", "chosen", "rejected"]
