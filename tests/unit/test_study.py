"""A study file is checked as a whole before anything runs, and every error says what to do."""

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.hub import Lock
from modecollapse.jobs.summary import print_summary
from modecollapse.specs import (
    analysis_spec,
    benchmarks_spec,
    figure_spec,
    generation_spec,
    model_spec,
    score_spec,
)
from modecollapse.study import Study, parse_study
from modecollapse.study_files import claim_results, load_study
from modecollapse.study_inheritance import read_study, study_names
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml

CONFIG = Path(__file__).parents[2] / "config"
SMOKE = CONFIG / "studies" / "nano-smoke.yaml"


def parse(content: dict[str, Any]) -> Study:
    return parse_study(content, "smoke", SMOKE, CONFIG, Path("results"))


@pytest.fixture
def content() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(SMOKE))


@pytest.mark.parametrize("name", study_names(CONFIG))
def test_every_study_that_is_shipped_is_valid(name: str, tmp_path: Path) -> None:
    path = CONFIG / "studies" / f"{name}.yaml"
    study = parse_study(read_study(path, CONFIG), name, path, CONFIG, tmp_path)
    assert study.models


def put(*path_and_value: Any) -> Callable[[dict[str, Any]], None]:
    *path, last, value = path_and_value

    def change(content: dict[str, Any]) -> None:
        for key in path:
            content = content.setdefault(key, {})
        content[last] = value

    return change


