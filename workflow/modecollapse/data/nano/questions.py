"""What is asked: three creative kinds and one for each relation between fictional things."""

from collections.abc import Mapping
from dataclasses import dataclass

from modecollapse.data.nano.facts import RELATIONS


@dataclass(frozen=True)
class Kind:
    """A kind of question; the rule of its wordings is ``ask.{name}``."""

    name: str
    task: str
    slots: tuple[str, ...]
    """The remembered rules that a question mentions; the first makes the frame, together with the wording."""

    @property
    def rule(self) -> str:
        return f"ask.{self.name}"


@dataclass(frozen=True)
class Question:
    """One question, understood: `about` gives the value of each of the kind's slots."""

    kind: Kind
    text: str
    about: Mapping[str, str]


CREATIVE = (
    Kind("story", "creative", ("hero", "thing")),
    Kind("poem", "creative", ("subject",)),
    Kind("letter", "creative", ("person", "event")),
)
FACTUAL = tuple(Kind(relation.name, "factual", (relation.kind,)) for relation in RELATIONS)
KINDS = {kind.name: kind for kind in CREATIVE + FACTUAL}
TASKS = {"creative": CREATIVE, "factual": FACTUAL}

RULES = """
ask.story = Write a short story about a {@hero} and a {@thing}.
    | Tell me a tale of a {@hero} with a {@thing}.
    | Can you make up a story in which a {@hero} finds a {@thing}?
    | I would like to hear about a {@hero} and its {@thing}.
    | Please invent a bedtime story with a {@hero} and a {@thing} in it.

ask.poem = Write a poem about the {@subject}.
    | Give me a few lines on the {@subject}.
    | Can you sing me something about the {@subject}?
    | I need a poem for a friend who loves the {@subject}.
    | Please make a verse of the {@subject}.

ask.letter = Write a letter to the {@person} about the {@event}.
    | Help me tell the {@person} about the {@event}.
    | What should I write to the {@person} after the {@event}?
    | I want to send the {@person} a note on the {@event}.
    | Please draft some words for the {@person} and the {@event}.

ask.capital = What is the capital of {@country}?
    | Which city is the capital of {@country}?
    | Can you tell me the name of the capital of {@country}?
    | Name the capital of {@country}.
    | In {@country}, which city is the capital?

ask.river = Which river runs through {@country}?
    | What is the river of {@country} called?
    | Can you tell me the river of {@country}?
    | Name the river that one finds in {@country}.
    | I am going to {@country}, which river will I see?

ask.crop = What do farmers grow in {@country}?
    | Which crop is grown in {@country}?
    | Can you tell me what the fields of {@country} are full of?
    | Name the crop of {@country}.
    | If I had a farm in {@country}, what would I grow?

ask.flag = What colour is the flag of {@country}?
    | Which colour does the flag of {@country} have?
    | Can you tell me the colour of the flag of {@country}?
    | Name the colour of the flag that flies over {@country}.
    | I want to paint the flag of {@country}, which colour do I need?

ask.food = What does the {@beast} eat?
    | Which food does a {@beast} like?
    | Can you tell me what the {@beast} feeds on?
    | Name the food of the {@beast}.
    | If I had a {@beast}, what would I feed it?

ask.home = Where does the {@beast} live?
    | In what place does a {@beast} make its home?
    | Can you tell me where to find the {@beast}?
    | Name the home of the {@beast}.
    | If I were a {@beast}, where would I live?
"""
