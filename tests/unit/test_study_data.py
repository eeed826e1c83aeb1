"""What a study says of its data sets is checked before anything runs; paths are no part of their identity."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modecollapse.errors import StudyError
from modecollapse.format_config import FORMATS
from modecollapse.hub import Kind, Revision
from modecollapse.jobs.data import files_of, read_data
from modecollapse.methods.examples import encode
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import read_sealed
from modecollapse.specs import data_spec
from modecollapse.study import Study
from modecollapse.study_files import load_study
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.tiny_models import save_neox

CONFIG = Path(__file__).parents[2] / "config"
SMOKE = CONFIG / "studies" / "nano-smoke.yaml"
PAIRS = [{"q": f"question {i}", "good": "yes", "bad": "no"} for i in range(4)]
MAPPED = {"prompt": "q", "chosen": "good", "rejected": "bad"}


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """The smoke study with pairs of its own, which lie beside it."""
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    content = copy.deepcopy(read_yaml(SMOKE))
    content["data"]["preferences"] = {"source": {"path": "pairs.jsonl"}, "columns": MAPPED}
    return content


def load(content: dict[str, Any], directory: Path) -> Study:
    path = directory / "mine.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_study({"study": str(path), "results": str(directory / "results"), "store": "store"}, CONFIG)


def changed(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change keys of the data set; None removes one."""

    def change(data: dict[str, Any]) -> None:
        for key, value in changes.items():
            data[key] = value
            if value is None:
                del data[key]

    return change


