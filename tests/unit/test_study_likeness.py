"""A stage states its differences to another one."""

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.specs import model_spec
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse


def _study(**stages):
    content = read_yaml(SMOKE)
    content["stages"] |= stages
    return content


def test_a_stage_like_another_is_that_stage_with_what_is_different():
    study = parse(_study(softer={"like": "dpo", "beta": 0.05}))
    other = parse(_study(softer={**read_yaml(SMOKE)["stages"]["dpo"], "beta": 0.05}))
    model = Model("tiny", 0, "softer")
    assert model_spec(study, model) == model_spec(other, model)
    assert study.parent(model) == Model("tiny", 0, "sft")


def test_of_another_method_the_keys_are_taken_over_that_both_have():
    study = parse(_study(ipo={"like": "dpo", "method": "ipo", "tau": 0.5}))
    settings = study.settings(Model("tiny", 0, "ipo"))
    assert (settings.learning_rate, settings.batch_size, settings.tau) == (2e-4, 32, 0.5)
    assert not hasattr(settings, "beta")


def test_sizes_do_differently_what_they_do_differently_in_the_other_stage():
    content = _study(softer={"like": "dpo", "beta": 0.05}, ipo={"like": "dpo", "method": "ipo"})
    content["stages"] |= {"same": {"like": "dpo"}, "softest": {"like": "softer", "learning_rate": 5e-4}}
    content["models"]["tiny"]["stages"] = {"dpo": {"learning_rate": 1e-3, "beta": 0.3}, "ipo": {"tau": 0.2}}
    study = parse(content)
    same, softer, softest, ipo = (
        study.settings(Model("tiny", 0, stage)) for stage in ("same", "softer", "softest", "ipo")
    )
    assert (same.learning_rate, same.beta) == (1e-3, 0.3)
    # What the stage states itself counts for all sizes, along a chain as well.
    assert (softer.learning_rate, softer.beta) == (1e-3, 0.05)
    assert (softest.learning_rate, softest.beta) == (5e-4, 0.05)
    assert (ipo.learning_rate, ipo.tau) == (1e-3, 0.2)


def test_sizes_that_lack_the_stage_take_nothing_over():
    content = _study(ipo={"like": "dpo", "method": "ipo", "sizes": ["tiny"]})
    content["models"]["large"] = {**content["models"]["tiny"], "stages": {"dpo": {"learning_rate": 1e-3}}}
    assert {model.size for model in parse(content).models if model.stage == "ipo"} == {"tiny"}


def test_a_label_is_a_stage_s_own():
    content = _study(softer={"like": "dpo", "beta": 0.05})
    content["stages"]["dpo"]["label"] = "Preferences"
    assert parse(content).label("softer") == "SOFTER"


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ({"softer": {"like": "dpoo"}}, ["stages.softer.like", "'dpoo'", "Allowed: plm, sft, dpo"]),
        ({"softer": {"like": "softer"}}, ["stages.softer.like", "no other stage"]),
        ({"one": {"like": "two"}, "two": {"like": "one"}}, ["one is like two is like one", "circle"]),
        ({"softer": {"like": "dpo", "betta": 0.1}}, ["stages.softer.betta", "no such key"]),
    ],
)
def test_what_cannot_be_resolved_is_refused(stages, told):
    with pytest.raises(StudyError) as caught:
        parse(_study(**stages))
    for part in told:
        assert part in str(caught.value)
