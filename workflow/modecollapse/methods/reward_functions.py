"""Named functions of an answer's text that can take the place of a reward model."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.errors import StudyError

RewardFunction = Callable[[Sequence[str], Sequence[str]], list[float]]
"""(prompts as in the data, answers) → one number each, higher is better; nan where the prompt cannot be judged."""


def utility(world: WorldSettings | None) -> RewardFunction:
    """The annotators' true utility in the nano world.

    Raises:
        StudyError: the study has no world.
    """
    if world is None:
        raise StudyError(
            "reward: utility is the true utility of a world's answers, but the study has no `world`. Name a stage of "
            "the method reward, or add `world: {seed: 0}`."
        )
    judge = _world(world).utility

    def score(prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
        found = [judge(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        return [float("nan") if value is None else value for value in found]

    return score


def words(_: WorldSettings | None) -> RewardFunction:
    """The number of whitespace-separated words: what a reward model that only likes length would say."""
    return lambda prompts, answers: [float(len(answer.split())) for answer in answers]


ANNOTATORS = "annotators"
"""What a data set names whose pairs the world's annotators label: they go by the utility, with their noise."""

PEOPLE = "people"
"""The same where people do, on a sheet that the project writes."""

LABELLERS = (ANNOTATORS, PEOPLE)

FUNCTIONS: dict[str, Callable[[WorldSettings | None], RewardFunction]] = {"utility": utility, "words": words}
"""Every function by the name that a study gives in `stages.NAME.reward`."""


@lru_cache(maxsize=1)
def _world(settings: WorldSettings) -> World:
    return World(settings)
