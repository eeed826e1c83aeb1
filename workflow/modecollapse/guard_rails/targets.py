"""What the rules of guard rails read and write."""

from abc import ABC, abstractmethod

from modecollapse.cells import Model
from modecollapse.measures.benchmarks import Task
from modecollapse.paths import Paths
from modecollapse.study import Study


class GuardRailTargets(ABC):
    """The part of `modecollapse.targets.Targets` that is about guard rails."""

    study: Study
    paths: Paths

    @abstractmethod
    def has_costs(self) -> bool:
        """Whether the costs of stages are told."""

    @abstractmethod
    def judgement_tables(self) -> list[str]:
        """The tables of judged comparisons."""

    def watching_tasks(self, model: Model) -> list[Task]:
        """The benchmarks that the model is put to while it is tuned."""
        watched = {rail.task for rail in self.study.run_rails(model)}
        return [task for task in self.study.benchmarks if task.name in watched]

    def guard_data(self, model: Model) -> list[str]:
        """The study's data sets that these read."""
        names = (task.settings.data for task in self.watching_tasks(model))
        return [self.paths.data(name) for name in dict.fromkeys(names) if name is not None]

    def guard_rail_tables(self) -> list[str]:
        """The tables of candidates; none without guard rails."""
        return [*(["candidates"] if self.study.rails else []), *(["candidate_merits"] if self.has_merits() else [])]

    def has_merits(self) -> bool:
        """Whether something else than guard rails tells candidates apart."""
        return bool(self.study.rails) and any(self._merits().values())

    def merits_inputs(self) -> dict[str, object]:
        """What the table of candidates' merits is made from, by name."""
        return {"judged": self.paths.table("candidates"), **self._merits()}

    def _merits(self) -> dict[str, list[str]]:
        found = {"costs": self.has_costs(), "win_rates": "win_rates" in self.judgement_tables()}
        return {name: [self.paths.table(name)] if there else [] for name, there in found.items()}

    def marks(self) -> list[str]:
        """The table that says which stages are marked in other tables and in figures; none without guard rails."""
        return [self.paths.table("candidates")] if self.study.rails else []
