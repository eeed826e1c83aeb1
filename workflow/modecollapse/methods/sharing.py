"""Batches in the order of training, shared by processes and cut into passes. Slow to import (torch)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, SequentialSampler

from modecollapse.methods.layout import shares

COUNTS = "counts"
"""Key of what a batch weighs: 0. for one that only keeps a process in step with the others, else 1."""


class EpochBatches(BatchSampler):
    """Given batches of places in the data set, one after the other."""

    def __init__(self, batches: Sequence[range]) -> None:
        super().__init__(SequentialSampler(range(sum(map(len, batches)))), max(map(len, batches)), drop_last=False)
        self.batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        return (list(batch) for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _SharedBatches(EpochBatches):
    """The passes of one process: `accumulation` for every update. A pass without examples is the list [-1]."""

    def __init__(self, updates: Sequence[range], rank: int, processes: int, accumulation: int) -> None:
        super().__init__([part for update in updates for part in shares(update, processes, accumulation)[rank]])

    def __iter__(self) -> Iterator[list[int]]:
        return (list(batch) or [-1] for batch in self.batches)


class _Filled(Dataset):
    """A data set with a filler at place -1: its first example, which counts for nothing."""

    def __init__(self, examples: Any) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitems__(self, places: list[int]) -> tuple[list[Any], bool]:
        counts = places != [-1]
        return [self.examples[place] for place in (places if counts else [0])], counts


def shared_loader(
    examples: Any,
    updates: Sequence[range],
    rank: int,
    processes: int,
    accumulation: int,
    collate: Callable[[list[Any]], dict[str, Any]],
    pin_memory: bool,
) -> DataLoader:
    """What process `rank` reads: for each of `updates`, `accumulation` batches that say whether they count."""

    def collate_filled(filled: tuple[list[Any], bool]) -> dict[str, Any]:
        rows, counts = filled
        return {**collate(rows), COUNTS: torch.tensor(float(counts))}

    return DataLoader(
        _Filled(examples),
        batch_sampler=_SharedBatches(updates, rank, processes, accumulation),
        collate_fn=collate_filled,
        pin_memory=pin_memory,
    )
