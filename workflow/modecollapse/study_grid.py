"""The grid of a study: its models, what each descends from, and the cells that are sampled from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from modecollapse import lineage, wordings
from modecollapse.cells import Cell, Model
from modecollapse.config import StudyConfig
from modecollapse.epochs import Runs
from modecollapse.format_config import FORMATS, ChatFormat
from modecollapse.methods import METHODS
from modecollapse.methods.base import Method
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.paths import Paths
from modecollapse.prompts import Chat, PromptFormat, PromptSet
from modecollapse.schema import Strict
from modecollapse.stage_config import StageBase


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Sizes × seeds × stages, and the cells of each. Orders are those of the study file, parents before children."""

    name: str
    file: Path
    config: StudyConfig
    paths: Paths
    prompts: Mapping[str, PromptSet]
    resolved: Mapping[tuple[str, str], StageBase]
    """(size, stage) → the stage with that size's differences applied."""
    runs: Runs = field(default_factory=Runs)
    """The stages that are epochs of one training run."""

    @cached_property
    def lineage(self) -> lineage.Lineage:
        return self.config.parents()

    @cached_property
    def stages(self) -> list[str]:
        return lineage.ordered(self.lineage)

    @cached_property
    def answering_stages(self) -> list[str]:
        """The stages that have completions: those that are compared."""
        return [stage for stage in self.stages if not self.config.stages[stage].has("scores")]

    @cached_property
    def compared_lineage(self) -> dict[str, list[str]]:
        """The lines along which stages are compared: first parents, of stages that have completions."""
        return lineage.restricted(self.lineage, self.answering_stages)

    @cached_property
    def compared_paths(self) -> list[list[str]]:
        """Those lines, each from its root to a stage that none of them continues."""
        return lineage.paths(self.compared_lineage)

    @cached_property
    def models(self) -> list[Model]:
        """Every stage of every size that has it, with every seed."""
        return [
            Model(size, seed, stage)
            for size in self.config.models
            for seed in self.config.seeds
            for stage in self.stages
            if self.has(size, stage)
        ]

    def has(self, size: str, stage: str) -> bool:
        """Whether a size has a stage."""
        sizes = self.config.stages[stage].sizes
        return sizes is None or size in sizes

    def stage(self, model: Model) -> StageBase:
        return self.resolved[model.size, model.stage]

    def method(self, model: Model) -> Method | None:
        """How the model comes to be; None where only finished completions exist."""
        return METHODS.get(self.stage(model).method)

    def settings(self, model: Model) -> Strict:
        """The settings of the model's method."""
        method, stage = self.method(model), self.stage(model)
        assert method is not None
        fields = method.settings.model_fields
        return method.settings.model_validate({name: getattr(stage, name) for name in fields})

    def trained(self) -> list[Model]:
        """The models that have weights here."""
        return [
            model for model in self.models if self.method(model) is not None and not self.stage(model).has("decodes")
        ]

    def language_models(self) -> list[Model]:
        """Those of them that predict tokens: all but reward models."""
        return [model for model in self.trained() if not self.stage(model).has("scores")]

    def answering(self) -> list[Model]:
        """The models that have completions, sampled here or imported."""
        return [model for model in self.models if not self.stage(model).has("scores")]

    def sampled(self) -> list[Model]:
        """Those of them that are sampled from here."""
        return [model for model in self.answering() if self.method(model) is not None]

    def choosing(self) -> list[Model]:
        """Those whose completions are chosen among their parent's."""
        return [model for model in self.models if self.stage(model).has("decodes")]

    def imported(self) -> list[Model]:
        """The models of which only finished completions are known."""
        return [model for model in self.models if self.method(model) is None]

    def parent(self, model: Model) -> Model | None:
        """The model that this one continues: for a later epoch of a run, the epoch before."""
        name = self.stage(model).parent
        return Model(model.size, model.seed, name) if name else None

    def run(self, model: Model) -> list[Model]:
        """The models that one training run makes, the given one among them, in the order of epochs."""
        run = self.runs.run_of(model.stage)
        stages = [model.stage] if run is None else self.runs.stages[run]
        return [Model(model.size, model.seed, stage) for stage in stages]

    def epoch(self, model: Model) -> int | None:
        """After how many epochs of its run the model was kept; None if it is trained alone."""
        return None if self.runs.run_of(model.stage) is None else self.run(model).index(model) + 1

    def start(self, model: Model) -> Model | None:
        """The model whose weights the training run begins with; None if it begins with nothing."""
        return self.parent(self.run(model)[0]) if self.stage(model).has("needs_parent") else None

    def adapted(self, model: Model) -> Model | None:
        """The model that its parent's adapter was trained on, if the model keeps that apart."""
        parent = self.parent(model) if self.stage(model).has("keeps_adapter") else None
        return None if parent is None else self.start(parent)

    def reward(self, model: Model) -> Model | None:
        """The reward model that scores answers for this one; None if a function does, or nothing."""
        name = self.stage(model).reward
        return None if name is None or name in FUNCTIONS else Model(model.size, model.seed, name)

    def first(self, model: Model) -> Model:
        """The model's root: the pretrained model it goes back to."""
        return Model(model.size, model.seed, lineage.first(self.lineage, model.stage))

    def origin(self, model: Model) -> Model:
        """The model whose weights it goes back to: the nearest one that continues no other, perhaps itself."""
        while self.stage(model).has("needs_parent"):
            parent = self.parent(model)
            assert parent is not None
            model = parent
        return model

    def formats(self, stage: str) -> Sequence[str]:
        return self.config.stages[stage].formats or self.config.generation.formats

    def format(self, name: str) -> PromptFormat:
        template = {**FORMATS, **self.config.formats}[name]
        if isinstance(template, ChatFormat):
            return PromptFormat(name, Chat(template.system, template.template))
        return PromptFormat(name, template or "")

    @cached_property
    def formats_by_stage(self) -> dict[str, Sequence[str]]:
        return {stage: self.formats(stage) for stage in self.answering_stages}

    def views(self) -> dict[str, dict[str, str]]:
        """The choices of one prompt format per stage that figures show one at a time; see `modecollapse.wordings`."""
        return wordings.views(self.formats_by_stage, self.config.analysis.across_formats)

    def compared_views(self) -> list[str]:
        """Those views in which the stages of some path can be compared."""
        return [name for name, view in self.views().items() if wordings.compared(view, self.compared_paths)]

    def format_changes(self) -> list[wordings.Change]:
        """The steps, and whole paths, whose apparent effect is partly one of format and can be split."""
        across = self.config.analysis.across_formats
        return wordings.format_changes(self.compared_paths, self.formats_by_stage, across)

    def has_formats(self) -> bool:
        """Whether there are several prompt formats, so that figures have to say which they show."""
        return len({name for formats in self.formats_by_stage.values() for name in formats}) > 1

    def has_format_effects(self) -> bool:
        """Whether some stage is measured under several prompt formats."""
        return any(len(formats) > 1 for formats in self.formats_by_stage.values())

    def cells(self, model: Model) -> list[Cell]:
        return [
            Cell(model, prompts, form, temperature)
            for prompts in self.config.prompts
            for form in self.formats(model.stage)
            for temperature in self.config.generation.temperatures
        ]

    def about(self) -> dict[str, Any]:
        """What the report's front page says of the study."""
        config = self.config
        return {"title": config.title, "description": config.description, "world": config.world is not None}

    def called(self) -> str:
        """How the study is named on the command line."""
        return self.name if self.file.parts[-3:-1] == ("config", "studies") else str(self.file)

    def label(self, stage: str) -> str:
        return self.config.stages[stage].label or stage.upper()
