"""Reading text back: which rule wrote a sentence, with which draws. The inverse of the grammar's sampler."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from modecollapse.data.nano.grammar import Choice, Grammar, Slot

_SENTENCE = re.compile(r"[^.!?]*[.!?]|[^.!?]+$")


@dataclass(frozen=True)
class Sentence:
    """A sentence that a rule could have written."""

    rule: str
    choices: tuple[Choice, ...]
    """The option of `rule` and those of its slots, in order: the same as the derivation's draws."""
    mentions: tuple[tuple[str, str], ...]
    """Each remembered slot and the value it has here."""


class SentenceReader:
    """Reads sentences written by any of `rules`.

    All options are compiled to one regular expression; the group that matched tells the option, its inner groups the
    slots. Slots must be lists of plain phrases.

    Raises:
        ValueError: a slot's rule has slots itself.
    """

    def __init__(self, grammar: Grammar, rules: Sequence[str]) -> None:
        self._phrases = {
            name: {option.source: index for index, option in enumerate(rule.options)}
            for name, rule in grammar.rules.items()
        }
        self._templates: dict[int, tuple[Choice, tuple[tuple[int, Slot], ...]]] = {}
        patterns: list[str] = []
        group = 0
        for rule in rules:
            for index, option in enumerate(grammar.rules[rule].options):
                if not option.pieces:
                    continue
                group += 1
                outer, slots, pattern = group, [], ""
                for piece in option.pieces:
                    if isinstance(piece, str):
                        pattern += re.escape(piece)
                        continue
                    if any(option.slots() for option in grammar.rules[piece.rule].options):
                        raise ValueError(f"sentences: {rule!r} has the slot {piece.rule!r}, which has slots itself")
                    group += 1
                    slots.append((group, piece))
                    # Longest first: an alternative must not hide one that it begins.
                    phrases = sorted(self._phrases[piece.rule], key=len, reverse=True)
                    pattern += f"({'|'.join(map(re.escape, phrases))})"
                self._templates[outer] = ((rule, index), tuple(slots))
                patterns.append(f"({pattern})")
        self._pattern = re.compile("|".join(patterns))
        # Models repeat themselves, and a table costs less than a match.
        self.read = lru_cache(maxsize=65_536)(self._read)

    def _read(self, sentence: str) -> Sentence | None:
        """The sentence's derivation, or None if none of the rules could have written it."""
        match = self._pattern.fullmatch(sentence)
        if match is None or match.lastindex is None:
            return None
        template, slots = self._templates[match.lastindex]
        choices = [template]
        mentions = []
        for group, slot in slots:
            value = match[group]
            if slot.remembered:
                mentions.append((slot.rule, value))
            else:
                choices.append((slot.rule, self._phrases[slot.rule][value]))
        return Sentence(template[0], tuple(choices), tuple(mentions))


def split_sentences(text: str) -> list[str]:
    """Sentences with their end marks and without surrounding space; a last one may lack its mark."""
    return [sentence for part in _SENTENCE.findall(text) if (sentence := part.strip())]
