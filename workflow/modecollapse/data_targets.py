"""What the rules of data sets read and write, and those of what models give to preference pairs."""

from functools import cached_property

from modecollapse.cells import Model, ModelData, ReferenceScores
from modecollapse.paths import Paths
from modecollapse.study import Study


class DataTargets:
    """Those of one study."""

    study: Study
    paths: Paths

    def all_sampled_data(self) -> list[str]:
        """The data sets that models write."""
        return [self.paths.sampled(each) for each in self.study.all_sampled_data()]

    def data_of(self, model: Model, name: str) -> str:
        """The file of a data set for a model: its own, if a stage writes it."""
        if not self.study.is_of_model(name):
            return self.paths.data(name)
        data = self.study.data_for(name, model)
        return self.paths.derived(data) if self.study.config.data[name].parents else self.paths.sampled(data)

    def all_derived_data(self) -> list[str]:
        """The data sets that are made from others."""
        return [path for *_, path in self.derived_sets()]

    def derived_sets(self) -> list[tuple[str, str, str, str]]:
        """(name, size, seed, file) of each of them; without size and seed those that are the same for all models."""
        once = [(name, "", "", self.paths.data(name)) for name in self.study.derived_once()]
        of_models = self.study.derived_of_models()
        return once + [(data.data, data.size, str(data.seed), self.paths.derived(data)) for data in of_models]

    def all_own_answers(self) -> list[str]:
        """What scorers of perplexity filters answer themselves."""
        return [self.paths.own_answers(data) for data in self.study.filtered()]

    def own_answers_inputs(self, data: ModelData) -> dict[str, object]:
        """What the job reads that has a scorer answer, by name."""
        scorer = self.study.scorer(data)
        prompts = [self.data_of(scorer, name) for name in self.study.asked_sets(data)]
        return {**self.model_inputs("", scorer), "prompts": prompts}

    def parents_of(self, name: str) -> list[str]:
        """The files of the sets that a set is made from which is the same for all models."""
        return [self.paths.data(parent) for parent in self.study.config.data[name].parents]

    def derived_inputs(self, data: ModelData) -> dict[str, object]:
        """What the job reads that makes a model's data set from others, by name."""
        model, own = Model(data.size, data.seed, ""), self.study.config.data[data.data]
        inputs: dict[str, object] = {"data": [self.data_of(model, parent) for parent in own.parents]}
        if own.perplexity is not None:
            scores = self.study.filter_scores(data)
            inputs["references"] = [self.paths.reference_scores(each.model, each.pairs) for each in scores]
            inputs["own"] = self.paths.own_answers(data)
        return inputs

    def sampling_inputs(self, data: ModelData) -> dict[str, object]:
        """What the job reads that has a stage write a data set, by name."""
        inputs = self.model_inputs("", self.study.writer(data)) | self.scorer_inputs(self.study.judge(data))
        return {**inputs, "prompts": self.data_of(self.study.writer(data), self.study.sampling(data).prompts)}

    def all_reference_scores(self) -> list[str]:
        """The files of all reference log-probabilities."""
        return [self.paths.reference_scores(each.model, each.pairs) for each in self._reference_scores.values()]

    def reference_scores(self, model: Model, pairs: str) -> ReferenceScores:
        """The reference log-probabilities whose file is named so."""
        return self._reference_scores[model, pairs]

    @cached_property
    def _reference_scores(self) -> dict[tuple[Model, str], ReferenceScores]:
        return {(each.model, each.pairs): each for each in self.study.all_reference_scores()}

    def reference_inputs(self, scores: ReferenceScores) -> dict[str, object]:
        """What the job reads that computes them, by name."""
        return {**self.model_inputs("", scores.model), "data": self.data_of(scores.model, scores.data)}

    def world_data(self) -> list[str]:
        """The data sets that are parts of the world."""
        return [name for name, data in self.study.config.data.items() if data.world is not None]

    def source_data(self) -> list[str]:
        """The data sets that are read from the hub or from files."""
        return [name for name, data in self.study.config.data.items() if data.source is not None]

    def data_files(self, name: str) -> list[str]:
        """The local files that a data set is read from; none if it is in the hub's cache."""
        return [str(path) for path in self.study.data_files(name)]

    def model_inputs(self, prefix: str, model: Model) -> dict[str, object]:
        """A model as a job reads it, by names with this prefix."""
        from snakemake.io import ancient

        return {
            f"{prefix}manifest": self.paths.manifest(model),
            f"{prefix}weights": ancient(self.paths.weights(model)),
        }

    def scorer_inputs(self, reward: Model | None) -> dict[str, object]:
        """What scores answers, as a job reads it; nothing for a function."""
        return {} if reward is None else self.model_inputs("reward_", reward)

    def filter_tables(self) -> list[str]:
        """The tables of the rule `tabulate_filters`."""
        return ["filters", *(["perplexities"] if self.study.filtered() else [])]
