"""Data sets that are made from others: what is refused of them, what they descend from, and what decides them."""

import json
from typing import Any

import pytest

from modecollapse.cells import Model, ModelData, ReferenceScores
from modecollapse.errors import StudyError
from modecollapse.resources.demands import Demands
from modecollapse.resources.machine import Machine
from modecollapse.specs import derived_spec, own_answers_spec
from modecollapse.study import Study
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse, put

FILTER = {"scorer": "sft", "max_length": 128, "max_prompt_length": 64, "max_new_tokens": 48}
TUNED = {"method": "dpo", "from": "sft", "data": "on_dist", "max_length": 128, "max_prompt_length": 64}
SAMPLED = {"from": "dpo", "prompts": "unique", "reward": "words", "max_new_tokens": 48}


def content() -> dict[str, Any]:
    """The smoke study with two sets that are merged, deduplicated and filtered, and a stage that is tuned on them."""
    study: dict[str, Any] = read_yaml(SMOKE)
    study["data"] |= {
        "more": {"world": "preferences", "n": 32, "seed": 1},
        "unique": {"from": ["preferences", "more"], "deduplicate": {"near": 0.8}},
        "on_dist": {"from": "unique", "perplexity": dict(FILTER)},
        "even": {"from": "on_dist", "balance": {"length": True}},
        "onpolicy": {"sampled": dict(SAMPLED)},
    }
    study["stages"]["tuned"] = dict(TUNED)
    return study


