"""What is refused of stages that choose, of rejection sampling, and of data sets that stages write."""

import json
from dataclasses import replace
from typing import Any

import pytest

from modecollapse.cells import Model, ModelData
from modecollapse.errors import StudyError
from modecollapse.people import require_labels
from modecollapse.specs import choice_spec, label_spec, model_spec, sampled_spec
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
PEOPLE = {"from": "dpo", "prompts": "preferences", "reward": "people", "n": 4, "count": 40, "overlap": 3}
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
        (put(*SET, "choose", "longest"), r"sampled\.choose: found 'longest'\. Allowed: .*most_different.*repetition"),
        (put(*SET, "choose", "repetition"), r"`reward: rm` has no effect with `choose: repetition`"),
        (put("data", "onpolicy", "sampled", {"from": "dpo", "prompts": "preferences"}), r"`reward` is missing.*people"),
        (put(*SET, "distance", "cosine"), r"`distance` has no effect without `choose: most_different`"),
        (put(*SET, "overlap", 3), r"`overlap` is for annotators and people"),
        (put(*SET, "labels", ["anna.csv"]), r"`labels` has no effect without `reward: people`"),
        (
            put("data", "onpolicy", "sampled", {**PEOPLE, "labels": ["a.csv", "a.csv"]}),
            r"sampled\.labels: given twice",
        ),
        (put("stages", "people", dict(REWARD)), r"stages\.people: data sets name people so"),
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


def with_set(**sampled: Any) -> dict[str, Any]:
    study = content()
    study["data"]["onpolicy"]["sampled"] = sampled
    return study


DATA = ModelData("tiny", 0, "onpolicy")


def test_the_answers_are_sampled_alike_whoever_labels_them_however_often():
    plain = json.loads(sampled_spec(parse(with_set(**PEOPLE)), DATA))
    assert plain["reward"] is None
    for changes in ({"overlap": 1}, {"labels": ["anna.csv"]}):
        assert json.loads(sampled_spec(parse(with_set(**PEOPLE | changes)), DATA)) == plain
    one, three, five = (
        json.loads(sampled_spec(parse(with_set(**PEOPLE | {"reward": "annotators", "overlap": overlap})), DATA))
        for overlap in (1, 3, 5)
    )
    assert three == five
    assert "publishes" not in one, "one annotator labels as the answers are sampled"
    assert three == {**one, "publishes": "candidates"}
    assert set(json.loads(sampled_spec(parse(content()), DATA))["sampling"]) == {
        *("n", "temperature", "max_new_tokens", "count")
    }, "what labels are is no part of it"


def test_which_answers_make_a_pair_decides_a_set_and_its_distance_only_where_it_is_asked():
    plain = json.loads(sampled_spec(parse(content()), DATA))
    for changes, choose in (
        ({"choose": "most_different"}, {"rule": "most_different", "distance": "edit"}),
        ({"choose": "most_different", "distance": "jaccard_2"}, {"rule": "most_different", "distance": "jaccard_2"}),
    ):
        assert json.loads(sampled_spec(parse(with_set(**SAMPLED | changes)), DATA)) == {**plain, "choose": choose}
    cosine = json.loads(
        sampled_spec(parse(with_set(**SAMPLED | {"choose": "most_different", "distance": "cosine"})), DATA)
    )
    assert cosine["choose"]["embedder"]["model"] == "all-MiniLM-L6-v2"
    repetition = {key: value for key, value in SAMPLED.items() if key != "reward"} | {"choose": "repetition"}
    study = parse(with_set(**repetition))
    assert study.judge(DATA) is None
    assert study.lineage["dpo2"] == ["dpo"]
    assert json.loads(sampled_spec(study, DATA))["reward"] is None


def test_of_files_of_labels_the_content_decides_and_not_the_name_or_the_order(tmp_path):
    def spec(*labels: str) -> dict[str, Any]:
        study = parse(with_set(**PEOPLE, labels=list(labels)))
        found: dict[str, Any] = json.loads(label_spec(replace(study, file=tmp_path / "own.yaml"), DATA))
        return found

    for name, text in (("a.csv", "1"), ("b.csv", "2"), ("c.csv", "1")):
        (tmp_path / name).write_text(text)
    assert spec("a.csv", "b.csv") == spec("b.csv", "c.csv")
    assert spec("a.csv", "b.csv") != spec("a.csv")
    assert len(spec("a.csv", "none.csv")["labels"]) == 1
    assert "labels" not in json.loads(label_spec(parse(with_set(**PEOPLE | {"reward": "annotators"})), DATA))


