"""What has to hold where a study looks for attractors."""

from modecollapse.config import StudyConfig
from modecollapse.errors import StudyError


def check_attractor(config: StudyConfig) -> None:
    """There are outputs whose modes can be found, and a way to push these off their course.

    Raises:
        StudyError: no prompt is asked whose outputs have modes, or a verb and its negation are none.
    """
    attractor, semantic = config.measures.attractor, config.measures.semantic
    if attractor is None:
        return
    if semantic is None or not semantic.asked:
        found = "there is no measures.semantic" if semantic is None else "measures.semantic.asked is empty"
        raise StudyError(
            f"measures.attractor: modes are those of the outputs of measures.semantic.asked, and {found}. Allowed: at "
            "least one prompt there. Add e.g. `semantic: {asked: {grace-hopper: Grace Hopper was}}` to measures, or "
            "remove `attractor`."
        )
    for verb, negation in attractor.negations.items():
        key = f"measures.attractor.negations.{verb}" if verb.strip() else "measures.attractor.negations"
        if not verb.strip() or not negation.strip():
            raise StudyError(
                f"{key}: found {verb!r}: {negation!r}. Allowed: a verb and what takes its place, e.g. `was: was not`. "
                "Write both, or remove the entry."
            )
        if verb.strip() == negation.strip():
            raise StudyError(
                f"{key}: found {negation!r}, the verb itself, which pushes nothing off its course. Allowed: another "
                f"text. Write its negation, e.g. `{verb}: {verb} not`, or remove the entry."
            )
