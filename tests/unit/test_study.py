"""A study file is checked as a whole before anything runs, and every error says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.revisions import REVISIONS
from modecollapse.specs import generation_spec, model_spec, score_spec
from modecollapse.study import parse_study
from modecollapse.study_inheritance import read_study, study_names
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.studies import CONFIG, SMOKE, parse, put


@pytest.mark.parametrize("name", study_names(CONFIG))
def test_every_study_that_is_shipped_is_valid(name: str, tmp_path: Path) -> None:
    path = CONFIG / "studies" / f"{name}.yaml"
    study = parse_study(read_study(path, CONFIG), name, path, CONFIG, tmp_path)
    assert study.models


BAD = {
    "a misspelt key": (put("gneration", {}), ["gneration", "no such key", "'generation'"]),
    "a misspelt key of a stage": (put("stages", "dpo", "betta", 0.2), ["stages.dpo.betta", "no such key", "'beta'"]),
    "a misspelt key of a size": (
        put("models", "tiny", "stages", {"dpo": {"betta": 0.2}}),
        ["models.tiny.stages.dpo.betta", "no such key", "'beta'"],
    ),
    "a wrong type": (put("stages", "dpo", "beta", "strong"), ["stages.dpo.beta", "'strong'", "number"]),
    "a number as text": (put("stages", "dpo", "batch_size", "32"), ["stages.dpo.batch_size", "'32'", "integer"]),
    "an unknown method": (put("stages", "dpo", "method", "dpoo"), ["stages.dpo", "'dpoo'", "'sft', ", "'dpo'"]),
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
    "an unknown measure": (put("measures", "persona", {}), ["measures.persona", "no such key", "personas"]),
    "text features of nothing": (
        put("measures", "text_features", {}),
        ["measures.text_features", "nothing is compared", "train: SET", "prompts: [SET]"],
    ),
    "validation pairs without training pairs": (
        put("measures", "text_features", {"validation": "preferences", "prompts": ["creative"]}),
        ["measures.text_features", "measured in the spread of `train`"],
    ),
    "the same pairs twice": (
        put("measures", "text_features", {"train": "preferences", "validation": "preferences"}),
        ["measures.text_features", "both 'preferences'", "Name two sets"],
    ),
    "text features of no pairs": (
        put("measures", "text_features", {"train": "answers"}),
        ["measures.text_features.train", "answers has the columns", "chosen, rejected is needed"],
    ),
    "text features of unknown pairs": (
        put("measures", "text_features", {"train": "preference"}),
        ["measures.text_features.train", "preference", "Allowed", "preferences"],
    ),
    "a contrast of an unknown stage": (
        put("measures", "text_features", {"train": "preferences", "contrasts": [["dpo", "base"]]}),
        ["measures.text_features.contrasts", "'base'", "plm, sft, dpo"],
    ),
    "a contrast of a stage with itself": (
        put("measures", "text_features", {"train": "preferences", "contrasts": [["dpo", "dpo"]]}),
        ["measures.text_features.contrasts", "dpo would be compared with itself"],
    ),
    "answers longer than the context": (
        put("measures", "text_features", {"train": "preferences", "max_new_tokens": 300}),
        ["measures.text_features.max_new_tokens", "300", "at most 127"],
    ),
    "completions at another temperature": (
        put("measures", "text_features", {"prompts": ["creative"], "temperature": "0.7"}),
        ["measures.text_features.temperature", "0.7 is not sampled", "0.5, 1.0"],
    ),
    "completions in another format": (
        put("measures", "text_features", {"prompts": ["creative"], "format": "okay"}),
        ["measures.text_features.format", "okay", "Allowed: human"],
    ),
    "text features in an unknown format": (
        put("measures", "text_features", {"train": "preferences", "format": "nope"}),
        ["measures.text_features.format", "nope", "human"],
    ),
    "text features in a format without a template": (
        lambda content: [
            put("formats", "unknown", None)(content),
            put("measures", "text_features", {"train": "preferences", "format": "unknown"})(content),
        ],
        ["measures.text_features.format", "unknown has no template", "plm cannot be asked"],
    ),
    "stages without prompts": (
        lambda content: content.pop("prompts"),
        ["prompts: it is missing or empty", "models, stages, prompts, generation", "text_features.train"],
    ),
    "a world without stages": (
        lambda content: [content.pop(key) for key in ("models", "stages", "prompts", "generation")],
        ["models: it is missing or empty", "compares preference pairs alone"],
    ),
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


@pytest.mark.parametrize("number", [0, None, 2, 3])
def test_controlled_completions_are_at_most_all_or_left_out(number: int | None, content: dict[str, Any]) -> None:
    content["measures"]["diversity"] = {"controlled_completions": number}
    assert json.loads(score_spec(parse(content)))["controlled"] == (number or None)


def test_the_default_of_controlled_completions_may_be_more_than_there_are(content: dict[str, Any]) -> None:
    del content["measures"]["diversity"]
    assert json.loads(score_spec(parse(content)))["controlled"] == 10


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


def test_the_engine_is_part_of_the_science_only_where_it_is_not_the_default(content: dict[str, Any]) -> None:
    model = Model("tiny", 0, "plm")
    before = json.loads(generation_spec(parse(content), model))
    assert before["engine"] == "transformers"
    assert "engine" not in before["sampling"]
    content["generation"]["engine"] = "transformers"
    assert json.loads(generation_spec(parse(content), model)) == before
    content["generation"]["engine"] = "vllm"
    served = json.loads(generation_spec(parse(content), model))
    assert served == {**before, "engine": "vllm", "revision": REVISIONS["vllm"]}


@pytest.mark.parametrize("temperature", ["0.009", 0.001])
def test_a_temperature_that_an_engine_would_change_is_refused(content: dict[str, Any], temperature: object) -> None:
    content["generation"]["temperatures"] = [temperature, "1.0"]
    parse(content)
    content["generation"]["engine"] = "vllm"
    with pytest.raises(StudyError, match=r"generation\.temperatures: found 0\.00\d, which vLLM raises to 0\.01"):
        parse(content)
