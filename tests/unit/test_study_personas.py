"""What a study says of personas fits its stages, fields and world; and what their jobs depend on."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.specs import personas_spec, personas_table_spec
from modecollapse.targets import Targets
from tests.studies import parse

TEMPLATE = {"text": "Once", "lead": "Once a", "pattern": r"a (?P<hero>\w+)", "truth": {"hero": "hero"}}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def asked(content: dict[str, Any]) -> dict[str, Any]:
    """The smoke study with heroes in place of personas."""
    templates = {form: dict(TEMPLATE) for form in ("human", "plain")}
    content["measures"]["personas"] = {"fields": {"hero": "category"}, "review": None, "templates": templates}
    return content


def personas(**changes: Any) -> Change:
    return lambda content: content["measures"]["personas"].update(changes)


def template(**changes: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        for each in content["measures"]["personas"]["templates"].values():
            each.update(changes)

    return change


def without_world(content: dict[str, Any]) -> None:
    content["stages"] = {"base": {"method": "checkpoint", "source": {"hub": "EleutherAI/pythia-70m"}}}
    content["measures"] = {"personas": content["measures"]["personas"]}
    content["models"] = {"tiny": {}}
    for key in ("world", "data", "tokenizer"):
        content.pop(key, None)


BAD = {
    "a stage without a template": (
        personas(templates={"chat": {"text": "Invent a customer."}}),
        ["measures.personas.templates", "the stage plm", "human", "Allowed: chat", "stages.plm.formats"],
    ),
    "a review that is a field": (
        personas(review="hero"),
        ["measures.personas.review", "'hero'", "Allowed: any other name"],
    ),
    "a group that is no field": (
        template(pattern=r"a (?P<heroine>\w+)"),
        ["measures.personas.templates.human.pattern", "no field is called 'heroine'", "Allowed: hero"],
    ),
    "the truth of no field": (
        template(truth={"villain": "hero"}),
        ["measures.personas.templates.human.truth", "no field is called 'villain'", "Allowed: hero"],
    ),
    "a rule that there is not": (
        template(truth={"hero": "heroo"}),
        ["measures.personas.templates.human.truth.hero", "grammar is called 'heroo'", "name, thing"],
    ),
    "a rule that remembers": (
        template(truth={"hero": "story"}),
        ["measures.personas.templates.human.truth.hero", "'story", "remembers", "`hero`"],
    ),
    "a truth without a world": (without_world, ["measures.personas", "truth.hero", "no `world`", "Remove `truth`"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_key_what_was_found_and_what_is_allowed(case: str, asked: dict[str, Any]) -> None:
    change, expected = BAD[case]
    parse(asked)
    change(asked)
    with pytest.raises(StudyError) as error:
        parse(asked)
    for part in expected:
        assert part in str(error.value)


def test_stages_that_write_nothing_of_their_own_need_no_template(asked: dict[str, Any]) -> None:
    other = {"formats": ["okay", "human"]}
    asked["stages"]["best"] = {"method": "best_of_n", "from": "plm", "reward": "utility", "n": 2, **other}
    asked["measures"]["personas"]["templates"].pop("plain")
    assert {model.stage for model in parse(asked).language_models()} == {"plm", "sft", "dpo"}
    del asked["measures"]["personas"]["templates"]["human"]
    asked["measures"]["personas"]["templates"]["okay"] = TEMPLATE
    for stage in ("plm", "sft", "dpo"):
        asked["stages"][stage] |= other
    asked["stages"]["best"]["formats"] = ["human"]
    assert parse(asked).config.measures.personas is not None


def test_what_is_read_depends_on_the_template_of_the_stage_s_format_alone(asked: dict[str, Any]) -> None:
    model = Model("tiny", 0, "plm")
    before = personas_spec(parse(asked), model)
    for change in (
        template(text="Twice"),
        template(truth={}),
        personas(completions=7, max_new_tokens=9),
    ):
        change(asked)
        assert personas_spec(parse(asked), model) == before, "the sampled outputs say what these changed"
    for change in (
        template(lead="One"),
        template(pattern=r"(?P<hero>\w+)"),
        personas(fields={"hero": "name"}),
        personas(most_clusters=3),
        personas(seed=3),
    ):
        change(asked)
        changed = personas_spec(parse(asked), model)
        assert changed != before
        before = changed


def test_the_tables_know_the_true_distribution_of_values(asked: dict[str, Any]) -> None:
    study = parse(asked)
    spec = json.loads(personas_table_spec(study))
    truth = spec["truth"]["human"]
    assert sum(truth["hero"].values()) == pytest.approx(1)
    assert truth["hero"]["fox"] == pytest.approx(1 / 16)
    assert Targets(study).persona_tables() == ["personas", "persona_values"]
    asked["measures"]["personas"]["review"] = "tale"
    assert len(Targets(parse(asked)).persona_tables()) == 5
