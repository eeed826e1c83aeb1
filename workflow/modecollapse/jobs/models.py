"""Making a model: restored from the store, or trained by its method, resumed where a killed job left off."""

import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.digests import canonical, sha256_directory, sha256_file
from modecollapse.errors import StudyError
from modecollapse.hub import snapshot
from modecollapse.jobs.data import verify_tokenizer
from modecollapse.manifest import Manifest, Run, library_versions, read_manifest, write_manifest, write_run
from modecollapse.methods import METHODS
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.base import TrainingJob
from modecollapse.prompts import PromptFormat
from modecollapse.schema import Strict
from modecollapse.sealed import read_metadata, read_sealed, write_sealed
from modecollapse.sources import GgufSource
from modecollapse.store import Store, model_key, place_model

if TYPE_CHECKING:
    from modecollapse.study import Study

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What a model is made from; None where its method needs no such thing."""

    parent_weights: Path | None = None
    parent_manifest: Path | None = None
    data: Path | None = None
    tokenizer: Path | None = None
    tokenizer_manifest: Path | None = None
    source: Path | None = None
    """The directory or GGUF file that weights are taken from; what is in it is part of the spec."""

    def verified_digests(self) -> dict[str, str]:
        """The digest of each input, after checking every byte of it.

        Raises:
            CorruptFile: an input is not what was published.
        """
        digests = {}
        if self.parent_manifest and self.parent_weights:
            parent = read_manifest(self.parent_manifest)
            parent.verify(self.parent_weights)
            digests["parent"] = parent.weights
        if self.data:
            read_sealed(self.data)
            digests["data"] = read_metadata(self.data)["modecollapse.sha256"]
        if self.tokenizer and self.tokenizer_manifest:
            verify_tokenizer(self.tokenizer_manifest, self.tokenizer)
            digests["tokenizer"] = sha256_file(self.tokenizer_manifest)
        return digests


def find_source(study: "Study", model: Model) -> Path | None:
    """The directory or GGUF file that the model's weights are taken from; None if it is trained.

    Raises:
        StudyError: it is on the hub, and its revision is not locked or not in the hub's cache.
    """
    needed = study.needed_of(model)
    if needed is None:
        return study.local_source(model)
    found = snapshot(needed.revision, study.lock.commit(needed.revision), study.called())
    source = study.source(model)
    return found / source.gguf if isinstance(source, GgufSource) else found


def make_model(
    model: Model, spec: Mapping[str, Any], settings: Strict, inputs: Inputs, directory: Path, store: Store
) -> Manifest:
    """Publish the model that `spec` asks for at `directory` (`weights/`, `curves.parquet`, `manifest.json`).

    Equal weights made in the same environment have the same manifest; `run.json` beside it tells of the run itself.
    A model that was finished before comes back from the store; a training that was killed is resumed.
    """
    digests = inputs.verified_digests()
    key = model_key(spec, digests)
    with store.locked(key):
        if store.restore_model(key, directory):
            _rename(model, directory)
            logger.info("%s came back from the store, nothing was computed", model)
        else:
            finished = _train(model, spec, settings, inputs, digests, store.state(key))
            # Kept before it is published: a kill in between must not cost a trained model.
            store.keep_model(key, finished)
            place_model(finished, directory)
        store.drop_state(key)
    return read_manifest(directory / "manifest.json")


def _rename(model: Model, directory: Path) -> None:
    """Make a restored model say whose it is: an equal one may have been made under another name."""
    manifest = read_manifest(directory / "manifest.json")
    if manifest.model != str(model):
        _write_curves(read_sealed(directory / "curves.parquet"), model, directory)
        write_manifest(replace(manifest, model=str(model)), directory / "manifest.json")


def _write_curves(curves: pa.Table, model: Model, directory: Path) -> None:
    write_sealed(curves, directory / "curves.parquet", {"model": canonical(asdict(model))})


def _train(
    model: Model,
    spec: Mapping[str, Any],
    settings: Strict,
    inputs: Inputs,
    digests: Mapping[str, str],
    state: Path,
) -> Path:
    """Train; returns the directory with the finished model, below `state`."""
    method = METHODS[spec["method"]]
    finished = state / "finished"
    output = finished / "weights"
    shutil.rmtree(finished, ignore_errors=True)
    output.mkdir(parents=True)
    (state / "trainer").mkdir(exist_ok=True)
    begun = time.monotonic()
    record = method.run(
        TrainingJob(
            settings=settings,
            seed=spec.get("seed", 0),
            threads=spec["threads"],
            output=output,
            state=state / "trainer",
            parent=inputs.parent_weights,
            source=inputs.source,
            architecture=ArchitectureSettings.model_validate(spec["architecture"]) if "architecture" in spec else None,
            tokenizer=inputs.tokenizer,
            data=inputs.data,
            format=PromptFormat("train", spec["format"]) if "format" in spec else None,
        )
    )
    files = sha256_directory(output)
    taken_over: Mapping[str, str] = spec.get("files", {})
    if changed := [name for name, stated in taken_over.items() if files.get(name, stated) != stated]:
        raise StudyError(f"{inputs.source}/{changed[0]} was changed while the study ran. Run the same command again.")
    manifest = Manifest(
        model=str(model),
        spec=dict(spec),
        inputs=dict(digests),
        files=files,
        versions=library_versions(),
        seed=spec.get("seed", 0),
        steps=record.steps,
        tokens=record.tokens,
    )
    run = Run(wall_seconds=round(time.monotonic() - begun, 3), device=_device())
    _write_curves(pa.Table.from_pylist(record.curves), model, finished)
    write_run(run, finished / "run.json")
    write_manifest(manifest, finished / "manifest.json")
    return finished


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
