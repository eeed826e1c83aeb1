"""`download` resolves, locks and fetches what a study needs of the hub, and says what to do where it cannot."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from modecollapse.errors import StudyError
from modecollapse.hub import Kind, Lock, Needed, Revision, lock_path, read_lock
from modecollapse.jobs.downloading import download, require_downloads
from modecollapse.snapshots import snapshot
from modecollapse.study import Study
from tests import pretend_hub
from tests.downloads import MODEL, NAME, OLD, again, gguf, study_of, tensors
from tests.pretend_hub import PretendHub


def test_a_revision_is_resolved_locked_and_fetched(hub: PretendHub, tmp_path: Path) -> None:
    commit = hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path)
    said = download(study)
    assert f"{NAME}@main: commit {commit}" in said
    lock = lock_path(study.file)
    assert lock.name == "own.lock.yaml"
    assert lock.read_text().startswith("# Written by `snakemake download --config study=")
    assert yaml.safe_load(lock.read_text()) == {"models": {NAME: {"main": commit}}}
    revision = study.revisions()[0]
    found = snapshot(study.needed()[0], read_lock(lock).commit(revision), "own")
    assert {path.name for path in found.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert (found / "model.safetensors").read_bytes() == tensors()


def test_pickled_weights_are_fetched_only_where_there_are_no_safetensors(hub: PretendHub, tmp_path: Path) -> None:
    index = b'{"weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}'
    hub.repository(NAME).push(
        {
            "config.json": b"{}",
            "tokenizer.json": b"{ }",
            "pytorch_model.bin.index.json": index,
            "pytorch_model-1.bin": b"1",
            "pytorch_model-2.bin": b"2",
            "pytorch_model-3.bin": b"not in the index",
            "training_args.bin": b"code",
        }
    )
    download(study_of(tmp_path))
    assert sorted(hub.downloads()) == [
        "config.json", "pytorch_model-1.bin", "pytorch_model-2.bin", "pytorch_model.bin.index.json", "tokenizer.json",
    ]  # fmt: skip


def test_of_a_repository_of_gguf_files_only_the_named_one_is_fetched(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push({"tiny.Q4_0.gguf": gguf(), "tiny.Q8_0.gguf": gguf(), "config.json": b"{}"})
    download(study_of(tmp_path, {"hub": NAME, "gguf": "{size}.Q4_0.gguf"}))
    assert hub.downloads() == ["tiny.Q4_0.gguf"]
    (tmp_path / "other").mkdir()
    with pytest.raises(StudyError, match=r"has no file tiny\.gguf\. It holds tiny\.Q4_0\.gguf, tiny\.Q8_0\.gguf"):
        download(study_of(tmp_path / "other", {"hub": NAME, "gguf": "tiny.gguf"}))


def test_an_adapter_is_fetched_with_its_configuration(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push(MODEL)
    hub.repository("someone/adapter").push(
        {
            "adapter_config.json": b'{"peft_type": "LORA"}',
            "adapter_model.safetensors": tensors(),
            "adapter_model.bin": b"B",
            "README.md": b"",
        }
    )
    tuned = {"method": "adapter", "from": "base", "source": {"hub": "someone/adapter"}}
    study = study_of(tmp_path, tuned=tuned)
    assert [str(revision) for revision in study.revisions()] == [f"{NAME}@main", "someone/adapter@main"]
    download(study)
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(hub.downloads())
    assert "adapter_model.bin" not in hub.downloads()


def test_of_a_data_set_everything_is_fetched_unless_patterns_say_otherwise(
    hub: PretendHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"data/train.parquet": b"1", "data/test.parquet": b"2", "README.md": b"3"}
    hub.repository("someone/data", kind="dataset").push(files)
    revision = Revision(Kind.DATASET, "someone/data", "main")

    base = study_of(tmp_path)
    for patterns, fetched in [(("data/te*.parquet",), {"data/test.parquet"}), ((), set(files))]:
        needed = [Needed(revision, patterns)]
        monkeypatch.setattr(Study, "needed", lambda study, needed=needed: needed)
        download(again(base))
        commit = read_lock(lock_path(base.file)).commit(revision)
        found = snapshot(needed[0], commit, "own")
        assert set(pretend_hub.files_of(found)) == fetched
    assert "datasets:" in lock_path(base.file).read_text()


def test_a_second_download_fetches_nothing_and_leaves_the_lock_alone(hub: PretendHub, tmp_path: Path) -> None:
    hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path)
    download(study)
    before = lock_path(study.file).stat().st_mtime_ns
    hub.requests.clear()
    download(again(study))
    assert hub.downloads() == []
    assert lock_path(study.file).stat().st_mtime_ns == before


def test_a_branch_that_has_moved_is_reported_and_not_followed(hub: PretendHub, tmp_path: Path) -> None:
    repository = hub.repository(NAME)
    old = repository.push(MODEL)
    study = study_of(tmp_path)
    download(study)
    new = repository.push({**MODEL, "model.safetensors": tensors(1.0)})
    said = download(again(study))
    assert f"{NAME}@main HAS MOVED" in said
    assert old in said
    assert new in said
    assert "delete its line in" in said
    lock = lock_path(study.file)
    assert read_lock(lock).commits == {study.revisions()[0]: old}
    lock.write_text("".join(line for line in lock.read_text().splitlines(True) if "main:" not in line))
    assert read_lock(lock).commits == {}
    assert "HAS MOVED" not in download(again(study))
    assert read_lock(lock).commits == {study.revisions()[0]: new}


def test_a_branch_that_is_gone_is_reported_and_its_commit_kept(hub: PretendHub, tmp_path: Path) -> None:
    repository = hub.repository(NAME)
    old = repository.push(MODEL)
    study = study_of(tmp_path)
    download(study)
    del repository.branches["main"]
    assert "IS NO LONGER ON THE HUB" in download(again(study))
    del repository.commits[old]
    with pytest.raises(StudyError, match=f"no longer has the locked commit {old}"):
        download(again(study))


def test_a_commit_is_a_revision_like_any_other(hub: PretendHub, tmp_path: Path) -> None:
    commit = hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path, {"hub": NAME, "revision": commit})
    assert commit in download(study)
    assert read_lock(lock_path(study.file)).commits == {study.revisions()[0]: commit}


def test_what_can_be_had_is_locked_and_fetched_although_something_else_cannot(hub: PretendHub, tmp_path: Path) -> None:
    commit = hub.repository(NAME).push(MODEL)
    study = study_of(tmp_path, other={"method": "checkpoint", "source": {"hub": "someone/else"}})
    with pytest.raises(StudyError, match="someone/else"):
        download(study)
    assert list(read_lock(lock_path(study.file)).commits.values()) == [commit]
    assert "model.safetensors" in hub.downloads()


def test_a_hub_that_cannot_be_reached_is_one_message(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = PretendHub()
    with hub.running():
        pass  # nobody listens there any more
    pretend_hub.use(monkeypatch, cache, hub)
    with pytest.raises(StudyError, match=f"{NAME}@main: the hub cannot be reached.*where there is a network"):
        download(study_of(tmp_path))


def test_offline_a_revision_is_locked_from_the_cache_and_nothing_is_fetched(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache)
    study = study_of(tmp_path)
    with pytest.raises(StudyError, match=r"not known in the hub's cache.*HF_HUB_OFFLINE is set.*HF_HUB_OFFLINE=0"):
        download(study)
    commit = pretend_hub.cache_repository(cache, NAME, MODEL)
    assert commit in download(study)
    assert read_lock(lock_path(study.file)).commits == {study.revisions()[0]: commit}
    other = pretend_hub.cache_repository(cache, NAME, {**MODEL, "config.json": b"{ }"})
    assert f"now:    {other}" in download(again(study))


def test_what_was_downloaded_for_one_study_can_be_locked_offline_for_another(
    hub: PretendHub, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.repository(NAME).push(MODEL)
    download(study_of(tmp_path / "a"))
    pretend_hub.use(monkeypatch, cache)
    assert commit in download(study_of(tmp_path / "b"))


def test_offline_weights_that_are_not_in_the_cache_are_missed(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache)
    index = b'{"weight_map": {"a": "model-1.safetensors"}}'
    pretend_hub.cache_repository(cache, NAME, {"config.json": b"{}", "model.safetensors.index.json": index})
    with pytest.raises(StudyError, match=r"lacks model-1\.safetensors"):
        download(study_of(tmp_path))


def test_a_run_needs_what_is_not_locked_or_not_fetched_yet(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_hub.use(monkeypatch, cache)
    study = study_of(tmp_path)
    with pytest.raises(StudyError, match=rf"no commit is locked.*snakemake download --config study={study.file}`"):
        require_downloads(study, study.needed())
    locked = replace(study, lock=Lock(study.lock.file, {study.revisions()[0]: OLD}))
    with pytest.raises(StudyError, match=rf"commit {OLD} is not in the hub's cache.*snakemake download"):
        require_downloads(locked, study.needed())
    commit = pretend_hub.cache_repository(cache, NAME, MODEL)
    require_downloads(replace(study, lock=Lock(study.lock.file, {study.revisions()[0]: commit})), study.needed())


def test_a_study_without_the_hub_downloads_nothing(tmp_path: Path) -> None:
    assert "needs nothing of the hub" in download(study_of(tmp_path, {"path": "somewhere"}))
