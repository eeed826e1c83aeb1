"""What a study says of judged comparisons: who is compared and judged, and what is refused."""

import json

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.judging.checks import check_judgements
from modecollapse.judging.comparisons import Comparisons, Judgement
from modecollapse.judging.specs import judgement_tables_spec, judgements_spec, sheet_spec
from modecollapse.specs import generation_spec, model_spec, score_spec
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import SMOKE, parse, put

RM = {"method": "reward", "from": "sft", "data": "preferences", "max_length": 128, "max_prompt_length": 64}
ENDPOINT = {"base_url": "http://127.0.0.1:1/v1", "model": "judge"}
JUDGES = {"rm": {"reward": "rm"}, "truth": {"reward": "utility"}, "gpt": {"endpoint": ENDPOINT}}


def content(**changes):
    found = read_yaml(SMOKE)
    found["stages"]["rm"] = {**RM}
    found["measures"]["judgements"] = {"reference": "sft", "judges": {**JUDGES}, **changes}
    return found


def judgement(judge, stage="dpo"):
    return Judgement(judge, Model("tiny", 0, stage))


def test_what_descends_from_the_reference_is_compared_unless_stages_are_named():
    assert Comparisons(parse(content())).judgements() == [judgement(name) for name in JUDGES]
    named = Comparisons(parse(content(stages=["plm", "dpo"])))
    assert named.stages == ["plm", "dpo"]
    assert Comparisons(parse(read_yaml(SMOKE))).judgements() == []


def test_cells_are_those_of_both_stages_in_their_common_format_at_the_temperatures():
    found = content(temperatures=[0.5, "1"], prompts=["factual"])
    found["stages"]["dpo"]["formats"] = ["qa", "human"]
    study = parse(found)
    inputs = Targets(study).judgement_inputs(judgement("rm"))
    assert inputs["cells"] == [
        f"results/smoke/generations/tiny/s0/dpo/factual/human/T{temperature}.parquet" for temperature in ("0.5", "1.0")
    ]
    assert inputs["reference_cells"] == [path.replace("/dpo/", "/sft/") for path in inputs["cells"]]
    assert inputs["reward_manifest"] == "results/smoke/models/tiny/s0/rm/manifest.json"
    assert "reward_manifest" not in Targets(study).judgement_inputs(judgement("truth"))


def test_a_judge_makes_nothing_else_stale_and_files_of_its_own():
    plain, judged = read_yaml(SMOKE), content()
    plain["stages"]["rm"] = {**RM}
    before, after = parse(plain), parse(judged)
    for spec in (generation_spec, model_spec):
        assert spec(before, Model("tiny", 0, "dpo")) == spec(after, Model("tiny", 0, "dpo"))
    assert score_spec(before) == score_spec(after)
    new = sorted(set(Targets(after).everything()) - set(Targets(before).everything()))
    assert set(Targets(before).everything()) < set(Targets(after).everything())
    assert [path for path in new if "/judgements/" in path] == [
        f"results/smoke/judgements/{name}/tiny/s0/dpo.parquet" for name in sorted(JUDGES)
    ]
    assert {path.split("/")[-1].split(".")[0] for path in new if "/tables/" in path} == {
        "win_rates",
        "judge_agreement",
        "judged_pairs",
    }
    lonely = Targets(parse(content(judges={"rm": {"reward": "rm"}})))
    assert lonely.judgement_tables() == ["win_rates", "judged_pairs"]


