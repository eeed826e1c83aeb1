"""Best-of-n sampling (Stiennon et al., 2020; Nakano et al., 2021): the reward picks among n answers of the parent."""

from typing import NoReturn

from pydantic import Field

from modecollapse.methods.base import Method, TrainingJob
from modecollapse.schema import Strict


class BestOfNSettings(Strict):
    """The best of n answers of the parent stage, as `reward` scores them; nothing is trained.

    For every completion of a cell, n candidates are sampled from the parent as all completions are, and the one with
    the highest score is kept, of equal ones the first. Answers to one prompt never share a candidate. The stage has
    completions and no weights: token statistics and benchmarks leave it out.
    """

    n: int = Field(16, ge=2)
    """Candidates per completion. Where no two answers score the same, the chosen ones diverge from the parent's by at
    most log n − (n − 1)/n nats."""


def run(job: TrainingJob) -> NoReturn:
    """There are no weights to make: the rule `choose` writes the stage's completions (`jobs.choosing`)."""
    raise AssertionError("a stage that chooses among answers has no weights")


METHOD = Method(
    name="best_of_n",
    revision=1,
    settings=BestOfNSettings,
    run=run,
    needs_parent=True,
    data_columns=(),
    modules=(
        "methods.best_of_n",
        "methods.selection",
        "methods.scoring",
        "methods.reward_functions",
        "methods.reward_model",
        "methods.reference_file",
        "methods.lora",
        "jobs.answer_sources",
        "jobs.choosing",
        "rendering",
    ),
    trains=False,
    needs_reward=True,
    decodes=True,
)
