"""Questions that measures of creativity ask can be asked: their formats have words, and their answers are known."""

from modecollapse.config import StudyConfig
from modecollapse.config_errors import check_names
from modecollapse.data.nano.world import World
from modecollapse.errors import StudyError
from modecollapse.format_config import FORMATS


def check_probes(config: StudyConfig) -> None:
    """The settings of `top_entropy`, `probes` and `semantic` name what there is, and probes ask something.

    Raises:
        StudyError: they do not.
    """
    formats = {**FORMATS, **config.formats}
    for name in ("top_entropy", "probes", "semantic"):
        settings = getattr(config.measures, name)
        if settings is None:
            continue
        key = f"measures.{name}.format"
        check_names(key, [settings.format], formats, "prompt format")
        if formats[settings.format] is None:
            known = ", ".join(each for each, template in formats.items() if template is not None)
            raise StudyError(
                f"{key}: the prompt format {settings.format!r} has no template, so nothing can be asked in it. "
                f"Allowed: {known}. Name one of these, or write its template in `formats`."
            )
    probes = config.measures.probes
    if probes is None:
        return
    if not (probes.continuations or probes.choices or probes.responses):
        raise StudyError(
            "measures.probes: continuations, choices and responses are all empty, so nothing would be asked. State at "
            "least one prompt, leave one of these keys out for the paper's, or set measures.probes to null."
        )
    for question, choice in probes.choices.items():
        if choice.rule is not None:
            _check_rule(config, f"measures.probes.choices.{question}.rule", choice.rule)


def _check_rule(config: StudyConfig, key: str, rule: str) -> None:
    if config.world is None:
        raise StudyError(
            f"{key}: {rule!r} is a rule of a world's grammar, but the study has no `world`. Add "
            "`world: {seed: 0}`, or state `phrases` or `integers`."
        )
    world = World(config.world)
    if _offers_choices(world, rule):
        return
    found = "writes no fixed list of texts" if rule in world.grammar.rules else "does not exist"
    allowed = ", ".join(name for name in world.grammar.rules if _offers_choices(world, name))
    raise StudyError(f"{key}: the rule {rule!r} {found}. Allowed: {allowed}. Name one of these, or state `phrases`.")


def _offers_choices(world: World, rule: str) -> bool:
    """Whether the rule writes texts, none of them empty, whose probabilities are known."""
    try:
        return all(world.phrases(rule))
    except (KeyError, ValueError):
        return False
