"""Whether an adapter is merged into the weights that it was trained on, as far as it and the study say so.

Shapes do not tell: an adapter of one model fits every other model of its size, and the merged weights are nonsense.
"""

import re
from pathlib import Path

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.hub import COMMIT, Kind, Revision
from modecollapse.methods.adapter import CONFIG, AdapterSettings
from modecollapse.methods.weight_files import read_json
from modecollapse.sources import GgufSource, HubSource, PathSource
from modecollapse.study import Study

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""A repository of the hub; an adapter's base may also be a directory of the machine that it was trained on."""


def check_base(study: Study, model: Model, adapter: Path) -> str | None:
    """Compare the base that an adapter names with the stage that it is to be merged into.

    Args:
        study: the study.
        model: a model of the method `adapter`.
        adapter: the directory with its `adapter_config.json`.

    Returns:
        None if they are the same, or if the study says that they may differ (`trained_on`); a sentence about what
        remains open if one of them is not named so that this can be told.

    Raises:
        StudyError: the adapter was trained on other weights.
    """
    config = read_json(adapter / CONFIG)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    key, stated = f"stages.{model.stage}.trained_on ({model})", _stated(study, model)
    if stated is not None:
        if not isinstance(base, str) or base.casefold() != stated.casefold():
            raise StudyError(
                f"{key}: found {stated!r}, but {adapter / CONFIG} names the base {base!r}. Allowed: what stands there. "
                "Correct the key, or remove it."
            )
        return None
    parent = study.parent(model)
    assert parent is not None
    at = f"stages.{model.stage}.from ({model})"
    advice = f"Name the stage with these weights; or, if they are equal, say `trained_on: {base}` in this stage."
    # Of weights that were trained or merged here, nobody else's adapter knows the name.
    origin = study.source(parent) if study.stage(parent).has("copies_source") else None
    if isinstance(base, str) and isinstance(origin, PathSource) and Path(base).resolve() == Path(origin.path).resolve():
        return None
    named = origin.of(Kind.MODEL) if isinstance(origin, HubSource | GgufSource) else None
    if named is None or not isinstance(base, str) or not _REPOSITORY.fullmatch(base):
        weights = f"weights of {parent}" if named is None else f"weights of {named}, which are those of {parent},"
        return (
            f"Whether the adapter in {adapter} was trained on the {weights} cannot be told: "
            f"its {CONFIG} names the base {base!r}. Only names and shapes of its matrices were compared."
        )
    if base.casefold() != named.repository.casefold():  # the hub's names are equal in any case of letters
        raise StudyError(
            f"{at}: found {parent.stage}, which is {named}, but the adapter in {adapter} was trained on {base}, as its "
            f"{CONFIG} says. Its matrices fit other weights of that shape, and make nonsense of them. {advice}"
        )
    if isinstance(revision, str) and _is_other(study, named, revision):
        raise StudyError(
            f"{at}: found {parent.stage}, which is {named}, but the adapter in {adapter} was trained on "
            f"{base}@{revision}, as its {CONFIG} says. {advice}"
        )
    return None


def _stated(study: Study, model: Model) -> str | None:
    settings = study.settings(model)
    assert isinstance(settings, AdapterSettings)
    if settings.trained_on is None:
        return None
    return settings.trained_on.replace("{size}", model.size).replace("{seed}", str(model.seed))


def _is_other(study: Study, named: Revision, revision: str) -> bool:
    """Whether two revisions of a repository are known to differ: two commits, or two names that are not one commit."""
    commit = study.lock.commit(named)
    if COMMIT.fullmatch(revision):
        known = named.revision if COMMIT.fullmatch(named.revision) else commit
        return known is not None and known != revision
    if COMMIT.fullmatch(named.revision):
        return False  # which commit the branch or tag was then, nobody says
    return named.revision != revision
