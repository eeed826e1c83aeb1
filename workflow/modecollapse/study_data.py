"""The data sets of a study: what is used of them, and what its models write and give to them."""

from dataclasses import dataclass

from modecollapse.cells import Model, ReferenceScores, SampledData
from modecollapse.config import Sampled
from modecollapse.data.columns import COLUMNS, PAIR_COLUMNS
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.reference_file import PairSettings
from modecollapse.methods.reward_functions import ANNOTATORS, FUNCTIONS
from modecollapse.reward_checks import TRAIN
from modecollapse.study_grid import Grid


@dataclass(frozen=True, kw_only=True)
class DataSets(Grid):
    """A grid with the data that its models are trained on and judged by."""

    def used_data(self, tokens: bool = True) -> list[str]:
        """The data sets that something needs, in the order of the file; perhaps but for token statistics."""
        config, measures = self.config, self.config.measures
        used = {stage.data for stage in self.resolved.values()}
        used.update(config.tokenizer.data if config.tokenizer else ())
        used.update([measures.tokens.data] if measures.tokens and tokens else ())
        used.update(measures.rewards.data if measures.rewards else ())
        used.update(task.data for task in (measures.benchmarks.tasks.values() if measures.benchmarks else ()))
        sampled = {name: data.sampled for name, data in config.data.items() if data.sampled is not None}
        used |= {each.prompts for name, each in sampled.items() if name in used}
        return [name for name in config.data if name in used]

    def data_columns(self, name: str) -> dict[str, str]:
        """Our columns of a data set with a source, in a fixed order → the source's.

        As the study says, or else those that are used, by our names.

        Raises:
            StudyError: the study does not say, and the set is used only where any column would do.
        """
        named = self.config.data[name].columns
        if named is None:
            used = self._used_columns(name)
            if not used:
                raise StudyError(
                    f"data.{name}.columns: nothing that uses the set says which columns it needs. Add e.g. "
                    "`columns: {text: text}`."
                )
            named = {column: column for column in COLUMNS if column in used}
        return {column: named[column] for column in COLUMNS if column in named}

    def _used_columns(self, name: str) -> set[str]:
        measures, used = self.config.measures, set[str]()
        for stage in self.resolved.values():
            if stage.data == name and stage.method in METHODS:
                used.update(METHODS[stage.method].columns(stage))
        if measures.tokens and measures.tokens.data == name:
            used.add("text")
        if measures.rewards and name in measures.rewards.data:
            used.update(PAIR_COLUMNS)
        if any(data.sampled is not None and data.sampled.prompts == name for data in self.config.data.values()):
            used.add("prompt")
        return used

    def data_sample(self, name: str) -> int | None:
        """How many rows of a data set with a source are drawn; None for all of them."""
        data, tokens = self.config.data[name], self.config.measures.tokens
        if data.sample is None and tokens and name not in self.used_data(tokens=False):
            return tokens.documents
        return data.sample

    def sampled_data(self, model: Model) -> SampledData | None:
        """The data set that the model is trained on, if a stage writes it."""
        name = self.stage(model).data
        return None if name is None or self.config.data[name].sampled is None else self.data_for(name, model)

    def all_sampled_data(self) -> list[SampledData]:
        """Those that models are trained on, or reward models judged by, each once."""
        found = [data for model in self.trained() if (data := self.sampled_data(model))]
        for model in self.judged_rewards():
            names = self.reward_data(model).values()
            found += [self.data_for(name, model) for name in names if self.config.data[name].sampled is not None]
        return list(dict.fromkeys(found))

    def data_for(self, name: str, model: Model) -> SampledData:
        """The data set of that name for a model, if a stage writes it."""
        return SampledData(model.size, model.seed, name)

    def sampling(self, data: SampledData) -> Sampled:
        """How a data set is sampled."""
        sampled = self.config.data[data.data].sampled
        assert sampled is not None
        return sampled

    def writer(self, data: SampledData) -> Model:
        """The model that writes a data set."""
        return Model(data.size, data.seed, self.sampling(data).stage)

    def judge(self, data: SampledData) -> Model | None:
        """The reward model that scores what it writes; None if a function does, or the annotators."""
        name = self.sampling(data).reward
        return None if name in FUNCTIONS or name == ANNOTATORS else Model(data.size, data.seed, name)

    def judged_rewards(self) -> list[Model]:
        """The reward models that are judged by pairs of answers."""
        if self.config.measures.rewards is None:
            return []
        return [model for model in self.trained() if self.stage(model).has("scores")]

    def reward_data(self, model: Model) -> dict[str, str]:
        """What a reward model is judged by: what tables call it → the data set."""
        assert self.config.measures.rewards is not None
        own = self.stage(model).data
        assert own is not None
        return {TRAIN: own, **{name: name for name in self.config.measures.rewards.data}}

    def reference_scores(self, model: Model) -> ReferenceScores | None:
        """The log-probabilities that training the model needs of the one that it starts from; None if it needs none."""
        stage, start = self.stage(model), self.start(model)
        if not stage.has("needs_reference"):
            return None
        settings = self.settings(model)
        assert start is not None
        assert stage.data is not None
        names = ("max_length", "max_prompt_length", "too_long", "dtype")
        lora = getattr(settings, "lora", None)
        shown = PairSettings(
            **{name: getattr(settings, name) for name in names}, quantization=lora.quantization if lora else None
        )
        return ReferenceScores(start, stage.data, stage.train_format, shown)

    def all_reference_scores(self) -> list[ReferenceScores]:
        """Those of all models, each once."""
        return list(dict.fromkeys(found for model in self.trained() if (found := self.reference_scores(model))))
