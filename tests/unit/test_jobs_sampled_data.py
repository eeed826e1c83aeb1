"""What becomes of sampled answers: pairs by every rule, or candidates, as a spec says."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from modecollapse.data.nano.world import WorldSettings
from modecollapse.errors import StudyError
from modecollapse.jobs import sampled_data
from modecollapse.labelling import candidates
from modecollapse.methods.answers_file import SCHEMA
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

LOOP = "the same words come back again and again, " * 8
ANSWERS: dict[int, list[tuple[str, bool, float]]] = {
    3: [(" a b c d", True, 1.0), ("a b c e", True, 3.0), ("w x y z", True, 2.0), (LOOP, False, 9.0)],
    5: [("never ends", False, 5.0), ("a b", True, 0.0), ("a c", True, 0.0)],
}
"""Row of the prompt → its answers: text, whether it ended, score."""


class Sources:
    """A model and a reward without any weights."""

    def digests(self) -> dict[str, str]:
        return {"weights": "w"}


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the job with these answers in the place of a model's; returns what it published."""
    prompts = {"prompt": [f"prompt {row}" for row in range(8)], "task": [f"task {row}" for row in range(8)]}
    write_sealed(pa.table(prompts), tmp_path / "prompts.parquet")

    def run(given: dict[int, list[tuple[str, bool, float]]] = ANSWERS, **spec: Any) -> Path:
        rows = [(row, [0], ended, text, score) for row, each in given.items() for text, ended, score in each]
        columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)]
        answers = pa.table(columns, schema=SCHEMA)
        monkeypatch.setattr(sampled_data, "_answers", lambda *_: (answers, SimpleNamespace(rows=list(given))))
        whole = {"stream": "0/tiny/s0/sft", "seed": 0, "threads": 1, "reward": {"function": "words"}, **spec}
        output = tmp_path / "output.parquet"
        sources: Any = Sources()
        prompts_file, store = tmp_path / "prompts.parquet", Store(tmp_path / "store")
        sampled_data.sample_pairs(whole, "set", sources, prompts_file, output, store, lambda *_: None)
        return output

    return run


def pairs(output: Path) -> list[tuple[str, str, str]]:
    return [(row["prompt"], row["chosen"], row["rejected"]) for row in read_sealed(output).to_pylist()]


def test_without_a_rule_the_best_and_the_worst_make_a_pair(publish):
    output = publish()
    assert pairs(output) == [("prompt 3", "a b c e", "a b c d")]
    assert "repetitive" not in json.loads(read_metadata(output)["counts"])


@pytest.mark.parametrize("distance", ["edit", "jaccard_1", "cosine"])
def test_the_most_different_answers_make_a_pair_in_the_order_of_their_scores(publish, distance):
    embedder = {"model": "all-MiniLM-L6-v2", "dtype": "float32", "batch_size": 8}
    choose = {
        "rule": "most_different",
        "distance": distance,
        **({"embedder": embedder} if distance == "cosine" else {}),
    }
    ((prompt, chosen, rejected),) = pairs(publish(choose=choose))
    assert prompt == "prompt 3", "equal scores make no pair"
    if distance != "cosine":
        assert (chosen, rejected) == ("w x y z", "a b c d")
    assert "w x y z" in (chosen, rejected)


def test_a_clean_answer_is_preferred_to_one_that_cycles_to_the_limit(publish):
    output = publish(choose={"rule": "repetition"}, reward=None)
    assert pairs(output) == [("prompt 3", "a b c d", LOOP.strip())]
    counts = json.loads(read_metadata(output)["counts"])
    assert (counts["taken"], counts["repetitive"], counts["without"]) == (1, 1, 1)


def test_annotators_label_the_most_different_answers_if_they_are_asked_to(publish):
    world = {"revision": 1, "settings": WorldSettings().model_dump(mode="json")}
    reward = {"function": "annotators", "world": world}
    first_two = {frozenset(pair[1:]) for pair in pairs(publish(reward=reward))}
    assert first_two == {frozenset(("a b c d", "a b c e")), frozenset(("a b", "a c"))}
    farthest = pairs(publish(reward=reward, choose={"rule": "most_different", "distance": "edit"}))
    assert {frozenset(pair[1:]) for pair in farthest} == {frozenset(("a b c d", "w x y z")), frozenset(("a b", "a c"))}


@pytest.mark.parametrize("reward", [None, {"function": "annotators"}])
def test_candidates_have_texts_and_rows_and_scores_only_where_something_scored(publish, reward):
    choose = {"rule": "most_different", "distance": "edit"}
    table = read_sealed(publish(publishes="candidates", reward=reward, choose=choose))
    assert table.column_names == [*candidates.SCHEMA.names, "task"]
    first, second = table.to_pylist()
    assert (first["row"], first["prompt"], first["task"], second["row"]) == (3, "prompt 3", "task 3", 5)
    assert {first["a"], first["b"]} == {"a b c d", "w x y z"}
    scores = {first["a"]: first["a_score"], first["b"]: first["b_score"]}
    assert scores == ({"a b c d": 1.0, "w x y z": 2.0} if reward else {"a b c d": None, "w x y z": None})


def test_a_set_of_which_nothing_is_left_is_an_error_that_counts(publish, tmp_path):
    clean = {3: [("a b", True, 1.0), ("a c", True, 0.0)]}
    with pytest.raises(
        StudyError, match=r"set: no pair is left\. 2 answers to 1 prompts: 0 pairs taken; 0 answers repeat"
    ):
        publish(clean, choose={"rule": "repetition"}, reward=None)
    with pytest.raises(StudyError, match=r"no pair is left\. .*1 prompts have too few"):
        publish({3: [("a b", True, 1.0), ("a b ", True, 0.0)]}, publishes="candidates", reward=None)
    assert not (tmp_path / "output.parquet").exists()
