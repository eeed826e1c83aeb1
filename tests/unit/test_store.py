"""The store gives back what it was given, under the key it was given for, and forgets the least recently used first."""

import json
import logging
import os
import shutil
import signal
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse import stopping
from modecollapse import store as module
from modecollapse.cells import Model
from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.jobs.models import Inputs, make_model
from modecollapse.manifest import Manifest, Run, read_manifest, write_manifest, write_run
from modecollapse.methods.checkpoint import CheckpointSettings
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
from modecollapse.store import Store, model_key

KEY, OTHER = "aa" + "0" * 62, "bb" + "0" * 62
MODEL = model_key({}, {})
"""The key of the model below."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A published model directory."""
    directory = tmp_path / "results" / "model"
    (directory / "weights").mkdir(parents=True)
    (directory / "weights" / "model.safetensors").write_bytes(b"weights")
    (directory / "weights" / "config.json").write_text("{}")
    write_sealed(pa.table({"step": [1]}), directory / "curves.parquet")
    write_run(Run(wall_seconds=1.5, device="cpu"), directory / "run.json")
    files = sha256_directory(directory / "weights")
    manifest = Manifest(model="m/s0/a", spec={}, inputs={}, files=files, versions={}, seed=0, steps=1, tokens=2)
    write_manifest(manifest, directory / "manifest.json")
    return directory


def keep(store: Store, kind: str, key: str, path: Path, metadata: dict[str, str] | None = None, used: int = 0) -> Path:
    """Keep a table in the store; returns its place there, last used at `used`."""
    store.publish_table(kind, key, pa.table({"text": [key]}), path, metadata or {})
    place = store.root / kind / key[:2] / key
    os.utime(place, (used, used))
    return place


def writable(path: Path) -> bool:
    return bool(stat.S_IMODE(path.stat().st_mode) & 0o222)


