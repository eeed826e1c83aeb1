"""A manifest states what a model is and nothing of the run that made it, and notices every change."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.digests import sha256_file
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.jobs.models import Inputs, make_model
from modecollapse.manifest import Manifest, read_manifest, write_manifest
from modecollapse.methods import METHODS
from modecollapse.methods.base import Method, RewardSource, TrainingJob, TrainingRecord
from modecollapse.schema import Strict
from modecollapse.store import Store

MODEL = Model("tiny", 0, "plm")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Registers the method "fake", which writes equal weights, slower each time; its runs are noted in the list."""
    made: list[float] = []

    def run(job: TrainingJob) -> TrainingRecord:
        time.sleep(0.01 * len(made))
        made.append(time.time())
        (job.output / "model.safetensors").write_bytes(b"weights")
        return TrainingRecord(steps=2, tokens=3, curves=[{"step": 1, "loss": 0.5}])

    fake = Method("fake", 1, Strict, run, needs_parent=False, data_columns=(), modules=())
    monkeypatch.setitem(METHODS, "fake", fake)
    return made


def make(directory: Path, store: Path, **spec: Any) -> Manifest:
    return make_model(MODEL, {"method": "fake", "threads": 1, **spec}, Strict(), Inputs(), directory, Store(store))


def test_two_trainings_with_equal_weights_give_the_same_manifest_to_the_byte(runs: list[float], tmp_path: Path) -> None:
    for name in ("first", "second"):
        make(tmp_path / name, tmp_path / f"store of the {name}")
    first, second = ((tmp_path / name / "manifest.json").read_bytes() for name in ("first", "second"))
    assert len(runs) == 2
    assert first == second
    assert set(json.loads((tmp_path / "first" / "run.json").read_text())) == {"wall_seconds", "device", "layout"}


@pytest.mark.parametrize(
    ("change", "shares"),
    [({}, True), ({"parent": "other"}, False), ({"adapter": False}, False), ({"quantization": "nf4"}, False)],
)
def test_a_reward_shares_the_parent_if_it_is_an_adapter_of_that_in_as_many_bits(
    change: dict[str, Any], shares: bool, tmp_path: Path
) -> None:
    def published(name: str, inputs: dict[str, str], quantization: str | None) -> Path:
        directory = tmp_path / name
        (directory / "adapter").mkdir(parents=True)
        spec = {"settings": {"lora": {"quantization": quantization}}}
        manifest = Manifest(name, spec, inputs, {"model.safetensors": "0" * 64}, {}, 0, 1, 1)
        write_manifest(manifest, directory / "manifest.json")
        return directory

    parent = published("parent", {}, None)
    weights = read_manifest(parent / "manifest.json").weights
    reward = published("reward", {"parent": change.get("parent", weights)}, change.get("quantization"))
    if not change.get("adapter", True):
        (reward / "adapter").rmdir()
    inputs = Inputs(
        parent_manifest=parent / "manifest.json",
        reward="rm",
        reward_weights=reward,
        reward_manifest=reward / "manifest.json",
    )
    found = inputs.reward_source({"settings": {"lora": {"rank": 4, "quantization": None}}})
    assert found == RewardSource("rm", reward, shares)


@pytest.mark.parametrize("kind", ["a copied file", "a converted file", "a file that is gone", "a GGUF file"])
def test_a_source_that_changed_after_the_plan_is_not_stored_under_its_old_digest(
    runs: list[float], tmp_path: Path, kind: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    name = "model.safetensors" if kind == "a copied file" else "pytorch_model.bin"
    weights = source / name
    weights.write_bytes(b"weights")  # what the method writes
    spec: dict[str, Any] = {"method": "fake", "threads": 1}
    if kind == "a GGUF file":
        spec["source"] = {"gguf": sha256_file(weights)}
        inputs = Inputs(source=weights)
    else:
        spec["files"] = {name: sha256_file(weights)}
        inputs = Inputs(source=source)
    store = Store(tmp_path / "store")
    make_model(MODEL, spec, Strict(), inputs, tmp_path / "good", store)
    planned = {**spec, "threads": 2}
    if kind == "a copied file":
        planned["files"] = {name: "0" * 64}
    elif kind == "a file that is gone":
        weights.unlink()
    else:
        weights.write_bytes(b"others")
    for _ in range(2):  # nothing was kept the first time
        with pytest.raises(StudyError, match=rf"source/{name} was changed while the study ran"):
            make_model(MODEL, planned, Strict(), inputs, tmp_path / "bad", store)
    assert not (tmp_path / "bad" / "manifest.json").exists()


def test_what_cannot_be_told_about_a_source_stands_in_the_log_and_in_the_record_of_the_run_only(
    runs: list[float], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "plain", tmp_path / "store")
    inputs, spec = Inputs(remark="Nobody knows."), {"method": "fake", "threads": 1}
    for name in ("made", "restored"):
        caplog.clear()
        make_model(MODEL, spec, Strict(), inputs, tmp_path / name, Store(tmp_path / "other store"))
        assert "Nobody knows." in caplog.text
        assert json.loads((tmp_path / name / "run.json").read_text())["remarks"] == ["Nobody knows."]
        assert (tmp_path / name / "manifest.json").read_bytes() == (tmp_path / "plain" / "manifest.json").read_bytes()


def test_the_record_of_the_run_is_the_one_that_made_the_weights(runs: list[float], tmp_path: Path) -> None:
    make(tmp_path / "model", tmp_path / "store")
    record = (tmp_path / "model" / "run.json").read_bytes()
    make(tmp_path / "model", tmp_path / "store", seed=1)
    assert (tmp_path / "model" / "run.json").read_bytes() != record
    make(tmp_path / "model", tmp_path / "store")
    assert len(runs) == 2, "the third time it came back from the store"
    assert (tmp_path / "model" / "run.json").read_bytes() == record


def test_a_manifest_is_read_as_it_was_written_and_an_altered_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    manifest = Manifest(
        model="m", spec={"a": 1}, inputs={}, files={"f": "0"}, versions={"torch": "2"}, seed=1, steps=2, tokens=3
    )
    write_manifest(manifest, path)
    assert read_manifest(path) == manifest
    path.write_text(path.read_text().replace('"steps": 2', '"steps": 4'))
    with pytest.raises(CorruptFile, match="does not match its own digest"):
        read_manifest(path)
    path.write_text("{}")
    with pytest.raises(CorruptFile, match="Delete it and run the same command again"):
        read_manifest(path)
