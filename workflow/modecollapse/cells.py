"""The identities of the grid: a model and a cell are values, and appear alike in paths, logs, tables and figures."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modecollapse.methods.reference_file import PairSettings


@dataclass(frozen=True, order=True)
class Model:
    """One checkpoint of the grid: a size trained with a seed up to a stage."""

    size: str
    seed: int
    stage: str

    def __str__(self) -> str:
        return f"{self.size}/s{self.seed}/{self.stage}"


@dataclass(frozen=True, order=True)
class Cell:
    """What one model answers to one prompt set in one format at one temperature."""

    model: Model
    prompts: str
    format: str
    temperature: str
    """As written in the study, e.g. "0.7"; a float only in the sampler."""

    def __str__(self) -> str:
        return f"{self.model}/{self.prompts}/{self.format}/T{self.temperature}"


@dataclass(frozen=True, order=True)
class ModelData:
    """A data set that a stage writes or decides: that of one size and seed."""

    size: str
    seed: int
    data: str

    def __str__(self) -> str:
        return f"{self.size}/s{self.seed}/{self.data}"


@dataclass(frozen=True)
class ReferenceScores:
    """The log-probabilities that a model, as the fixed reference of those tuned from it, gives to preference pairs.

    All stages that agree in this share them.
    """

    model: Model
    data: str
    format: str
    settings: "PairSettings"

    @property
    def pairs(self) -> str:
        """What it is of, as part of a path."""
        return f"{self.data}/{self.format}/{self.settings}"

    def __str__(self) -> str:
        return f"{self.model}/{self.pairs}"
