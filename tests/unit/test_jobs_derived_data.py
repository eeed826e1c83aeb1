"""Making data sets from others: what is merged, what is told of it, and what bad input comes to."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.errors import CorruptFile, StudyError
from modecollapse.jobs.derived_data import derive_data
from modecollapse.jobs.own_answers import SCHEMA as OWN_SCHEMA
from modecollapse.methods.reference_file import SCHEMA
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed


def spec(seed: int | None = None, prompts: Any = None, **transformation: Any) -> dict[str, Any]:
    return {"revision": 1, "transformation": transformation, "seed": seed, "prompts": prompts}


def pairs(path: Path, rows: list[tuple[str, ...]], columns: str = "prompt chosen rejected task") -> Path:
    names = columns.split()
    table = pa.table(
        {name: pa.array(values, pa.string()) for name, values in zip(names, zip(*rows, strict=True), strict=True)}
    )
    write_sealed(table, path)
    return path


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two sets of pairs: the second repeats one of the first, and has one of equal answers."""
    first = [("p", "good", "bad", "a"), ("q", "fine", "poor", "b")]
    second = [("P ", "Good", "bad", "a"), ("r", "same", "same ", "b"), ("s", "yes", "no", "b")]
    return [pairs(tmp_path / "one.parquet", first), pairs(tmp_path / "two.parquet", second)]