BAD = {
    "a misspelt key": (put("gneration", {}), ["gneration", "no such key", "'generation'"]),
    "a misspelt key of a stage": (put("stages", "dpo", "betta", 0.2), ["stages.dpo.betta", "no such key", "'beta'"]),
    "a misspelt key of a size": (
        put("models", "tiny", "stages", {"dpo": {"betta": 0.2}}),
        ["models.tiny.stages.dpo.betta", "no such key", "'beta'"],
    ),
    "a wrong type": (put("stages", "dpo", "beta", "strong"), ["stages.dpo.beta", "'strong'", "number"]),
    "a number as text": (put("stages", "dpo", "batch_size", "32"), ["stages.dpo.batch_size", "'32'", "integer"]),
    "an unknown method": (put("stages", "dpo", "method", "dpoo"), ["stages.dpo", "'dpoo'", "'sft', 'dpo'"]),
    "an unknown metric": (
        put("measures", "diversity", {"metrics": ["selfbleu"]}),
        ["measures.diversity.metrics", "no such metric", "self_bleu"],
    ),
    "more controlled completions than there are": (
        put("measures", "diversity", {"controlled_completions": 4}),
        ["controlled_completions: 4 is more than the 3 completions", "generation.completions", "Allowed: 2 to 3, or 0"],
    ),
    "one controlled completion": (
        put("measures", "diversity", {"controlled_completions": 1}),
        ["measures.diversity.controlled_completions", "1", "2 or more, 0 or null"],
    ),
    "an unknown measure": (put("measures", "personas", {}), ["measures.personas", "no such key", "diversity, tokens"]),
    "a published size without published stages": (
        put("models", "tiny", "published_as", "pythia-70m"),
        ["models.tiny.published_as", "pythia-70m", "no stage says", "published_as: plm"],
    ),
    "a published stage without a published size": (
        put("stages", "sft", "published_as", "sft"),
        ["stages.sft.published_as", "no size says", "published_as: pythia-"],
    ),
    "a published model that does not exist": (
        put("models", "tiny", "published_as", "pythia-71m"),
        ["models.tiny.published_as", "'pythia-71m'", "'pythia-70m'"],
    ),
    "a cycle": (
        lambda content: content["stages"].update(
            sft={**content["stages"]["sft"], "from": "dpo"}, dpo={**content["stages"]["dpo"], "from": "sft"}
        ),
        ["stages", "sft, dpo", "circle"],
    ),
    "a missing parent": (put("stages", "dpo", "from", "sftt"), ["stages.dpo.from", "'sftt'", "plm, sft"]),
    "no parent at all": (
        lambda content: content["stages"]["dpo"].pop("from"),
        ["stages.dpo.from", "continues another stage", "Add `from"],
    ),
    "a parent where none can be": (put("stages", "plm", "from", "sft"), ["stages", "circle"]),
    "an unknown data set": (put("stages", "sft", "data", "helpful"), ["stages.sft.data", "'helpful'", "answers"]),
    "data without the columns": (put("stages", "dpo", "data", "corpus"), ["stages.dpo.data", "chosen", "rejected"]),
    "a temperature of 0": (put("generation", "temperatures", ["0"]), ["generation.temperatures", "not above 0"]),
    "a negative temperature": (put("generation", "temperatures", [-1]), ["generation.temperatures", "not above 0"]),
    "a temperature twice": (
        put("generation", "temperatures", ["0.5", "1.0", 0.50]),
        ["generation.temperatures", "given twice", "0.5"],
    ),
    "a temperature that is no number": (put("generation", "temperatures", ["warm"]), ["'warm'", "not a number"]),
    "no temperature": (put("generation", "temperatures", []), ["generation.temperatures", "at least 1"]),
    "a size that does not divide": (
        put("models", "tiny", "architecture", {"hidden_size": 50, "layers": 2, "heads": 4, "context": 128}),
        ["models.tiny.architecture", "50", "4", "52"],
    ),
    "a sequence longer than the context": (
        put("stages", "plm", "sequence_length", 256),
        ["stages.plm.sequence_length", "256", "tiny", "at most 128"],
    ),
    "an unknown format": (put("generation", "formats", ["humna"]), ["generation.formats", "'humna'", "human"]),
    "a format without its prompt": (put("formats", {"mine": "Q: {question}"}), ["formats.mine", "{prompt}"]),
    "a built-in chat redefined": (put("formats", {"chat": {}}), ["formats.chat", "another name"]),
    "a misspelt key of a chat format": (
        put("formats", {"mine": {"sytem": "Be brief."}}),
        ["formats.mine", "sytem", "no such key", "Allowed: system, template", "'system'"],
    ),
    "a chat template that is none": (
        put("formats", {"mine": {"template": "{% for m in messages %}"}}),
        ["formats.mine", "is no Jinja template"],
    ),
    "a chat template that never reads the prompt": (
        put("formats", {"mine": {"template": "Hello"}}),
        ["formats.mine", "never reads `messages`"],
    ),
    "stages under different formats only": (
        put("stages", "plm", "formats", ["okay"]),
        [
            "plm > sft > dpo",
            "plm: okay; sft: human; dpo: human",
            "across_formats",
            "{plm: okay, sft: human, dpo: human}",
        ],
    ),
    "a comparison of an unknown stage": (
        put("analysis", "across_formats", {"paper": {"ppo": "human"}}),
        ["analysis.across_formats.paper", "'ppo'", "plm, sft, dpo"],
    ),
    "a comparison under a format that was not measured": (
        put("analysis", "across_formats", {"paper": {"plm": "okay", "sft": "human", "dpo": "human"}}),
        ["analysis.across_formats.paper.plm", "not measured under the format 'okay'", "Allowed: human"],
    ),
    "a comparison of part of a path": (
        put("analysis", "across_formats", {"paper": {"plm": "human", "sft": "human"}}),
        ["analysis.across_formats.paper", "plm, sft", "Name all of plm, sft, dpo"],
    ),
    "a comparison called like a format": (
        put("analysis", "across_formats", {"human": {"plm": "human", "sft": "human", "dpo": "human"}}),
        ["analysis.across_formats.human", "a prompt format is called so"],
    ),
    "a built-in format redefined": (put("formats", {"human": "{prompt}"}), ["formats.human", "another name"]),
    "an override of an unknown stage": (
        put("models", "tiny", "stages", {"ppo": {}}),
        ["models.tiny.stages", "'ppo'", "plm, sft, dpo"],
    ),
    "an override of the formats": (
        put("models", "tiny", "stages", {"sft": {"formats": ["qa"]}}),
        ["models.tiny.stages.sft.formats", "same for all sizes"],
    ),
    "an unknown format in an override": (
        put("models", "tiny", "stages", {"sft": {"train_format": "nope"}}),
        ["stages.sft.train_format", "tiny", "'nope'", "human"],
    ),
    "more new tokens than the context": (
        put("generation", "max_new_tokens", 500),
        ["generation.max_new_tokens", "500", "tiny", "at most 127"],
    ),
    "new tokens that leave no room for a prompt": (
        put("generation", "max_new_tokens", 128),
        ["generation.max_new_tokens", "128", "tiny", "at most 127"],
    ),
    "a prompt format given twice": (
        put("stages", "sft", "formats", ["human", "human"]),
        ["stages.sft.formats", "given twice: human"],
    ),
    "a template that looks into a prompt": (
        put("formats", {"own": "{prompt.a} {prompt}"}),
        ["formats.own", "only {prompt} and {start}"],
    ),
    "a number that is infinite": (put("stages", "dpo", "beta", float("inf")), ["stages.dpo.beta", "finite"]),
    "examples longer than the context": (
        put("stages", "dpo", "max_length", 256),
        ["stages.dpo.max_length", "256", "tiny", "at most 128"],
    ),
    "an override of the lineage": (
        put("models", "tiny", "stages", {"dpo": {"from": "plm"}}),
        ["models.tiny.stages.dpo.from", "same for all sizes"],
    ),
    "a missing prompt file": (put("prompts", "creative", "prompts/none.yaml"), ["prompts/none.yaml", "no file"]),
    "a seed twice": (put("seeds", [0, 0]), ["seeds", "given twice"]),
    "truth without a world": (
        lambda content: content.pop("world"),
        ["data", "no `world`", "Add `world"],
    ),
    "stored results of completions that are sampled here": (
        put("reference", {"layout": "analyse-llms", "files": {"dpo": "dpo.npy"}}),
        ["reference.files.dpo", "sampled here", "method completions"],
    ),
    "stored results of an unknown stage": (
        put("reference", {"layout": "analyse-llms", "files": {"ppo": "ppo.npy"}}),
        ["reference.files", "'ppo'", "plm, sft, dpo"],
    ),
    "an attribution temperature that is not sampled": (
        put("analysis", "temperature", "0.9"),
        ["analysis.temperature", "0.9", "0.5, 1.0"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_key_what_was_found_and_what_is_allowed(
    case: str, content: dict[str, Any]
) -> None:
    change, expected = BAD[case]
    change(content)
    with pytest.raises(StudyError) as error:
        parse(content)
    for part in expected:
        assert part in str(error.value)


def test_an_error_names_the_file_and_every_fault(content: dict[str, Any]) -> None:
    content["stages"]["dpo"]["betta"] = 0.2
    content["seeds"] = ["zero"]
    with pytest.raises(StudyError) as error:
        parse(content)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith(str(SMOKE)) for line in lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prompts: []", "prompts is empty"),
        ("prompts: [{id: a, text: ' '}]", "empty text"),
        ("prompts: [{id: a, text: x, answers: [y, '']}]", "accepts the answer ''"),
        ("prompts: [{id: a, text: x, answers: ['...']}]", "accepts the answer '...'"),
        ("prompts: [{id: a, text: x}, {id: a, text: y}]", "the id 'a' is used twice"),
        ("prompts: [{id: a, text: x}, {id: b, text: x}]", "the text 'x' is used twice"),
        ("prompts: [{id: a, text: null}]", "has no text, but the stage plm"),
        ("prompts: [{id: a, txt: x}]", "Did you mean 'text'?"),
        ("prompts: [{id: a/b, text: x}]", "prompts.0.id"),
        ("prompts: {", "not valid YAML"),
    ],
)
def test_bad_prompt_files_are_refused(text: str, expected: str, content: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(f"name: own\n{text}\n")
    content["prompts"]["creative"] = str(file)
    with pytest.raises(StudyError, match=expected.replace("?", r"\?").replace(".", r"\.")):
        parse(content)


def test_a_key_given_twice_in_yaml_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("title: a\ntitle: b\n")
    with pytest.raises(StudyError, match="'title' is given twice"):
        read_yaml(file)


def test_numbers_in_yaml_are_read_as_people_write_them(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("a: 1e-6\nb: 2024-01-01\nc: 1.0e5\nd: 12\ne: '0.7'\n")
    assert read_yaml(file) == {"a": 1e-6, "b": "2024-01-01", "c": 1e5, "d": 12, "e": "0.7"}


def test_numbers_of_older_yaml_are_not_guessed_at(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("seeds: [1:30, 010]\nlearning_rate: 1e400\nhuge: " + "9" * 5000 + "\n")
    assert read_yaml(file) == {"seeds": ["1:30", "010"], "learning_rate": float("inf"), "huge": "9" * 5000}


@pytest.mark.parametrize("value", ["!!set {0}", "!!timestamp 2024-01-01", "!!binary aGVsbG8="])
def test_kinds_of_yaml_that_no_study_uses_are_refused(value: str, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"seeds: {value}\n")
    with pytest.raises(StudyError, match="is not used in study files"):
        read_yaml(file)


def test_a_number_and_its_string_are_one_key(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text('models: {1: {}, "1": {}}\n')
    with pytest.raises(StudyError, match="'1' is given twice"):
        read_yaml(file)


def test_temperatures_have_one_spelling_in_paths(content: dict[str, Any]) -> None:
    content["generation"]["temperatures"] = [1, "0.70", 0.5]
    assert parse(content).config.generation.temperatures == ("1.0", "0.7", "0.5")


def test_a_size_states_only_its_difference(content: dict[str, Any]) -> None:
    content["models"]["tiny"]["stages"] = {"dpo": {"beta": 0.3}}
    study = parse(content)
    dpo = next(model for model in study.models if model.stage == "dpo")
    assert study.settings(dpo).beta == 0.3
    assert study.settings(dpo).batch_size == content["stages"]["dpo"]["batch_size"]


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


@pytest.mark.parametrize("number", [0, None, 2, 3])
def test_controlled_completions_are_at_most_all_or_left_out(number: int | None, content: dict[str, Any]) -> None:
    content["measures"]["diversity"] = {"controlled_completions": number}
    assert json.loads(score_spec(parse(content)))["controlled"] == (number or None)


def test_the_default_of_controlled_completions_may_be_more_than_there_are(content: dict[str, Any]) -> None:
    del content["measures"]["diversity"]
    assert json.loads(score_spec(parse(content)))["controlled"] == 10


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


def test_leaks_are_looked_for_in_the_words_of_each_format(content: dict[str, Any]) -> None:
    content["generation"]["formats"] = ["human", "qa", "plain", "mine"]
    content["formats"] = {"mine": "Q: {prompt}? {start}"}
    markers = json.loads(score_spec(parse(content)))["markers"]
    turns = ["Human:", "Assistant:"]
    assert markers == {
        "human": turns,
        "qa": [*turns, "Question:", "Answer:"],
        "plain": turns,
        "mine": [*turns, "Q:"],
    }


def own_study(directory: Path, **changes: Any) -> Path:
    """A small study of one checkpoint, in a file of its own."""
    content = {
        "title": "One checkpoint",
        "models": {"tiny": {}},
        "stages": {"base": {"method": "checkpoint", "source": {"path": str(directory / "{size}")}}},
        "prompts": {"factual": "prompts/nano-factual.yaml"},
        "generation": {"temperatures": [1.0]},
        **changes,
    }
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "own.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def write_checkpoint(directory: Path, positions: int = 2048) -> None:
    """What looks like a complete checkpoint until its weights are used."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"max_position_embeddings": positions}))
    (directory / "tokenizer.json").write_text("{}")
    save_file({"weight": np.zeros(3)}, directory / "model.safetensors")


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


def test_rules_for_different_choices_of_formats_have_different_names(content: dict[str, Any]) -> None:
    content["formats"] = {"a": "A {prompt}", "b": "B {prompt}", "a_b": "AB {prompt}"}
    for stage, formats in {"plm": ["a_b"], "sft": ["a", "b"], "dpo": ["b"]}.items():
        content["stages"][stage]["formats"] = formats
    content["analysis"]["across_formats"] = {"mixed": {"plm": "a_b", "sft": "a", "dpo": "b"}}
    rules = Targets(parse(content)).generating_rules(Model("{size}", 0, "{stage}"))
    assert len({name for name, _, _ in rules}) == 3


def test_a_study_is_named_for_its_file(content: dict[str, Any]) -> None:
    study = parse(content)
    assert study.name == "smoke"
    assert study.paths.table("curves") == "results/smoke/tables/curves.parquet"


def test_only_what_a_study_calls_published_is_compared(content: dict[str, Any]) -> None:
    content["models"]["pythia-70m"] = content["models"]["tiny"]
    assert parse(content).published() == {}
    assert "published_tokens" not in Targets(parse(content)).table_names()
    content["models"]["tiny"] = {
        **content["models"]["tiny"],
        "published_as": "pythia-1b",
        "stages": {"dpo": {"published_as": None}},
    }
    content["stages"]["plm"]["published_as"] = "plm"
    content["stages"]["sft"]["published_as"] = "dpo"
    content["stages"]["dpo"]["published_as"] = "dpo"
    study = parse(content)
    assert study.published() == {("tiny", "plm"): ("pythia-1b", "plm"), ("tiny", "sft"): ("pythia-1b", "dpo")}
    assert "published_tokens" in Targets(study).table_names()
    content["measures"]["tokens"] = None
    assert "published_tokens" not in Targets(parse(content)).table_names()


def test_stages_under_different_formats_are_compared_by_name(content: dict[str, Any]) -> None:
    content["stages"]["plm"]["formats"] = ["okay"]
    content["analysis"] = {"across_formats": {"paper": {"plm": "okay", "sft": "human", "dpo": "human"}}}
    study = parse(content)
    assert study.views() == {"paper": {"plm": "okay", "sft": "human", "dpo": "human"}}
    assert json.loads(analysis_spec(study))["analysis"]["across_formats"] == content["analysis"]["across_formats"]
    assert "format_effect" not in Targets(study).table_names(), "no stage has two formats"
    drawing = Targets(study).drawings()["attribution"]
    assert json.loads(figure_spec(study, drawing))["context"]["view"]["name"] == "paper"


def test_specs_of_a_study_of_one_format_do_not_know_of_others(content: dict[str, Any]) -> None:
    study = parse(content)
    model = Model("tiny", 0, "sft")
    assert "across_formats" not in analysis_spec(study)
    assert json.loads(generation_spec(study, model))["formats"] == {"human": "Human: {prompt} Assistant: {start}"}
    assert json.loads(model_spec(study, model))["format"] == "Human: {prompt} Assistant: {start}"
    for drawing in Targets(study).drawings().values():
        assert "view" not in json.loads(figure_spec(study, drawing))["context"]


def test_a_chat_format_is_in_the_specs_of_what_is_made_with_it(content: dict[str, Any]) -> None:
    content["formats"] = {"terse": {"system": "Be brief."}}
    content["stages"]["sft"] |= {"formats": ["human", "chat", "terse"], "train_format": "terse"}
    study = parse(content)
    model = Model("tiny", 0, "sft")
    terse = {"chat": {"system": "Be brief.", "template": None}}
    assert json.loads(model_spec(study, model))["format"] == terse
    found = json.loads(generation_spec(study, model))["formats"]
    assert found["terse"] == terse
    assert found["chat"] == {"chat": {"system": None, "template": None}}
    assert "format_effect" in Targets(study).table_names()


def with_benchmarks(content: dict[str, Any], **keys: Any) -> Study:
    content["data"]["asked"] = {"world": "choices", "n": 40}
    content["measures"]["benchmarks"] = {"tasks": {"nano_facts": {"data": "asked"}}, "include": "tasks/nano", **keys}
    return parse(content)


def test_benchmarks_of_a_study_are_found_with_what_each_does_differently(content: dict[str, Any]) -> None:
    tasks = {"nano_facts": {"data": "asked", "shots": [0, 2], "limit": 5}, "piqa": None}
    study = with_benchmarks(content, tasks=tasks, limit=7)
    spec = json.loads(benchmarks_spec(study, Model("tiny", 0, "sft")))
    assert [(task["name"], task["shots"], task["limit"]) for task in spec["tasks"]] == [
        ("nano_facts", [0, 2], 5),
        ("piqa", [0, 5], 7),
    ]
    assert spec["tasks"][1]["hub"] == "baber/piqa@main"
    assert {"benchmarks", "benchmarks_pooled", "benchmark_tests"} <= set(Targets(study).table_names())


def test_the_commit_of_a_benchmarks_data_set_is_part_of_what_decides_it(
    content: dict[str, Any], tmp_path: Path
) -> None:
    study = with_benchmarks(content, tasks=["piqa"])
    model = Model("tiny", 0, "sft")
    before = benchmarks_spec(study, model)
    (revision,) = study.revisions()
    locked = replace(study, lock=Lock(tmp_path / "smoke.lock.yaml", {revision: "abc"}))
    assert json.loads(benchmarks_spec(locked, model))["tasks"][0]["commit"] == "abc"
    assert benchmarks_spec(locked, model) != before


def test_the_chat_template_belongs_to_the_stages_that_ask_for_it(content: dict[str, Any]) -> None:
    study = with_benchmarks(content, chat_template=["sft"])
    chat = {stage: json.loads(benchmarks_spec(study, Model("tiny", 0, stage)))["chat"] for stage in study.stages}
    assert chat == {"plm": False, "sft": True, "dpo": False}


def test_benchmarks_that_are_not_asked_for_leave_no_trace(content: dict[str, Any]) -> None:
    targets = Targets(parse(content))
    assert not [path for path in targets.everything() if "benchmark" in path]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tasks": {"nano_facts": {"data": "nothing"}}}, "tasks.nano_facts.data: no data set is called 'nothing'"),
        ({"chat_template": ["chat"]}, "chat_template: no stage is called 'chat'"),
        ({"tasks": ["nano_fact"]}, "'nano_fact' is no task"),
        ({"tasks": {"nano_facts": {"data": "asked", "shots": [2, 2]}}}, "shots: given twice: 2"),
        ({"tasks": {"nano_facts": {"shot": [0]}}}, "no such key. Allowed: data, limit, revision, shots"),
        ({"shots": [-1]}, "greater than or equal to 0"),
    ],
)
def test_benchmarks_that_cannot_be_run_are_refused(content: dict[str, Any], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        with_benchmarks(content, **keys)


def test_a_task_on_data_that_is_read_from_a_source_is_refused(content: dict[str, Any]) -> None:
    content["data"]["rows"] = {"source": {"path": "rows.jsonl"}, "columns": {"text": "question"}}
    message = r"tasks.nano_facts.data: rows is read from a source.* Allowed: .*asked.*`dataset_path: json`"
    with pytest.raises(StudyError, match=message):
        with_benchmarks(content, tasks={"nano_facts": {"data": "rows"}})


def test_more_questions_than_the_world_has_facts_are_refused(content: dict[str, Any]) -> None:
    content["data"]["asked"] = {"world": "choices", "n": 97}
    with pytest.raises(StudyError, match=r"data.asked.n: 97 questions.* at most 96"):
        parse(content)


def test_an_adapter_is_part_of_a_stages_spec_only_where_one_is_trained(content: dict[str, Any]) -> None:
    model = Model("tiny", 0, "sft")
    assert "lora" not in model_spec(parse(content), model)
    content["stages"]["sft"]["lora"] = {"rank": 16, "target_modules": ["query_key_value"], "quantization": "nf4"}
    study = parse(content)
    stated = json.loads(model_spec(study, model))["settings"]["lora"]
    assert stated == {
        "rank": 16,
        "alpha": 8,
        "dropout": 0.0,
        "target_modules": ["query_key_value"],
        "quantization": "nf4",
    }
    assert "lora" not in model_spec(study, Model("tiny", 0, "dpo"))
    content["stages"]["sft"]["lora"] = {"rank": 0}
    with pytest.raises(StudyError, match=r"stages\.sft\.lora\.rank"):
        parse(content)
    content["stages"]["sft"]["lora"] = {"ranks": 8}
    with pytest.raises(StudyError, match=r"lora.*ranks"):
        parse(content)