def test_every_seed_and_size_has_files_of_labels_of_its_own():
    study = with_set(**PEOPLE, labels=["{seed}/anna.csv"])
    study["seeds"] = [0, 1]
    parsed = parse(study)
    assert parsed.label_files(ModelData("tiny", 1, "onpolicy")) == [SMOKE.parent / "1" / "anna.csv"]
    study["data"]["onpolicy"]["sampled"]["labels"] = ["anna.csv"]
    with pytest.raises(StudyError, match=r"labels: anna\.csv would hold the labels of 2 sheets.*Put \{seed\} into"):
        parse(study)
    study["seeds"] = [0]
    study["models"]["other"] = study["models"]["tiny"]
    with pytest.raises(StudyError, match=r"labels of 2 sheets.*Put \{size\} into the name"):
        parse(study)


def test_what_is_labelled_apart_has_candidates_and_labels_and_people_have_a_sheet():
    people, annotators = (
        Targets(parse(with_set(**PEOPLE | {"reward": reward}))) for reward in ("people", "annotators")
    )
    for targets in (people, annotators):
        assert targets.labelled_names() == ["onpolicy"]
        assert targets.unlabelled_names() == []
        assert targets.sealed_label_files() == [
            "results/smoke/candidates/tiny/s0/onpolicy.parquet",
            "results/smoke/labels/tiny/s0/onpolicy.parquet",
        ]
        assert "label_agreement" in targets.table_names()
    sheet = [f"results/smoke/labelling/tiny/s0/onpolicy.{suffix}" for suffix in ("html", "csv", "sha256")]
    assert people.labelling_sheets() == sheet
    assert annotators.labelling_sheets() == []
    assert set(people.sealed_label_files() + sheet) <= set(people.models())
    assert "label_agreement" not in Targets(parse(content())).table_names()


def test_no_sheet_is_to_be_made_whose_answers_wait_for_labels_themselves(tmp_path):
    study = with_set(**PEOPLE, labels=["anna.csv"])
    study["data"]["later"] = {"sampled": {**PEOPLE, "from": "dpo2"}}
    study["stages"]["dpo3"] = {**TUNED, "from": "dpo2", "data": "later"}
    study["measures"]["judgements"] = {"reference": "sft", "judges": {"people": {"labels": []}}}

    def sheets():
        targets = Targets(replace(parse(study), file=tmp_path / "own.yaml"))
        made = targets.sheets_to_label()
        assert set(made) <= set(targets.everything())
        return {path.removeprefix("results/smoke/") for path in made if path.endswith(".html")}

    before = sheets()
    assert before == {
        "labelling/tiny/s0/onpolicy.html",
        *(f"sheets/people/tiny/s0/{stage}.html" for stage in ("dpo", "bon", "rsft")),
    }
    (tmp_path / "anna.csv").touch()
    assert sheets() == before | {"labelling/tiny/s0/later.html", "sheets/people/tiny/s0/dpo2.html"}


def test_labels_that_are_not_there_are_asked_for_with_the_way_to_make_them(tmp_path):
    study = parse(with_set(**PEOPLE))
    with pytest.raises(
        StudyError, match=r"no file of people's labels is named.*`snakemake labelling_sheets --config study=.*3 or more"
    ):
        require_labels(study, DATA, with_candidates=True)
    study = replace(parse(with_set(**PEOPLE, labels=["anna.csv"])), file=tmp_path / "own.yaml")
    with pytest.raises(StudyError, match=r"there is no file .*anna\.csv"):
        require_labels(study, DATA, with_candidates=True)
    (tmp_path / "anna.csv").write_text("pair,label\n")
    with pytest.raises(StudyError, match=r"anna\.csv, line 1: there is no column 'sheet'"):
        require_labels(study, DATA, with_candidates=True)