def test_a_spec_says_what_decides_a_verdict_and_not_how_an_endpoint_is_reached():
    spec = judgements_spec(parse(content()), judgement("gpt"))
    ways = {"base_url": "https://elsewhere.example/v1", "key_from": "SECRET", "concurrency": 9, "timeout_seconds": 5.0}
    ways |= {"tries": 2, "requests_per_minute": 5.0, "longest_wait_seconds": 1.0, "budget": {"requests": 5}}
    other = content()
    other["measures"]["judgements"]["judges"]["gpt"] = {"endpoint": {**ENDPOINT, **ways}}
    assert judgements_spec(parse(other), judgement("gpt")) == spec
    for change in ({"model": "b"}, {"seed": 1}, {"max_tokens": 5}, {"system": ""}, {"criteria": {"all": ["wit"]}}):
        other["measures"]["judgements"]["judges"]["gpt"] = {"endpoint": {**ENDPOINT, **change}}
        assert judgements_spec(parse(other), judgement("gpt")) != spec
        assert judgements_spec(parse(other), judgement("rm")) == judgements_spec(parse(content()), judgement("rm"))


def test_a_reward_model_s_name_is_no_matter_and_a_judge_s_name_neither():
    found = content(judges={"other": {"reward": "judge"}})
    found["stages"]["judge"] = found["stages"].pop("rm")
    assert judgements_spec(parse(found), judgement("other")) == judgements_spec(parse(content()), judgement("rm"))


