"""Reference log-probabilities computed once, by length, beside the reference's passes over the batches of training.

The other way is what preference tuning with a second model in memory does in every epoch of every stage: batches of 64
pairs in the (shuffled) order of training. Loading and tokenizing count on both sides.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from modecollapse.data.nano.world import World
from modecollapse.methods import reference
from modecollapse.methods.order import training_order
from modecollapse.methods.reference_file import PairSettings
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import write_sealed
from tests.benchmarks.comparing import Comparison, in_turn
from tests.benchmarks.shapes import SHAPES, make_model

BATCH = 64
HUMAN = PromptFormat("human", "Human: {prompt} Assistant: {start}")
PAIRS = {"cpu": 512, "cuda": 8192}
JOINED = {"cpu": 1, "cuda": 6}
"""Answers of the nano world that make one: on a GPU, pairs are about as long as dialogues."""


def compare(device: Literal["cpu", "cuda"]) -> list[Comparison]:
    found = []
    for shape in SHAPES[device]:
        with tempfile.TemporaryDirectory() as directory:
            parent, data = Path(directory), Path(directory) / "pairs.parquet"
            make_model(shape, parent)
            write_sealed(_pairs(PAIRS[device], JOINED[device]), data)
            settings = PairSettings(
                max_length=shape.architecture.context,
                max_prompt_length=64,
                too_long="truncate",
                dtype="bfloat16" if device == "cuda" else "float32",
            )

            once = partial(reference.score_pairs, parent, data, HUMAN, settings, 1, device)
            in_training = partial(_in_training, once)
            one, two = once(), in_training()
            taken = in_turn({"once": once, "in training": in_training}, device, warm=False)
            difference = max(
                float(np.abs(one[name].to_numpy() - two[name].to_numpy()).max())
                for name in ("chosen_logp", "rejected_logp")
            )
            found.append(
                Comparison(
                    case=f"{shape.name}, {one.num_rows} pairs (difference: nats of an answer)",
                    ours="once, by length",
                    other=f"in training, {BATCH} at a time",
                    ours_seconds=taken["once"],
                    other_seconds=taken["in training"],
                    work=one.num_rows,
                    unit="pairs",
                    difference=difference,
                )
            )
    return found


def _in_training(score: Callable[[], pa.Table]) -> pa.Table:
    with patch.multiple(reference, _order=_training_order, _batches=_training_batches):
        return score()


def _pairs(number: int, joined: int) -> pa.Table:
    table = World().preferences(number * joined, 0).to_pydict()
    answers = {
        name: [" ".join(table[name][place : place + joined]) for place in range(0, number * joined, joined)]
        for name in ("chosen", "rejected")
    }
    return pa.table({"prompt": table["prompt"][::joined], **answers})


def _training_order(pairs: reference.Pairs) -> list[int]:
    lengths = [reference._length(pairs, pair) for pair in range(len(pairs["prompt_ids"]))]
    return training_order(lengths, 1, BATCH, 0, False)


def _training_batches(pairs: reference.Pairs, order: Sequence[int], positions: int) -> Iterator[Sequence[int]]:
    return (order[start : start + BATCH] for start in range(0, len(order), BATCH))
