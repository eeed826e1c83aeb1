"""The genres of pretraining text: each a rule of the same name, its share, and the frame that a split holds out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Genre:
    """A kind of document.

    Every document says its `slot`'s value in one of the options of its `wording` rule. The pair is its frame; the
    held-out documents are those whose frame never occurs in pretraining, though its wording and its value both do.
    """

    name: str
    weight: int
    wordings: tuple[str, ...]
    """Rules of which each document of the genre uses exactly one, once."""
    slots: tuple[str, ...]
    """For each of `wordings` the remembered rule that the wording mentions."""


_QUESTIONS = ("capital", "river", "crop", "flag", "food", "home", "story", "poem", "letter")
_ASKED_ABOUT = ("country", "country", "country", "country", "beast", "beast", "hero", "subject", "person")

GENRES = (
    Genre("story", 30, ("story.start",), ("hero",)),
    Genre("land", 20, ("land.start",), ("country",)),
    Genre("animal", 8, ("animal.start",), ("beast",)),
    Genre("recipe", 10, ("recipe.start",), ("dish",)),
    Genre("verse", 8, ("verse.start",), ("subject",)),
    Genre("note", 8, ("note.start",), ("person",)),
    Genre("place", 8, ("place.start",), ("town",)),
    Genre("forum", 4, ("forum.start",), ("gadget",)),
    Genre("chat", 6, tuple(f"ask.{kind}" for kind in _QUESTIONS), _ASKED_ABOUT),
)
