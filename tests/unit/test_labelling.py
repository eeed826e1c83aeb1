"""Candidate pairs, labelling sheets, labels read back, and the pairs that all annotators agree on."""

import csv
import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse.errors import StudyError
from modecollapse.labelling.candidates import SCHEMA, Scored, candidate_table, sheet_of
from modecollapse.labelling.label_files import check_labels, read_label_files
from modecollapse.labelling.labels import Label, Labelled, label_table, unanimous
from modecollapse.labelling.sheet import CSV_COLUMNS, sheet_csv, sheet_in, sheet_page

HOSTILE = "</script><img src=x onerror=alert(1)><!-- @SCRIPT@ {{ }} \u2028 & \"quoted\", 'too'"


def candidates(number: int = 12, seed: int = 0, tasks: bool = True) -> pa.Table:
    return candidate_table(
        list(range(number)),
        [f"prompt {row}" for row in range(number)],
        [(Scored(f"first {row}", 1.0), Scored(f"second {row}", 0.0)) for row in range(number)],
        ["creative" if row % 2 else "factual" for row in range(number)] if tasks else None,
        seed,
    )


def test_candidates_are_in_random_order_that_depends_on_seed_and_pair_alone():
    table = candidates(200)
    firsts = sum(text.startswith("first") for text in table["a"].to_pylist())
    assert 70 < firsts < 130
    assert candidates(100).equals(table.slice(0, 100)), "further pairs change nothing"
    swapped = candidate_table([0], ["prompt 0"], [(Scored("second 0", 0.0), Scored("first 0", 1.0))], None, 0)
    assert swapped.equals(candidates(1, tasks=False)), "the order in which they come says nothing"
    assert candidates(200, seed=1)["a"].to_pylist() != table["a"].to_pylist()
    for row in table.to_pylist():
        assert (row["a_score"] == 1.0) == row["a"].startswith("first")


def test_pairs_and_sheets_have_identities_of_their_own():
    table = candidates(50)
    assert len(set(table["pair"].to_pylist())) == 50
    assert sheet_of(table) != sheet_of(table.slice(1))
    same = candidate_table([0, 1], ["p", "p"], [(Scored("x", None), Scored("y", None))] * 2, None, 0)
    assert len(set(same["pair"].to_pylist())) == 2, "the same prompt may stand in the set twice"
    assert same.schema.equals(SCHEMA)


def test_a_sheet_says_nothing_but_the_texts():
    page, text = sheet_page(candidates(), 0), sheet_csv(candidates(), 0)
    for hidden in ("score", "creative", "factual", "stage", "seed="):
        assert hidden not in page.replace("<script", "").lower()
        assert hidden not in text.lower()
    data = json.loads(re.search(r'id="sheet-data">(.*?)</script>', page)[1])
    assert {key for pair in data["pairs"] for key in pair} == {"pair", "prompt", "a", "b"}
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert sorted(row["pair"] for row in rows) == sorted(candidates()["pair"].to_pylist())
    assert [row["pair"] for row in rows] != candidates()["pair"].to_pylist()
    assert {row["label"] + row["annotator"] for row in rows} == {""}


def test_the_table_says_which_sheet_it_is(tmp_path):
    for table, expected in ((candidates(), sheet_of(candidates())), (candidates(0), None)):
        (tmp_path / "sheet.csv").write_text(sheet_csv(table, 0), encoding="utf-8", newline="")
        assert sheet_in(tmp_path / "sheet.csv") == expected


def test_texts_of_models_are_data_in_the_page_and_no_formulas_in_the_table():
    table = candidate_table([0], [HOSTILE], [(Scored("=1+1", None), Scored(HOSTILE, None))], None, 0)
    page = sheet_page(table, 0)
    assert "<img" not in page
    assert page.count("</script>") == 2
    data = json.loads(re.search(r'id="sheet-data">(.*?)</script>', page)[1])
    assert data["pairs"][0]["prompt"] == HOSTILE
    assert not re.search(r"https?://|src=|href=", re.sub(r'id="sheet-data">.*?</script>', "", page))
    (row,) = csv.DictReader(io.StringIO(sheet_csv(table, 0).removeprefix("\ufeff")))
    assert {row["answer_a"], row["answer_b"]} == {"'=1+1", HOSTILE}


