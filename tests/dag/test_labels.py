"""Pairs that are labelled apart: new labels label anew, and sample nothing."""

import csv
from pathlib import Path

import pytest

from modecollapse.sealed import read_metadata, read_sealed
from tests.projects import Project

STAGE = """  dpo2: {like: dpo, from: dpo, data: onpolicy}

seeds: [0]
"""
SET = """  preferences: {world: preferences, n: 64}
  onpolicy:
    sampled:
      from: dpo
      prompts: preferences
      reward: people
      choose: most_different
      n: 12
      count: 32
      max_new_tokens: 64
      overlap: 2
"""
LABELS = "      overlap: 2\n      labels: [../../labels/anna.csv, ../../labels/ben.csv]\n"
REFERENCE = "score_reference tiny/s0/dpo/onpolicy/human/128-64-truncate-float32"
SHEET = ["sample_candidates tiny/s0/onpolicy", "write_sheet tiny/s0/onpolicy"]
TRAINING = ["label_pairs tiny/s0/onpolicy", REFERENCE, "train tiny/s0/dpo2"]


@pytest.fixture
def labelled(finished: Project) -> Project:
    """The smoke study with a stage that is tuned on what people say of its parent's answers."""
    finished.edit_study("seeds: [0]\n", STAGE)
    finished.edit_study("  preferences: {world: preferences, n: 64}\n", SET)
    return finished


def fill_in(project: Project, annotator: str, wrong: int = 0) -> Path:
    """Label the sheet by hand: longer answers are better, but in the first `wrong` pairs."""
    with project.result("labelling/tiny/s0/onpolicy.csv").open(encoding="utf-8-sig", newline="") as file:
        header, *rows = csv.reader(file)
    for place, row in enumerate(sorted(rows, key=lambda row: row[1])):
        longer = len(row[4]) > len(row[5])
        row[2], row[-1] = annotator, "a" if longer != (place < wrong) else "b"
    path = project.root / "labels" / f"{annotator}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_sheet_can_be_made_without_labels_and_training_cannot_begin_without_them(labelled: Project) -> None:
    assert labelled.plan("labelling_sheets") == SHEET
    said = labelled.run("models", succeeds=False)
    assert "data.onpolicy.sampled.labels: no file of people's labels is named" in said
    assert "snakemake labelling_sheets --config study=nano-smoke" in said
    assert "Nothing was started and nothing was changed." in said
    assert not labelled.result("candidates").exists()
    labelled.edit_study("      overlap: 2\n", LABELS)
    assert "there is no file" in labelled.run("models", succeeds=False)


def test_several_simulated_annotators_label_by_a_job_of_their_own_and_without_a_sheet(labelled: Project) -> None:
    labelled.edit_study("reward: people", "reward: annotators")
    assert labelled.plan("models") == sorted(["sample_candidates tiny/s0/onpolicy", *TRAINING])
    labelled.edit_study("overlap: 2", "overlap: 1")
    assert labelled.plan("models") == sorted(["sample_pairs tiny/s0/onpolicy", *TRAINING[1:]])


@pytest.mark.slow
def test_labels_make_pairs_and_other_labels_make_others_without_sampling_anew(labelled: Project) -> None:
    labelled.run("labelling_sheets")
    candidates = labelled.result("candidates/tiny/s0/onpolicy.parquet")
    before = candidates.stat().st_ino
    files = [fill_in(labelled, "anna"), fill_in(labelled, "ben", wrong=2)]
    labelled.edit_study("      overlap: 2\n", LABELS)
    assert labelled.plan("models") == sorted(TRAINING)
    table = "results/nano-smoke/tables/label_agreement.parquet"
    labelled.run("models", table)
    assert labelled.plan("models", table) == []

    number = read_sealed(candidates).num_rows
    pairs = labelled.result("sampled/tiny/s0/onpolicy.parquet")
    assert read_sealed(pairs).num_rows == number - 2
    assert read_sealed(labelled.result("labels/tiny/s0/onpolicy.parquet")).num_rows == 2 * number
    agreement = read_sealed(labelled.result("tables/label_agreement.parquet")).to_pandas()
    whole = agreement[agreement["task"] == "all"].set_index("quantity")["value"]
    assert whole["unanimous"] == pytest.approx((number - 2) / number)
    assert "intact" in labelled.run("verify")

    files[0].touch()
    assert labelled.plan("models") == [], "the content counts"
    fill_in(labelled, "ben", wrong=3)
    assert labelled.plan("models") == sorted(TRAINING), "nothing is sampled"
    labelled.run("models")
    assert '"disagreed":3' in read_metadata(pairs)["counts"]
    assert candidates.stat().st_ino == before

    files[1].write_text(files[1].read_text().replace(",ben,", ",Anna,"))
    said = labelled.run("models", succeeds=False)
    assert "ben.csv, line 2: Anna labels the pair" in said
    assert "Nothing was started and nothing was changed." in said, "the sheet is there, so labels are checked first"
    labelled.edit_study("overlap: 2", "overlap: 3")
    fill_in(labelled, "ben")
    assert f"{number} of {number} pairs have fewer than 3 labels" in labelled.run("models", succeeds=False)
