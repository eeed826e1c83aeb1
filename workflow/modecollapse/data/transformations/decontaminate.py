"""Decontamination: rows that hold words of an evaluation prompt of the study.

Overlap of n-grams of words, as in Brown et al. (2020, "Language models are few-shot learners", appendix C).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from modecollapse.data.columns import TEXT_COLUMNS
from modecollapse.data.transformations.base import KEPT, SELECTING, Columns, Given, Selection, Transformation, rows_of
from modecollapse.data.transformations.words import words_of
from modecollapse.schema import Strict

OVERLAPS = "overlaps evaluation prompts"

_Gram = tuple[str, ...]


class DecontaminateSettings(Strict):
    """Rows any of whose texts shares a run of words with an evaluation prompt of the study are reported, and removed if
    asked. Compatible characters (NFKC), case and punctuation make no difference. Accepted answers count as prompts do
    if they have so many words: a shorter one, such as a name, says nothing about where a row is from."""

    words: Annotated[int, Field(ge=1)] = 8
    """Length of the run. Of a shorter prompt all words have to be there, one after another."""
    remove: bool = True
    """Whether such rows are removed; they are counted in any case."""


def decontaminate(columns: Columns, settings: DecontaminateSettings, given: Given) -> Selection:
    """Which rows stay; `found["prompts"]` is how many rows hold words of a prompt: set → id → rows."""
    grams = _grams(given.prompts, settings.words)
    lengths = sorted({len(gram) for gram in grams})
    texts = [columns[name] for name in TEXT_COLUMNS if name in columns]
    outcomes = [KEPT] * rows_of(columns)
    hits: Counter[tuple[str, str]] = Counter()
    for row in range(len(outcomes)):
        words = [words_of(text[row]) for text in texts]
        found = {prompt for each in words for gram in _runs(each, lengths) for prompt in grams.get(gram, ())}
        if found:
            outcomes[row] = OVERLAPS
            hits.update(found)
    prompts: dict[str, dict[str, int]] = {}
    for (name, prompt), rows in sorted(hits.items()):
        prompts.setdefault(name, {})[prompt] = rows
    kept = [outcome == KEPT or not settings.remove for outcome in outcomes]
    return Selection(outcomes, kept, {"prompts": prompts})


def _grams(prompts: Mapping[str, Mapping[str, Sequence[str]]], length: int) -> dict[_Gram, set[tuple[str, str]]]:
    """The runs of words that are looked for → the prompts (set, id) that have them."""
    found: dict[_Gram, set[tuple[str, str]]] = {}
    for name, by_id in prompts.items():
        for prompt, (text, *answers) in by_id.items():
            asked = words_of(text)
            long = [words for answer in answers if len(words := words_of(answer)) >= length]
            for words in (asked, *long):
                for gram in _runs(words, [min(length, len(words))]):
                    found.setdefault(gram, set()).add((name, prompt))
    return found


def _runs(words: Sequence[str], lengths: Iterable[int]) -> Iterator[_Gram]:
    for length in lengths:
        if length:
            yield from (tuple(words[start : start + length]) for start in range(len(words) - length + 1))


DECONTAMINATE = Transformation(
    name="decontaminate",
    settings=DecontaminateSettings,
    select=decontaminate,
    needs=lambda _: (),
    relax="Raise words, or set remove: false",
    reads_prompts=True,
    modules=("data.transformations.decontaminate", "data.transformations.words", *SELECTING),
)