def test_tasks_are_those_of_prompts_or_the_names_of_their_sets(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text('name: own\nprompts: [{id: a, text: "A?", task: open QA}, {id: b, text: "B?"}]\n')
    found = content()
    found["prompts"] = {"mine": str(file)}
    study = parse(found)
    assert Comparisons(study).tasks == {"mine": ["open QA", "mine"]}
    assert [row[3] for row in json.loads(sheet_spec(study))["prompts"]["mine"]] == ["open QA", "mine"]
    assert "open QA" not in generation_spec(study, Model("tiny", 0, "dpo")), "tasks make no completion stale"
    assert list(json.loads(judgements_spec(study, judgement("gpt")))["judge"]["endpoint"]["criteria"]) == [
        "mine",
        "open QA",
    ]


def test_people_who_have_labelled_nothing_get_sheets_and_are_in_no_table(tmp_path):
    targets = Targets(parse(content(judges={"people": {"labels": []}, "truth": {"reward": "utility"}})))
    assert targets.judgement_tables() == ["win_rates", "judged_pairs"]
    assert targets.all_judgements() == ["results/smoke/judgements/truth/tiny/s0/dpo.parquet"]
    assert targets.all_sheets() == [f"results/smoke/sheets/people/tiny/s0/dpo.{of}" for of in ("html", "csv", "sha256")]
    assert Targets(parse(content(judges={"people": {"labels": []}}))).judgement_tables() == []


def test_labels_by_people_are_read_beside_all_sheets_of_their_judge(tmp_path):
    (tmp_path / "labels.csv").write_text("")
    judges = {"ann": {"labels": [str(tmp_path / "labels.csv")]}, "new": {"labels": []}, "truth": {"reward": "utility"}}
    targets = Targets(parse(content(judges=judges, reference="plm")))
    assert targets.judgement_inputs(judgement("ann"))["sheets"] == [
        f"results/smoke/sheets/ann/tiny/s0/{stage}.csv" for stage in ("sft", "dpo")
    ]
    assert targets.judgement_inputs(judgement("truth"))["sheets"] == []


def test_labels_count_by_what_is_in_their_files(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("a")
    study = parse(content(judges={"people": {"labels": [str(file)]}}))
    before = judgements_spec(study, judgement("people"))
    assert str(tmp_path) not in before
    file.write_text("bb")
    study = parse(content(judges={"people": {"labels": [str(file)]}}))
    assert judgements_spec(study, judgement("people")) != before
    assert json.loads(sheet_spec(study)).items() <= json.loads(before).items(), "labels change no sheet"


def test_the_table_s_spec_names_stages_as_figures_do():
    assert json.loads(judgement_tables_spec(parse(content())))["labels"] == {"sft": "SFT", "dpo": "DPO"}


def in_other_words(found):
    found["stages"]["dpo"]["formats"] = ["qa"]
    found["analysis"]["across_formats"] = {"own": {"plm": "human", "sft": "human", "dpo": "qa"}}


SETTINGS = ("measures", "judgements")
BAD = {
    "an unknown reference": (put(*SETTINGS, "reference", "sff"), ["judgements.reference", "'sff'", "plm, sft, dpo"]),
    "a reference without answers": (put(*SETTINGS, "reference", "rm"), ["judgements.reference", "stage with answers"]),
    "a reference without descendants": (put(*SETTINGS, "reference", "dpo"), ["no stage descends from dpo"]),
    "the reference itself": (put(*SETTINGS, "stages", ["sft"]), ["sft is the reference itself"]),
    "an unknown stage": (put(*SETTINGS, "stages", ["ppo"]), ["judgements.stages", "'ppo'"]),
    "an unknown prompt set": (put(*SETTINGS, "prompts", ["funny"]), ["judgements.prompts", "'funny'"]),
    "a temperature that is not sampled": (put(*SETTINGS, "temperatures", [0.7]), ["sampled at 0.7", "0.5, 1.0"]),
    "more completions than there are": (put(*SETTINGS, "completions", 4), ["completions: 4 is more than the 3"]),
    "no common format": (in_other_words, ["dpo is measured under qa", "prompt format in common"]),
    "an unknown reward": (
        put(*SETTINGS, "judges", {"a": {"reward": "rn"}}),
        ["judges.a.reward: 'rn' is no stage of the study", "rm, utility, words"],
    ),
    "a stage that gives no scores": (put(*SETTINGS, "judges", {"a": {"reward": "dpo"}}), ["'dpo' gives no scores"]),
    "criteria of a task that no prompt is of": (
        put(*SETTINGS, "judges", {"a": {"endpoint": {**ENDPOINT, "criteria": {"all": ["wit"], "facts": ["truth"]}}}}),
        ["judges.a.endpoint.criteria", "task type 'facts'", "creative, factual, all"],
    ),
    "what may be the key itself": (
        put(*SETTINGS, "judges", {"a": {"endpoint": {**ENDPOINT, "key_from": "sk-123"}}}),
        ["judges.a.endpoint.key_from: it is no name of an environment variable"],
    ),
    "labels that are not there": (
        put(*SETTINGS, "judges", {"a": {"labels": ["none.csv"]}}),
        ["judges.a.labels: there is no file none.csv", "sheets/a", "labels: []"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_judged_is_refused_with_its_key(name):
    found = content()
    change, messages = BAD[name]
    change(found)
    with pytest.raises(StudyError) as error:
        check_judgements(parse(found))
    for message in [str(SMOKE), *messages]:
        assert message in str(error.value)
    assert "sk-123" not in str(error.value)


def test_sizes_that_lack_the_judge_or_the_reference_are_not_compared_unseen():
    found = content()
    found["models"]["large"] = {**found["models"]["tiny"]}
    found["stages"]["rm"]["sizes"] = ["tiny"]
    with pytest.raises(StudyError, match=r"judges\.rm\.reward: large has no rm, but dpo is compared in it"):
        check_judgements(parse(found))
    found["stages"]["rm"].pop("sizes")
    for stage in ("sft", "dpo", "rm"):
        found["stages"][stage]["sizes"] = ["tiny"]
    found["measures"]["judgements"]["stages"] = ["plm", "dpo"]
    models = Comparisons(parse(found)).models()
    assert {(model.size, model.stage) for model in models} == {("tiny", "plm"), ("tiny", "dpo")}


def test_utility_needs_a_world():
    found = read_yaml(SMOKE)
    found = {key: found[key] for key in ("title", "prompts", "generation", "analysis")} | {
        "models": {"mine": {}},
        "stages": {
            name: {"method": "completions", "layout": "table", "files": {"creative": "c", "factual": "f"}, **more}
            for name, more in (("sft", {}), ("dpo", {"from": "sft"}))
        },
        "measures": {"judgements": {"reference": "sft", "judges": {"truth": {"reward": "utility"}}}},
    }
    with pytest.raises(StudyError, match=r"judges\.truth\.reward: .*no `world`"):
        check_judgements(parse(found))
