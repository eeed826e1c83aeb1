"""How many of a cell's completions repeat themselves, prompt by prompt."""

import pyarrow as pa
from pydantic import Field

from modecollapse.metrics import repetition
from modecollapse.metrics.repetition import find_repetition
from modecollapse.schema import Strict

KINDS = ("any", "multiple", "tandem", "cycle")
"""What is counted: completions with any of the faults, and with each of them."""

SCHEMA = pa.schema([("prompt", pa.string()), *((name, pa.int32()) for name in ("n", "n_known", *KINDS))])
"""One row per prompt: its completions; those of which it is known whether the model ended them; and how many of the
former have any fault, a multiple or a tandem repetition, and how many of the latter a cycle."""

_ENDED = {"eos": True, "stop": True, "length": False}
"""Finish reason → whether the model, or a stop string, ended the completion before the limit."""


class RepetitionSettings(Strict):
    """Shares of completions that repeat themselves, as the RL paper defines it, of every stage beside its parent's
    (tables 5 and 6 there). Lengths are characters of the whole completion."""

    multiple_longer_than: int = Field(repetition.MULTIPLE_LONGER_THAN, ge=0)
    """Multiple repetition: a substring longer than this occurs `multiple_times` times, occurrences not overlapping."""
    multiple_times: int = Field(repetition.MULTIPLE_TIMES, ge=2)
    """How often it occurs at least."""
    tandem_longer_than: int = Field(repetition.TANDEM_LONGER_THAN, ge=0)
    """Tandem repetition: a substring longer than this occurs twice in a row."""
    cycle_longer_than: int = Field(repetition.CYCLE_LONGER_THAN, ge=0)
    """Cycle: a completion that reached the limit of its tokens ends in more characters than this which a period of them
    fills at least twice. Where completions are limited to few tokens, a smaller number."""


def count_repetition(completions: pa.Table, settings: RepetitionSettings) -> pa.Table:
    """A table of `SCHEMA`, in the order in which prompts appear.

    Args:
        completions: columns `prompt`, `text` and `finish_reason` of a cell (`cell_tables.CELL_SCHEMA`). Of those whose
            reason is "unknown" no cycle can be told.
    """
    counts: dict[str, dict[str, int]] = {}
    thresholds = settings.model_dump()
    columns = (completions.column(name).to_pylist() for name in ("prompt", "text", "finish_reason"))
    for prompt, text, reason in zip(*columns, strict=True):
        of_prompt = counts.setdefault(prompt, dict.fromkeys(SCHEMA.names[1:], 0))
        ended = _ENDED.get(reason)
        found = find_repetition(text, ended, **thresholds)
        of_prompt["n"] += 1
        of_prompt["n_known"] += ended is not None
        for kind in KINDS:
            of_prompt[kind] += getattr(found, kind)
    return pa.Table.from_pylist([{"prompt": prompt, **of_prompt} for prompt, of_prompt in counts.items()], SCHEMA)
