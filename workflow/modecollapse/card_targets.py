"""What the rule reads that makes data cards: which sets of preference pairs have one, and what is known of them."""

from functools import cached_property

from modecollapse.cells import Model, ModelData, ReferenceScores
from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.methods import METHODS
from modecollapse.paths import Paths
from modecollapse.study import Study

CARD = tuple[str, str, str, str]
"""(name, size, seed, file) of a set; without size and seed if it is the same for all models."""


class CardTargets:
    """Those of one study."""

    study: Study
    paths: Paths

    @cached_property
    def _pair_sets(self) -> list[str]:
        """The sets of pairs that stages are trained on or rewards judged by, and those that they are made from."""
        config, measures = self.study.config, self.study.config.measures
        found = [
            stage.data
            for stage in self.study.resolved.values()
            if stage.data and stage.method in METHODS and set(PAIR_COLUMNS) <= set(METHODS[stage.method].columns(stage))
        ]
        found += measures.rewards.data if measures.rewards and self.study.judged_rewards() else []
        for name in found:
            found += [parent for parent in config.data[name].parents if parent not in found]
        return [name for name in self.study.used_data() if name in found]

    def card_sets(self) -> list[CARD]:
        """The sets that have a card, those of models once for each size and seed."""
        once = [(name, "", "", self.paths.data(name)) for name in self._pair_sets if not self.study.is_of_model(name)]
        of_models = [each for each in self.study.all_model_data() if each.data in self._pair_sets]
        return once + [(each.data, each.size, str(each.seed), self._file(each)) for each in of_models]

    def card_scores(self) -> list[ReferenceScores]:
        """The log-probabilities that are made anyway of the answers of these sets, one file for each set and model."""
        found: dict[tuple[Model, str], ReferenceScores] = {}
        for scores in self.study.all_reference_scores():
            found.setdefault((scores.model, scores.data), scores)
        return [scores for scores in found.values() if scores.data in self._pair_sets]

    def card_tables(self) -> list[str]:
        """The table of the rule `tabulate_data_cards`."""
        return ["data_cards"] if self._pair_sets else []

    def card_inputs(self) -> dict[str, list[str]]:
        """What the rule reads, by name."""
        return {
            "data": [path for *_, path in self.card_sets()],
            "references": [self.paths.reference_scores(each.model, each.pairs) for each in self.card_scores()],
            "labels": [self.paths.labels(each) for each in self._labelled],
        }

    @property
    def _labelled(self) -> list[ModelData]:
        """The sets that are labelled by a job of their own."""
        sampled = [each for each in self.study.all_sampled_data() if each.data in self._pair_sets]
        return [each for each in sampled if self.study.sampling(each).labelled_apart]

    def _file(self, data: ModelData) -> str:
        derived = self.study.config.data[data.data].parents
        return self.paths.derived(data) if derived else self.paths.sampled(data)