def write(path: Path, table: pa.Table, annotator: str, given: dict[int, str] | None = None, **changes: str) -> Path:
    """Labels of all candidates by one annotator: a, but for the rows in `given`."""
    sheet = sheet_of(table)
    lines = ["sheet,pair,annotator,label,shown_first"]
    for row, pair in enumerate(table["pair"].to_pylist()):
        lines.append(f"{sheet},{pair},{annotator},{(given or {}).get(row, 'a')},b")
    text = "\r\n".join(lines) + "\r\n"
    for old, new in changes.items():
        text = text.replace(old, new)
    path.write_text(text)
    return path


def read(table: pa.Table, *paths: Path, overlap: int = 1) -> list[Labelled]:
    return check_labels(read_label_files(paths), sheet_of(table), table["pair"].to_pylist(), overlap)


def test_exported_labels_are_read_back(tmp_path):
    table = candidates(3)
    found = read(table, write(tmp_path / "anna.csv", table, "Anna", {1: "TIE", 2: ""}, **{"\r\n": "\n"}), overlap=0)
    pairs = table["pair"].to_pylist()
    assert found == [Labelled(pairs[0], "Anna", Label.A, Label.B), Labelled(pairs[1], "Anna", Label.TIE, Label.B)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_table_filled_in_by_hand_is_read_back_however_a_spreadsheet_saves_it(tmp_path, delimiter):
    table = candidate_table([0], ['one\ntwo, "three"; four'], [(Scored("x\ny", None), Scored("z", None))], None, 0)
    rows = list(csv.reader(io.StringIO(sheet_csv(table, 0).removeprefix("\ufeff"))))
    rows[1][2], rows[1][-1] = " Zoë ", "B"
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([*rows, [""] * len(rows[0])])
    (tmp_path / "zoe.csv").write_text(file.getvalue(), encoding="utf-8-sig", newline="")
    assert read(table, tmp_path / "zoe.csv") == [Labelled(table["pair"][0].as_py(), "Zoë", Label.B)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"f\.csv, line 1: there is no column 'sheet'; found nothing\. Needed: sheet, pair, annotator, label"),
        (b"pair,label\n", r"f\.csv, line 1: there is no column 'sheet'; found pair, label"),
        (b"sheet,pair,annotator,label,Label\n", r"f\.csv, line 1: there are 2 columns 'label'\. Allowed: one"),
        (b"\xff\xfe", r"f\.csv is not UTF-8"),
        (b"sheet,pair,annotator,label\ns,p,anna,left\n", r"line 2: found the label 'left'\. Allowed: a, b, tie, skip"),
        (b'sheet,pair,annotator,label,x\ns,p,anna,a,"1\n2"\ns,p,,b,\n', r"line 4: found the annotator ''"),
        (b"sheet,pair,annotator,label,shown_first\ns,p,anna,a,left\n", r"line 2: found shown_first 'left'"),
        (b'sheet,pair,annotator,label\ns,"p"x,anna,a\n', r"f\.csv, line 2: this is no CSV"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_by_line(tmp_path, content, message):
    (tmp_path / "f.csv").write_bytes(content)
    with pytest.raises(StudyError, match=message):
        read_label_files([tmp_path / "f.csv"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StudyError, match=r"none\.csv cannot be read.*Export it"):
        read_label_files([tmp_path / "none.csv"])


def test_labels_of_another_sheet_or_of_unknown_pairs_are_refused_by_line(tmp_path):
    table, other = candidates(3), candidates(3, seed=1)
    with pytest.raises(StudyError, match=rf"a\.csv, line 2: the label is of the sheet '{sheet_of(other)}', but this"):
        read(table, write(tmp_path / "a.csv", other, "anna"))
    pair = table["pair"][1].as_py()
    with pytest.raises(StudyError, match=r"a\.csv, line 3: the sheet has no pair 'pnone'\. Allowed: its 3 pairs"):
        read(table, write(tmp_path / "a.csv", table, "anna", **{pair: "pnone"}))


def test_many_faults_are_told_together_and_counted(tmp_path):
    table = candidates(15)
    with pytest.raises(StudyError, match=r"(?s)line 2:.*line 11:.*and 5 more") as raised:
        read(table, write(tmp_path / "a.csv", table, "anna", dict.fromkeys(range(15), "left")))
    assert "line 12" not in str(raised.value)


@pytest.mark.parametrize("again", ["ann a", "Ann  A", "Ａｎｎ Ａ"])
def test_nobody_labels_a_pair_twice_under_names_that_differ_in_case_spaces_or_width_only(tmp_path, again):
    table = candidates(2)
    files = [write(tmp_path / "one.csv", table, "Ann A"), write(tmp_path / "two.csv", table, again, {0: "b"})]
    with pytest.raises(
        StudyError, match=rf"two\.csv, line 2: {again} labels the pair .* a second time, after .*one\.csv, li"
    ):
        read(table, *files)


def test_pairs_with_too_few_annotators_are_refused_with_what_is_there(tmp_path):
    table = candidates(3)
    files = [write(tmp_path / f"{name}.csv", table, name) for name in ("anna", "ben")]
    files.append(write(tmp_path / "cy.csv", table, "cy", {1: ""}))
    message = r"1 of 3 pairs have fewer than 3 labels, e\.g\. p\w+ has 2; the last one stands in .*ben\.csv, line 3"
    with pytest.raises(StudyError, match=rf"{message}.*anna 3, ben 3, cy 2.*lower `overlap`"):
        read(table, *files, overlap=3)
    assert len(read(table, *files, overlap=2)) == 8
    with pytest.raises(StudyError, match=r"3 of 3 pairs have fewer than 1 labels, e\.g\. p\w+ has 0\. .*nobody any"):
        read(table, write(tmp_path / "empty.csv", table, "x", dict.fromkeys(range(3), "")))


def test_only_unanimous_preferences_become_pairs_and_the_rest_is_counted():
    table = candidates(6)
    pairs = table["pair"].to_pylist()
    given = ["aaa", "bbb", "aab", "===", "ab.", ""]
    names = {"a": Label.A, "b": Label.B, "=": Label.TIE, ".": Label.SKIP}
    labels = [
        Labelled(pair, f"x{place}", names[letter])
        for pair, text in zip(pairs, given, strict=True)
        for place, letter in enumerate(text)
    ]
    found, counts = unanimous(table, labels)
    rows = table.to_pylist()
    assert found.to_pylist() == [
        {"prompt": "prompt 0", "chosen": rows[0]["a"], "rejected": rows[0]["b"], "task": "factual"},
        {"prompt": "prompt 1", "chosen": rows[1]["b"], "rejected": rows[1]["a"], "task": "creative"},
    ]
    assert (counts.pairs, counts.taken, counts.disagreed, counts.tied, counts.skipped) == (6, 2, 1, 1, 2)
    assert "task" not in unanimous(candidates(6, tasks=False), labels)[0].column_names


def test_the_table_of_labels_stands_in_the_order_of_the_candidates():
    table = candidates(2)
    first, second = table["pair"].to_pylist()
    found = label_table(table, [Labelled(second, "x", Label.SKIP), Labelled(first, "y", Label.A, Label.B)])
    assert found.to_pylist() == [
        {"pair": first, "row": 0, "annotator": "y", "label": "a", "shown_first": "b", "task": "factual"},
        {"pair": second, "row": 1, "annotator": "x", "label": "skip", "shown_first": None, "task": "creative"},
    ]
