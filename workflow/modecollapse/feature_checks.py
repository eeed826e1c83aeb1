"""What has to hold of the measure of text features."""

from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.data_checks import check_columns
from modecollapse.data_lineage import is_of_model
from modecollapse.errors import StudyError
from modecollapse.format_config import FORMATS
from modecollapse.measures.feature_pipeline import check_pipeline
from modecollapse.measures.text_features import TextFeatureSettings

_KEY = "measures.text_features"


def check_text_features(config: StudyConfig) -> None:
    """Sets of pairs, prompt sets, stages and format are those of the study, and the pipeline is there.

    Raises:
        StudyError: one of them is not.
    """
    settings = config.measures.text_features
    if settings is None:
        return
    for key, name in (("train", settings.train), ("validation", settings.validation)):
        if name is not None:
            check_columns(config, f"{_KEY}.{key}", name, PAIR_COLUMNS)
            _check_shared(config, f"{_KEY}.{key}", name)
    check_names(f"{_KEY}.prompts", settings.prompts, config.prompts, "prompt set")
    _check_format(config, settings)
    answering = {
        name: stage
        for name, stage in config.stages.items()
        if stage.writes or (settings.prompts and not stage.has("scores"))
    }
    for contrast in settings.contrasts:
        check_names(f"{_KEY}.contrasts", contrast, answering, "stage")
        if contrast[0] == contrast[1]:
            raise StudyError(f"{_KEY}.contrasts: {contrast[0]} would be compared with itself. Name two stages.")
    check_pipeline(settings)


def _check_shared(config: StudyConfig, key: str, name: str) -> None:
    """The pairs are the same for all models: their answers are compared over the same prompts."""
    if is_of_model(config, name):
        allowed = [each for each in config.data if not is_of_model(config, each)]
        raise StudyError(
            f"{key}: {name} is written by a stage, or filtered by one, so that each model has pairs of its own. "
            f"Allowed: {', '.join(allowed) or 'sets that no stage has a part in'}. Name the set whose prompts it has."
        )


def _check_format(config: StudyConfig, settings: TextFeatureSettings) -> None:
    formats = {**FORMATS, **config.formats}
    check_names(f"{_KEY}.format", [settings.format], formats, "prompt format")
    asked = [name for name, stage in config.stages.items() if stage.writes]
    if asked and settings.train is not None and formats[settings.format] is None:
        raise StudyError(
            f"{_KEY}.format: {settings.format} has no template, so {asked[0]} cannot be asked in it. Write its "
            "template in `formats`, or name another format."
        )
    if config.stages and not asked and not settings.prompts:
        raise StudyError(
            f"{_KEY}.prompts: no stage of the study can be asked the prompts of {settings.train}: there are only "
            f"finished completions. Allowed: {', '.join(config.prompts)}. Name the prompt sets whose completions are "
            "compared."
        )
    if not settings.prompts:
        return
    if settings.temperature not in config.generation.temperatures:
        raise StudyError(
            f"{_KEY}.temperature: {settings.temperature} is not sampled. Allowed: "
            f"{', '.join(config.generation.temperatures)}."
        )
    completed = [
        stage.formats or config.generation.formats for stage in config.stages.values() if not stage.has("scores")
    ]
    if not any(settings.format in each for each in completed):
        raise StudyError(
            f"{_KEY}.format: no stage's completions are asked for in {settings.format}. Allowed: "
            f"{', '.join(dict.fromkeys(name for each in completed for name in each))}. Name one of these."
        )
