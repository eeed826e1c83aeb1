"""The judged comparisons of a study: which models are compared with which, on which cells, and by which judges."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modecollapse.cells import Cell, Model
from modecollapse.judging.settings import Judge, JudgementSettings, Kind
from modecollapse.lineage import below
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.prompts import Prompt
from modecollapse.study import Study


@dataclass(frozen=True, order=True)
class Judgement:
    """What one judge says of one model's answers beside those of the reference."""

    judge: str
    model: Model

    def __str__(self) -> str:
        return f"{self.judge}/{self.model}"


class Comparisons:
    """Those of one study; empty if it has none."""

    def __init__(self, study: Study) -> None:
        self.study = study

    @property
    def settings(self) -> JudgementSettings | None:
        return self.study.config.measures.judgements

    @property
    def judges(self) -> Mapping[str, Judge]:
        return self.settings.judges if self.settings else {}

    @property
    def judging(self) -> list[str]:
        """The judges whose verdicts there are: all but people who have not labelled anything."""
        return [name for name, judge in self.judges.items() if judge.labels != ()]

    def of_kind(self, kind: Kind | str) -> list[str]:
        """The judges of a kind."""
        return [name for name, judge in self.judges.items() if judge.kind == kind]

    @cached_property
    def stages(self) -> list[str]:
        """The stages that are compared with the reference."""
        if self.settings is None:
            return []
        if self.settings.stages is not None:
            return list(self.settings.stages)
        after = below(self.study.compared_paths, self.settings.reference)
        return [stage for stage in self.study.answering_stages if stage in after]

    def models(self) -> list[Model]:
        """Those of these stages, of the sizes that have the reference, too."""
        return [
            model
            for model in self.study.answering()
            if model.stage in self.stages and self.study.has(model.size, self.reference(model).stage)
        ]

    def reference(self, model: Model) -> Model:
        """The model that this one is compared with."""
        assert self.settings is not None
        return Model(model.size, model.seed, self.settings.reference)

    def judgements(self) -> list[Judgement]:
        """Everything that is judged, by every judge."""
        return [Judgement(judge, model) for judge in self.judging for model in self.models()]

    def sheets(self) -> list[Judgement]:
        """What people are to judge, or have judged."""
        return [Judgement(judge, model) for judge in self.of_kind(Kind.LABELS) for model in self.models()]

    def reward(self, judgement: Judgement) -> Model | None:
        """The reward model that judges; None if it is no reward, or a function."""
        name = self.judges[judgement.judge].reward
        model = judgement.model
        return None if name is None or name in FUNCTIONS else Model(model.size, model.seed, name)

    def label_files(self, judge: str) -> list[Path]:
        """The files of people's labels."""
        return [self.study.file.parent / file for file in self.judges[judge].labels or ()]

    @property
    def temperatures(self) -> list[str]:
        assert self.settings is not None
        return list(self.settings.temperatures or [self.study.config.analysis.temperature])

    @property
    def prompts(self) -> dict[str, tuple[Prompt, ...]]:
        """The prompts that are compared, by set."""
        assert self.settings is not None
        names = self.settings.prompts or self.study.prompts
        return {name: self.study.prompts[name].prompts for name in names}

    @property
    def tasks(self) -> dict[str, list[str]]:
        """The task type of each of them."""
        return {name: [prompt.task or name for prompt in prompts] for name, prompts in self.prompts.items()}

    def format(self, model: Model) -> str:
        """The prompt format under which a model is compared: its first one that the reference has, too."""
        others = self.study.formats(self.reference(model).stage)
        return next(form for form in self.study.formats(model.stage) if form in others)

    def cells(self, model: Model, of: Model) -> list[Cell]:
        """The cells that comparing `model` reads of one of the two models."""
        form = self.format(model)
        return [Cell(of, prompts, form, temperature) for prompts in self.prompts for temperature in self.temperatures]