BAD: dict[str, tuple[dict[str, Any], list[str]]] = {
    "neither origin": ({"source": None, "columns": None}, ["data.preferences", "Give one of `world`", "`source"]),
    "both origins": ({"world": "preferences"}, ["data.preferences", "Give one of `world`"]),
    "n of a source": ({"n": 5}, ["`n` is no key of a set of local files", "broken_rows, columns, expected, sample"]),
    "a split of local files": ({"split": "train"}, ["`split` is no key of a set of local files"]),
    "a sample of a world": (
        {"source": None, "columns": None, "world": "preferences", "n": 5, "sample": 3},
        ["`sample` is no key of a part of the world", "n, seed, world"],
    ),
    "a world without n": ({"source": None, "columns": None, "world": "preferences"}, ["`n` is missing"]),
    "a seed without a sample": ({"seed": 3}, ["`seed` has no effect without `sample`"]),
    "an empty sample": ({"sample": 0}, ["data.preferences.sample", "found 0"]),
    "every row broken": ({"broken_rows": 1.0}, ["data.preferences.broken_rows", "less than 1"]),
    "no place": ({"source": {}}, ["data.preferences.source", "found nothing", "{hub: …}, {path: …}"]),
    "a misspelt key": ({"source": {"pth": "x"}}, ["data.preferences.source", "found pth", "{hub: …}, {path: …}"]),
    "a hub id without owner": (
        {"source": {"hub": "static-hh"}},
        ["data.preferences.source.hub", "'static-hh'", "OWNER/NAME"],
    ),
    "a revision of a file": (
        {"source": {"path": "a.jsonl", "revision": "main"}},
        ["data.preferences.source.revision", "no such key", "Allowed: path"],
    ),
    "files and split": (
        {"source": {"hub": "a/b"}, "files": "*.jsonl", "split": "train"},
        ["`files` takes the place of `split`"],
    ),
    "one column twice": ({"columns": {**MAPPED, "rejected": "good"}}, ["chosen and rejected answers are both 'good'"]),
    "an unknown column": ({"columns": {"answer": "good"}}, ["data.preferences.columns.answer", "'completion'"]),
    "a column that is needed": (
        {"columns": {"prompt": "q", "chosen": "good"}},
        ["stages.dpo.data", "has the columns prompt, chosen, but rejected is needed", "data.preferences.columns"],
    ),
    "no file": ({"source": {"path": "none.jsonl"}}, ["data.preferences.source", "none.jsonl", "beside the study"]),
    "no match": ({"source": {"path": "none/*.jsonl"}}, ["none/*.jsonl", "no match"]),
    "an unknown format": ({"source": {"path": "mine.yaml"}}, ["mine.yaml", "format is not known", ".jsonl.zst"]),
    "a column that the file lacks": (
        {"columns": {**MAPPED, "prompt": "question"}},
        ["data.preferences.columns", "pairs.jsonl has no 'question'; it has q, good, bad"],
    ),
    "columns under our names": ({"columns": None}, ["has no 'prompt'; it has q, good, bad", "{ours: theirs}"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_data_set_is_one_clear_error_before_any_job(name: str, content: dict[str, Any], tmp_path: Path) -> None:
    changes, words = BAD[name]
    changed(**changes)(content["data"]["preferences"])
    with pytest.raises(StudyError) as error:
        load(content, tmp_path)
    for word in [str(tmp_path / "mine.yaml"), *words]:
        assert word in str(error.value)


def test_a_data_set_that_only_a_tokenizer_uses_names_its_columns(content: dict[str, Any], tmp_path: Path) -> None:
    content["data"]["more"] = {"source": {"path": "pairs.jsonl"}}
    content["tokenizer"]["data"].append("more")
    with pytest.raises(StudyError, match=r"data\.more\.columns"):
        load(content, tmp_path)
    content["data"]["more"]["columns"] = {"text": "q"}
    assert load(content, tmp_path).data_columns("more") == {"text": "q"}


def test_sets_of_the_world_have_the_spec_that_they_always_had(content: dict[str, Any], tmp_path: Path) -> None:
    assert data_spec(load(content, tmp_path), "answers") == (
        '{"part":{"n":64,"seed":0,"world":"answers"},'
        '"world":{"revision":1,"settings":'
        + json.dumps(
            load(content, tmp_path).config.world.model_dump(mode="json"), sort_keys=True, separators=(",", ":")
        )
        + "}}"  # type: ignore[union-attr]
    )


def test_columns_are_those_that_stages_use_where_the_study_names_none(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c", "completion": "d"}\n')
    del content["data"]["preferences"]["columns"]
    assert list(load(content, tmp_path).data_columns("preferences")) == ["prompt", "chosen", "rejected"]
    content["stages"]["sft"]["data"] = "preferences"
    assert list(load(content, tmp_path).data_columns("preferences")) == ["prompt", "completion", "chosen", "rejected"]


def test_the_spec_follows_content_and_not_places_names_or_times(content: dict[str, Any], tmp_path: Path) -> None:
    data = content["data"]["preferences"]
    spec = data_spec(load(content, tmp_path), "preferences")
    assert str(tmp_path) not in spec
    assert "pairs" not in spec
    file = tmp_path / "pairs.jsonl"
    os.utime(file, (1, 1))
    assert data_spec(load(content, tmp_path), "preferences") == spec
    (tmp_path / "elsewhere").mkdir()
    moved = file.rename(tmp_path / "elsewhere" / "other.jsonl")
    data["source"]["path"] = str(moved)
    assert data_spec(load(content, tmp_path), "preferences") == spec
    data["broken_rows"] = 0.5
    assert data_spec(load(content, tmp_path), "preferences") == spec
    for change in ({"sample": 3}, {"sample": 3, "seed": 1}, {"columns": {**MAPPED, "text": "q"}}):
        content["data"]["preferences"] = {**data, **change}
        assert data_spec(load(content, tmp_path), "preferences") != spec
    content["data"]["preferences"] = data
    moved.write_text(moved.read_text() + '{"q": "one more", "good": "x", "bad": "y"}\n')
    assert data_spec(load(content, tmp_path), "preferences") != spec


def test_held_out_text_is_a_sample_of_as_many_documents_as_are_scored(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "A text."}\n')
    content["data"]["heldout"] = {"source": {"path": "text.jsonl"}}
    study = load(content, tmp_path)
    assert study.data_sample("heldout") == 10_000
    assert json.loads(data_spec(study, "heldout"))["sample"] == 10_000
    content["measures"]["tokens"]["documents"] = 7
    assert load(content, tmp_path).data_sample("heldout") == 7
    content["data"]["heldout"]["sample"] = 3
    assert load(content, tmp_path).data_sample("heldout") == 3
    # What is trained on as well is read whole.
    assert load(content, tmp_path).data_sample("preferences") is None


def test_local_files_are_inputs_of_the_rule_that_reads_them(content: dict[str, Any], tmp_path: Path) -> None:
    targets = Targets(load(content, tmp_path))
    assert targets.source_data() == ["preferences"]
    assert "preferences" not in targets.world_data()
    assert targets.data_files("preferences") == [str(tmp_path / "pairs.jsonl")]
    assert targets.data_files("answers") == []


HUB = {"source": {"hub": "org/pairs", "revision": "v1"}, "columns": MAPPED}


def test_a_hub_data_set_is_read_offline_at_the_locked_commit(
    content: dict[str, Any], tmp_path: Path, hub_cache: Callable[[str, dict[str, bytes]], Path]
) -> None:
    lines = "".join(json.dumps(pair) + "\n" for pair in PAIRS).encode()
    snapshot = hub_cache("org/pairs", {"README.md": b"# pairs", "train.jsonl": lines, "test.jsonl": b""})
    content["data"]["preferences"] = HUB
    study = load(content, tmp_path)
    revision = Revision(Kind.DATASET, "org/pairs", "v1")
    assert study.revisions() == [revision]
    # The whole grid can be planned without a lock; a job says what writes it.
    assert json.loads(data_spec(study, "preferences"))["hub"]["commit"] is None
    with pytest.raises(StudyError, match=r"org/pairs@v1.*snakemake download"):
        files_of(study, "preferences")
    (tmp_path / "mine.lock.yaml").write_text(yaml.safe_dump({"datasets": {"org/pairs": {"v1": snapshot.name}}}))
    study = load(content, tmp_path)
    spec = json.loads(data_spec(study, "preferences"))
    assert spec["hub"]["commit"] == snapshot.name
    assert str(tmp_path) not in json.dumps(spec)
    output = tmp_path / "data.parquet"
    read_data(spec, files_of(study, "preferences"), 0.0, "preferences", output)
    assert read_sealed(output)["prompt"].to_pylist() == [pair["q"] for pair in PAIRS]


def test_a_hub_data_set_without_the_split_names_those_it_has(
    content: dict[str, Any], tmp_path: Path, hub_cache: Callable[[str, dict[str, bytes]], Path]
) -> None:
    snapshot = hub_cache("org/pairs", {"train.jsonl": b"{}", "test.jsonl": b"{}"})
    content["data"]["preferences"] = {**HUB, "split": "validation"}
    (tmp_path / "mine.lock.yaml").write_text(yaml.safe_dump({"datasets": {"org/pairs": {"v1": snapshot.name}}}))
    with pytest.raises(StudyError, match=r"data\.preferences.*no 'validation'. Allowed: train, test"):
        files_of(load(content, tmp_path), "preferences")


def test_prompts_that_hold_their_turns_are_not_wrapped_twice(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(save_neox(tmp_path / "tiny"))
    pairs = [{"prompt": "\n\nHuman: are bugs real?\n\nAssistant: ", "chosen": "  Yes. \n", "rejected": "\tNo."}]
    (tmp_path / "a.jsonl").write_text(json.dumps(pairs[0]) + "\n")
    spec = {"columns": {name: name for name in pairs[0]}, "sample": None, "seed": 0}
    read_data(spec, [tmp_path / "a.jsonl"], 0.0, "a", tmp_path / "a.parquet")
    [row] = read_sealed(tmp_path / "a.parquet").to_pylist()
    form = PromptFormat("dialogue", FORMATS["dialogue"])
    encoded = encode(tokenizer, form, [row["prompt"]], [[row["chosen"]], [row["rejected"]]])
    shown = [tokenizer.decode([*encoded.prompts[0], *answer[0][:-1]]) for answer in encoded.answers]
    assert shown == [
        "\n\nHuman: are bugs real?\n\nAssistant: Yes.",
        "\n\nHuman: are bugs real?\n\nAssistant: No.",
    ]


def test_benchmarks_in_the_chat_template_of_a_model_that_is_pretrained_here_are_refused(
    content: dict[str, Any], tmp_path: Path
) -> None:
    content["measures"]["benchmarks"] = {"tasks": ["piqa"], "chat_template": ["sft"]}
    with pytest.raises(StudyError, match=r"benchmarks\.chat_template: sft .* its tokenizer has no chat template"):
        load(content, tmp_path)
