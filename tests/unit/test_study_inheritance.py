"""A study file may state only its differences to another one."""

from pathlib import Path

import pytest
import yaml

from modecollapse.errors import StudyError
from modecollapse.study_files import load_study
from modecollapse.study_inheritance import read_study, study_names

CONFIG = Path(__file__).parents[2] / "config"

BASE = {
    "title": "base",
    "seeds": [0, 1],
    "stages": {"plm": {"method": "pretrain", "tokens": 5}, "sft": {"method": "sft", "from": "plm", "epochs": 2}},
    "measures": {"truth": True, "tokens": {"data": "heldout"}},
}


def write(directory: Path, name: str, content: object) -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def extended(directory: Path, changes: dict[str, object]) -> dict[str, object]:
    write(directory, "base", BASE)
    return read_study(write(directory, "own", {"extends": "base.yaml", **changes}), CONFIG)


def test_a_study_without_extends_is_read_as_it_is(tmp_path: Path) -> None:
    assert read_study(write(tmp_path, "base", BASE), CONFIG) == BASE


def test_mappings_are_merged_and_lists_replaced(tmp_path: Path) -> None:
    found = extended(tmp_path, {"title": "own", "seeds": [3], "stages": {"sft": {"epochs": 1}, "dpo": {"from": "sft"}}})
    sft = {"method": "sft", "from": "plm", "epochs": 1}
    stages = {"plm": BASE["stages"]["plm"], "sft": sft, "dpo": {"from": "sft"}}
    assert found == {**BASE, "title": "own", "seeds": [3], "stages": stages}


def test_a_stage_of_another_method_replaces_the_stage(tmp_path: Path) -> None:
    found = extended(tmp_path, {"stages": {"sft": {"method": "dpo", "from": "plm"}}})
    assert found["stages"] == {"plm": BASE["stages"]["plm"], "sft": {"method": "dpo", "from": "plm"}}


def test_null_removes_a_key(tmp_path: Path) -> None:
    found = extended(tmp_path, {"measures": {"tokens": None}, "seeds": None})
    assert found["measures"] == {"truth": True}
    assert "seeds" not in found


def test_a_study_may_extend_one_that_extends_another(tmp_path: Path) -> None:
    write(tmp_path, "base", BASE)
    write(tmp_path, "middle", {"extends": "base.yaml", "title": "middle", "seeds": [7]})
    top = write(tmp_path, "top", {"extends": "middle.yaml", "title": "top"})
    assert read_study(top, CONFIG) == {**BASE, "title": "top", "seeds": [7]}


@pytest.mark.parametrize(
    ("extends", "expected"),
    [
        ("no-such", ["extends", "no study no-such", "nano-smoke"]),
        ("no-such.yaml", ["extends", "a path relative to this file"]),
        (["nano"], ["extends", "found ['nano']"]),
        ("own.yaml", ["own.yaml extends", "circle"]),
    ],
)
def test_a_wrong_name_is_an_error_that_says_what_is_allowed(
    tmp_path: Path, extends: object, expected: list[str]
) -> None:
    with pytest.raises(StudyError) as error:
        read_study(write(tmp_path, "own", {"extends": extends}), CONFIG)
    assert all(part in str(error.value) for part in expected), error.value


def test_a_study_in_a_directory_of_its_own_extends_a_shipped_one_by_name(tmp_path: Path) -> None:
    own = write(tmp_path, "own", {"extends": "nano-smoke", "seeds": [0, 1], "stages": {"dpo": {"beta": 0.2}}})
    study = load_study({"study": str(own), "results": str(tmp_path)}, CONFIG)
    smoke = load_study({"study": "nano-smoke", "results": str(tmp_path)}, CONFIG)
    assert len(study.models) == 2 * len(smoke.models)
    assert study.config.stages["dpo"].beta == 0.2
    assert study.config.stages["sft"] == smoke.config.stages["sft"]


def test_a_fault_in_what_is_extended_names_the_key(tmp_path: Path) -> None:
    own = write(tmp_path, "own", {"extends": "nano-smoke", "stages": {"dpo": {"betta": 0.2}}})
    with pytest.raises(StudyError, match=r"own\.yaml: stages\.dpo\.betta: no such key"):
        load_study({"study": str(own)}, CONFIG)


def test_a_source_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path, "base", {"stages": {"plm": {"method": "checkpoint", "source": {"hub": "a/b", "revision": "v1"}}}})
    own = write(tmp_path, "own", {"extends": "base.yaml", "stages": {"plm": {"source": {"path": "here"}}}})
    assert read_study(own, CONFIG)["stages"]["plm"] == {"method": "checkpoint", "source": {"path": "here"}}


def test_prompt_files_beside_what_is_extended_are_found_there(tmp_path: Path) -> None:
    for directory, text in (("base", "Theirs"), ("own", "Ours")):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "asked.yaml").write_text(f"name: asked\nprompts: [{{id: a, text: {text}}}]\n")
    write(tmp_path / "base", "base", {"extends": "nano-smoke", "prompts": {"creative": "asked.yaml"}})
    own = write(tmp_path / "own", "own", {"extends": "../base/base.yaml"})
    study = load_study({"study": str(own)}, CONFIG)
    assert study.prompts["creative"].prompts[0].text == "Theirs"


def test_lock_files_are_no_studies(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    for name in ("one", "one.lock"):
        write(tmp_path / "studies", name, {})
    assert study_names(tmp_path) == ["one"]


def test_starts_of_answers_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text("name: asked\nprompts: [{id: a, text: Why, start: Because}]\n")
    changes = {"extends": "nano-smoke", "prompts": {"creative": "asked.yaml"}}
    kept = load_study({"study": str(write(tmp_path, "kept", changes))}, CONFIG)
    bare = load_study({"study": str(write(tmp_path, "bare", {**changes, "generation": {"starts": False}}))}, CONFIG)
    assert [study.prompts["creative"].prompts[0].start for study in (kept, bare)] == ["Because", ""]
