"""Guard rails while a model is tuned: looks at benchmarks, and the last weights that were good. Slow to import (torch).

The harness runs in the job, on the model as it is, with random generators of its own, so a run that is looked at has
the weights of one that is not until it ends.
"""

import contextlib
import copy
import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from modecollapse.analysis.noninferiority import Verdict, bounds, verdict
from modecollapse.generation.models import CausalModel
from modecollapse.methods.guard_settings import GuardSource, RunGuards

logger = logging.getLogger(__name__)

Values = dict[str, dict[str, float]]
"""Task → document → the value of the metric that counts."""

_PREFIX = "guard/"


class Guard:
    """The looks of one run: what the parent scored, and the weights of the last look that found no fall.

    A look adds to the point of its iteration on the curves, for each task: `guard/TASK`, the mean difference from the
    parent over documents, below 0 if worse; and its one-sided bounds `guard_low/TASK` and `guard_high/TASK`.
    """

    def __init__(self, source: GuardSource, settings: RunGuards, steps: int) -> None:
        """`steps`: the iterations of the whole run.

        Raises:
            StudyError: a data set cannot be read.
        """
        from modecollapse.measures.harness import load_data

        self._source, self._every, self._steps = source, settings.every, steps
        self._data = {task.name: load_data(task, path) for task, path, _ in source.tasks}
        self._parent: Values = {}
        self.step = 0
        """After how many iterations the last good model was looked at."""
        self.good: dict[str, torch.Tensor] = {}
        """Its weights."""
        self.failed = False
        """Whether a look has found a fall."""

    def begin(self, model: CausalModel, weights: Mapping[str, torch.Tensor]) -> None:
        """Put the parent to the tasks; `weights` are those that are going to be trained."""
        self._parent = self._values(model)
        self._keep(0, weights)

    def is_due(self, step: int) -> bool:
        """Whether the model is looked at after so many iterations."""
        return step % self._every == 0 or step == self._steps

    def look(self, step: int, model: CausalModel, weights: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Put the model to the tasks; if it has fallen, `weights` become those of the last good one again.

        A model that gives no number where its parent does has fallen.

        Returns:
            What the look adds to the curves.
        """
        measured: dict[str, float] = {}
        found = self._values(model)
        shared = 1 - (1 - self._source.confidence) / len(self._source.tasks)
        for task, _, rail in self._source.tasks:
            parent, values = self._parent[task.name], found[task.name]
            old, new = (np.array([[of[document] for document in parent]]) for of in (parent, values))
            lost = int((np.isnan(new) & ~np.isnan(old)).sum())
            if lost:  # as of weights that are no numbers
                self.failed = True
                logger.warning(
                    "stopping after iteration %d: %d documents of %s have no value any more; the model is that of "
                    "iteration %d", step, lost, task.name, self.step,
                )  # fmt: skip
                continue
            first, second = (new, old) if rail["sign"] > 0 else (old, new)
            low, high = bounds(first, second, self._source.confidence, shared)
            told = {"guard": float(np.nanmean(first - second)), "guard_low": low, "guard_high": high}
            measured |= {f"{name}/{task.name}": value for name, value in told.items()}
            if verdict(low, high, rail["margin"]) is Verdict.FAILS:
                self.failed = True
                logger.warning(
                    "stopping after iteration %d: %s has fallen by %.4f (at least %.4f; margin %s); the model is that "
                    "of iteration %d", step, task.name, -told["guard"], -high, rail["margin"], self.step,
                )  # fmt: skip
        if self.failed:
            with torch.no_grad():
                for name, weight in self.good.items():
                    weights[name].copy_(weight)
        else:
            self._keep(step, weights)
        return measured

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """What is needed to go on: weights, and what JSON can hold."""
        weights = {f"{_PREFIX}{name}": weight for name, weight in self.good.items()}
        return weights, {"parent": self._parent, "step": self.step}

    def restore(self, weights: Mapping[str, torch.Tensor], progress: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Go on from a `state`; returns those of the weights that are not the guard's."""
        self.good = {name.removeprefix(_PREFIX): each for name, each in weights.items() if name.startswith(_PREFIX)}
        self._parent, self.step = progress["parent"], progress["step"]
        return {name: each for name, each in weights.items() if not name.startswith(_PREFIX)}

    def _keep(self, step: int, weights: Mapping[str, torch.Tensor]) -> None:
        self.step, self.good = step, {name: weight.detach().clone() for name, weight in weights.items()}

    def _values(self, model: CausalModel) -> Values:
        from modecollapse.measures.harness import Harness

        found: Values = {}
        # The harness gives the tokenizer a padding token and seeds the process's generators: neither is its own.
        with _own_streams():
            harness = Harness(replace(model, tokenizer=copy.deepcopy(model.tokenizer)), self._source.settings)
            for task, _, rail in self._source.tasks:
                _, samples = harness.run(task, rail["shots"], self._data[task.name], self._source.chat)
                rows = [row for row in samples.to_pylist() if (row["filter"], row["metric"]) == _counted(rail)]
                found[task.name] = {f"{row['document']}/{row['hash']}": row["value"] for row in rows}
        return found


def _counted(rail: Mapping[str, Any]) -> tuple[str, str]:
    return rail["filter"], rail["metric"]


@contextlib.contextmanager
def _own_streams() -> Iterator[None]:
    """What is drawn in here leaves the process's random generators as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
