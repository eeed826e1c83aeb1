"""The lineage of data sets: which sets, and which stages, a set is made from."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from modecollapse.errors import StudyError
from modecollapse.methods.reward_functions import FUNCTIONS, LABELLERS

if TYPE_CHECKING:
    from modecollapse.config import StudyConfig
    from modecollapse.data_config import Data


def sets_of(data: "Data") -> list[str]:
    """The data sets that one is made from directly: its parents, and those whose prompts a stage answers for it."""
    prompts = [data.sampled.prompts] if data.sampled else []
    if data.perplexity and data.perplexity.prompts:
        prompts = [data.perplexity.prompts]
    return list(dict.fromkeys([*data.parents, *prompts]))


def family(config: "StudyConfig", name: str) -> list[str]:
    """A data set and all those that it is made from, each once, what a set is made from before it.

    Names that are no data sets are left out, and a set that is made from itself is as one that is not.
    """
    found: dict[str, None] = {}
    _collect(config, name, found, set())
    return list(found)


def stages_of(config: "StudyConfig", name: str) -> list[str]:
    """The stages that a data set needs, each once: those that write it or its ancestors, score or filter them."""
    return list(dict.fromkeys(stage for each in family(config, name) for stage in _own_stages(config.data[each])))


def is_of_model(config: "StudyConfig", name: str) -> bool:
    """Whether there is a data set of this name for every size and seed, because a stage has a part in it."""
    return bool(stages_of(config, name))


def check_circles(config: "StudyConfig") -> None:
    """Raises StudyError where data sets are made from each other in a circle."""
    for name in config.data:
        line = _way_back(config, name)
        if line:
            key = "sampled.prompts" if config.data[name].sampled else "from"
            raise StudyError(
                f"data.{name}.{key}: {' → '.join(line)}: the set is made from itself. Every set must lead back to one "
                "that is read, or part of the world; name another set in one of these."
            )


def _own_stages(data: "Data") -> Iterator[str]:
    if data.sampled is not None:
        yield data.sampled.stage
        if data.sampled.reward and data.sampled.reward not in (*FUNCTIONS, *LABELLERS):
            yield data.sampled.reward
    if data.perplexity is not None:
        yield data.perplexity.scorer


def _collect(config: "StudyConfig", name: str, found: dict[str, None], seen: set[str]) -> None:
    if name in seen or name not in config.data:
        return
    seen.add(name)
    for each in sets_of(config.data[name]):
        _collect(config, each, found, seen)
    found[name] = None


def _way_back(config: "StudyConfig", name: str) -> list[str]:
    """A line of sets from `name` to itself, each made from the next; empty if there is none."""
    lines, seen = [[name]], set[str]()
    while lines:
        line = lines.pop()
        for each in sets_of(config.data[line[-1]]):
            if each == name:
                return [*line, name]
            if each not in seen and each in config.data:
                seen.add(each)
                lines.append([*line, each])
    return []
