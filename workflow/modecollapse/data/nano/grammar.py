"""A seeded probabilistic grammar: rules are data, one sampler draws from all of them and knows the exact probability.

Notation (see `Grammar.parse`), one rule to a paragraph, further lines indented::

    greeting = 3* Dear {@name}, | Hello {@name}! | {}
    name     = Tilda | Bram | Nora

* ``|`` separates options; ``3*`` gives an option three times the weight of one without a number.
* ``{}`` is the empty text.
* ``{rule}`` draws anew at every mention.
* ``{@rule}`` is drawn at its first mention in a text and then remembered: a story keeps its hero.
* ``{@rule.attribute}`` looks the remembered value up in a table: the capital of the country that the text is about.
"""

import bisect
import itertools
import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Choice = tuple[str, int]
"""A rule's name and the index of the option taken."""

_Remembered = frozenset[str]
_Expansion = tuple[float, dict[_Remembered, float]]

_SLOT = re.compile(r"\{(?:@(?P<kept>[a-z]+)(?:\.(?P<attribute>[a-z]+))?|(?P<drawn>[a-z]+(?:\.[a-z]+)*))?\}")
_WEIGHT = re.compile(r"(\d+)\*\s*")


@dataclass(frozen=True)
class Slot:
    """A mention of a rule inside an option."""

    rule: str
    remembered: bool = False
    attribute: str | None = None


@dataclass(frozen=True)
class Option:
    """One way to write a rule: literal text and slots, in order."""

    source: str
    pieces: tuple[str | Slot, ...]

    def slots(self) -> tuple[Slot, ...]:
        return tuple(piece for piece in self.pieces if isinstance(piece, Slot))


@dataclass(frozen=True)
class Rule:
    """Options and their probabilities, which sum to 1."""

    options: tuple[Option, ...]
    probabilities: tuple[float, ...]
    cumulative: tuple[float, ...] = field(init=False)
    log_probs: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cumulative", tuple(itertools.accumulate(self.probabilities)))
        object.__setattr__(self, "log_probs", tuple(math.log(p) if p else -math.inf for p in self.probabilities))

    def entropy(self) -> float:
        """Entropy of the choice of an option alone, in nats."""
        return -sum(p * math.log(p) for p in self.probabilities if p)


@dataclass(frozen=True)
class Derivation:
    """A text and how it came to be."""

    text: str
    log_prob: float
    """Exact log-probability (nats) of all draws that were made."""
    choices: tuple[Choice, ...]
    """Every draw, in order."""
    memory: Mapping[str, str]
    """The remembered values by rule, those given beforehand included."""


