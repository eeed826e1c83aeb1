"""The lineage of stages: who descends from whom."""

from collections.abc import Collection, Mapping, Sequence

from modecollapse.errors import StudyError

Lineage = Mapping[str, Sequence[str]]
"""Each stage's parents, by role order; the first parent is the one whose weights it continues."""


def ordered(lineage: Lineage) -> list[str]:
    """All stages, parents before children, otherwise in the order written.

    Raises:
        StudyError: a parent does not exist, or stages descend from each other in a circle.
    """
    for stage, parents in lineage.items():
        for parent in parents:
            if parent not in lineage:
                raise StudyError(
                    f"stages.{stage}.from: no stage is called {parent!r}. "
                    f"Allowed: {', '.join(name for name in lineage if name != stage)}. Name one of these, or add it."
                )
    done: list[str] = []
    while len(done) < len(lineage):
        ready = [s for s in lineage if s not in done and all(parent in done for parent in lineage[s])]
        if not ready:
            circle = [s for s in lineage if s not in done]
            raise StudyError(
                f"stages: {', '.join(circle)} descend from each other in a circle. "
                "Every stage must lead back to one without `from`; change one of these `from` keys."
            )
        done.append(ready[0])
    return done


def paths(lineage: Lineage) -> list[list[str]]:
    """The lines of first parents from a root to each leaf, e.g. [["plm", "sft", "dpo"]]."""
    parents = {parents[0] for parents in lineage.values() if parents}
    lines = []
    for leaf in ordered(lineage):
        if leaf in parents:
            continue
        line = [leaf]
        while lineage[line[0]]:
            line.insert(0, lineage[line[0]][0])
        lines.append(line)
    return lines


def below(lines: Sequence[Sequence[str]], stage: str) -> set[str]:
    """The stages that come after `stage` on one of the lines."""
    return {each for line in lines if stage in line for each in line[line.index(stage) + 1 :]}


def restricted(lineage: Lineage, stages: Collection[str]) -> dict[str, list[str]]:
    """The lines of first parents among some of the stages, which must lead to a root within them."""
    return {stage: list(parents[:1]) for stage, parents in lineage.items() if stage in stages}


def descent(lineage: Lineage, ancestor: str, stage: str) -> list[str]:
    """A line from `ancestor` down to `stage` along parents of all roles, e.g. ["sft", "rm"]; empty if there is none.

    A stage descends from itself. Parents that do not exist lead nowhere.
    """
    lines, seen = [[stage]], {stage}
    while lines:
        line = lines.pop()
        if line[0] == ancestor:
            return line
        for parent in lineage.get(line[0], ()):
            if parent not in seen:
                seen.add(parent)
                lines.append([parent, *line])
    return []


def first(lineage: Lineage, stage: str) -> str:
    """The root that `stage` goes back to along first parents."""
    while lineage[stage]:
        stage = lineage[stage][0]
    return stage


def nearest_before(lineage: Lineage, measured: Collection[str]) -> dict[str, str]:
    """Measured stage → the nearest measured one up its line of first parents, for those that have one."""
    found = {}
    for stage in measured:
        before = stage
        while lineage[before]:
            before = lineage[before][0]
            if before in measured:
                found[stage] = before
                break
    return found
