"""A study is checked against what lies outside its file: directories, stored results, other studies."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.jobs.summary import print_summary
from modecollapse.study import Study
from modecollapse.study_files import claim_results, load_study
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import CONFIG, SMOKE, own_study, parse, put, write_checkpoint


def test_an_unknown_study_or_setting_is_refused() -> None:
    with pytest.raises(StudyError, match=r"study=nanoo.*nano-smoke"):
        load_study({"study": "nanoo"}, CONFIG)
    with pytest.raises(StudyError, match="temperature=…"):
        load_study({"study": "nano", "temperature": 1}, CONFIG)


@pytest.mark.parametrize("key", ["results", "store", "completions", "reference"])
def test_an_empty_setting_is_refused(key: str) -> None:
    with pytest.raises(StudyError, match=f"{key}=: it is empty"):
        load_study({"study": "nano", key: ""}, CONFIG)


def test_finished_completions_need_their_directory(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="completions=DIR"):
        load_study({"study": "published"}, CONFIG)
    with pytest.raises(StudyError, match="no such directory"):
        load_study({"study": "published", "completions": str(tmp_path / "none")}, CONFIG)
    with pytest.raises(StudyError, match=r"pythia-2\.8b_completions_creative"):
        load_study({"study": "published", "completions": str(tmp_path)}, CONFIG)


def test_completions_of_several_seeds_stand_in_files_of_their_own() -> None:
    content = read_yaml(CONFIG / "studies" / "published.yaml")
    content["seeds"] = [0, 1]
    del content["reference"]
    with pytest.raises(StudyError, match=r"stages\.plm\.files\.creative.*all 2 seeds.*Put \{seed\}"):
        parse(content)
    for stage in content["stages"].values():
        stage["files"] = {name: f"{{seed}}/{file}" for name, file in stage["files"].items()}
    assert parse(content).config.seeds == (0, 1)


REFERENCES = {
    "words that are not measured": (put("reference", "words", 7), r"reference\.words: .*first 7 words.*20, 5"),
    "no metric in common": (
        put("measures", {"diversity": {"metrics": ["cosine", "mean_length"]}}),
        r"none of the metrics.*self_bleu, ncd",
    ),
    "prompt sets of another name": (
        lambda content: content["prompts"].update(facts=content["prompts"]["factual"]),
        r"hold the prompt sets creative, factual, but the study has creative, factual, facts",
    ),
    "two formats": (
        put("generation", "formats", ["as-published", "human"]),
        r"reference\.files\.plm: .*2 prompt formats",
    ),
    "two sizes in one file": (
        lambda content: content["models"].update(other={}),
        r"reference\.files\.plm: .*2 models\. Put \{size\}",
    ),
    "prompt sets of different lengths": (
        put("prompts", "creative", "prompts/nano-smoke-creative.yaml"),
        r"have \d+ and 20 prompts\. Give both the same number",
    ),
    "a misspelt key": (put("reference", "word", 20), r"reference\.word: no such key.*'words'"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_stored_results_that_could_not_be_compared_are_refused(case: str) -> None:
    content = read_yaml(CONFIG / "studies" / "published.yaml")
    change, message = REFERENCES[case]
    change(content)
    if case in ("prompt sets of another name", "two formats"):
        for stage in content["stages"].values():
            stage["files"].update(dict.fromkeys(content["prompts"], "file.npy"))
    with pytest.raises(StudyError, match=message):
        parse(content)


def test_a_study_compares_only_where_the_results_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    study = parse(read_yaml(CONFIG / "studies" / "published.yaml"))
    assert not study.compares()
    assert study.compared() == []
    assert not {"comparison", "published"} & set(Targets(study).table_names())
    print_summary(study)
    assert "name their directory: --config reference=DIR" in capsys.readouterr().out
    named = replace(study, reference=Path("somewhere"))
    print_summary(named)
    assert "--config reference" not in capsys.readouterr().out
    assert [model.stage for model in named.compared()] == ["plm", "sft", "dpo"]
    assert named.reference_file(named.compared()[1]) == Path("somewhere/pythia-2.8b-sft_results_20_words.npy")
    assert "results/smoke/tables/finding.html" in Targets(named).tables()
    assert "published_panels_pythia-2.8b" in Targets(named).drawings()


@pytest.mark.parametrize("limit", ["plenty", 0, -1, "nan", "inf", True, None])
def test_a_limit_of_the_store_that_is_no_number_above_0_is_refused(limit: Any) -> None:
    with pytest.raises(StudyError, match=rf"store_limit_gb={limit}: it is no number above 0"):
        load_study({"study": "nano", "store_limit_gb": limit}, CONFIG)


def test_more_controlled_completions_than_a_file_has_are_refused(tmp_path: Path) -> None:
    rows = [
        {"prompt": prompt.id, "sample": sample, "temperature": 1.0, "text": "a"}
        for prompt in parse(read_yaml(SMOKE)).prompts["factual"].prompts
        for sample in range(4)
    ]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = {"base": {"method": "completions", "layout": "table", "files": {"factual": "own.jsonl"}}}

    def load(number: int) -> Study:
        measures = {"diversity": {"controlled_completions": number, "metrics": ["self_bleu"]}}
        prompts = {"factual": str(CONFIG / "prompts/nano-smoke-factual.yaml")}
        file = own_study(tmp_path, stages=stages, measures=measures, prompts=prompts)
        return load_study({"study": str(file), "completions": str(tmp_path)}, CONFIG)

    with pytest.raises(StudyError, match=r"controlled_completions: 5 is more than the 4 completions .*own\.jsonl"):
        load(5)
    assert load(4).imported()


def test_a_checkpoint_that_is_not_there_or_not_complete_is_refused(tmp_path: Path) -> None:
    settings = {"study": str(own_study(tmp_path))}
    weights = tmp_path / "tiny"

    def refused(why: str) -> None:
        with pytest.raises(StudyError, match=rf"stages\.base\.source \(tiny.*{weights}.*{why}"):
            load_study(settings, CONFIG)

    refused("there is no such directory")
    write_checkpoint(weights)
    assert load_study(settings, CONFIG).local_source(Model("tiny", 0, "base")) == weights
    for file, why in [
        ("config.json", "no config"),
        ("tokenizer.json", "no tokenizer"),
        ("model.safetensors", "no weights"),
    ]:
        content = (weights / file).read_bytes()
        (weights / file).unlink()
        refused(why)
        if file != "tokenizer.json":
            (weights / file).write_bytes(content[: len(content) // 2])
            refused("cannot be read")
        (weights / file).write_bytes(content)
    (weights / "model.safetensors.index.json").write_text('{"weight_map": {"weight": "b.safetensors"}}')
    refused("b.safetensors cannot be read")


def test_lengths_have_to_fit_the_context_of_a_checkpoint(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "tiny", positions=8)
    with pytest.raises(StudyError, match=r"max_new_tokens: \d+ tokens do not fit the context of tiny, 8.*at most 7"):
        load_study({"study": str(own_study(tmp_path))}, CONFIG)


def test_an_embedder_that_is_not_there_is_refused_if_a_metric_needs_it(tmp_path: Path) -> None:
    measures = {"diversity": {"embedder": {"model": "all-minilm"}}}
    write_checkpoint(tmp_path / "tiny")
    with pytest.raises(StudyError, match=r"embedder\.model: 'all-minilm' is no known embedder"):
        load_study({"study": str(own_study(tmp_path, measures=measures))}, CONFIG)
    measures["diversity"]["metrics"] = ["self_bleu"]
    assert not load_study({"study": str(own_study(tmp_path, measures=measures))}, CONFIG).embeds()


@pytest.fixture
def two_studies(tmp_path: Path) -> list[dict[str, str]]:
    """The settings of two studies of one name with the same directory for results."""
    for name in "ab":
        own_study(tmp_path / name)
        write_checkpoint(tmp_path / name / "tiny")
    return [{"study": str(tmp_path / name / "own.yaml"), "results": str(tmp_path / "results")} for name in "ab"]


def finish_something(study: Study) -> None:
    """Claim the study's results, as the workflow does when it starts, and make one."""
    claim_results(study)
    Path(study.paths.table("curves")).parent.mkdir(parents=True)
    Path(study.paths.table("curves")).touch()