DATA = ("data",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("data", "unique", "from", "nothing"), r"data\.unique\.from: no data set is called 'nothing'"),
        (put("data", "unique", "from", ["more", "more"]), r"data\.unique\.from: given twice: more"),
        (put("data", "unique", "from", 3), r"data\.unique\.from: found 3"),
        (put("data", "unique", "from", "unique"), r"data\.unique\.from: unique → unique: the set is made from itself"),
        (put("data", "unique", "from", "even"), r"unique → even → on_dist → unique: the set is made from itself"),
        (put("data", "more", "sampled", {**SAMPLED}), r"either a part of the world, .* or made from others"),
        (put("data", "unique", "world", "answers"), r"either a part of the world, .* or made from others"),
        (
            put("data", "unique", "n", 3),
            r"`n` is no key of a set that is made from others\. Allowed: from, seed, perpl",
        ),
        (put("data", "unique", "balance", {"length": True}), r"by one transformation, not by balance and deduplicate"),
        (put("data", "unique", "seed", 3), r"`seed` has no effect here"),
        (put("data", "unique", "deduplicate", "near", 1.5), r"data\.unique\.deduplicate\.near: found 1\.5"),
        (put("data", "unique", "deduplicate", "nearly", 1), r"nearly: no such key.*Did you mean 'near'"),
        (
            put("data", "even", {"from": "unique", "split": "train"}),
            r"part of the rows is drawn: found 'train'\. Al",
        ),
        (put("data", "even", {"from": "unique", "split": {}}), r"data\.even\.split\.share: this key is missing"),
        (put("data", "even", {"from": "unique", "split": {"share": 1}}), r"data\.even\.split\.share: found 1"),
        (
            put("data", "even", {"from": "unique", "split": {"share": 0.9, "part": "test"}}),
            r"data\.even\.split\.part: found 'test'\. Allowed: 'drawn' or 'rest'",
        ),
        (
            put("data", "more", {"source": {"hub": "org/pairs"}, "split": {"share": 0.9}}),
            r"data\.more: .*`split` names a split of a hub data set\. .*`\{from: SET, split",
        ),
        (put("data", "unique", "from", ["preferences", "answers"]), r"but answers has prompt, completion, task"),
        (put("data", "unique", "from", "questions"), r"only sets of texts can be made into others"),
        (put("data", "even", "balance", {}), r"data\.even\.balance: nothing is balanced"),
        (
            put("data", "even", "from", "answers"),
            r"data\.even\.balance: answers has .*, but chosen, rejected is needed",
        ),
        (put("data", "on_dist", "perplexity", "scorer", "none"), r"perplexity\.scorer: no stage is called 'none'"),
        (put("data", "on_dist", "perplexity", "scorer", "rm"), r"rm cannot answer prompts: .*Allowed: plm, sft, dpo"),
        (put("data", "on_dist", "perplexity", "percentile", 100), r"on_dist\.perplexity\.percentile: found 100"),
        (put("data", "on_dist", "perplexity", "prompts", "no"), r"perplexity\.prompts: no data set is called 'no'"),
        (put("data", "on_dist", "perplexity", "prompts", "corpus"), r"corpus has the columns text, but prompt is need"),
        (put("data", "on_dist", "perplexity", "max_new_tokens", 128), r"leaves no room for a prompt in max_length 128"),
        (put("data", "on_dist", "perplexity", "max_length", 129), r"perplexity\.max_length: 129 tokens do not fit"),
        (put("data", "on_dist", "perplexity", "scorer", "tuned"), r"tuned is trained on on_dist, which needs tuned"),
        (put("stages", "sft", "data", "on_dist"), r"stages\.sft\.(data|.*completion)"),
        (put("data", "onpolicy", "sampled", "prompts", "on_dist"), r"on_dist is written by a stage itself, or made"),
        (put("tokenizer", "data", ["corpus", "even"]), r"tokenizer\.data: even is written by a stage, or filtered by"),
        (put("models", "tiny", "stages", {"dpo": {"data": "even"}}), r"even is written by a stage, or filtered by one"),
        (put("measures", "tokens", "data", "unique"), r"measures\.tokens\.data: unique has the columns prompt, chosen"),
        (put("data", "more", {"from": "onpolicy"}), r"more → onpolicy → unique → more"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_runs(change, message):
    study = content()
    study["data"]["questions"] = {"world": "choices", "n": 10}
    study["stages"]["rm"] = {**TUNED, "method": "reward", "data": "preferences"}
    change(study)
    with pytest.raises(StudyError, match=message):
        parse(study)


def test_pairs_without_tasks_cannot_be_balanced_by_task(tmp_path):
    study = content()
    study["data"]["even"] = {"from": "read", "balance": {"task_ratio": 2.0}}
    columns = {"prompt": "p", "chosen": "c", "rejected": "r"}
    study["data"]["read"] = {"source": {"path": str(tmp_path / "*.jsonl")}, "columns": columns}
    with pytest.raises(StudyError, match=r"read has the columns .*but task is needed\. Add it to data\.read\.columns"):
        parse(study)
    study["data"]["read"]["columns"] = {**columns, "task": "kind"}
    parse(study)


def test_of_a_source_those_columns_are_read_that_what_is_made_from_it_needs(tmp_path):
    study = content()
    study["data"]["read"] = {"source": {"path": str(tmp_path / "*.jsonl")}}
    study["data"]["even"] = {"from": "read", "balance": {"task_ratio": 2.0}}
    study["data"]["on_dist"]["from"] = "even"
    parsed = parse(study)
    assert list(parsed.data_columns("read")) == ["prompt", "chosen", "rejected", "task"]
    assert parsed.used_data() == ["corpus", "heldout", "answers", "preferences", "on_dist", "even", "read"]
    assert parsed.derived_once() == ["even"]


def test_what_filters_the_data_is_a_further_parent_through_all_sets_that_are_made_of_it():
    study = content()
    study["data"]["even"]["from"] = ["on_dist", "onpolicy"]
    study["stages"]["tuned"]["data"] = "even"
    parsed = parse(study)
    assert parsed.lineage["tuned"] == ["sft", "dpo"]
    assert parsed.stages.index("tuned") > parsed.stages.index("dpo")
    assert parsed.compared_lineage["tuned"] == ["sft"]
    study["models"]["other"] = study["models"]["tiny"]
    study["stages"]["dpo"]["sizes"] = ["tiny"]
    with pytest.raises(StudyError, match=r"stages\.tuned\.sizes: tuned is made from dpo, which other does not have"):
        parse(study)


def test_sets_that_depend_on_a_model_are_made_per_size_and_seed_and_others_once():
    study = content()
    study["seeds"] = [0, 1]
    study["stages"]["tuned"]["data"] = "even"
    parsed = parse(study)
    targets = Targets(parsed)
    assert parsed.derived_once() == ["unique"]
    assert parsed.all_model_data() == [ModelData("tiny", seed, name) for seed in (0, 1) for name in ("on_dist", "even")]
    assert parsed.all_sampled_data() == []
    root = "results/smoke"
    own = ModelData("tiny", 1, "on_dist")
    assert targets.training_inputs(Model("tiny", 1, "tuned"))["data"] == f"{root}/data/tiny/s1/even.parquet"
    assert targets.derived_inputs(ModelData("tiny", 1, "even")) == {"data": [f"{root}/data/tiny/s1/on_dist.parquet"]}
    assert targets.derived_inputs(own) == {
        "data": [f"{root}/data/unique.parquet"],
        "references": [f"{root}/references/tiny/s1/sft/unique/human/128-64-truncate-float32.parquet"],
        "own": f"{root}/answers/tiny/s1/on_dist.parquet",
    }
    assert targets.own_answers_inputs(own) == {
        "manifest": f"{root}/models/tiny/s1/sft/manifest.json",
        "weights": f"{root}/models/tiny/s1/sft/weights",
        "prompts": [f"{root}/data/unique.parquet"],
    }
    assert targets.parents_of("unique") == [f"{root}/data/preferences.parquet", f"{root}/data/more.parquet"]
    assert set(targets.all_derived_data()) <= set(targets.models())
    assert [each[:3] for each in targets.derived_sets()] == [
        ("unique", "", ""), ("on_dist", "tiny", "0"), ("even", "tiny", "0"), ("on_dist", "tiny", "1"),
        ("even", "tiny", "1"),
    ]  # fmt: skip


def test_a_filter_and_a_stage_share_what_their_model_gives_to_the_same_pairs():
    study = content()
    study["data"]["on_dist"]["from"] = "preferences"
    parsed = parse(study)
    shared = ReferenceScores(
        Model("tiny", 0, "sft"), "preferences", "human", parsed.filter_scores(_on_dist())[0].settings
    )
    assert parsed.reference_scores(Model("tiny", 0, "dpo")) == shared
    assert parsed.all_reference_scores().count(shared) == 1


def test_the_scorer_may_answer_the_prompts_of_another_set():
    study = content()
    study["data"]["on_dist"]["perplexity"]["prompts"] = "answers"
    parsed = parse(study)
    assert Targets(parsed).own_answers_inputs(_on_dist())["prompts"] == ["results/smoke/data/answers.parquet"]


def _on_dist() -> ModelData:
    return ModelData("tiny", 0, "on_dist")


def _specs(study: Study) -> tuple[str, str]:
    return derived_spec(study, "on_dist"), own_answers_spec(study, _on_dist())


@pytest.mark.parametrize(
    ("key", "value", "changes"),
    [
        ("percentile", 90.0, (True, False)),
        ("task_ratio", None, (True, False)),
        ("n", 2, (False, True)),
        ("temperature", 0.5, (False, True)),
        ("max_new_tokens", 40, (False, True)),
        ("count", None, (False, True)),
        ("max_length", 120, (False, True)),
        ("prompts", "answers", (False, False)),
    ],
)
def test_what_decides_the_bound_and_what_decides_the_answers_is_told_apart(key, value, changes):
    study = content()
    before = _specs(parse(study))
    study["data"]["on_dist"]["perplexity"][key] = value
    after = _specs(parse(study))
    assert tuple(new != old for new, old in zip(after, before, strict=True)) == changes


def test_only_decontaminated_sets_follow_the_evaluation_prompts():
    study = content()
    study["data"]["clean"] = {"from": "unique", "decontaminate": {}}
    parsed = parse(study)
    assert '"prompts":null' in derived_spec(parsed, "unique")
    assert "creative" in derived_spec(parsed, "clean")
    assert '"seed":null' in derived_spec(parsed, "clean")


def test_a_set_that_nothing_uses_is_not_made():
    study = content()
    del study["stages"]["tuned"]
    targets = Targets(parse(study))
    assert targets.derived_sets() == []
    assert "filters" not in targets.table_names()
    assert not [name for name in targets.drawings() if name.startswith("perplexity_filter")]


def test_every_job_of_derived_sets_asks_for_resources():
    demands = Demands(parse(content()), Machine())
    assert demands.extent("unique").rows == 96
    assert demands.extent("on_dist").rows == 96
    assert demands.derived_data("unique").memory > 0
    own = demands.own_answers(_on_dist())
    assert own.seconds > 0
    assert own.memory > 0


def test_the_two_parts_of_a_split_are_two_sets_that_are_decided_by_their_seed():
    study = content()
    study["data"]["train"] = {"from": "unique", "split": {"share": 0.9}, "seed": 3}
    study["data"]["rest"] = {"from": "unique", "split": {"share": 0.9, "part": "rest"}}
    study["data"]["read"] = {"source": {"hub": "org/pairs"}, "split": "train_prefs"}
    study["stages"]["tuned"]["data"] = "train"
    parsed = parse(study)
    assert parsed.derived_once() == ["unique", "train"]
    train, rest = (json.loads(derived_spec(parsed, name)) for name in ("train", "rest"))
    assert (train["transformation"], train["seed"]) == ({"split": {"share": 0.9, "part": "drawn"}}, 3)
    assert (rest["transformation"]["split"]["part"], rest["seed"]) == ("rest", 0)
    assert parsed.config.data["read"].transformation is None
    assert parsed.config.data["read"].hub_split == "train_prefs"
