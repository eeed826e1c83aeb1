"""Batches in the order of training, shared by processes and cut into passes, and means over the whole of one.

Slow to import (torch).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


class Shares:
    """Means over a batch of which this process sees a part, in one or more passes."""

    def __init__(self, accelerator: Any) -> None:
        self.accelerator = accelerator
        self.whole: dict[str, torch.Tensor] = {}
        """How much of each unit the whole batch has."""
        self._sums: dict[str, torch.Tensor] = {}

    def begin(self, amounts: Mapping[str, torch.Tensor]) -> None:
        """Begin a batch of which this process has `amounts`."""
        units = list(amounts)
        totals = self.accelerator.reduce(torch.stack([amounts[unit] for unit in units]).double(), reduction="sum")
        self.whole = {unit: total.float() for unit, total in zip(units, totals, strict=True)}
        self._sums = {}

    def add(self, name: str, mean: float, amount: torch.Tensor) -> None:
        """Add a mean over `amount` units."""
        part = torch.tensor(mean, dtype=torch.float64, device=amount.device) * amount
        self._sums[name] = self._sums[name] + part if name in self._sums else part

    def means(self, unit: Callable[[str], str]) -> dict[str, float]:
        """The means over the whole batch, over all processes; `unit` says what each is over."""
        names = list(self._sums)
        totals = self.accelerator.reduce(torch.stack([self._sums[name] for name in names]), reduction="sum").tolist()
        return {name: total / self.whole[unit(name)].item() for name, total in zip(names, totals, strict=True)}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have TRL compute its metrics from this pass alone: passes of different sizes cannot be gathered."""
        self.accelerator.gather = self.accelerator.gather_for_metrics = lambda value, *_, **__: value
        try:
            yield
        finally:
            del self.accelerator.gather, self.accelerator.gather_for_metrics
