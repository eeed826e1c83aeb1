"""What every job of a study asks for, as the rules state it."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modecollapse.cells import ModelData
from modecollapse.methods.layout import Layout
from modecollapse.resources.demand import ANALYSIS, PROCESS, START, Demand
from modecollapse.resources.machine import Limits, Machine
from modecollapse.resources.measuring_demands import MeasuringDemands
from modecollapse.resources.training_demands import TrainingDemands

if TYPE_CHECKING:
    from modecollapse.study import Study

Wildcards = Any


class Demands(TrainingDemands, MeasuringDemands):
    """The demands of one study's jobs on one machine; each is computed once."""

    def __init__(self, study: "Study", machine: Machine, limits: Limits | None = None) -> None:
        super().__init__(study, machine)
        self.limits = limits or Limits()
        self._rules: dict[str, Callable[[Wildcards], Demand]] = {}

    def of(self, rule: str, wildcards: Wildcards) -> Demand | None:
        """What a job of this rule needs; None if the rule does no work."""
        return self._rules[rule](wildcards) if rule in self._rules else None

    def resources(self, rule: str, demand: Callable[[Wildcards], Demand]) -> dict[str, Callable[..., Any]]:
        """The resources of a rule, as functions of a job's wildcards and of the attempt.

        `gpu`, `zero_stage` and `micro_batch` are left out (None) where a job has none.
        """
        self._rules[rule] = demand
        layout = {
            "zero_stage": lambda wildcards: _of(demand(wildcards).layout, "zero_stage"),
            "micro_batch": lambda wildcards: _of(demand(wildcards).layout, "micro_batch"),
        }
        return {
            "mem_mb": lambda wildcards, attempt: self._mem_mb(demand(wildcards), attempt),
            "runtime": lambda wildcards, attempt: self._minutes(demand(wildcards), attempt),
            "disk_mb": lambda wildcards: demand(wildcards).disk_mb(),
            "gpu": lambda wildcards: demand(wildcards).gpus or None,
            # Slurm's plugin would give the job's threads to all of its processes together.
            "cpus_per_gpu": lambda wildcards: self.threads if demand(wildcards).gpus else None,
            "gpu_model": lambda wildcards: self.machine.gpu_type if demand(wildcards).gpus else None,
            **layout,
        }

    def _mem_mb(self, demand: Demand, attempt: int) -> int:
        first, asked = (demand.mem_mb(number, self.machine) for number in (1, attempt))
        return self.limits.cap("mem_mb", first, asked, demand.gpus)

    def _minutes(self, demand: Demand, attempt: int) -> int:
        first = 1 if demand.resumes else demand.minutes(1)
        return self.limits.cap("runtime", first, demand.minutes(attempt), demand.gpus)

    def data(self, name: str) -> Demand:
        """Reading or sampling a data set."""
        extent = self.extent(name)
        return Demand(PROCESS + 3 * extent.bytes, START + 60 + extent.bytes / 2e6, extent.bytes)

    def derived_data(self, name: str) -> Demand:
        """Making a data set from others."""
        return self._searching([name], self.extent(name).bytes)

    def data_cards(self, names: Sequence[str]) -> Demand:
        """The table and the page of the cards of these sets."""
        return self._searching(names, 2e6)

    def _searching(self, names: Sequence[str], disk: float) -> Demand:
        """The rows of all sets as lists, and of one after another perhaps digests of the runs of words."""
        sizes = [self.extent(name).bytes for name in names]
        return Demand(PROCESS + 3 * sum(sizes) + 17 * max(sizes), START + 60 + sum(sizes) / 1e5, disk)

    def labels(self, data: ModelData) -> Demand:
        """Labelling the pairs that a model writes, or a sheet of them."""
        sampled = self.study.sampling(data)
        rows = min(self.extent(sampled.prompts).rows, sampled.count or math.inf)
        # A pair's texts, and each label with its place, as objects of Python.
        size = rows * (8.0 * sampled.max_new_tokens * 3 + 500 * sampled.overlap)
        return Demand(PROCESS + 20 * size, START + 30 + rows * sampled.overlap / 1e4, size)

    def tokenizer(self) -> Demand:
        """Training the tokenizer."""
        assert self.study.config.tokenizer is not None
        size = sum(self.extent(name).bytes for name in self.study.config.tokenizer.data)
        return Demand(PROCESS + 8 * size, START + size / 1e6, 2e6)

    def analysis(self) -> Demand:
        """A table or a comparison: scores of one size are held at a time, and the table itself."""
        cells = self.cells_of_a_seed() * len(self.study.config.models) * len(self.study.config.seeds)
        return Demand(2 * ANALYSIS + cells * 0.3e6, START + cells * 0.15, cells * 0.1e6)

    def feature_tables(self) -> Demand:
        """Tables of text features: those of all texts, and the differences of one feature in every resample."""
        settings = self.study.config.measures.text_features
        assert settings is not None
        texts = len(self.study.answering()) * self.answer_texts() + 2 * self.compared_pairs()
        resampled = self.study.config.analysis.resamples * self.compared_pairs() * 8.0
        return Demand(2 * ANALYSIS + texts * 3000.0 + 2 * resampled, START + 60 + texts * 5e-3, 20e6)

    def figure(self) -> Demand:
        """A figure, drawn from tables that hold a few rows per cell."""
        cells = self.cells_of_a_seed() * len(self.study.config.models) * len(self.study.config.seeds)
        return Demand(2 * ANALYSIS + cells * 0.3e6, START + 10 + cells * 0.01, 2e6)


def _of(layout: Layout | None, name: str) -> int | None:
    value: int | None = None if layout is None else getattr(layout, name)
    return value
