"""What models answer to the prompts of pairs: kept by set, gone on with after a stop, cut at stop strings."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from modecollapse import stopping
from modecollapse.cells import Model
from modecollapse.data.compared_pairs import pairs_compared
from modecollapse.errors import StudyError
from modecollapse.identities import model_of_table
from modecollapse.jobs import feature_answers as module
from modecollapse.jobs.feature_answers import answer_pairs
from modecollapse.jobs.running import Job
from modecollapse.measures.experimenter import Experimenter
from modecollapse.measures.text_features import ANSWERS
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store
from tests.tiny_models import AgreeingManifest

MODEL = Model("tiny", 0, "sft")
SPEC: dict[str, Any] = {
    **{"revision": 1, "sets": ["train", "validation"], "count": None, "stop": [], "dtype": "float32"},
    **{"rows_per_batch": None, "threads": 1, "format": {"name": "plain", "spec": "{prompt} {start}"}},
    "sampling": {"completions": 2, "max_new_tokens": 10, "temperature": "1.0", "seed": 0},
}


@pytest.fixture(autouse=True)
def manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_manifest", lambda _: AgreeingManifest())


def pairs(directory: Path, name: str, prompts: list[str]) -> Path:
    path = directory / f"{name}.parquet"
    columns = {"prompt": prompts, "chosen": ["Yes."] * len(prompts), "rejected": ["No."] * len(prompts)}
    write_sealed(pa.table(columns), path)
    return path


def run(directory: Path, weights: Path, spec: dict[str, Any] = SPEC, prompts: tuple[int, int] = (7, 3)) -> pa.Table:
    directory.mkdir(parents=True, exist_ok=True)
    sets = [
        pairs(directory, name, [f"{name} {number}" for number in range(size)])
        for name, size in zip(SPEC["sets"], prompts, strict=True)
    ]
    output = directory / "out.parquet"
    # No clock: every part is kept.
    store = Store(directory / "store")
    answer_pairs(spec, MODEL, (Path("-"), weights), sets[: len(spec["sets"])], output, store, Job(None), -1.0)
    return read_sealed(output)


def test_every_prompt_of_every_set_is_answered(tmp_path: Path, weights: Path) -> None:
    answers = run(tmp_path / "a", weights)
    assert answers.schema.remove_metadata() == ANSWERS
    assert model_of_table(answers) == MODEL
    asked = [(row["set"], row["item"], row["sample"]) for row in answers.to_pylist()]
    sizes = zip(SPEC["sets"], (7, 3), strict=True)
    assert asked == [(name, str(row), sample) for name, size in sizes for row in range(size) for sample in range(2)]
    assert len(set(answers["text"].to_pylist())) > 10
    assert run(tmp_path / "b", weights).equals(answers)


def test_another_validation_set_asks_nothing_of_the_training_set_again(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path, weights)
    asked = []
    original = Experimenter.outputs
    monkeypatch.setattr(
        Experimenter, "outputs", lambda self, prompts, *rest: asked.append(prompts) or original(self, prompts, *rest)
    )
    second = run(tmp_path, weights, prompts=(7, 2))
    assert [list(prompts.values()) for prompts in asked] == [["validation 0", "validation 1"]]
    assert second.num_rows == 18
    assert second.slice(0, 14).equals(first.slice(0, 14))


def test_a_job_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROWS", 4)
    undisturbed = run(tmp_path / "a", weights)
    made: list[int] = []
    original = Experimenter.outputs

    def outputs(self: Experimenter, prompts: Any, *rest: Any) -> Any:
        made.append(len(prompts))
        if len(made) == 3:
            raise stopping.Stopped
        return original(self, prompts, *rest)

    monkeypatch.setattr(Experimenter, "outputs", outputs)
    with pytest.raises(stopping.Stopped):
        run(tmp_path / "b", weights)
    assert not (tmp_path / "b" / "out.parquet").exists()
    resumed = run(tmp_path / "b", weights)
    assert resumed.equals(undisturbed)
    # Two parts of the first set were kept: what is asked after the stop is its last two parts, and the second set.
    assert made == [2, 2, 2, 2, 1, 2, 1]


def test_answers_are_cut_before_a_stop_string(tmp_path: Path, weights: Path) -> None:
    whole = {row["item"]: row["text"] for row in run(tmp_path / "a", weights).to_pylist() if row["sample"] == 0}
    letter = next(text[4] for text in whole.values() if len(text) > 6)
    cut = run(tmp_path / "b", weights, {**SPEC, "stop": [letter]})
    assert not any(letter in text for text in cut["text"].to_pylist())


def test_a_draw_of_pairs_is_a_part_of_a_larger_one(tmp_path: Path) -> None:
    path = pairs(tmp_path, "train", [f"{number}" for number in range(100)])
    few, many = (pairs_compared(path, count, 3)[0] for count in (10, 30))
    assert len(few) == 10
    assert set(few) < set(many)
    assert few == sorted(few)
    assert pairs_compared(path, None, 3)[0] == list(range(100))
    assert pairs_compared(path, 1000, 3)[0] == list(range(100))


def test_prompts_that_leave_no_room_are_left_out_and_all_of_them_are_an_error(tmp_path: Path, weights: Path) -> None:
    spec = {**SPEC, "sets": ["train"]}
    path = pairs(tmp_path, "train", ["x" * 400, "short"])
    output = tmp_path / "out.parquet"
    store, job = Store(tmp_path / "store"), Job(None)
    answer_pairs(spec, MODEL, (Path("-"), weights), [path], output, store, job)
    assert read_sealed(output)["item"].to_pylist() == ["1", "1"]
    path = pairs(tmp_path, "train", ["x" * 400])
    with pytest.raises(StudyError, match=r"no prompt leaves room .*max_new_tokens, 10 tokens. Lower it"):
        answer_pairs(spec, MODEL, (Path("-"), weights), [path], output, store, job)