def test_a_table_comes_back_under_its_own_key_only(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = keep(store, "cells", KEY, tmp_path / "cell.parquet", {"key": KEY})
    assert store.restore_table("cells", KEY, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "cell.parquet").read_bytes()
    wrong = store.root / "cells" / OTHER[:2] / OTHER
    wrong.parent.mkdir()
    shutil.copyfile(place, wrong)
    with caplog.at_level(logging.WARNING):
        assert not store.restore_table("cells", OTHER, tmp_path / "other.parquet")
    assert f"states the key {KEY}" in caplog.text
    assert not wrong.exists()
    assert not (tmp_path / "other.parquet").exists()
    assert place.exists()


def test_a_corrupt_table_is_thrown_away_with_a_warning(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = keep(store, "cells", KEY, tmp_path / "cell.parquet")
    place.write_bytes(place.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        assert not store.restore_table("cells", KEY, tmp_path / "again.parquet")
        assert store.read_table("cells", KEY) is None
    assert "the store's copy is not used" in caplog.text
    assert not place.exists()


def test_a_table_without_a_file_of_its_own_is_written_and_read(store: Store) -> None:
    table = pa.table({"value": [0.5, 1.5]})
    assert store.read_table("scores", KEY) is None
    store.write_table("scores", KEY, table)
    kept = store.read_table("scores", KEY)
    assert kept is not None
    assert kept.equals(table)
    place = store.root / "scores" / KEY[:2] / KEY
    (store.root / "scores" / OTHER[:2]).mkdir()
    place.rename(store.root / "scores" / OTHER[:2] / OTHER)
    assert store.read_table("scores", OTHER) is None


def test_a_model_comes_back_whole_with_the_record_of_its_run(store: Store, model: Path, tmp_path: Path) -> None:
    store.keep_model(MODEL, model)
    before = sha256_directory(model)
    assert "run.json" in before
    shutil.rmtree(model)
    assert store.restore_model(MODEL, model)
    assert sha256_directory(model) == before


def test_a_model_without_the_record_of_its_run_comes_back_too(store: Store, model: Path) -> None:
    (model / "run.json").unlink()
    store.keep_model(MODEL, model)
    write_run(Run(wall_seconds=9, device="another"), model / "run.json")
    assert store.restore_model(MODEL, model)
    assert not (model / "run.json").exists(), "what stood there told of another run"


def test_weights_that_the_store_shares_are_read_only_and_can_be_removed_and_replaced(store: Store, model: Path) -> None:
    place = store.root / "models" / MODEL[:2] / MODEL
    weights = Path("weights") / "model.safetensors"
    store.keep_model(MODEL, model)
    for restored in (False, True):
        if restored:
            assert store.restore_model(MODEL, model)
        assert (model / weights).samefile(place / weights)
        assert not writable(model / weights)
        assert not writable(model / "weights" / "config.json")
        assert writable(model / "weights"), "Snakemake puts a timestamp there"
        os.utime(model / weights)
    replacement = model / "replacement"
    replacement.write_bytes(b"other")
    replacement.replace(model / weights)
    assert (place / weights).read_bytes() == b"weights"
    shutil.rmtree(model)
    assert store.restore_model(MODEL, model)


def test_outputs_that_snakemake_must_find_writable_are_copies(store: Store, model: Path) -> None:
    place = store.root / "models" / MODEL[:2] / MODEL
    store.keep_model(MODEL, model)
    for name in ("manifest.json", "curves.parquet", "run.json"):
        assert writable(model / name)
        (model / name).write_bytes(b"edited in place")
    assert store.restore_model(MODEL, model)
    for name in ("manifest.json", "curves.parquet", "run.json"):
        assert writable(model / name)
        assert not (model / name).samefile(place / name)


def test_a_model_under_another_key_is_not_taken(store: Store, model: Path, caplog: pytest.LogCaptureFixture) -> None:
    store.keep_model(MODEL, model)
    wrong = store.root / "models" / OTHER[:2] / OTHER
    shutil.copytree(store.root / "models" / MODEL[:2] / MODEL, wrong)
    with caplog.at_level(logging.WARNING):
        assert not store.restore_model(OTHER, model.parent / "other")
    assert "another key" in caplog.text
    assert not (model.parent / "other").exists()
    assert not wrong.exists()


def test_a_model_that_comes_back_under_another_name_says_so(store: Store, model: Path, tmp_path: Path) -> None:
    store.keep_model(MODEL, model)
    renamed = Model("m", 1, "b")
    manifest = make_model(
        renamed, {}, CheckpointSettings(source={"path": "unused"}), Inputs(), tmp_path / "renamed", store
    )
    assert manifest.model == str(renamed)
    stated = json.loads(read_metadata(tmp_path / "renamed" / "curves.parquet")["model"])
    assert Model(**stated) == renamed
    assert read_manifest(model / "manifest.json").model == "m/s0/a"


def test_leftovers_of_a_killed_writer_are_not_kept(store: Store, model: Path) -> None:
    (model / ".curves.parquet.1234.partial").write_bytes(b"half")
    (model / ".weights.1234.old").mkdir()
    (model / ".weights.1234.old" / "model.safetensors").write_bytes(b"old")
    store.keep_model(MODEL, model)
    kept = {path.name for path in (store.root / "models" / MODEL[:2] / MODEL).iterdir()}
    assert kept == {"weights", "curves.parquet", "manifest.json", "run.json"}


def test_weights_become_readable_for_those_who_may_read_their_directory(store: Store, model: Path) -> None:
    (model / "weights" / "model.safetensors").chmod(0o600)
    store.keep_model(MODEL, model)
    kept = store.root / "models" / MODEL[:2] / MODEL / "weights"
    assert stat.S_IMODE((kept / "model.safetensors").stat().st_mode) == stat.S_IMODE(kept.stat().st_mode) & 0o444


def test_a_directory_in_the_place_of_a_table_is_discarded(store: Store, tmp_path: Path) -> None:
    place = store.root / "cells" / KEY[:2] / KEY
    place.mkdir(parents=True)
    assert not store.restore_table("cells", KEY, tmp_path / "cell.parquet")
    assert not place.exists()


def test_work_goes_on_where_the_store_cannot_be_written(
    store: Store, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.root.write_text("a file where the store's directory should be")
    assert list(store.turns(["a", "b"])) == ["a", "b"]
    with caplog.at_level(logging.WARNING), store.locked(KEY):
        store.publish_table("cells", KEY, pa.table({"text": ["a"]}), tmp_path / "cell.parquet", {})
        store.keep_model(MODEL, model)
    assert read_sealed(tmp_path / "cell.parquet").to_pylist() == [{"text": "a"}]
    assert "the store cannot keep this (cells)" in caplog.text
    assert "the store cannot keep this (models)" in caplog.text
    with pytest.raises(StudyError, match="--config store=DIR"):
        store.state(KEY)


def test_weights_are_copied_where_they_cannot_be_linked(
    store: Store, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    before = sha256_directory(model)
    store.keep_model(MODEL, model)
    shutil.rmtree(model)
    assert store.restore_model(MODEL, model)
    assert sha256_directory(model) == before


def test_prune_removes_what_was_not_used_for_longest(store: Store, tmp_path: Path) -> None:
    keys = [f"{number}{number}" + "0" * 62 for number in range(3)]
    places = [keep(store, "cells", key, tmp_path / "cell.parquet", used=used) for used, key in enumerate(keys, 1)]
    sizes = [place.stat().st_size for place in places]
    store.restore_table("cells", keys[0], tmp_path / "again.parquet")
    assert store.prune(sum(sizes)) == []
    assert store.prune(sum(sizes) - 1) == [(places[1], sizes[1])]
    assert [place.exists() for place in places] == [True, False, True]


def test_prune_leaves_alone_what_is_being_written_and_the_locks(store: Store, tmp_path: Path) -> None:
    place = keep(store, "cells", KEY, tmp_path / "cell.parquet")
    partial = place.with_name(f".{OTHER}.1234.partial")
    partial.write_bytes(b"half")
    nested = store.root / "locks" / "aa" / "lock"
    nested.parent.mkdir(parents=True)
    nested.touch()
    assert store.prune(0) == [(place, (tmp_path / "cell.parquet").stat().st_size)]
    assert partial.exists()
    assert nested.exists()


def test_prune_removes_what_a_killed_job_was_writing_a_day_ago(store: Store) -> None:
    directory = store.root / "models" / "aa" / f".{KEY}.1234.partial"
    directory.mkdir(parents=True)
    assert store.prune(10**9) == []
    assert directory.exists()
    os.utime(directory, (1, 1))
    store.prune(10**9)
    assert not directory.exists()


def test_prune_keeps_the_trainer_state_of_a_running_job(store: Store) -> None:
    for key in (KEY, OTHER):
        (store.state(key) / "trainer").mkdir()
        (store.state(key) / "trainer" / "optimizer").write_bytes(b"state")
    held, done = threading.Event(), threading.Event()

    def job() -> None:
        with store.locked(KEY):
            held.set()
            done.wait(30)

    running = threading.Thread(target=job)
    running.start()
    held.wait(30)
    try:
        removed = store.prune(0)
    finally:
        done.set()
        running.join()
    assert [(entry.name, size) for entry, size in removed] == [(OTHER, 5)]
    assert (store.state(KEY) / "trainer" / "optimizer").exists()
    assert [entry.name for entry, _ in store.prune(0)] == [KEY]


def test_prune_goes_on_when_entries_vanish_meanwhile(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [keep(store, "cells", key, tmp_path / "cell.parquet") for key in (KEY, OTHER)]
    list_entries = Store._entries

    def entries_of_which_one_vanishes(self: Store) -> list[Path]:
        found = list(list_entries(self))
        places[0].unlink()
        return found

    monkeypatch.setattr(module.Store, "_entries", entries_of_which_one_vanishes)
    assert [entry for entry, _ in store.prune(0)] == [places[1]]


def test_the_state_of_a_job_that_starts_again_counts_as_used(store: Store) -> None:
    place = store.state(KEY)
    os.utime(place, (1, 1))
    assert store.state(KEY).stat().st_mtime > 1


def test_keys_that_another_job_holds_come_when_it_lets_them_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)
    other = store.turns(["a", "b"])
    assert next(other) == "a"
    mine = store.turns(["a", "b", "c"])
    assert [next(mine), next(mine)] == ["b", "c"]
    release = threading.Timer(0.05, lambda: list(other))
    release.start()
    assert list(mine) == ["a"]
    release.join()


def test_a_job_that_waits_for_another_ones_key_can_be_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    other = store.turns(["a"])
    assert next(other) == "a"
    monkeypatch.setitem(stopping._received, signal.SIGTERM, 0.0)
    with pytest.raises(stopping.Stopped):
        list(store.turns(["a"]))


def test_a_restored_file_is_readable_like_any_other(store: Store, tmp_path: Path) -> None:
    keep(store, "cells", KEY, tmp_path / "cell.parquet", {"key": KEY})
    store.restore_table("cells", KEY, tmp_path / "new" / "cell.parquet")
    assert read_sealed(tmp_path / "new" / "cell.parquet").to_pylist() == [{"text": KEY}]


def test_jobs_that_publish_the_same_model_at_once_leave_one_whole_model(
    store: Store, model: Path, tmp_path: Path
) -> None:
    store.keep_model(MODEL, model)
    target = tmp_path / "results" / "again"

    def publish(_: int) -> bool:
        return all(store.restore_model(MODEL, target) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(publish, range(4)))
    read_manifest(target / "manifest.json").verify(target / "weights")
    assert [each.name for each in target.parent.iterdir() if each.name.startswith(".")] == []
