"""The lock beside a study: sorted, kept, and refused where its content is wrong."""

from pathlib import Path

import pytest
import yaml

from modecollapse.errors import StudyError
from modecollapse.hub import Kind, Revision, add_to_lock, read_lock
from tests.downloads import NEW, OLD, study_of


def test_a_lock_is_sorted_and_keeps_every_entry_as_it_was(tmp_path: Path) -> None:
    lock = tmp_path / "own.lock.yaml"
    odd = ["1.0", "null", "1e5", "v2", "refs/pr/1", "0123"]
    commits = {Revision(Kind.MODEL, "b/b", revision): "1" * 40 for revision in odd}
    add_to_lock(lock, {**commits, Revision(Kind.DATASET, "a/a", "main"): "1e" + "0" * 38}, "command")
    first = Revision(Kind.MODEL, "a/a", "main")
    add_to_lock(lock, {first: NEW, Revision(Kind.MODEL, "b/b", "v2"): OLD}, "command")
    assert read_lock(lock).commits == {
        **commits, first: NEW, Revision(Kind.DATASET, "a/a", "main"): "1e" + "0" * 38,
    }  # fmt: skip
    assert yaml.safe_load(lock.read_text()) == {
        "models": {"a/a": {"main": NEW}, "b/b": dict.fromkeys(odd, "1" * 40)},
        "datasets": {"a/a": {"main": "1e" + "0" * 38}},
    }
    assert list(yaml.safe_load(lock.read_text())["models"]) == ["a/a", "b/b"]


@pytest.mark.parametrize("text", ["", "\n", "# only the heading\n", "models:\n"])
def test_a_lock_whose_entries_were_all_deleted_is_empty(tmp_path: Path, text: str) -> None:
    (tmp_path / "own.lock.yaml").write_text(text)
    assert study_of(tmp_path).lock.commits == {}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("modells: {}", "only `models` and `datasets`"),
        ("models: [a]", r"models: found \['a'\]"),
        ("models: {a/b: main}", r"models\.a/b: found 'main'"),
        ("models: {a/b: {main: main}}", r"models\.a/b\.main: found 'main'. Allowed: a full commit of 40"),
        (f"models: {{a/b: {{main: {OLD[:7]}}}}}", "Allowed: a full commit"),
        ("- a", "not a mapping.*Write lines"),
        ("models: {a/b: {main: x}", "not valid YAML"),
    ],
)
def test_a_lock_with_wrong_content_is_refused_before_anything_starts(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "own.lock.yaml").write_text(text)
    with pytest.raises(StudyError, match=rf"own\.lock\.yaml.*{word}"):
        study_of(tmp_path)
