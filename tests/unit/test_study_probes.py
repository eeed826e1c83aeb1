"""What the measures ask is checked before anything runs: formats, rules of the world, and that something is asked."""

import json
from typing import Any

import pytest

from modecollapse.data.nano.world import World
from modecollapse.errors import StudyError
from modecollapse.probe_checks import check_probes
from modecollapse.specs import probes_table_spec, top_entropy_table_spec
from modecollapse.targets import Targets
from tests.studies import parse, put

ANIMAL = {"text": "The animal is a"}

BAD = {
    "an unknown format of the probes": (
        put("measures", "probes", {"format": "plian"}),
        ["measures.probes.format: no prompt format is called 'plian'", "Allowed: human, okay", "Name one of these"],
    ),
    "an unknown format of the entropies": (
        put("measures", "top_entropy", {"format": "plian"}),
        ["measures.top_entropy.format: no prompt format is called 'plian'", "plain"],
    ),
    "an unknown format of semantic modes": (
        put("measures", "semantic", {"asked": {"grace": "Grace Hopper was"}, "format": "plian"}),
        ["measures.semantic.format: no prompt format is called 'plian'", "plain"],
    ),
    "nothing asked": (
        put("measures", "probes", {"continuations": {}, "choices": {}, "responses": {}}),
        ["measures.probes: continuations, choices and responses are all empty", "State at least one prompt"],
    ),
    "a rule that does not exist": (
        put("measures", "probes", {"choices": {"animal": {**ANIMAL, "rule": "heroes"}}}),
        ["measures.probes.choices.animal.rule: the rule 'heroes' does not exist", "Allowed: hero, name", "phrases"],
    ),
    "a rule that remembers what it wrote": (
        put("measures", "probes", {"choices": {"animal": {**ANIMAL, "rule": "story"}}}),
        ["choices.animal.rule: the rule 'story' writes no fixed list of texts", "Allowed: hero"],
    ),
    "a phrase that another one goes on from": (
        put("measures", "probes", {"choices": {"colour": {"text": "It is", "phrases": ["red-hot", "red", "blue"]}}}),
        ["choices.colour", "another one goes on from 'red'"],
    ),
    "a rule that may write nothing": (
        put("measures", "probes", {"choices": {"animal": {**ANIMAL, "rule": "opener"}}}),
        ["choices.animal.rule: the rule 'opener' writes no fixed list of texts", "Allowed: hero"],
    ),
}


def parsed_targets(content: dict[str, Any]) -> Targets:
    return Targets(parse(content))


@pytest.mark.parametrize("fault", BAD)
def test_what_cannot_be_asked_is_told_with_what_can(fault: str, content: dict[str, Any]) -> None:
    change, expected = BAD[fault]
    change(content)
    with pytest.raises(StudyError) as error:
        parse(content)
    assert not [words for words in expected if words not in str(error.value)], str(error.value)


@pytest.mark.parametrize("measure", ["probes", "top_entropy"])
def test_a_format_without_a_template_cannot_be_asked_in(measure: str, content: dict[str, Any]) -> None:
    content["formats"] = {"theirs": None}
    content["measures"][measure] = {"format": "theirs"}
    with pytest.raises(StudyError, match=rf"measures\.{measure}\.format: .*'theirs' has no template.*Allowed: human"):
        parse(content)


def test_a_rule_needs_a_world(content: dict[str, Any]) -> None:
    content["measures"] = {"probes": {"choices": {"animal": {**ANIMAL, "rule": "hero"}}}}
    config = parse(content).config.model_copy(update={"world": None})
    with pytest.raises(StudyError, match=r"choices\.animal\.rule: 'hero' is a rule of a world's grammar.*no `world`"):
        check_probes(config)


def test_the_papers_questions_and_a_rule_of_the_world_are_taken(content: dict[str, Any]) -> None:
    content["measures"] |= {"top_entropy": {}, "probes": {"choices": {"animal": {**ANIMAL, "rule": "hero"}}}}
    probes = parse(content).config.measures.probes
    assert probes is not None
    assert probes.choices["animal"].rule == "hero"
    assert len(World().phrases("hero")) == 16


def test_a_study_has_the_tables_of_what_it_asks(content: dict[str, Any]) -> None:
    asked = {"choices": {"animal": {**ANIMAL, "rule": "hero"}}, "responses": {}}
    assert not parsed_targets(content).top_entropy_tables() + parsed_targets(content).probe_tables()
    content["measures"] |= {"top_entropy": {}, "probes": asked}
    targets = parsed_targets(content)
    assert {"top_entropy", "top_entropy_outputs", "top_entropy_tokens"} <= set(targets.table_names())
    assert targets.probe_tables() == ["choices", "choice_summary", "next_tokens"]
    assert "responses" not in targets.table_names()
    models = [f"results/smoke/experiments/tiny/s0/{stage}" for stage in ("plm", "sft", "dpo")]
    assert targets.probe_inputs() == {
        kind: [f"{model}.{kind}.parquet" for model in models] for kind in ("choices", "next_tokens")
    }
    assert {"top_entropy_tiny", "top_entropy_sample_tiny", "choices_tiny", "next_tokens_tiny"} <= set(
        targets.drawings()
    )


def test_tables_follow_their_settings_and_the_world_where_it_decides_their_truth(content: dict[str, Any]) -> None:
    content["measures"] |= {"top_entropy": {}, "probes": {}}
    study = parse(content)
    assert json.loads(top_entropy_table_spec(study))["world"] is None, "nothing was tuned in these words"
    for changes, is_known in (({}, True), ({"temperature": "0.7"}, False)):
        content["measures"]["top_entropy"] = {"format": "human", **changes}
        assert (json.loads(top_entropy_table_spec(parse(content)))["world"] is not None) == is_known
    assert json.loads(probes_table_spec(study))["world"] is None, "no rule is asked for"
    content["measures"]["probes"] = {"choices": {"animal": {**ANIMAL, "rule": "hero"}}}
    spec = json.loads(probes_table_spec(parse(content)))
    assert (spec["rules"], spec["world"]["settings"]["seed"]) == ({"animal": "hero"}, 0)
    content["measures"]["top_entropy"] = {"shown": 3, "completions": 7}
    assert json.loads(top_entropy_table_spec(parse(content)))["shown"] == 3
