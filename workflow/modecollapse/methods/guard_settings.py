"""Guard rails of a run: which benchmarks its model is put to on the way, and what that takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from modecollapse.schema import Strict

if TYPE_CHECKING:  # who only reads a study can do without
    from modecollapse.measures.benchmarks import BenchmarkSettings, Task


class RunGuards(Strict):
    """Benchmarks that end a run once its model falls below the parent, as the RL paper's early stop does.

    Margins and confidence are those of `measures.guard_rails`, whose reference must be the parent. Every look is a test
    of its own: with the number of looks the chance grows that a run ends early though its model is within the margins.
    """

    every: int = Field(50, ge=1)
    """Iterations between two looks; the last iteration is followed by one as well."""
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Which tasks of `measures.guard_rails`; null: all."""
    limit: Annotated[int, Field(ge=2)] | None = None
    """The first so many documents of each task at most; null: as many as in `measures.benchmarks`."""


@dataclass(frozen=True)
class GuardSource:
    """What a run with guard rails is given: tasks, their data, and what counts as a fall."""

    tasks: "tuple[tuple[Task, Path | None, Mapping[str, Any]], ...]"
    """Each task, where its data set is (see `measures.harness.load_data`), and its `measures.guard_rails.Rail.spec`."""
    settings: "BenchmarkSettings"
    """How they are run, with the run's limits."""
    confidence: float
    """Of a look: that a model which is within all margins is said to have fallen has at most the probability 1 less
    this."""
    chat: bool
    """Whether questions are put into the chat template."""