def test_two_studies_of_one_name_do_not_share_results(two_studies: list[dict[str, str]], tmp_path: Path) -> None:
    finish_something(load_study(two_studies[0], CONFIG))
    assert load_study(two_studies[0], CONFIG).name == "own"
    with pytest.raises(StudyError, match=r"b/own\.yaml.*another study of this name.*a/own\.yaml.*Rename"):
        load_study(two_studies[1], CONFIG)
    (tmp_path / "a" / "own.yaml").unlink()
    assert load_study(two_studies[1], CONFIG).name == "own", "a study that was moved keeps its results"


def test_a_study_that_made_nothing_owns_nothing(two_studies: list[dict[str, str]]) -> None:
    claim_results(load_study(two_studies[0], CONFIG))
    assert load_study(two_studies[1], CONFIG).name == "own"


def test_results_elsewhere_belong_to_a_study_wherever_it_is_called_from(
    two_studies: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two_studies
    monkeypatch.chdir(tmp_path / "a")
    study = load_study({**first, "study": "own.yaml"}, CONFIG)
    assert study.paths.logs() == f"{tmp_path}/results/own/logs"
    finish_something(study)
    monkeypatch.chdir(tmp_path / "b")
    assert load_study(first, CONFIG).name == "own"
    with pytest.raises(StudyError, match="another study of this name"):
        load_study({**second, "study": "own.yaml"}, CONFIG)
