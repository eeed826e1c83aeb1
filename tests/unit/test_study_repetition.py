"""Rates of repetition as a measure of a study: asked for by name, with thresholds that are checked before any job."""

import json
from typing import Any

import pytest

from modecollapse.errors import StudyError
from modecollapse.specs import analysis_spec, lineage_table_spec, repetition_spec, score_spec
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse


def content(**measures: Any) -> dict[str, Any]:
    found = read_yaml(SMOKE)
    found["measures"] |= measures
    return found


def test_a_study_has_rates_of_repetition_where_it_asks_for_them_and_nothing_else_changes() -> None:
    without, asked = parse(content()), parse(content(repetition={}))
    assert "repetition" not in Targets(without).table_names()
    assert Targets(without).all_repetition() == []
    assert "repetition" in Targets(asked).table_names()
    assert "repetition_tiny" in Targets(asked).drawings()
    added = set(Targets(asked).everything()) - set(Targets(without).everything())
    assert {path.split("/")[2] for path in added} == {"repetition", "tables", "figures"}
    for spec in (score_spec, analysis_spec):
        assert spec(without) == spec(asked)


def test_thresholds_count_for_the_counts_and_the_lineage_for_the_table() -> None:
    paper, own = parse(content(repetition={})), parse(content(repetition={"cycle_longer_than": 40}))
    assert json.loads(repetition_spec(paper))["settings"] == {
        "multiple_longer_than": 20,
        "multiple_times": 7,
        "tandem_longer_than": 100,
        "cycle_longer_than": 100,
    }
    assert repetition_spec(paper) != repetition_spec(own)
    assert lineage_table_spec(paper) == lineage_table_spec(own)
    assert json.loads(lineage_table_spec(paper))["lineage"] == {"plm": [], "sft": ["plm"], "dpo": ["sft"]}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"multiple_times": 1}, ["measures.repetition.multiple_times", "2"]),
        ({"tandem_longer_than": -1}, ["measures.repetition.tandem_longer_than", "0"]),
        ({"cycle_longer_than": "40"}, ["measures.repetition.cycle_longer_than", "integer"]),
        ({"tandem_times": 3}, ["measures.repetition.tandem_times", "tandem_longer_than"]),
    ],
)
def test_thresholds_without_a_meaning_are_refused_by_their_key(settings: dict[str, Any], told: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        parse(content(repetition=settings))
    for part in told:
        assert part in str(caught.value)
