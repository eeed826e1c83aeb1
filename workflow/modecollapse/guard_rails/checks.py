"""What has to hold of guard rails within a study's configuration, and what they come to."""

from collections.abc import Sequence

from modecollapse import lineage
from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.errors import StudyError
from modecollapse.measures.benchmarks import Task
from modecollapse.measures.guard_rails import GuardRailSettings, Rail, resolve_rails
from modecollapse.methods.guard_settings import RunGuards
from modecollapse.stage_config import CompletionsStage, StageBase

_KEY = "measures.guard_rails"


def check_guard_rails(config: StudyConfig) -> None:
    """The reference and the candidates are stages that can be put to tasks, and the study runs benchmarks.

    Raises:
        StudyError: something names what is not there, or what has no weights of its own.
    """
    settings = config.measures.guard_rails
    if settings is None:
        return
    if config.measures.benchmarks is None:
        raise StudyError(
            f"{_KEY}: they compare stages on benchmarks, but the study runs none. Add `measures.benchmarks`, or "
            f"remove {_KEY}."
        )
    able = [name for name, stage in config.stages.items() if _predicts(stage)]
    for key, names in ((f"{_KEY}.reference", [settings.reference]), (f"{_KEY}.candidates", settings.candidates or ())):
        check_names(key, names, config.stages, "stage")
        for name in names:
            if name not in able:
                raise StudyError(
                    f"{key}: {name} cannot be put to tasks: {_why_not(config.stages[name])}. Allowed: "
                    f"{', '.join(able) or 'none: no stage has weights that predict tokens'}. Name one of these."
                )
    if settings.candidates is not None and settings.reference in settings.candidates:
        raise StudyError(f"{_KEY}.candidates: {settings.reference} is the reference itself. Remove it from the list.")
    judged = judged_stages(config, settings)
    if not judged:
        raise StudyError(
            f"{_KEY}.reference: nothing that can be put to tasks descends from {settings.reference}, so nothing would "
            f"be judged. Allowed: {', '.join(able)}. Name the stage that tuning started from, or list `candidates`."
        )
    there = config.stages[settings.reference].sizes
    for name in judged:
        lacking = [
            size for size in config.stages[name].sizes or config.models if there is not None and size not in there
        ]
        if lacking:
            raise StudyError(
                f"{_KEY}.candidates: {name} has the size {lacking[0]}, but the reference {settings.reference} does "
                "not. Give both the same `sizes`, or name another reference."
            )


def judged_stages(config: StudyConfig, settings: GuardRailSettings) -> list[str]:
    """The candidates: those that are named, or all below the reference that can be put to tasks."""
    if settings.candidates is not None:
        return [name for name in config.stages if name in settings.candidates]
    parents = {name: [stage.parent] if stage.parent else [] for name, stage in config.stages.items()}
    return [
        name
        for name, stage in config.stages.items()
        if _predicts(stage) and name != settings.reference and lineage.descent(parents, settings.reference, name)
    ]


def resolved_rails(config: StudyConfig, tasks: Sequence[Task]) -> tuple[Rail, ...]:
    """The study's guard rails on the tasks of its benchmarks; none if it has none. Raises as `resolve_rails`."""
    settings, benchmarks = config.measures.guard_rails, config.measures.benchmarks
    return resolve_rails(settings, benchmarks, tasks, _KEY) if settings and benchmarks else ()


def check_run_guards(config: StudyConfig, name: str, stage: StageBase) -> None:
    """The guard rails of a run are among the study's, which are of the stage that the run starts from.

    Args:
        name: the stage's.
        stage: its keys in one of its sizes.

    Raises:
        StudyError: they are not.
    """
    guards: RunGuards | None = getattr(stage, "guard_rails", None)
    settings, key = config.measures.guard_rails, f"stages.{name}.guard_rails"
    if guards is None:
        return
    if settings is None:
        raise StudyError(
            f"{key}: margins and confidence are those of the study's guard rails, but it has none. Add "
            f"`{_KEY}: {{reference: {stage.parent}, tasks: {{TASK: {{margin: 0.02}}}}}}`, or remove the key."
        )
    check_names(f"{key}.tasks", guards.tasks or (), settings.tasks, "task of the guard rails")
    if stage.parent != settings.reference:
        raise StudyError(
            f"{key}: a run is compared with the stage that it starts from, {stage.parent}, but the guard rails are "
            f"those of {settings.reference}. Let {_KEY}.reference be {stage.parent}, or remove the key."
        )


def _predicts(stage: StageBase) -> bool:
    return not isinstance(stage, CompletionsStage) and not stage.has("scores") and not stage.has("decodes")


def _why_not(stage: StageBase) -> str:
    if isinstance(stage, CompletionsStage):
        return "only its finished completions are known, and tasks need a model"
    if stage.has("scores"):
        return "a reward model scores answers and predicts none"
    return f"it only chooses among answers of {stage.parent} and has no weights of its own"
