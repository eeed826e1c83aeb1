"""What is refused of stages that choose, of rejection sampling, and of data sets that stages write."""

from typing import Any

import pytest

from modecollapse.cells import Model, ModelData
from modecollapse.errors import StudyError
from modecollapse.specs import choice_spec, model_spec, sampled_spec
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse, put

TUNED = {
    "method": "dpo",
    "from": "dpo",
    "data": "onpolicy",
    "max_length": 128,
    "max_prompt_length": 64,
}
SAMPLED = {"from": "dpo", "prompts": "preferences", "reward": "rm", "n": 4, "count": 40}
REWARD = {"method": "reward", "from": "sft", "data": "preferences", "max_length": 128, "max_prompt_length": 64}


def content() -> dict[str, Any]:
    """The smoke study with one of everything."""
    study: dict[str, Any] = read_yaml(SMOKE)
    study["data"]["onpolicy"] = {"sampled": dict(SAMPLED)}
    study["stages"] |= {
        "dpo2": dict(TUNED),
        "rm": dict(REWARD),
        "bon": {"method": "best_of_n", "from": "sft", "reward": "rm", "n": 4},
        "rsft": {"method": "rejection_sft", "from": "sft", "reward": "rm", "data": "answers", "max_length": 128},
    }
    return study


STAGE, SET = ("stages",), ("data", "onpolicy", "sampled")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("stages", "bon", "n", 1), r"stages\.bon\.n: .*1"),
        (put("stages", "bon", "data", "answers"), r"stages\.bon\.data: the method best_of_n uses no data"),
        (put("stages", "dpo2", "from", "bon"), r"stages\.dpo2\.from: bon only chooses among answers of sft"),
        (put("stages", "rsft", "keep", 9), r"keep 9 is more than the n 8"),
        (put("stages", "rsft", "train_format", "qa"), r"stages\.rsft\.reward: rm was trained .*'human'.*'qa'"),
        (put(*SET, "from", "none"), r"data\.onpolicy\.sampled\.from: no stage is called 'none'"),
        (put(*SET, "from", "rm"), r"data\.onpolicy\.sampled\.from: rm cannot answer .*Allowed: plm, sft, dpo"),
        (put(*SET, "from", "bon"), r"data\.onpolicy\.sampled\.from: bon cannot answer prompts: its method is best_of"),
        (put(*SET, "prompts", "corpus"), r"sampled\.prompts: corpus has the columns text, but prompt is needed"),
        (
            put(*SET, "prompts", "onpolicy"),
            r"onpolicy\.sampled\.prompts: onpolicy → onpolicy: the set is made from itself",
        ),
        (put(*SET, "reward", "sft"), r"sampled\.reward: 'sft' is a stage that gives no scores.*rm, .*annotators"),
        (put(*SET, "n", 1), r"data\.onpolicy\.sampled\.n"),
        (put("data", "onpolicy", "n", 5), r"`n` is no key of a sampled data set"),
        (put("data", "onpolicy", "world", "answers"), r"either a part of the world, or read from a source, or sampled"),
        (put("tokenizer", "data", ["corpus", "onpolicy"]), r"tokenizer\.data: onpolicy is written by a stage"),
        (
            put("measures", "tokens", "data", "onpolicy"),
            r"onpolicy has the columns .*, task, but text",
        ),
        (
            put("stages", "dpo", "data", "onpolicy"),
            r"stages\.dpo\.data: dpo is trained on .*\(dpo → onpolicy\)",
        ),
        (put(*SET, "from", "dpo2"), r"stages\.dpo2\.data: .*needs dpo2, and that descends from dpo2"),
        (put("stages", "rm", "data", "onpolicy"), r"stages\.rm\.data: rm is trained on onpolicy, which needs rm"),
        (put("stages", "sft", "data", "onpolicy"), r"stages\.sft\..*(sft → dpo → onpolicy|completion)"),
        (put("stages", "rm", "sizes", ["tiny"]), None),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_runs(change, message):
    study = content()
    change(study)
    if message is None:
        parse(study)
        return
    with pytest.raises(StudyError, match=message):
        parse(study)


def test_a_stage_needs_no_more_sizes_than_what_writes_its_data():
    study = content()
    study["models"]["other"] = study["models"]["tiny"]
    study["stages"]["dpo"]["sizes"] = ["tiny"]
    study["stages"]["dpo2"] |= {"from": "sft"}
    with pytest.raises(StudyError, match=r"stages\.dpo2\.sizes: dpo2 is made from dpo, which other does not have"):
        parse(study)


