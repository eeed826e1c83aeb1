"""Which stages may be compared: those asked in the same words, and others only where the study says so by name.

A wording is a choice of one prompt format for each stage. A common format is the wording in which all stages have it;
others are the study's own, `analysis.across_formats`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from modecollapse.errors import StudyError

Formats = Mapping[str, Sequence[str]]
"""Stage → the prompt formats that it is measured under."""

Across = Mapping[str, Mapping[str, str]]
"""Name → stage → prompt format: comparisons across formats that the study asks for."""


@dataclass(frozen=True)
class Wording:
    """The prompt formats under which the stages of a path are compared."""

    name: str
    """That of the common format, or that of the study's own wording."""
    formats: tuple[str, ...]
    """One for each stage of the path."""

    @property
    def before_after(self) -> list[tuple[str, str]]:
        """The formats before and after every step, and those of the total."""
        return [*pairwise(self.formats), (self.formats[0], self.formats[-1])]


def path_wordings(path: Sequence[str], formats: Formats, across: Across) -> list[Wording]:
    """The wordings in which all stages of a path are measured, the study's own first.

    Raises:
        StudyError: there is none. A difference between stages asked in different words is no effect of training alone.
    """
    found = [
        Wording(name, tuple(wording[stage] for stage in path))
        for name, wording in across.items()
        if all(wording.get(stage) in formats[stage] for stage in path)
    ]
    common = [name for name in formats[path[0]] if all(name in formats[stage] for stage in path)]
    found += [Wording(name, (name,) * len(path)) for name in common]
    if not found:
        measured = "; ".join(f"{stage}: {', '.join(formats[stage])}" for stage in path)
        example = ", ".join(f"{stage}: {formats[stage][0]}" for stage in path)
        raise StudyError(
            f"{' > '.join(path)}: its stages are measured under different prompt formats only ({measured}), so a "
            "difference between them is no effect of training alone. Measure all of them under at least one common "
            "format (stages.STAGE.formats), or compare them across formats by name: "
            f"`analysis: {{across_formats: {{NAME: {{{example}}}}}}}`."
        )
    return found


def views(formats: Formats, across: Across) -> dict[str, dict[str, str]]:
    """The wordings that figures show one at a time: name → stage → format, of the stages that have it.

    The study's own come first, then every format, except one whose stages have it in one of the study's own anyway.
    """
    shown = {name: dict(wording) for name, wording in across.items()}
    for form in dict.fromkeys(name for names in formats.values() for name in names):
        members = {stage: form for stage, names in formats.items() if form in names}
        if not any(members.items() <= wording.items() for wording in across.values()):
            shown[form] = members
    return shown


def compared(view: Mapping[str, str], paths: Iterable[Sequence[str]]) -> bool:
    """Whether a view has all stages of some path, so that there are steps to show."""
    return any(len(path) > 1 and all(stage in view for stage in path) for path in paths)


@dataclass(frozen=True, order=True)
class Change:
    """A step, or a whole path, between whose ends the prompt format changes as well."""

    before: str
    after: str
    """Stages."""
    format_before: str
    format_after: str


def format_changes(paths: Sequence[Sequence[str]], formats: Formats, across: Across) -> list[Change]:
    """The steps and totals that change the format, as far as both of their stages are measured under both formats.

    Those of the study's own wordings; without any, those from the first format of each stage to the first of the next.
    """
    chosen: list[Mapping[str, str]] = list(across.values()) or [{stage: names[0] for stage, names in formats.items()}]
    found = dict.fromkeys(
        Change(before, after, wording[before], wording[after])
        for path in paths
        for wording in chosen
        for before, after in dict.fromkeys([*pairwise(path), (path[0], path[-1])])
        if before in wording and after in wording
    )
    return [
        change
        for change in found
        if change.before != change.after
        and change.format_before != change.format_after
        and {change.format_before, change.format_after} <= set(formats[change.before]) & set(formats[change.after])
    ]
