"""The jobs that write sheets and label candidates, on files."""

import json
from pathlib import Path
from typing import Any

import pytest

from modecollapse.data.nano.world import WorldSettings
from modecollapse.digests import sha256_file
from modecollapse.errors import StudyError
from modecollapse.jobs.labelling import label_pairs, write_sheet
from modecollapse.labelling.candidates import Scored, candidate_table, sheet_of
from modecollapse.publishing import verify_digests
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed

NUMBER = 40


@pytest.fixture
def candidates(tmp_path: Path) -> Path:
    """The better answers are much better in the first half, and a little in the second."""
    pairs = [
        (Scored(f"good {row}", 20.0 if row < NUMBER // 2 else 0.1), Scored(f"bad {row}", 0.0)) for row in range(NUMBER)
    ]
    table = candidate_table(range(NUMBER), [f"prompt {row}" for row in range(NUMBER)], pairs, ["x"] * NUMBER, 0)
    write_sealed(table, tmp_path / "candidates.parquet")
    return tmp_path / "candidates.parquet"


def outputs(directory: Path) -> dict[str, Path]:
    return {name: directory / f"{name}.parquet" for name in ("pairs", "labels")}


def annotators(overlap: int) -> dict[str, Any]:
    world = {"revision": 1, "settings": WorldSettings().model_dump(mode="json")}
    return {"revision": 1, "overlap": overlap, "stream": "0/tiny/s0/sft", "world": world}


def label_file(path: Path, candidates: Path, annotator: str, wrong: int = 0) -> Path:
    """Labels of all candidates, which prefer the good answer in all but the first `wrong` pairs."""
    table = read_sealed(candidates)
    lines = ["sheet,pair,annotator,label"]
    for place, row in enumerate(table.to_pylist()):
        good = "a" if row["a"].startswith("good") else "b"
        label = {"a": "b", "b": "a"}[good] if place < wrong else good
        lines.append(f"{sheet_of(table)},{row['pair']},{annotator},{label}")
    path.write_text("\n".join(lines) + "\n")
    return path


def people(*files: Path, overlap: int = 3) -> dict[str, Any]:
    return {"revision": 1, "overlap": overlap, "labels": sorted(map(sha256_file, files))}


def test_a_sheet_is_published_with_its_digests(candidates, tmp_path):
    files = {suffix: tmp_path / f"sheet.{suffix}" for suffix in ("html", "csv", "sha256")}
    write_sheet({"revision": 1, "seed": 0}, candidates, files)
    verify_digests(files["sha256"])
    before = {suffix: path.read_bytes() for suffix, path in files.items()}
    assert b"prompt 7" in before["html"]
    write_sheet({"revision": 1, "seed": 0}, candidates, files)
    assert {suffix: path.read_bytes() for suffix, path in files.items()} == before


def test_what_people_agree_on_becomes_pairs_with_their_labels_beside_them(candidates, tmp_path):
    files = [
        label_file(tmp_path / f"{name}.csv", candidates, name, wrong) for wrong, name in enumerate(("ann", "ben", "cy"))
    ]
    label_pairs(people(*files), "set", candidates, files, outputs(tmp_path))
    pairs = read_sealed(tmp_path / "pairs.parquet")
    assert pairs.column_names == ["prompt", "chosen", "rejected", "task"]
    assert pairs.num_rows == NUMBER - 2
    assert all(text.startswith("good") for text in pairs["chosen"].to_pylist())
    labels = read_sealed(tmp_path / "labels.parquet")
    assert labels.num_rows == 3 * NUMBER
    record = read_metadata(tmp_path / "pairs.parquet")
    assert json.loads(record["counts"]) == {"pairs": 40, "taken": 38, "skipped": 0, "tied": 0, "disagreed": 2}
    assert record["candidates"] == read_metadata(candidates)[SEAL]


def test_pairs_are_the_same_bytes_if_files_of_labels_look_otherwise_and_say_the_same(candidates, tmp_path):
    file = label_file(tmp_path / "ann.csv", candidates, "ann")
    label_pairs(people(file, overlap=1), "set", candidates, [file], outputs(tmp_path))
    before = (tmp_path / "pairs.parquet").read_bytes()
    file.write_text(file.read_text().replace(",", ";").replace(";a\n", "; A \r\n") + "\n\n")
    label_pairs(people(file, overlap=1), "set", candidates, [file], outputs(tmp_path))
    assert (tmp_path / "pairs.parquet").read_bytes() == before


def test_labels_that_were_edited_after_the_job_was_planned_are_refused(candidates, tmp_path):
    file = label_file(tmp_path / "ann.csv", candidates, "ann")
    spec = people(file, overlap=1)
    label_file(file, candidates, "ann", wrong=1)
    with pytest.raises(StudyError, match="edited while it ran"):
        label_pairs(spec, "set", candidates, [file], outputs(tmp_path))
    assert not (tmp_path / "pairs.parquet").exists()


def test_people_who_agree_on_nothing_leave_no_pair_and_no_file(candidates, tmp_path):
    files = [label_file(tmp_path / f"{name}.csv", candidates, name, wrong) for name, wrong in (("a", 0), ("b", NUMBER))]
    with pytest.raises(StudyError, match=r"set: no pair is left\. 40 pairs: 0 labelled alike.*40 labelled differently"):
        label_pairs(people(*files, overlap=2), "set", candidates, files, outputs(tmp_path))
    assert not (tmp_path / "pairs.parquet").exists()
    assert not (tmp_path / "labels.parquet").exists()


def test_simulated_annotators_have_noise_of_their_own_and_only_unanimous_pairs_are_kept(candidates, tmp_path):
    label_pairs(annotators(3), "set", candidates, [], outputs(tmp_path))
    labels = read_sealed(tmp_path / "labels.parquet").to_pandas()
    given = labels.pivot(index="row", columns="annotator", values="label")
    assert list(given) == ["annotator-1", "annotator-2", "annotator-3"]
    agreed = given.nunique(axis=1) == 1
    assert agreed[: NUMBER // 2].all(), "nobody takes the much better answer for the worse"
    assert 0 < agreed[NUMBER // 2 :].sum() < NUMBER // 2
    pairs = read_sealed(tmp_path / "pairs.parquet")
    assert pairs.num_rows == agreed.sum()
    counts = json.loads(read_metadata(tmp_path / "pairs.parquet")["counts"])
    assert (counts["taken"], counts["disagreed"]) == (agreed.sum(), NUMBER - agreed.sum())
    label_pairs(annotators(5), "set", candidates, [], outputs(tmp_path))
    more = read_sealed(tmp_path / "labels.parquet").to_pandas().pivot(index="row", columns="annotator", values="label")
    assert more[list(given)].equals(given), "further annotators change nothing of what the first ones say"
