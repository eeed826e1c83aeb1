"""Whether a study can be run on a machine as it is asked to."""

from typing import TYPE_CHECKING

from modecollapse.errors import StudyError
from modecollapse.methods.settings import FineTuningSettings
from modecollapse.resources.demands import Demands
from modecollapse.resources.machine import Machine
from modecollapse.resources.training import (
    divisors,
)

if TYPE_CHECKING:
    from modecollapse.study import Study


def check_machine(study: "Study", machine: Machine) -> None:
    """Check that the study's training jobs can be spread over this machine's GPUs as it is asked to.

    Raises:
        StudyError: more GPUs are asked for than a node has, a number does not divide a batch, a size is unknown, or a
            model does not fit.
    """
    asked = machine.training_gpus
    if isinstance(asked, dict):
        unknown = [size for size in asked if size not in study.config.models]
        if unknown:
            raise StudyError(
                f"machine.training_gpus.{unknown[0]}: the study {study.name} has no such size. Allowed: "
                f"{', '.join(study.config.models)}. Correct the name, or remove it."
            )
    for size in study.config.models:
        key, gpus = machine.gpus_asked(size)
        if gpus is not None and gpus > max(1, machine.gpus_per_node):
            raise StudyError(
                f"{key}: found {gpus}, but machine.gpus_per_node is {machine.gpus_per_node}, and a training job runs "
                f"on one node. Allowed: auto, or 1 to {max(1, machine.gpus_per_node)}. Ask for fewer, or correct "
                "machine.gpus_per_node."
            )
    if not machine.on_gpus:
        return
    demands = Demands(study, machine)
    for model in study.trained():
        method, settings = study.method(model), study.settings(model)
        if method is None or not method.trains or model.seed != study.config.seeds[0]:
            continue
        key, gpus = machine.gpus_asked(model.size)
        if isinstance(settings, FineTuningSettings) and gpus is not None and settings.batch_size % gpus:
            stage = study.runs.run_of(model.stage) or model.stage
            allowed = ", ".join(map(str, divisors(settings.batch_size, machine.gpus_per_node)))
            raise StudyError(
                f"{key}: found {gpus}, which does not divide stages.{stage}.batch_size {settings.batch_size} "
                f"({model}). Allowed: {allowed}, or auto. Choose one of these: the batch belongs to the science, its "
                "split does not."
            )
        demands.layout(model)
