"""The data sets of a study: what is used of them, and what its models write and give to them."""

from dataclasses import dataclass
from functools import cached_property

from modecollapse.cells import Model, ModelData, ReferenceScores
from modecollapse.data.columns import COLUMNS, PAIR_COLUMNS, TASK
from modecollapse.data.transformations.perplexity import PerplexitySettings
from modecollapse.data_config import Sampled
from modecollapse.data_lineage import family, is_of_model, sets_of
from modecollapse.errors import StudyError
from modecollapse.labelling.settings import COSINE
from modecollapse.methods import METHODS
from modecollapse.methods.reference_file import PairSettings
from modecollapse.methods.reward_functions import FUNCTIONS, LABELLERS
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
        used.update(measures.text_features.pair_sets if measures.text_features else ())
        used.update(task.data for task in (measures.benchmarks.tasks.values() if measures.benchmarks else ()))
        needed = {each for name in used if name is not None for each in family(config, name)}
        return [name for name in config.data if name in needed]

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
        of_pairs = [*(measures.rewards.data if measures.rewards else ())]
        of_pairs += measures.text_features.pair_sets if measures.text_features else ()
        if name in of_pairs:
            used.update(PAIR_COLUMNS)
        for derived, data in self.config.data.items():
            if name in data.parents:
                used |= self._used_columns(derived) - ({TASK} if data.classify is not None else set())
                if data.transformation is not None:
                    transformation, settings = data.transformation
                    used.update(transformation.needs(settings))
            elif name in sets_of(data):
                used.add("prompt")
        return used

    def data_sample(self, name: str) -> int | None:
        """How many rows of a data set with a source are drawn; None for all of them."""
        data, tokens = self.config.data[name], self.config.measures.tokens
        if data.sample is None and tokens and tokens.data == name and name not in self.used_data(tokens=False):
            return tokens.documents
        return data.sample

    @cached_property
    def _of_models(self) -> dict[str, list[str]]:
        """Data set → those of its family that exist per size and seed, in the order in which they are made."""
        names = self.config.data
        return {name: [each for each in family(self.config, name) if self.is_of_model(each)] for name in names}

    def is_of_model(self, name: str) -> bool:
        """Whether there is a data set of this name for every size and seed."""
        return is_of_model(self.config, name)

    def all_model_data(self) -> list[ModelData]:
        """The data sets of single models that models are trained on, reward models judged by, or these made from."""
        found = [(model, name) for model in self.trained() if (name := self.stage(model).data) is not None]
        found += [(model, name) for model in self.judged_rewards() for name in self.reward_data(model).values()]
        return list(
            dict.fromkeys(self.data_for(each, model) for model, name in found for each in self._of_models[name])
        )

    def all_sampled_data(self) -> list[ModelData]:
        """Those of them that models write."""
        return [data for data in self.all_model_data() if self.config.data[data.data].sampled is not None]

    def derived_of_models(self) -> list[ModelData]:
        """Those of them that are made from other sets."""
        return [data for data in self.all_model_data() if self.config.data[data.data].parents]

    def derived_once(self) -> list[str]:
        """The data sets that are made from others, and are the same for all models."""
        return [name for name in self.used_data() if self.config.data[name].parents and not self.is_of_model(name)]

    def filtered(self) -> list[ModelData]:
        """The data sets that models filter by perplexity."""
        return [data for data in self.derived_of_models() if self.config.data[data.data].perplexity is not None]

    def filter(self, data: ModelData) -> PerplexitySettings:
        """How a data set is filtered."""
        settings = self.config.data[data.data].perplexity
        assert settings is not None
        return settings

    def scorer(self, data: ModelData) -> Model:
        """The model that filters a data set."""
        return Model(data.size, data.seed, self.filter(data).scorer)

    def asked_sets(self, data: ModelData) -> tuple[str, ...]:
        """The data sets whose prompts the scorer of a filter answers."""
        prompts = self.filter(data).prompts
        return (prompts,) if prompts is not None else self.config.data[data.data].parents

    def filter_scores(self, data: ModelData) -> list[ReferenceScores]:
        """What the scorer of a filter gives to the pairs of each parent of the set."""
        settings, scorer = self.filter(data), self.scorer(data)
        names = ("max_length", "max_prompt_length", "too_long")
        shown = PairSettings(**{name: getattr(settings, name) for name in names}, dtype=self.config.generation.dtype)
        form = self.stage(scorer).train_format
        return [ReferenceScores(scorer, parent, form, shown) for parent in self.config.data[data.data].parents]

    def data_for(self, name: str, model: Model) -> ModelData:
        """The data set of that name for a model, if it is one of single models."""
        return ModelData(model.size, model.seed, name)

    def sampling(self, data: ModelData) -> Sampled:
        """How a data set is sampled."""
        sampled = self.config.data[data.data].sampled
        assert sampled is not None
        return sampled

    def embeds_answers(self) -> bool:
        """Whether the most different answers are told by sentence vectors."""
        return any(data.sampled is not None and data.sampled.distance == COSINE for data in self.config.data.values())

    def writer(self, data: ModelData) -> Model:
        """The model that writes a data set."""
        return Model(data.size, data.seed, self.sampling(data).stage)

    def judge(self, data: ModelData) -> Model | None:
        """The reward model that scores what it writes; None if something else says which answer is better."""
        name = self.sampling(data).reward
        return None if name is None or name in (*FUNCTIONS, *LABELLERS) else Model(data.size, data.seed, name)

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
        """Those of all models, and those that filters need, each once."""
        found = [scores for model in self.trained() if (scores := self.reference_scores(model))]
        found += [scores for data in self.filtered() for scores in self.filter_scores(data)]
        return list(dict.fromkeys(found))
