"""What has to hold of a study's judged comparisons, beyond the types of their keys."""

from modecollapse.config_errors import check_names
from modecollapse.errors import StudyError
from modecollapse.judging.comparisons import Comparisons
from modecollapse.judging.settings import Judge, JudgementSettings
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.study import Study

KEY = "measures.judgements"


def check_judgements(study: Study) -> None:
    """Stages with answers in a common format are compared, on what is sampled of both, by judges that can judge them.

    Raises:
        StudyError: the first thing that does not hold; the message names the study's file.
    """
    settings = study.config.measures.judgements
    if settings is None:
        return
    try:
        check_names(f"{KEY}.reference", [settings.reference], study.answering_stages, "stage with answers")
        check_names(f"{KEY}.stages", settings.stages or (), study.answering_stages, "stage with answers")
        check_names(f"{KEY}.prompts", settings.prompts or (), study.config.prompts, "prompt set")
        comparisons = Comparisons(study)
        _check_stages(comparisons, settings)
        _check_cells(comparisons, settings)
        for name, judge in settings.judges.items():
            if judge.reward is not None:
                _check_reward(comparisons, f"{KEY}.judges.{name}.reward", judge.reward)
            _check_labels(comparisons, name, judge)
            _check_criteria(comparisons, name, judge)
    except StudyError as error:
        raise StudyError(f"{study.file}: {error}") from error


def _check_stages(comparisons: Comparisons, settings: JudgementSettings) -> None:
    study, reference = comparisons.study, settings.reference
    if not comparisons.models():
        raise StudyError(
            f"{KEY}.reference: no stage descends from {reference} in a size that has both, so there is nothing to "
            "compare with it. Name another reference, or the `stages` to compare."
        )
    for name in comparisons.stages:
        if name == reference:
            raise StudyError(f"{KEY}.stages: {name} is the reference itself. Remove it.")
        if not set(study.formats(name)) & set(study.formats(reference)):
            raise StudyError(
                f"{KEY}: {name} is measured under {', '.join(study.formats(name))}, and the reference {reference} "
                f"under {', '.join(study.formats(reference))}, so their answers cannot be compared. Give them a prompt "
                "format in common."
            )


def _check_cells(comparisons: Comparisons, settings: JudgementSettings) -> None:
    study = comparisons.study
    generation = study.config.generation
    for temperature in comparisons.temperatures:
        if temperature not in generation.temperatures:
            raise StudyError(
                f"{KEY}.temperatures: nothing is sampled at {temperature}. Allowed: "
                f"{', '.join(generation.temperatures)}. Name some of these, or add it to generation.temperatures."
            )
    if (settings.completions or 1) > generation.completions and study.sampled():
        raise StudyError(
            f"{KEY}.completions: {settings.completions} is more than the {generation.completions} of "
            "generation.completions. Lower it, or raise that."
        )
    for name, prompts in comparisons.prompts.items():
        for prompt in prompts:
            if prompt.text is None:
                raise StudyError(
                    f"{KEY}.prompts: {prompt.id} of {name} has no text, and nobody can judge answers to a request that "
                    "is not known. Name other prompt sets."
                )


def _check_reward(comparisons: Comparisons, key: str, reward: str) -> None:
    study = comparisons.study
    scoring = [name for name, stage in study.config.stages.items() if stage.has("scores")]
    if reward not in (*scoring, *FUNCTIONS):
        found = "gives no scores" if reward in study.config.stages else "is no stage of the study, and no function"
        raise StudyError(
            f"{key}: {reward!r} {found}. Allowed: {', '.join([*scoring, *FUNCTIONS])}. Name one of these, or add a "
            "stage {method: reward, from: …, data: …}."
        )
    if reward == "utility" and study.config.world is None:
        raise StudyError(
            f"{key}: utility is the true one of a world's answers, but the study has no `world`. Name a stage of the "
            "method reward, or add `world: {seed: 0}`."
        )
    for model in comparisons.models() if reward in scoring else ():
        if not study.has(model.size, reward):
            raise StudyError(
                f"{key}: {model.size} has no {reward}, but {model.stage} is compared in it. Give {reward} the same "
                "`sizes`, or name the `stages` to compare."
            )


def _check_labels(comparisons: Comparisons, name: str, judge: Judge) -> None:
    for written, path in zip(judge.labels or (), comparisons.label_files(name), strict=True):
        if not path.is_file():
            raise StudyError(
                f"{KEY}.judges.{name}.labels: there is no file {written} beside the study. Export it from the sheets "
                f"in {comparisons.study.paths.root}/sheets/{name}, or write `labels: []` while there are none."
            )


def _check_criteria(comparisons: Comparisons, name: str, judge: Judge) -> None:
    there = sorted({task for tasks in comparisons.tasks.values() for task in tasks})
    for task in judge.endpoint.criteria if judge.endpoint else ():
        if task not in (*there, "all"):
            raise StudyError(
                f"{KEY}.judges.{name}.endpoint.criteria: no prompt that is compared is of the task type {task!r}. "
                f"Allowed: {', '.join([*there, 'all'])}. Name one of these, or remove it."
            )
