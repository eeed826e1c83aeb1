"""Reading a persona out of an output: tolerant of its layout, explicit in what counts.

An answer is read by the template's pattern if it has one, else as a JSON object if there is one with a known label,
else line by line as ``Label: value``. Where the model goes on with a second persona, the first counts: reading ends at
the first label that comes again.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from modecollapse.measures.personas import FieldKind

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "first_name": ("given name", "forename"),
    "last_name": ("surname", "family name"),
    "gender": ("sex", "gender identity"),
    "age": ("age in years", "age (years)"),
    "nationality": ("citizenship",),
    "ethnicity": ("ethnic background", "ethnic group", "ethnic origin", "race", "race/ethnicity", "ethnicity/race"),
    "personality": (
        *("personality type", "mbti", "mbti type", "mbti personality", "mbti personality type", "myers briggs"),
        *("myers briggs type", "myers briggs personality type", "personality type mbti"),
        "personality type myers briggs",
    ),
    "review": ("product review", "customer review", "my review", "customer's review", "review of the product"),
}
"""Field → other labels of it. Every field's own name is one, with spaces, hyphens or nothing for its underscores."""

_WHOLE_NAME = ("full name", "name", "customer name")
"""Labels of a value whose first word is a first name, and whose last of several is a last name."""

_UNSTATED = frozenset(
    ("n/a", "na", "none", "null", "unknown", "unspecified", "not specified", "not stated", "not applicable", "tbd")
)
_GENDERS = {"f": "female", "m": "male", "woman": "female", "man": "male", "nonbinary": "non-binary"}
_TYPE = re.compile(r"(?<![A-Za-z])([IE][NS][TF][JP])(?![A-Za-z])", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_QUOTES = "\"'`“”‘’«»„"
_DECORATION = rf"[-*•·–>#|{_QUOTES}\[{{( \t]"
_NEXT_PERSONA = re.compile(
    r"^\W*(?:(?:customer|persona|profile|person|review|form)\s*(?:#|no\.?|number)?\s*\d+\b|product\s*:|[-_=*#]{3,}\s*$)",
    re.IGNORECASE | re.MULTILINE,
)
"""Lines that end a review: the heading of another persona, the start of another form, or a rule."""

MOST_YEARS = 120


class Failure(StrEnum):
    """Why an output has no persona."""

    EMPTY = "empty"
    NO_MATCH = "the pattern is not in it"
    NO_FIELD = "none of the fields is in it"


@dataclass(frozen=True)
class Persona:
    """What was read out of one output."""

    fields: Mapping[str, str | None]
    """Field → its value as `normalised`; None if it is missing."""
    review: str | None
    failure: Failure | None
    """None if any of the fields was found. Otherwise neither they nor the review count."""


@dataclass(frozen=True)
class PersonaReader:
    """How the outputs of one template are read: with `lead` in front, by `pattern` if there is one."""

    lead: str
    pattern: str | None
    fields: Mapping[str, FieldKind]
    review: str | None
    """The field that is a text."""

    def read(self, text: str) -> Persona:
        """The persona of an output, which is read with `lead` in front of it."""
        if not text.strip():
            return self._failed(Failure.EMPTY)
        answer = self.lead + text
        if self.pattern is not None:
            match = re.search(self.pattern, answer)
            if match is None:
                return self._failed(Failure.NO_MATCH)
            found: dict[str, str] = {name: value for name, value in match.groupdict().items() if value is not None}
        else:
            found = self._of_json(answer) or self._of_lines(answer)
            _split_name(found, self.fields)
        values = {name: self.normalised(name, found[name]) if name in found else None for name in self.fields}
        if not any(value is not None for value in values.values()):
            return self._failed(Failure.NO_FIELD)
        review = found.get(self.review) if self.review else None
        return Persona(values, _text(review) if review is not None else None, None)

    def _failed(self, failure: Failure) -> Persona:
        return Persona(dict.fromkeys(self.fields), None, failure)

    def normalised(self, field: str, value: str) -> str | None:
        """A field's value as it counts; None if it says nothing.

        All: in Unicode's composed form, with single spaces, without the marks of Markdown, quotes and punctuation
        around it; what is punctuation alone, a placeholder such as "N/A", or the label itself says nothing. Numbers:
        the only number in it, as digits; `age` is a whole one from 1 to 120. Where no pattern says what counts,
        `gender` is in lower case, without what is in brackets, and `personality` one of the 16 Myers-Briggs types in
        capitals or nothing. Others keep their case: values that differ in case alone are the same in the tables.
        """
        value = " ".join(unicodedata.normalize("NFC", value).split())
        value = _stripped(value)
        if not any(unicodedata.category(character)[0] not in "PZC" for character in value):
            return None
        if value.casefold() in _UNSTATED or _squeezed(value) in map(_squeezed, _labels(field)):
            return None
        if self.fields.get(field) is FieldKind.NUMBER:
            return _number(value, whole=field == "age")
        if self.pattern is not None:
            return value
        if field == "gender":
            value = _stripped(re.sub(r"[(\[].*?[)\]]", "", value)).casefold()
            return _GENDERS.get(value, value) or None
        if field == "personality":
            kind = _TYPE.search(value)
            return kind[1].upper() if kind else None
        return value

    def _of_json(self, answer: str) -> dict[str, str]:
        decoder, at = json.JSONDecoder(), answer.find("{")
        names = {_squeezed(label): name for name in self._names() for label in _labels(name)}
        while at >= 0:
            try:
                content, _ = decoder.raw_decode(answer, at)
            except (ValueError, RecursionError):
                at = answer.find("{", at + 1)
                continue
            found: dict[str, str] = {}
            for label, value in _leaves(content):
                name = names.get(_squeezed(_without_brackets(label)))
                if name in found:
                    break
                if name is not None:
                    found[name] = value
            if found:
                return found
            at = answer.find("{", at + 1)
        return {}

    def _of_lines(self, answer: str) -> dict[str, str]:
        names = {_squeezed(label): name for name in self._names() for label in _labels(name)}
        heads = list(_heads(sorted({label for name in self._names() for label in _labels(name)})).finditer(answer))
        found: dict[str, str] = {}
        for place, head in enumerate(heads):
            name = names[_squeezed(head["label"])]
            starts_line = not head["inline"]
            if self.review is not None and next(reversed(found), None) == self.review and not starts_line:
                continue  # a review may have "age: 3" in the midst of a line
            if name in found:
                break
            text = name == self.review
            following = (other.start() for other in heads[place + 1 :] if not (text and other["inline"]))
            end = next(following, len(answer))
            value = answer[head.end() : end]
            found[name] = _before_next_persona(value) if text else value.lstrip(" \t").partition("\n")[0]
        return found

    def _names(self) -> list[str]:
        split = {"first_name", "last_name"} & set(self.fields)
        return [*self.fields, *([self.review] if self.review else []), *([_WHOLE_NAME[0]] if split else [])]


def _labels(name: str) -> tuple[str, ...]:
    if name == _WHOLE_NAME[0]:
        return _WHOLE_NAME
    return (name.replace("_", " "), *SYNONYMS.get(name, ()))


def _squeezed(label: str) -> str:
    """A label without case, spaces and punctuation: `firstName`, "First name" and `first_name` are one."""
    return "".join(character for character in label.casefold() if character.isalnum())


def _without_brackets(label: str) -> str:
    return re.sub(r"\(.*?\)", "", label)


def _heads(labels: Sequence[str]) -> re.Pattern[str]:
    """Where ``Label:`` stands: at the start of a line, or behind a comma or semicolon (`inline`)."""
    words = (re.split(r"[\W_]+", _without_brackets(label).strip()) for label in sorted(labels, key=len, reverse=True))
    known = "|".join(dict.fromkeys(r"[\s_/\-–'’]{0,3}".join(map(re.escape, filter(None, each))) for each in words))
    return re.compile(
        rf"(?:^|(?P<inline>[,;|])){_DECORATION}{{0,12}}(?:\d{{1,2}}[.)][ \t]{{0,3}})?[*_{_QUOTES}]{{0,4}}"
        rf"(?P<label>{known})[*_{_QUOTES} \t]{{0,4}}(?:\([^()\n]{{0,60}}\))?[*_{_QUOTES}\]) \t]{{0,6}}"
        r"(?:[:：=|–—]|-(?=[ \t]))[ \t*_]{0,6}",
        re.IGNORECASE | re.MULTILINE,
    )


def _leaves(content: object, label: str = "") -> Iterator[tuple[str, str]]:
    """(label, text) of everything in a JSON value, in its order; of a list of objects the first."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _leaves(value, str(key))
    elif isinstance(content, list):
        if content and isinstance(content[0], dict):
            yield from _leaves(content[0], label)
        elif content:
            yield label, ", ".join(str(each) for each in content)
    elif content is not None and not isinstance(content, bool):
        yield label, str(content)


def _split_name(found: dict[str, str], fields: Mapping[str, FieldKind]) -> None:
    words = _stripped(" ".join(found.pop(_WHOLE_NAME[0], "").split())).split(" ")
    if words[0] and "first_name" in fields:
        found.setdefault("first_name", words[0])
    if len(words) > 1 and "last_name" in fields:
        found.setdefault("last_name", words[-1])


def _stripped(value: str) -> str:
    """A value without the marks around it; a full stop in an abbreviation such as "Jr." is lost."""
    return value.strip(f" \t.,;:*_#|\\[]{{}}<>{_QUOTES}")


def _number(value: str, whole: bool) -> str | None:
    numbers = set(_NUMBER.findall(value))
    if len(numbers) != 1:
        return None  # none, or a range
    number = float(numbers.pop())
    if whole:
        return str(int(number)) if number == int(number) and 1 <= number <= MOST_YEARS else None
    return repr(int(number) if number == int(number) else number)


def _before_next_persona(value: str) -> str:
    heading = _NEXT_PERSONA.search(value, 1)
    return value[: heading.start()] if heading and heading.start() > 0 else value


def _text(review: str) -> str | None:
    """A review without spaces and quotes around it; None if there is nothing but punctuation."""
    review = unicodedata.normalize("NFC", review).strip().rstrip("}").rstrip()
    review = review.strip(f"*_{_QUOTES} \t\n")
    return review if any(unicodedata.category(each)[0] not in "PZC" for each in review) else None


_SENTENCE = re.compile(rf"(?<=[.!?…])[{_QUOTES})\]]*\s+|(?<=[。！？])|\n+")


def sentences(text: str) -> list[str]:
    """Sentences of a text: it is parted behind ``. ! ? …`` with a space, behind ``。！？``, and at line ends.

    Pieces of punctuation alone are left out. Abbreviations ("Mr. X") part as well: the rule is simple and the same for
    all models.
    """
    pieces = (piece.strip() for piece in _SENTENCE.split(text))
    return [piece for piece in pieces if any(unicodedata.category(each)[0] not in "PZC" for each in piece)]