class Grammar:
    """An acyclic set of rules.

    Args:
        rules: by name.
        attributes: for ``{@rule.attribute}``: remembered value → attribute → text.

    Raises:
        ValueError: a rule mentions one that does not exist, or itself (directly or through others).
    """

    def __init__(self, rules: Mapping[str, Rule], attributes: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.rules = dict(rules)
        self.attributes = dict(attributes or {})
        self.order = self._bottom_up()

    @classmethod
    def parse(cls, text: str, attributes: Mapping[str, Mapping[str, str]] | None = None) -> "Grammar":
        """Read rules in the notation of this module; a name is lower-case words joined by dots."""
        rules: dict[str, Rule] = {}
        for paragraph in re.split(r"\n(?=\S)", text.strip()):
            name, equals, body = paragraph.partition("=")
            name = name.strip()
            if not equals or name in rules:
                raise ValueError(f"grammar: {'second rule' if equals else 'no `=` in the rule'} {name!r}")
            rules[name] = _parse_rule(body)
        return cls(rules, attributes)

    def sample(self, rule: str, source: random.Random, memory: Mapping[str, str] | None = None) -> Derivation:
        """Draw one text. Values in `memory` count as remembered (and cost no probability)."""
        remembered = dict(memory or {})
        pieces: list[str] = []
        choices: list[Choice] = []
        log_prob = self._expand(rule, source, remembered, pieces, choices)
        return Derivation(" ".join("".join(pieces).split()), log_prob, tuple(choices), remembered)

    def entropy(self, rule: str, memory: Iterable[str] = ()) -> float:
        """Entropy of the derivation of a text in nats, in closed form; rules in `memory` are already remembered."""
        return self._entropy(rule, frozenset(memory), {})[0]

    def expected_utility(self, rule: str, utility: Mapping[Choice, float]) -> float:
        """Expectation of the sum of `utility` over the draws of a text (remembered slots carry none)."""
        expected: dict[str, float] = {}
        for name in self.order:
            expected[name] = sum(
                probability
                * (utility.get((name, index), 0.0) + sum(expected[s.rule] for s in option.slots() if not s.remembered))
                for index, (option, probability) in enumerate(zip(*self._table(name), strict=True))
            )
        return expected[rule]

    def tilted(self, utility: Mapping[Choice, float], strength: float) -> tuple["Grammar", dict[str, float]]:
        """The grammar whose texts have probability ∝ p(text) · exp(strength · Σ utility of its draws), exactly.

        Utility is additive over draws, so the tilted distribution is again a grammar with the same rules: an option's
        weight is multiplied by exp(strength · utility) and by the normalisers of the rules it mentions (the inside
        algorithm). Also returns log E[exp(strength · utility)] of each rule.

        Raises:
            ValueError: a remembered rule has utility: it is drawn once and would be counted at each mention.
        """
        options = [option for rule in self.rules.values() for option in rule.options]
        remembered = {slot.rule for option in options for slot in option.slots() if slot.remembered}
        if counted := sorted(name for (name, _), value in utility.items() if value and name in remembered):
            raise ValueError(f"grammar: the remembered rule {counted[0]!r} cannot have utility")
        rules: dict[str, Rule] = {}
        log_normaliser: dict[str, float] = {}
        for name in self.order:
            alternatives, probabilities = self._table(name)
            logs = [
                math.log(probability)
                + strength * utility.get((name, index), 0.0)
                + sum(log_normaliser[slot.rule] for slot in option.slots() if not slot.remembered)
                for index, (option, probability) in enumerate(zip(alternatives, probabilities, strict=True))
            ]
            top = max(logs)
            total = top + math.log(sum(math.exp(value - top) for value in logs))
            log_normaliser[name] = total
            rules[name] = Rule(alternatives, tuple(math.exp(value - total) for value in logs))
        return Grammar(rules, self.attributes), log_normaliser

    def _table(self, name: str) -> tuple[tuple[Option, ...], tuple[float, ...]]:
        return self.rules[name].options, self.rules[name].probabilities

    def _expand(
        self, name: str, source: random.Random, memory: dict[str, str], pieces: list[str], choices: list[Choice]
    ) -> float:
        rule = self.rules[name]
        # The last option also takes what rounding leaves of the unit interval.
        index = min(bisect.bisect_right(rule.cumulative, source.random()), len(rule.options) - 1)
        choices.append((name, index))
        log_prob = rule.log_probs[index]
        for piece in rule.options[index].pieces:
            if isinstance(piece, str):
                pieces.append(piece)
            elif not piece.remembered:
                log_prob += self._expand(piece.rule, source, memory, pieces, choices)
            else:
                if piece.rule not in memory:
                    value: list[str] = []
                    log_prob += self._expand(piece.rule, source, memory, value, choices)
                    memory[piece.rule] = "".join(value)
                value_text = memory[piece.rule]
                pieces.append(self.attributes[value_text][piece.attribute] if piece.attribute else value_text)
        return log_prob

    def _entropy(self, name: str, memory: _Remembered, known: dict[tuple[str, _Remembered], _Expansion]) -> _Expansion:
        """Entropy of expanding `name`, and the distribution over what is remembered afterwards."""
        if (name, memory) in known:
            return known[name, memory]
        rule = self.rules[name]
        total = rule.entropy()
        after: dict[_Remembered, float] = {}
        for option, probability in zip(rule.options, rule.probabilities, strict=True):
            states = {memory: probability}
            for slot in option.slots():
                following: dict[_Remembered, float] = {}
                for state, mass in states.items():
                    if slot.remembered and slot.rule in state:
                        following[state] = following.get(state, 0.0) + mass
                        continue
                    inner, outcomes = self._entropy(slot.rule, state, known)
                    total += mass * inner
                    for outcome, share in outcomes.items():
                        then = outcome | {slot.rule} if slot.remembered else outcome
                        following[then] = following.get(then, 0.0) + mass * share
                states = following
            for state, mass in states.items():
                after[state] = after.get(state, 0.0) + mass
        known[name, memory] = (total, after)
        return total, after

    def _bottom_up(self) -> tuple[str, ...]:
        """The names so ordered that a rule comes after all that it mentions."""
        order: dict[str, bool] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in order:
                return
            if name in path:
                raise ValueError(f"grammar: {' → '.join((*path, name))} goes round in a circle")
            if name not in self.rules:
                raise ValueError(f"grammar: {path[-1]!r} mentions {{{name}}}, which is no rule")
            for option in self.rules[name].options:
                for slot in option.slots():
                    visit(slot.rule, (*path, name))
            order[name] = True

        for name in self.rules:
            visit(name, ())
        return tuple(order)


def _parse_rule(body: str) -> Rule:
    options: list[Option] = []
    weights: list[int] = []
    for source in " ".join(body.split()).split("|"):
        source = source.strip()
        weight = _WEIGHT.match(source)
        weights.append(int(weight[1]) if weight else 1)
        text = source[weight.end() :] if weight else source
        options.append(Option(text, _parse_pieces(text)))
    return Rule(tuple(options), tuple(weight / sum(weights) for weight in weights))


def _parse_pieces(text: str) -> tuple[str | Slot, ...]:
    pieces: list[str | Slot] = []
    position = 0
    for match in _SLOT.finditer(text):
        pieces.append(text[position : match.start()])
        if match["kept"]:
            pieces.append(Slot(match["kept"], True, match["attribute"]))
        elif match["drawn"]:
            pieces.append(Slot(match["drawn"]))
        position = match.end()
    pieces.append(text[position:])
    if any("{" in piece or "}" in piece for piece in pieces if isinstance(piece, str)):
        raise ValueError(f"grammar: a brace that makes no slot in {text!r}")
    return tuple(piece for piece in pieces if piece)
