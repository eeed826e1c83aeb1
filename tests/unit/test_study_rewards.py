"""Stages that another one scores, stages of some sizes only, and reward models, which answer nothing."""

import copy
import json

import pytest

from modecollapse import lineage
from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.specs import analysis_spec, figure_spec, model_spec
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse, put

RM = {"method": "reward", "from": "sft", "data": "preferences", "max_length": 128, "max_prompt_length": 64}
PPO = {"method": "ppo", "from": "sft", "reward": "rm", "data": "preferences", "max_new_tokens": 24, "max_length": 128}
SAMPLED = {"from": "sft", "prompts": "preferences", "reward": "rm"}
BON = {"method": "best_of_n", "from": "sft", "reward": "rm", "n": 2}


def content(**stages):
    found = read_yaml(SMOKE)
    found["models"]["large"] = {**found["models"]["tiny"]}
    found["stages"] |= copy.deepcopy({"rm": RM, "ppo": PPO, "bon": BON, **stages})
    return found


def test_what_scores_is_a_second_parent_and_no_line_of_comparison_leads_through_it():
    study = parse(content())
    assert study.lineage["ppo"] == ["sft", "rm"]
    assert study.stages.index("rm") < study.stages.index("ppo")
    assert lineage.paths(study.compared_lineage) == [
        ["plm", "sft", "dpo"],
        ["plm", "sft", "ppo"],
        ["plm", "sft", "bon"],
    ]
    assert '"rm"' not in analysis_spec(study)


def test_each_stage_has_the_files_that_it_can_have():
    targets = Targets(parse(content()))
    files = targets.everything()
    assert not [path for path in files if "/rm/" in path and ("generations" in path or "tokens" in path)]
    assert any("generations/tiny/s0/bon/" in path for path in files)
    assert not [path for path in files if "/bon/" in path and ("models" in path or "tokens" in path)]
    inputs = targets.training_inputs(Model("tiny", 0, "ppo"))
    assert inputs["reward_manifest"] == "results/smoke/models/tiny/s0/rm/manifest.json"


def test_a_reward_s_name_is_no_matter_and_a_function_is():
    model = Model("tiny", 0, "ppo")
    renamed = content(ppo={**PPO, "reward": "judge"}, judge=RM, bon={**BON, "reward": "judge"})
    del renamed["stages"]["rm"]
    assert model_spec(parse(renamed), model) == model_spec(parse(content()), model)
    specs = {model_spec(parse(content(ppo={**PPO, "reward": reward})), model) for reward in ("rm", "utility", "words")}
    assert len(specs) == 3


def test_a_stage_of_some_sizes_is_nowhere_for_the_others():
    sizes = {"sizes": ["tiny"]}
    study = parse(content(rm={**RM, **sizes}, ppo={**PPO, **sizes}, bon={**BON, **sizes}))
    assert {model.size for model in study.models if model.stage in ("rm", "ppo", "bon")} == {"tiny"}
    assert not [path for path in Targets(study).everything() if "/large/" in path and "ppo" in path]
    assert {model.stage for model in study.models if model.size == "large"} == {"plm", "sft", "dpo"}


def test_what_makes_models_is_scheduled_before_what_measures_them_and_of_a_kind_larger_sizes():
    targets = Targets(parse(content()))
    kinds = ("models", "completions", "vectors")
    order = [targets.priority(makes, size) for makes in kinds for size in ("large", "tiny")]
    assert order == sorted(set(order), reverse=True)
    assert order[-1] > 0, "the priority of all other jobs"


