"""Attractors and coloured continuations as measures of a study: what they need, and the files that they add."""

import json
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.specs import analysis_spec, continuations_spec, experiments_spec, lineage_table_spec
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse

SAMPLED = str(read_yaml(SMOKE)["generation"]["temperatures"][0])
ASKED = {"asked": {"grace-hopper": "Grace Hopper was"}, "temperature": SAMPLED}


def content(**measures: Any) -> dict[str, Any]:
    found = read_yaml(SMOKE)
    found["measures"] |= measures
    return found


def test_a_study_has_the_tables_figures_and_files_of_what_it_asks_for() -> None:
    without = Targets(parse(content()))
    attractor = Targets(parse(content(attractor={}, semantic=ASKED)))
    sure = Targets(parse(content(probes={"choices": {}, "responses": {}})))
    assert without.continuation_tables() == []
    assert without.continuation_inputs() == {}
    assert not any("coloured_tokens" in path for path in without.pages())
    assert attractor.continuation_tables() == ["attractor", "attractor_modes", "attractor_tokens"]
    assert {"attractor_tiny", "attractor_tokens_tiny"} <= set(attractor.drawings())
    assert "confidence_tiny" not in attractor.drawings()
    assert sure.continuation_tables() == ["confidence", "confidence_tokens"]
    assert "confidence_tiny" in set(sure.drawings()) - set(without.drawings())
    assert set(attractor.continuation_inputs()) == {"modes", "continuations"}
    assert sure.continuation_inputs() == {
        "confidence": [
            f"results/smoke/experiments/tiny/s0/{stage}.confidence.parquet" for stage in ("plm", "sft", "dpo")
        ]
    }
    for targets in (attractor, sure):
        assert targets.pages()[-2:] == [
            f"results/smoke/tables/coloured_tokens.{suffix}" for suffix in ("html", "sha256")
        ]
        assert set(targets.pages()) <= set(targets.everything())


def test_probes_without_continuations_have_no_table_of_them() -> None:
    assert Targets(parse(content(probes={"continuations": {}}))).continuation_tables() == []


def test_negations_and_questions_decide_the_tables_and_nothing_else() -> None:
    study = parse(
        content(attractor={"negations": {"is": "is not"}}, semantic=ASKED, probes={"continuations": {"a": "b"}})
    )
    spec = json.loads(continuations_spec(study))
    assert (spec["negations"], spec["questions"]) == ({"is": "is not"}, [["a", "b"]])
    assert spec["labels"]["dpo"] == study.label("dpo")
    plain = parse(content())
    assert json.loads(continuations_spec(plain))["negations"] == {}
    assert analysis_spec(study) == analysis_spec(plain)
    assert lineage_table_spec(study) == lineage_table_spec(plain)


def parts(stage: str = "plm", **measures: Any) -> dict[str, Any]:
    return json.loads(experiments_spec(parse(content(**measures)), Model("tiny", 0, stage)))


def test_the_first_prompt_has_the_modes_as_the_study_states_them() -> None:
    asked = {"zebra": "A zebra was", "ant": "An ant was"}
    found = parts(attractor={}, semantic={**ASKED, "asked": asked})
    assert found["parts"]["attractor"]["semantic"]["asked"] == {"zebra": "A zebra was"}
    assert found["parts"]["semantic"]["asked"] == asked


def test_the_low_temperature_is_that_of_the_first_stage_alone_and_counts_once() -> None:
    def temperatures(stage: str, low: str) -> list[str]:
        found = parts(stage, attractor={"low_temperature": low}, semantic=ASKED)
        return found["parts"]["attractor"]["temperatures"]

    assert temperatures("plm", "0.3") == [SAMPLED, "0.3"]
    assert temperatures("plm", SAMPLED) == temperatures("dpo", "0.3") == [SAMPLED]


def test_other_measures_need_not_be_sampled_again_when_attractors_are_added() -> None:
    alone, beside = parts(semantic=ASKED), parts(attractor={}, semantic=ASKED)
    assert beside["parts"].pop("attractor")["embedding"]["embedder"]
    assert beside == alone


@pytest.mark.parametrize("semantic", [None, {"prompts": ["creative"], "temperature": SAMPLED}])
def test_attractors_without_a_prompt_whose_outputs_have_modes_are_refused(semantic: dict[str, Any] | None) -> None:
    with pytest.raises(StudyError) as caught:
        parse(content(attractor={}, semantic=semantic))
    for part in ("measures.attractor", "measures.semantic", "asked", "grace-hopper: Grace Hopper was", "remove"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("negations", "told"),
    [
        ({"was": ""}, ["negations.was"]),
        ({"was": "  "}, ["negations.was", "'  '", "`was: was not`", "remove the entry"]),
        ({"": "not"}, ["negations", "''", "`was: was not`"]),
        ({" ": "not"}, ["negations", "' '"]),
        ({"was": "was"}, ["negations.was", "the verb itself", "`was: was not`"]),
        ({"was": " was "}, ["negations.was", "the verb itself"]),
        ({}, ["negations"]),
    ],
)
def test_a_negation_that_changes_nothing_is_refused_by_its_key(negations: dict[str, str], told: list[str]) -> None:
    with pytest.raises(StudyError) as caught:
        parse(content(attractor={"negations": negations}, semantic=ASKED))
    for part in ["measures.attractor.", *told]:
        assert part in str(caught.value)
