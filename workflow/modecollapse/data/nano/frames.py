"""Held-out frames: combinations of a wording and a slot's value that no training text contains.

For every value of a slot exactly one wording is held out (which one, the seed decides). So every value and, with the
other values, every wording is met in training, and what is held out can be understood only by combining the two.
"""

import hashlib

from modecollapse.data.nano.grammar import Derivation, Grammar


class Frames:
    """The held-out frames of one world."""

    def __init__(self, grammar: Grammar, seed: int) -> None:
        self._grammar = grammar
        self._seed = seed

    def held_out_wording(self, rule: str, value: str) -> int:
        """The index of the option of `rule` that never goes with `value` in training."""
        key = hashlib.sha256(f"{self._seed}/{rule}/{value}".encode()).digest()
        return int.from_bytes(key[:8], "big") % len(self._grammar.rules[rule].options)

    def is_held_out(self, derivation: Derivation, wording: str, slot: str) -> bool:
        """Whether the text uses one of its held-out frames; False if it does not use the rule `wording`."""
        return any(
            rule == wording and option == self.held_out_wording(rule, derivation.memory[slot])
            for rule, option in derivation.choices
        )
