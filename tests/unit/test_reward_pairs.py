"""Which pairs a reward model is trained on."""

import logging
from pathlib import Path

import pytest

from modecollapse.errors import StudyError
from modecollapse.methods.lora import LoraSettings
from modecollapse.methods.reward import RewardSettings
from modecollapse.methods.reward_pairs import balanced, different_pairs, distinguishable

DATA = Path("pairs.parquet")


def _pairs(lengths: list[tuple[int, int]]) -> dict[str, list[list[int]]]:
    return {
        "chosen_ids": [[1] * chosen for chosen, _ in lengths],
        "rejected_ids": [[2] * rejected for _, rejected in lengths],
    }


LONGER, SHORTER, EQUAL = (5, 3), (2, 4), (3, 3)


def test_in_each_task_better_answers_are_as_often_longer_as_shorter(caplog: pytest.LogCaptureFixture) -> None:
    lengths = [LONGER] * 10 + [SHORTER] * 4 + [EQUAL] * 2 + [SHORTER] * 6 + [LONGER] * 3
    tasks = ["tale"] * 16 + ["fact"] * 9
    with caplog.at_level(logging.INFO):
        kept = balanced(_pairs(lengths), tasks, range(25), seed=0)
    assert kept == sorted(set(kept))
    found = [(tasks[row], lengths[row]) for row in kept]
    assert {key: found.count(key) for key in set(found)} == {
        ("tale", LONGER): 4, ("tale", SHORTER): 4, ("tale", EQUAL): 2, ("fact", LONGER): 3, ("fact", SHORTER): 3,
    }  # fmt: skip
    assert (
        "task 'tale': better is longer in 10 pairs, shorter in 4, of which 4 each stay; 6 are left out" in caplog.text
    )


def test_the_seed_decides_which_pairs_stay() -> None:
    lengths = [LONGER] * 50 + [SHORTER] * 5
    first, again, other = (balanced(_pairs(lengths), None, range(55), seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(other) == 10


def test_only_rows_that_are_asked_for_are_balanced() -> None:
    assert balanced(_pairs([LONGER, LONGER, SHORTER, SHORTER]), None, [1, 2], seed=0) == [1, 2]
    assert balanced(_pairs([LONGER] * 3), None, range(3), seed=0) == []


def test_equal_answers_are_refused_by_their_row_or_dropped(caplog: pytest.LogCaptureFixture) -> None:
    texts = {"chosen": ["a", "b", "c"], "rejected": ["x", "b", "c"]}
    with pytest.raises(StudyError, match=r"chosen and rejected of row 1 are equal, 'b' \(2 of 3 pairs are such\)"):
        different_pairs(texts, "error", DATA)
    assert different_pairs(texts, "drop", DATA) == [0]
    assert "2 of 3 pairs hold two equal answers" in caplog.text
    with pytest.raises(StudyError, match="nothing to learn"):
        different_pairs({"chosen": ["b"], "rejected": ["b"]}, "drop", DATA)


def test_pairs_that_truncation_made_equal_are_left_out() -> None:
    pairs = {"chosen_ids": [[1, 2], [1, 2]], "rejected_ids": [[1, 2], [1, 3]]}
    assert distinguishable(pairs, [0, 1]) == [1]


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match=r"head_warmup_steps is for training the whole model"):
        RewardSettings(lora=LoraSettings(rank=128), head_warmup_steps=5)
    with pytest.raises(ValueError, match=r"max_prompt_length 512 leaves no room for an answer in max_length 512"):
        RewardSettings(max_length=512)
