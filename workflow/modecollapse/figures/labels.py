"""How metrics are called in figures, and which way diversity lies."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from modecollapse.analysis.tokens import UNITS
from modecollapse.metrics.registry import metric

_LINE = 22


@dataclass(frozen=True)
class Label:
    """A metric's name, its unit ("" for a pure number) and what a higher value means for diversity (+1, −1, 0)."""

    text: str
    unit: str
    diversity: int

    @property
    def units(self) -> list[str]:
        """The unit in brackets, as a line of its own; none for a pure number."""
        return [f"({self.unit})"] if self.unit else []

    @property
    def axis(self) -> str:
        return " ".join([self.text, *self.units])

    @property
    def direction(self) -> str:
        return {1: "↑ more diverse", -1: "↑ less diverse", 0: ""}[self.diversity]


_TOKEN_LEVEL = {
    "perplexity": ("Perplexity", 0),
    "entropy": ("Entropy", 1),
    "confidence": ("Top-1 confidence", -1),
    "bits_per_byte": ("Bits per byte", 0),
    "kl": ("KL to first stage", 0),
    "vocabulary_share_70": ("Vocabulary for 70\u00a0%", 1),
    "vocabulary_share_90": ("Vocabulary for 90\u00a0%", 1),
}


def token_label(name: str) -> Label:
    """The label of a token-level metric."""
    text, diversity = _TOKEN_LEVEL[name]
    return Label(text, UNITS[name] if name != "bits_per_byte" else "", diversity)


def output_label(name: str) -> Label:
    """The label of an output-level metric or quality score.

    Raises:
        StudyError: no metric has this name.
    """
    known = metric(name)
    return Label(known.label, known.unit, known.direction.sign)


def drawn(names: Iterable[str]) -> list[str]:
    """Those of these metrics that figures of all metrics show, each once."""
    return [name for name in dict.fromkeys(names) if metric(name).drawn]


def axis_lines(label: Label, prefix: str = "") -> str:
    """The text of a vertical axis: name and unit in lines of at most 22 characters, then which way diversity lies."""
    whole = prefix + label.axis
    lines = [whole] if len(whole) <= _LINE else textwrap.wrap(prefix + label.text, _LINE) + label.units
    return "\n".join([*lines, *([label.direction] if label.diversity else [])])
