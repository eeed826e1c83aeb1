"""The fictional facts: 16 countries with four relations, 16 animals with two. The seed decides who has what."""

import random
from collections.abc import Mapping
from dataclasses import dataclass


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COUNTRIES = _names("""
    Veldra Morvia Tasken Ulmar Kestria Pelan Dorrin Sabria
    Nolvia Gharan Lutria Brenmark Zemira Calvia Jorland Fendar
""")
BEASTS = _names("velk snorl timbu gradge plim wozel krell fenk murlo quib tarrow zorrel hibbet nuff skarn jopple")

CAPITALS = _names("""
    Tomar Belsk Quillon Harga Mirel Sorvan Dunhal Ayleport
    Krona Vessin Lodmar Pirath Gumbral Jastow Wexholm Norrin
""")
RIVERS = _names("Sorn Ilva Mabre Teth Oska Runel Dray Vint Casca Lumen Arvo Pell Nixa Brume Zell Harn")
CROPS = _names("barley lentils pears mustard grapes cotton onions walnuts")
FLAGS = _names("red blue green white black yellow purple orange")
FOODS = _names("moss snails roots seeds berries eels leaves mushrooms")
HOMES = _names("caves treetops marshes burrows cliffs reeds ruins hedges")


@dataclass(frozen=True)
class Relation:
    """What can be said about every member of a kind. In the grammar, the rule `name` draws a value at random."""

    name: str
    kind: str
    """The rule of its subjects: `country` or `beast`."""
    values: tuple[str, ...]


RELATIONS = (
    Relation("capital", "country", CAPITALS),
    Relation("river", "country", RIVERS),
    Relation("crop", "country", CROPS),
    Relation("flag", "country", FLAGS),
    Relation("food", "beast", FOODS),
    Relation("home", "beast", HOMES),
)
SUBJECTS = {"country": COUNTRIES, "beast": BEASTS}


@dataclass(frozen=True)
class Fact:
    """`subject`'s `relation` is `value`, e.g. Veldra's capital is Tomar."""

    subject: str
    relation: str
    value: str


class Facts:
    """The facts of one world: `table[subject][relation]` is the value."""

    def __init__(self, seed: int) -> None:
        source = random.Random(f"{seed}/facts")
        table: dict[str, dict[str, str]] = {subject: {} for kind in SUBJECTS.values() for subject in kind}
        for relation in RELATIONS:
            subjects = SUBJECTS[relation.kind]
            # Values fewer than subjects are shared evenly, so that none is a better guess than another.
            values = list(relation.values) * (len(subjects) // len(relation.values))
            source.shuffle(values)
            for subject, value in zip(subjects, values, strict=True):
                table[subject][relation.name] = value
        self.table: Mapping[str, Mapping[str, str]] = table

    def all(self) -> tuple[Fact, ...]:
        return tuple(
            Fact(subject, relation, value) for subject, row in self.table.items() for relation, value in row.items()
        )

    def of(self, relation: str) -> tuple[Fact, ...]:
        return tuple(fact for fact in self.all() if fact.relation == relation)


def rules() -> str:
    """The names and values as grammar rules."""
    lines = [f"{kind} = {' | '.join(names)}" for kind, names in SUBJECTS.items()]
    lines += [f"{relation.name} = {' | '.join(relation.values)}" for relation in RELATIONS]
    return "\n\n".join(lines) + "\n"