def report_of(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(read_metadata(path)["report"])
    return report


def test_sets_follow_each_other_and_pairs_of_equal_answers_are_left_out(two, tmp_path):
    output = tmp_path / "out.parquet"
    derive_data(spec(), "merged", two, output)
    assert read_sealed(output)["prompt"].to_pylist() == ["p", "q", "P ", "s"]
    report = report_of(output)
    assert (report["transformation"], report["rows"], report["kept"]) == ("merge", 5, 4)
    assert {"task": "b", "outcome": "equal answers", "kept": False, "n": 1} in report["counts"]
    stated = json.loads(read_metadata(output)["inputs"])
    assert stated == {"data": [read_metadata(path)[SEAL] for path in two]}
    again = tmp_path / "again.parquet"
    derive_data(spec(), "merged", two, again)
    assert again.read_bytes() == output.read_bytes()


def test_duplicates_are_found_across_the_sets_and_the_first_stays(two, tmp_path):
    output = tmp_path / "out.parquet"
    derive_data(spec(deduplicate={"by": "pair", "near": None}), "unique", two, output)
    assert read_sealed(output)["prompt"].to_pylist() == ["p", "q", "s"]


def test_what_overlaps_evaluation_prompts_is_told_and_removed_if_asked(two, tmp_path):
    output = tmp_path / "out.parquet"
    prompts = {"creative": {"c0": ["Q?"]}}
    derive_data(spec(prompts=prompts, decontaminate={"words": 8, "remove": True}), "clean", two, output)
    assert read_sealed(output)["prompt"].to_pylist() == ["p", "P ", "s"]
    assert report_of(output)["prompts"] == {"creative": {"c0": 1}}
    derive_data(spec(prompts=prompts, decontaminate={"words": 8, "remove": False}), "clean", two, output)
    assert read_sealed(output).num_rows == 4
    assert {"task": "b", "outcome": "overlaps evaluation prompts", "kept": True, "n": 1} in report_of(output)["counts"]


def test_sets_of_different_columns_cannot_be_put_together(two, tmp_path):
    other = pairs(tmp_path / "other.parquet", [("p", "a", "b")], "prompt chosen rejected")
    with pytest.raises(StudyError, match=r"other\.parquet has the columns prompt, chosen, rejected, but .*, task"):
        derive_data(spec(), "merged", [*two, other], tmp_path / "out.parquet")


def test_a_row_without_a_text_is_refused(tmp_path):
    broken = tmp_path / "broken.parquet"
    write_sealed(pa.table({"prompt": ["p", None], "chosen": ["a", "b"], "rejected": ["c", "d"]}), broken)
    with pytest.raises(StudyError, match=r"broken\.parquet: its column 'prompt' holds something else than text"):
        derive_data(spec(), "merged", [broken], tmp_path / "out.parquet")


def test_a_missing_column_is_named_with_what_needs_it(tmp_path):
    bare = pairs(tmp_path / "bare.parquet", [("p", "a", "b")], "prompt chosen rejected")
    with pytest.raises(StudyError, match=r"data\.even: it has the columns .*, but balance needs task\. Name it"):
        derive_data(spec(0, balance={"task_ratio": 2.0, "length": False}), "even", [bare], tmp_path / "out.parquet")


def test_a_set_of_which_nothing_is_left_names_its_counts_and_what_to_relax(tmp_path):
    equal = pairs(tmp_path / "equal.parquet", [("p", "a", "a", "t"), ("q", "b", "b", "t")])
    with pytest.raises(StudyError, match=r"data\.merged: no row of 2 is left \(t: 2 equal answers\)\. Name other"):
        derive_data(spec(), "merged", [equal], tmp_path / "out.parquet")
    longer = pairs(tmp_path / "longer.parquet", [("p", "aa", "b", "t")])
    with pytest.raises(
        StudyError, match=r"data\.even: no row of 1 is left \(t: 1 length balance\)\. Set length: false"
    ):
        derive_data(spec(0, balance={"task_ratio": None, "length": True}), "even", [longer], tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def scored(path: Path, data: Path, perplexities: list[tuple[float, float]]) -> Path:
    """What a scorer would give to pairs: answers of four tokens, of these perplexities."""
    sums = [[-4 * math.log(value) for value in values] for values in zip(*perplexities, strict=True)]
    count = len(perplexities)
    table = pa.table([range(count), [4] * count, [4] * count, *sums], names=SCHEMA.names).cast(SCHEMA)
    write_sealed(table, path, {"data": read_metadata(data)[SEAL]})
    return path


def test_every_pair_of_several_sets_is_filtered_by_its_own_perplexities(two, tmp_path):
    references = [
        scored(tmp_path / "scores_one.parquet", two[0], [(2.0, 3.0), (2.0, 9.0)]),
        # The second pair has equal answers; numbers of the third must not be taken for its own.
        scored(tmp_path / "scores_two.parquet", two[1], [(9.0, 2.0), (99.0, 99.0), (3.0, 3.0)]),
    ]
    own = tmp_path / "own.parquet"
    answers = [("a", 5.0), ("a", 5.0), ("b", 4.0), ("b", 4.0), ("b", None)]
    logp = [None if value is None else -math.log(value) for _, value in answers]
    tasks = [task for task, _ in answers]
    write_sealed(pa.table([tasks, ["x"] * 5, [True] * 5, logp], names=OWN_SCHEMA.names).cast(OWN_SCHEMA), own)
    output = tmp_path / "out.parquet"
    filtering = spec(0, perplexity={"percentile": 50.0, "task_ratio": None})
    derive_data(filtering, "on_dist", two, output, references, own)
    assert read_sealed(output)["prompt"].to_pylist() == ["p", "s"]
    report = report_of(output)
    assert report["bounds"]["b"] == {"bound": pytest.approx(4.0), "n": 2}
    outcomes = {(entry["task"], entry["outcome"]): entry["n"] for entry in report["counts"]}
    assert outcomes == {
        ("a", "kept"): 1, ("a", "chosen above"): 1, ("b", "kept"): 1, ("b", "rejected above"): 1,
        ("b", "equal answers"): 1,
    }  # fmt: skip
    assert set(json.loads(read_metadata(output)["inputs"])) == {"data", "references", "own"}
    with pytest.raises(CorruptFile, match="log-probabilities of other pairs"):
        derive_data(filtering, "on_dist", two, output, references[::-1], own)