BAD = {
    "a stage that continues a reward model": (
        put("stages", "dpo", "from", "rm"),
        ["stages.dpo.from", "rm is a reward model", "cannot write any", "reward: rm"],
    ),
    "a stage that continues what has no weights": (
        put("stages", "dpo", "from", "bon"),
        ["stages.dpo.from", "bon only chooses among answers of sft", "Name a stage with weights"],
    ),
    "no reward": (
        put("stages", "ppo", {key: value for key, value in PPO.items() if key != "reward"}),
        ["stages.ppo.reward", "the method ppo needs what scores answers", "Allowed: rm, utility, words"],
    ),
    "a reward that gives no scores": (
        put("stages", "ppo", "reward", "dpo"),
        ["stages.ppo.reward", "of the method dpo, which gives no scores", "Allowed: rm, utility, words"],
    ),
    "a reward that does not exist": (
        put("stages", "ppo", "reward", "rn"),
        ["stages.ppo.reward", "'rn' is no stage of the study", "Allowed: rm, utility, words"],
    ),
    "a reward for a method that has none": (
        put("stages", "dpo", "reward", "rm"),
        ["stages.dpo.reward", "the method dpo needs none", "Remove it"],
    ),
    "a stage called like a function": (
        put("stages", "utility", {"method": "sft", "from": "plm", "data": "answers"}),
        ["stages.utility", "reward function", "another name"],
    ),
    "prompt formats of a reward model": (
        put("stages", "rm", "formats", ["human"]),
        ["stages.rm.formats", "asked nothing", "Remove it"],
    ),
    "a size that does not exist": (
        put("stages", "dpo", "sizes", ["huge"]),
        ["stages.dpo.sizes", "no size is called 'huge'", "Allowed: tiny, large"],
    ),
    "a stage that is made from one that its size lacks": (
        put("stages", "rm", "sizes", ["tiny"]),
        ["stages.ppo.sizes", "ppo is made from rm, which large does not have", "Allowed: tiny"],
    ),
    "differences of a size in a stage that it lacks": (
        lambda found: (
            put("stages", "dpo", "sizes", ["tiny"])(found),
            put("models", "large", "stages", {"dpo": {"beta": 0.2}})(found),
        ),
        ["models.large.stages.dpo", "does not have the stage", "Allowed: tiny"],
    ),
    "a reward stage by epochs": (
        put("stages", "rm", "each_epoch", True),
        ["stages.rm.each_epoch", "kept at its end alone", "Remove it"],
    ),
    "no stage that it starts from": (
        put("stages", "ppo", {key: value for key, value in PPO.items() if key != "from"}),
        ["stages.ppo.from", "the method ppo answers as another stage does", "Add `from: STAGE`"],
    ),
    "likeness of a size": (
        put("models", "large", "stages", {"dpo": {"like": "sft"}}),
        ["models.large.stages.dpo.like", "the same for all sizes"],
    ),
    "sampled answers that no context holds": (
        put(
            "data",
            "again",
            {"sampled": {"from": "sft", "prompts": "preferences", "reward": "rm", "max_new_tokens": 500}},
        ),
        ["data.again.sampled.max_new_tokens", "500 tokens do not fit the context", "at most 127"],
    ),
    "a divergence from a stage that nothing is compared with": (
        put("measures", "divergence", {"reference": "dpo"}),
        ["measures.divergence.reference", "'dpo' has no descendant", "Allowed: plm, sft"],
    ),
    "a divergence from a reward model": (
        put("measures", "divergence", {"reference": "rm"}),
        ["measures.divergence.reference", "Allowed: plm, sft"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rewards_and_sizes_are_refused_with_what_is_allowed(case):
    change, told = BAD[case]
    found = content()
    change(found)
    with pytest.raises(StudyError) as caught:
        parse(found)
    for part in told:
        assert part in str(caught.value)


def test_best_of_n_alone_below_the_reference_has_its_bound_told() -> None:
    found = content()
    del found["stages"]["ppo"], found["stages"]["dpo"]
    found["measures"]["divergence"] = {"reference": "sft"}
    study = parse(found)
    assert study.diverging() == []
    assert {"divergence", "costs"} <= set(Targets(study).table_names())


def test_the_figure_of_costs_is_given_the_true_values_where_there_are_some():
    found = content()
    found["measures"]["divergence"] = {"reference": "sft"}
    study = parse(found)
    drawing = Targets(study).drawings()["costs"]
    assert set(Targets(study).figure_inputs(drawing)) == {"costs", "divergence", "truth"}
    # A job takes the tables that its spec names, of those that it is given.
    assert json.loads(figure_spec(study, drawing))["tables"] == ["costs", "divergence", "truth"]


def test_the_true_utility_needs_a_world():
    found = content(ppo={**PPO, "reward": "utility"})
    del found["world"]
    with pytest.raises(StudyError, match=r"stages\.ppo\.reward: utility is the true one"):
        parse(found)
