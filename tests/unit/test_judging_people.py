"""People as judges: a blind sheet, and their labels as verdicts."""

import csv
import io

import pytest

from modecollapse.errors import StudyError
from modecollapse.judging.people import judged_by_people, sheet_pairs
from modecollapse.judging.verdicts import Verdict
from modecollapse.labelling.candidates import sheet_of
from modecollapse.labelling.sheet import sheet_csv, sheet_in, sheet_page
from tests.judged_pairs import pair, pairs

PAIRS = [*pairs(12), pair(12, "same", "same ")]


def labelled(path, prefer, annotators=("Ann", "Bob", "Cem"), sheet=None, of=PAIRS):
    """A file in which each annotator says what `prefer` does of every pair, given its number and the annotator."""
    shown = sheet_pairs(of)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sheet", "pair", "annotator", "label"])
        for number, row in enumerate(shown.to_pylist()):
            for annotator in annotators:
                writer.writerow([sheet or sheet_of(shown), row["pair"], annotator, prefer(number, annotator, row)])
    return path


def longer(number, annotator, row):
    return "a" if len(row["a"]) > len(row["b"]) else "b"


def test_the_sheet_is_blind_and_shows_what_differs_once():
    shown = sheet_pairs(PAIRS)
    assert shown.num_rows == 12
    assert {row["a"] for row in shown.to_pylist()} == {"a long answer", "short"}, "either comes first"
    rows = list(csv.DictReader(io.StringIO(sheet_csv(shown, 0).lstrip("\ufeff"))))
    assert not {"stage", "reference", "judge"} & set(rows[0])
    page = sheet_page(shown, 0)
    assert "sft" not in page.lower().replace("shift", "")
    assert "a long answer" in page


def test_labels_are_verdicts_of_each_annotator_whichever_answer_was_a(tmp_path):
    def say(number, annotator, row):
        return {"Ann": longer(number, annotator, row), "Bob": "tie", "Cem": "skip"}[annotator]

    judged = list(judged_by_people(PAIRS, [labelled(tmp_path / "labels.csv", say)], 3, tmp_path, ()))
    by = {name: {each.verdict for _, each in judged if each.answered_by == name} for name in ("Ann", "Bob", "Cem")}
    assert by == {"Ann": {Verdict.WIN}, "Bob": {Verdict.TIE}, "Cem": {Verdict.REFUSAL}}
    assert [each.verdict for one, each in judged if one.equal] == [Verdict.TIE]
    assert len(judged) == 37


def test_files_may_hold_labels_of_other_models_sheets_too(tmp_path):
    own = labelled(tmp_path / "own.csv", longer)
    (tmp_path / "sheet.csv").write_text(sheet_csv(sheet_pairs(pairs(5)), 0))
    other = labelled(tmp_path / "other.csv", longer, of=pairs(5))
    sheets = {sheet_in(tmp_path / "sheet.csv")}
    assert len(list(judged_by_people(PAIRS, [own, other], 3, tmp_path, sheets))) == 37


def test_labels_of_a_sheet_that_is_there_no_more_are_refused_even_if_there_are_enough_others(tmp_path):
    own = labelled(tmp_path / "own.csv", longer)
    old = labelled(tmp_path / "old.csv", longer, sheet="sold")
    with pytest.raises(StudyError, match=r"old\.csv, line 2: the label is of the sheet 'sold', but this one is"):
        list(judged_by_people(PAIRS, [own, old], 3, tmp_path, {"sother"}))


def test_labels_of_other_sheets_alone_are_told_with_the_sheet_s_place(tmp_path):
    other = labelled(tmp_path / "other.csv", longer, sheet="sother")
    with pytest.raises(StudyError, match=r"other\.csv: none of 36 labels is of the sheet s[0-9a-f]+, which is .*page"):
        list(judged_by_people(PAIRS, [other], 3, tmp_path / "page.html", ()))


def test_too_few_annotators_and_unknown_pairs_are_told(tmp_path):
    few = labelled(tmp_path / "few.csv", longer, annotators=("Ann", "Bob"))
    with pytest.raises(StudyError, match="fewer than 3 labels"):
        list(judged_by_people(PAIRS, [few], 3, tmp_path, ()))
    assert len(list(judged_by_people(PAIRS, [few], 2, tmp_path, ()))) == 25
    changed = few.read_text().replace(sheet_pairs(PAIRS)["pair"][0].as_py(), "p0")
    few.write_text(changed)
    with pytest.raises(StudyError, match="has no pair 'p0'"):
        list(judged_by_people(PAIRS, [few], 2, tmp_path, ()))


def test_changed_answers_make_another_sheet():
    assert sheet_of(sheet_pairs(PAIRS)) != sheet_of(sheet_pairs([*pairs(11), pair(11, "another answer")]))
