"""Stored results of others are read as they are, or refused; nothing in their files is executed."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modecollapse.comparison.stored_results import KEYS, STORED, read_results
from modecollapse.errors import StudyError

TEMPERATURES = ["0.5", "1.0"]
PROMPTS = {"creative": ["c0", "c1", "c2"], "factual": ["f0", "f1", "f2"]}

Content = dict[str, Any]


def content() -> Content:
    """A file's dictionary: every value tells its key, metric and place."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3, 1) / 64
    return {
        key: {name: values + np.float32(100 * place + number) for number, name in enumerate(STORED)}
        for place, key in enumerate(KEYS)
    }


def saved(path: Path, value: Any) -> Path:
    array = np.empty((), dtype=object)
    array[()] = value
    np.save(path, array, allow_pickle=True)
    return path


def read(path: Path) -> Any:
    return read_results(path, TEMPERATURES, PROMPTS)


def test_every_metric_of_every_key_comes_back_under_our_name(tmp_path: Path) -> None:
    read_back = read(saved(tmp_path / "r.npy", content()))
    assert list(read_back) == list(KEYS)
    for key in KEYS:
        assert list(read_back[key]) == [entry.metric for entry in STORED.values()]
        for name, entry in STORED.items():
            assert read_back[key][entry.metric].dtype == np.float64
            assert np.array_equal(read_back[key][entry.metric], content()[key][name][..., 0])


def test_undefined_values_are_kept_and_a_diversity_of_order_q_may_be_infinite(tmp_path: Path) -> None:
    values = content()
    values["creative"]["selfBleuSmoothed"][0, 1] = np.nan
    values["creative"]["order_6_jaccard_2"][1, 2] = np.inf
    read_back = read(saved(tmp_path / "r.npy", values))["creative"]
    assert np.argwhere(np.isnan(read_back["self_bleu"])).tolist() == [[0, 1]]
    assert np.argwhere(np.isinf(read_back["order_6_jaccard"])).tolist() == [[1, 2]]


def put(*path_and_value: Any) -> Callable[[Content], None]:
    *path, last, value = path_and_value

    def change(values: Content) -> None:
        for key in path:
            values = values[key]
        values[last] = value

    return change


FOREIGN = {
    "a further key": (put("poems", {}), r"the keys 'creative', 'factual', 'poems'.*exactly 'creative', 'factual'"),
    "a missing key": (lambda values: values.pop("factual"), r"the keys 'creative'\. Allowed: exactly"),
    "an array for a key": (put("creative", np.zeros(3, np.float32)), r"an array as 'creative'"),
    "a missing metric": (
        lambda values: values["factual"].pop("vendi_cosine"),
        r"under 'factual' no 'vendi_cosine'",
    ),
    "an unknown metric": (
        put("creative", "perplexity", np.zeros((2, 3, 1), np.float32)),
        r"under 'creative' unknown 'perplexity'",
    ),
    "a wrong shape": (
        put("creative", "selfBleuSmoothed", np.zeros((3, 2, 1), np.float32)),
        r"shape \(3, 2, 1\) as 'creative.selfBleuSmoothed'.*shape \(2, 3, 1\), for the study's 2 temperatures and 3",
    ),
    "integers": (
        put("creative", "selfBleuSmoothed", np.zeros((2, 3, 1), np.int32)),
        r"type int32 as 'creative.selfBleuSmoothed'.*floating-point",
    ),
    "an infinite Self-BLEU": (
        put("factual", "selfBleuSmoothed", np.full((2, 3, 1), np.inf, np.float32)),
        r"an infinite value in 'factual.selfBleuSmoothed'",
    ),
    "dictionaries too deep": (put("creative", "selfBleuSmoothed", {}), r"type dict as 'creative.selfBleuSmoothed'"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_refused_with_what_was_found_and_what_is_allowed(case: str, tmp_path: Path) -> None:
    change, message = FOREIGN[case]
    values = content()
    change(values)
    with pytest.raises(StudyError, match=message):
        read(saved(tmp_path / "r.npy", values))


def test_a_file_of_completions_is_refused(tmp_path: Path) -> None:
    texts = np.empty((2, 3, 1), dtype=object)
    for index in np.ndindex(2, 3, 1):
        texts[index] = ["a text"]
    np.save(tmp_path / "r.npy", texts, allow_pickle=True)
    with pytest.raises(StudyError, match=r"an array of shape \(2, 3, 1\)"):
        read(tmp_path / "r.npy")


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    data = saved(tmp_path / "r.npy", content()).read_bytes()
    for end in random.Random(0).sample(range(len(data)), 100):
        (tmp_path / "r.npy").write_bytes(data[:end])
        with pytest.raises(StudyError):
            read(tmp_path / "r.npy")


def test_a_flipped_bit_is_refused_or_changes_numbers_only(tmp_path: Path) -> None:
    data = saved(tmp_path / "r.npy", content()).read_bytes()
    whole = read(tmp_path / "r.npy")
    outcomes = {"refused": 0, "changed": 0}
    generator = random.Random(1)
    for _ in range(300):
        flipped = bytearray(data)
        flipped[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        (tmp_path / "r.npy").write_bytes(flipped)
        try:
            values = read(tmp_path / "r.npy")
        except StudyError:
            outcomes["refused"] += 1
            continue
        different = sum(
            int((~np.isclose(values[key][name], whole[key][name], rtol=0, atol=0, equal_nan=True)).sum())
            for key in KEYS
            for name in whole[key]
        )
        assert different <= 3, "one number, or the axes' order of one array"
        outcomes["changed"] += different
    assert min(outcomes.values()) > 0, outcomes


class Malicious:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    values = content()
    values["creative"]["selfBleuSmoothed"] = Malicious(canary)
    path = saved(tmp_path / "r.npy", values)
    with pytest.raises(StudyError, match="nothing was run"):
        read(path)
    assert not canary.exists()
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        pickle.load(file)
    assert canary.exists(), "the same file does run code in Python's own machine"