def test_a_size_cannot_be_trained_on_what_other_sizes_do_not_write():
    study = content()
    study["models"]["tiny"]["stages"] = {"dpo": {"data": "onpolicy"}}
    with pytest.raises(StudyError, match=r"models\.tiny\.stages\.dpo\.data: onpolicy is written by a stage"):
        parse(study)


def test_what_writes_the_data_and_what_scores_it_are_further_parents():
    study = content()
    study["stages"]["dpo2"]["from"] = "sft"
    parsed = parse(study)
    assert parsed.lineage["dpo2"] == ["sft", "dpo", "rm"]
    assert parsed.lineage["bon"] == ["sft", "rm"]
    assert parsed.stages.index("dpo2") > parsed.stages.index("rm")
    assert parsed.compared_lineage["dpo2"] == ["sft"]


def test_training_and_its_reference_read_the_set_that_their_own_model_wrote():
    study = content()
    study["seeds"] = [0, 1]
    targets = Targets(parse(study))
    model = Model("tiny", 1, "dpo2")
    own = "results/smoke/sampled/tiny/s1/onpolicy.parquet"
    assert targets.training_inputs(model)["data"] == own
    scores = targets.study.reference_scores(model)
    assert scores is not None
    assert targets.reference_inputs(scores)["data"] == own
    assert targets.sampling_inputs(ModelData("tiny", 1, "onpolicy")) == {
        "manifest": "results/smoke/models/tiny/s1/dpo/manifest.json",
        "weights": "results/smoke/models/tiny/s1/dpo/weights",
        "reward_manifest": "results/smoke/models/tiny/s1/rm/manifest.json",
        "reward_weights": "results/smoke/models/tiny/s1/rm/weights",
        "prompts": "results/smoke/data/preferences.parquet",
    }
    assert targets.all_sampled_data() == [own.replace("s1", "s0"), own]


def test_a_reward_model_is_judged_by_the_pairs_that_its_own_size_and_seed_wrote():
    study = content()
    del study["stages"]["dpo2"]
    study["measures"]["rewards"] = {"data": ["onpolicy"]}
    targets = Targets(parse(study))
    own = "results/smoke/sampled/tiny/s0/onpolicy.parquet"
    assert targets.reward_inputs(Model("tiny", 0, "rm"))["data"] == ["results/smoke/data/preferences.parquet", own]
    assert targets.all_sampled_data() == [own]
    study["models"]["other"] = study["models"]["tiny"]
    study["stages"]["dpo"]["sizes"] = ["tiny"]
    with pytest.raises(StudyError, match=r"measures\.rewards\.data: onpolicy is written for the sizes tiny only"):
        parse(study)


def test_a_set_that_nothing_is_trained_on_is_not_sampled():
    study = content()
    del study["stages"]["dpo2"]
    assert Targets(parse(study)).all_sampled_data() == []


def test_the_name_of_a_reward_model_and_the_temperatures_of_cells_decide_no_data():
    study = content()
    before = parse(study)
    study["stages"]["judge"] = study["stages"].pop("rm")
    study["generation"]["temperatures"] = ["1.0"]
    for place in (study["data"]["onpolicy"]["sampled"], study["stages"]["bon"], study["stages"]["rsft"]):
        place["reward"] = "judge"
    after = parse(study)
    data = ModelData("tiny", 0, "onpolicy")
    assert sampled_spec(after, data) == sampled_spec(before, data)
    for stage, spec in (("bon", choice_spec), ("rsft", model_spec)):
        assert spec(after, Model("tiny", 0, stage)) == spec(before, Model("tiny", 0, stage))


def test_a_stage_that_chooses_has_completions_and_no_weights():
    parsed = parse(content())
    model = Model("tiny", 0, "bon")
    assert model in parsed.answering()
    assert model in parsed.sampled()
    assert model not in parsed.trained()
    targets = Targets(parsed)
    assert [stages for _, stages, _ in targets.choosing_rules(model)] == [["bon"]]
    assert all("bon" not in stages for _, stages, _ in targets.generating_rules(model))
    assert not [path for path in targets.models() if "/bon/" in path]
