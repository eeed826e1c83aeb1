"""docs/metrics.md says of every metric what the code does, edge cases included."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from modecollapse.measures.diversity import WHOLE, score_cell
from modecollapse.measures.vectors import Embeddings
from modecollapse.metrics.registry import METRICS, MODEL_SCORES, QUALITIES, Metric

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
FIELDS = ("formula", "source", "range", "direction", "unit", "definitions", "confounders")
ENTRIES = {**METRICS, **QUALITIES, **MODEL_SCORES}

EDGE_CASES = {
    "no text": [],
    "one": ["a b c d"],
    "identical": ["a b c d"] * 3,
    "empty": ["", "", ""],
    "short": ["a", "b", "a"],
}
PAIRS = [(name, definition) for name, entry in METRICS.items() for definition in entry.definitions]


def sections() -> dict[str, str]:
    """Metric → its section of the output level."""
    body = DOCS[DOCS.index("## Output level: lexical") : DOCS.index("## Token level")]
    found = {}
    for section in re.split(r"\n### ", body)[1:]:
        title, _, text = section.partition("\n")
        text = text.split("\n## ")[0]
        for name in re.findall(r"`(\w+)`", title):
            assert name not in found, f"{name} has two entries"
            found[name] = text
    return found


def field(name: str, key: str) -> str:
    """What the entry says behind "- key:", or behind "- key of `name`:"."""
    match = re.search(rf"^- {key}(?: of `{name}`)?: (.*(?:\n  .*)*)", sections()[name], re.MULTILINE)
    assert match is not None, f"docs/metrics.md: the entry of {name} has no line '- {key}: …'"
    return match[1]


def edge_values() -> dict[tuple[str, str], list[float]]:
    """(metric, definition) → its values in the table of edge cases."""
    definitions = "corrected|replica|controlled"
    rows = re.findall(rf"^\| (`.*`) \| ({definitions}) \| (.*) \|$", DOCS, re.MULTILINE)
    return {
        (name, definition): [float(value) for value in values.split(" | ")]
        for names, definition, values in rows
        for name in re.findall(r"`(\w+)`", names)
    }


def test_every_registered_metric_has_one_entry_and_no_other_has() -> None:
    assert sections().keys() == ENTRIES.keys()


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))
def test_an_entry_is_complete_and_agrees_with_the_registry(entry: Metric) -> None:
    found = {key: field(entry.name, key) for key in FIELDS}
    low, high = (float(bound.replace("∞", "inf")) for bound in found["range"].split(" to "))
    assert (low, high) == (entry.low, entry.high)
    assert found["direction"] == entry.direction
    assert found["unit"] == (entry.unit or "none")
    assert found["definitions"] == ", ".join(entry.definitions or ["corrected"])


def test_the_table_of_edge_cases_has_a_row_for_every_definition_of_every_metric() -> None:
    assert edge_values().keys() == set(PAIRS)


@pytest.mark.parametrize(("name", "definition"), PAIRS)
@pytest.mark.parametrize("case", EDGE_CASES)
def test_edge_cases_have_the_documented_values(name: str, definition: str, case: str) -> None:
    distinct = ["", "a b c d", "a", "b"]
    vectors = Embeddings.of(distinct, np.eye(4, dtype=np.float32))
    words = WHOLE if METRICS[name].scope == "whole" else 4
    table = score_cell({"p": EDGE_CASES[case]}, words=(4,), metrics=(name,), vectors=vectors, controlled=2).to_pylist()
    [row] = [row for row in table if row["definition"] == definition and row["words"] == words]
    expected = edge_values()[name, definition][list(EDGE_CASES).index(case)]
    assert row["value"] == pytest.approx(expected, abs=5e-4, nan_ok=True)
    assert math.isnan(row["se"]), "a standard error of fewer than ten completions"
    full = min(2, EDGE_CASES[case].count("a b c d"))
    counted = sum(map(bool, EDGE_CASES[case])) if name.startswith("compression") else len(EDGE_CASES[case])
    assert row["n"] == {"controlled": full, "replica": len(EDGE_CASES[case]), "corrected": counted}[definition]
