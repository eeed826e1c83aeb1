"""Epochs as stages: a stage with `each_epoch` stands for NAME-1, NAME-2, …, the checkpoints of one training run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from modecollapse.config import StudyConfig
from modecollapse.errors import StudyError
from modecollapse.stage_config import StageBase


def epoch_stage(run: str, epoch: int) -> str:
    """The name of the stage that is the model after `epoch` epochs of `run`."""
    return f"{run}-{epoch}"


@dataclass(frozen=True)
class Runs:
    """The runs of a study that keep the model of every epoch."""

    stages: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Name in the study file → its stages, in the order of epochs."""

    @classmethod
    def of(cls, config: StudyConfig) -> "Runs":
        """The runs of a study as it is written.

        Raises:
            StudyError: one of their stages has the name of another stage, or is spoken of where the run is meant, or
                the other way round.
        """
        for name, stage in config.stages.items():
            if stage.has("scores") and _epochs(stage):
                raise StudyError(
                    f"stages.{name}.each_epoch: a reward model is kept at its end alone, since nothing continues one. "
                    "Remove it."
                )
        stages = {
            name: [epoch_stage(name, epoch) for epoch in range(1, _epochs(stage) + 1)]
            for name, stage in config.stages.items()
            if _epochs(stage)
        }
        runs = cls(stages)
        runs._check_names(config)
        runs._check_parents(config)
        runs._check_sizes(config)
        return runs

    def run_of(self, stage: str) -> str | None:
        """The run that a stage is an epoch of; None if it is trained alone."""
        return next((run for run, stages in self.stages.items() if stage in stages), None)

    def expanded(self, config: StudyConfig) -> StudyConfig:
        """The study with the stages of runs in the place of the runs: in `stages`, in what sizes do differently, and in
        lists of stages elsewhere."""
        if not self.stages:
            return config
        across = {
            name: {each: form for stage, form in wording.items() for each in self.stages.get(stage, [stage])}
            for name, wording in config.analysis.across_formats.items()
        }
        measures = config.measures
        if measures.benchmarks:
            chats = self._each(measures.benchmarks.chat_template)
            benchmarks = measures.benchmarks.model_copy(update={"chat_template": chats})
            measures = measures.model_copy(update={"benchmarks": benchmarks})
        if measures.guard_rails and measures.guard_rails.candidates:
            judged = self._each(measures.guard_rails.candidates)
            rails = measures.guard_rails.model_copy(update={"candidates": judged})
            measures = measures.model_copy(update={"guard_rails": rails})
        models = {}
        for size, model in config.models.items():
            changes = {each: keys for name, keys in model.stages.items() for each in self.stages.get(name, [name])}
            models[size] = model.model_copy(update={"stages": changes})
        stages = {key: each for name, stage in config.stages.items() for key, each in self.epochs(name, stage).items()}
        return config.model_copy(
            update={
                "models": models,
                "stages": stages,
                "measures": measures,
                "analysis": config.analysis.model_copy(update={"across_formats": across}),
            }
        )

    def epochs(self, name: str, stage: StageBase) -> dict[str, StageBase]:
        """Name → stage of every epoch of a run, each continuing the one before; a stage trained alone is left as it is.

        What was published is a model of one epoch, so `published_as` is said of the first.
        """
        epochs: dict[str, StageBase] = {}
        parent = stage.parent
        for epoch, key in enumerate(self.stages.get(name, ()), start=1):
            changes: dict[str, Any] = {"parent": parent, "label": f"{stage.label or name.upper()} {epoch}"}
            if epoch > 1:
                changes["published_as"] = None
            epochs[key] = stage.model_copy(update=changes)
            parent = key
        return epochs or {name: stage}

    def as_written(self, message: str) -> str:
        """An error message about an epoch's keys, naming the keys that the study file has: those of its run."""
        for run, stages in self.stages.items():
            for stage in stages:
                message = re.sub(rf"\bstages\.{re.escape(stage)}(?=[.: ])", f"stages.{run}", message)
        return message

    def _check_names(self, config: StudyConfig) -> None:
        taken: dict[str, str] = {}
        for run, stages in self.stages.items():
            for stage in stages:
                if stage in config.stages or stage in taken:
                    other = f"the run {taken[stage]} has" if stage in taken else "there is"
                    raise StudyError(
                        f"stages.{run}.each_epoch: it makes a stage {stage}, but {other} one of this name. "
                        "Rename one of the two."
                    )
                taken[stage] = run

    def _check_parents(self, config: StudyConfig) -> None:
        names = self._names(config)
        for name, stage in config.stages.items():
            if stage.parent is not None and stage.parent in self.stages:
                raise StudyError(
                    f"stages.{name}.from: {stage.parent} is kept after each of its epochs. Name one of these: "
                    f"{', '.join(self.stages[stage.parent])}."
                )
            if self.stages and stage.parent and stage.parent not in names:
                raise StudyError(
                    f"stages.{name}.from: no stage is called {stage.parent!r}. Allowed: "
                    f"{', '.join(other for other in names if other not in (name, *self.stages.get(name, ())))}. "
                    "Name one of these, or add it."
                )

    def _check_sizes(self, config: StudyConfig) -> None:
        for size, model in config.models.items():
            for stage, changes in model.stages.items():
                key, run = f"models.{size}.stages.{stage}", self.run_of(stage)
                if run and stage not in config.stages:
                    raise StudyError(
                        f"{key}: {stage} is an epoch of the run {run}, whose settings are the same in all epochs. "
                        f"Allowed: models.{size}.stages.{run}."
                    )
                written = config.stages.get(stage)
                if "each_epoch" in changes and written is not None and hasattr(written, "each_epoch"):
                    raise StudyError(f"{key}.each_epoch: it is the same for all sizes. Set it in stages.{stage}.")
                if stage in self.stages and changes.get("epochs", len(self.stages[stage])) != len(self.stages[stage]):
                    raise StudyError(
                        f"{key}.epochs: with each_epoch every epoch is a stage, and the stages are the same for all "
                        f"sizes. Allowed: {len(self.stages[stage])}, as in stages.{stage}. Remove it."
                    )

    def _each(self, names: Sequence[str]) -> tuple[str, ...]:
        """The stages that these names stand for."""
        return tuple(each for name in names for each in self.stages.get(name, [name]))

    def _names(self, config: StudyConfig) -> list[str]:
        return [each for name in config.stages for each in self.stages.get(name, [name])]


def _epochs(stage: StageBase) -> int:
    """How many stages a run stands for; 0 if the stage is trained alone."""
    return int(stage.epochs) if getattr(stage, "each_epoch", False) else 0  # type: ignore[attr-defined]
