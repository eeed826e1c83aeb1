"""What has to hold of the measures that ask questions of their own."""

import re

from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.errors import StudyError
from modecollapse.measures.personas import PersonaSettings
from modecollapse.stage_config import CompletionsStage, StageBase

_PERSONAS = "measures.personas"


def check_personas(config: StudyConfig) -> None:
    """Every stage that is asked for personas has a template, and templates name fields and rules that there are.

    Raises:
        StudyError: one has none, or a name is unknown.
    """
    settings = config.measures.personas
    if settings is None:
        return
    for name, stage in config.stages.items():
        formats = stage.formats or config.generation.formats
        if _is_asked(stage) and not any(form in settings.templates for form in formats):
            raise StudyError(
                f"{_PERSONAS}.templates: the stage {name} is asked in {', '.join(formats)}, for which there is no "
                f"template. Allowed: {', '.join(settings.templates)}. Write a template for one of its formats, or add "
                f"one of these to stages.{name}.formats."
            )
    if settings.review in settings.fields:
        raise StudyError(
            f"{_PERSONAS}.review: {settings.review!r} is one of the fields, whose values are counted. Allowed: any "
            "other name, or null for no review. Name it otherwise, or remove it from `fields`."
        )
    for form, template in settings.templates.items():
        key = f"{_PERSONAS}.templates.{form}"
        readable = [*settings.fields, *([settings.review] if settings.review is not None else [])]
        if template.pattern is not None:
            check_names(f"{key}.pattern", list(re.compile(template.pattern).groupindex), readable, "field")
        check_names(f"{key}.truth", template.truth, settings.fields, "field")
    _check_rules(config, settings)


def _is_asked(stage: StageBase) -> bool:
    """Whether a stage has weights of its own that write."""
    return not isinstance(stage, CompletionsStage) and not stage.has("scores") and not stage.has("decodes")


def _check_rules(config: StudyConfig, settings: PersonaSettings) -> None:
    """True distributions are those of rules of the world's grammar."""
    named = {
        f"{_PERSONAS}.templates.{form}.truth.{field}": rule
        for form, template in settings.templates.items()
        for field, rule in template.truth.items()
    }
    if not named:
        return
    if config.world is None:
        raise StudyError(
            f"{next(iter(named))}: {next(iter(named.values()))!r} would be a rule of a world's grammar, but the study "
            "has no `world`. Remove `truth`, or add `world`."
        )
    # The grammar takes long to build, and few studies need it.
    from modecollapse.data.nano.world import World

    world = World(config.world)
    for key, rule in named.items():
        check_names(key, [rule], world.grammar.rules, "rule of the world's grammar")
        try:
            world.phrases(rule)
        except ValueError as error:
            raise StudyError(
                f"{key}: {error}, so its probabilities depend on what was written before. Name a rule without "
                "remembered values, such as `hero`."
            ) from None
