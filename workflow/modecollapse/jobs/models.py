"""Making a model: restored from the store, or trained by its method, resumed where a killed job left off."""

import importlib.metadata
import itertools
import json
import logging
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.data.nano.world import WorldSettings
from modecollapse.digests import sha256_directory, sha256_file
from modecollapse.errors import StudyError
from modecollapse.identities import identity_metadata
from modecollapse.jobs.tokenizers import verify_tokenizer
from modecollapse.manifest import Manifest, Run, read_manifest, write_manifest, write_run
from modecollapse.methods import METHODS, launching, lora
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.base import AdaptedBase, RewardSource, TrainingJob
from modecollapse.methods.guard_settings import GuardSource
from modecollapse.methods.layout import Layout
from modecollapse.methods.processes import computes_on
from modecollapse.methods.reference_file import check_key, reference_key
from modecollapse.prompts import PromptFormat
from modecollapse.schema import Strict
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.snapshots import snapshot
from modecollapse.sources import GgufSource
from modecollapse.store import Store, model_key, place_model

if TYPE_CHECKING:
    from modecollapse.study import Study

logger = logging.getLogger(__name__)

_LIBRARIES = ("torch", "transformers", "trl", "accelerate", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class Inputs:
    """What a model is made from; None where its method needs no such thing."""

    parent_weights: Path | None = None
    parent_manifest: Path | None = None
    data: Path | None = None
    tokenizer: Path | None = None
    tokenizer_manifest: Path | None = None
    base_weights: Path | None = None
    base_manifest: Path | None = None
    """What the parent's adapter was trained on."""
    reward_weights: Path | None = None
    reward_manifest: Path | None = None
    reward: str | None = None
    """The name of the stage or function that scores answers."""
    world: WorldSettings | None = None
    reference_scores: Path | None = None
    reference_spec: Mapping[str, Any] | None = None
    """The spec that the reference's log-probabilities must be of."""
    source: Path | None = None
    """The directory or GGUF file that weights are taken from; what is in it is part of the spec."""
    guard: GuardSource | None = None
    """The benchmarks that the model is put to while it is tuned."""
    remark: str | None = None
    """What cannot be told about the source: for the log and the record of the run."""

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
        if self.base_manifest and self.base_weights and self.parent_manifest:
            base = read_manifest(self.base_manifest)
            base.verify(self.base_weights)
            digests["base"] = base.weights
            if read_manifest(self.parent_manifest).inputs["parent"] != base.weights:
                raise StudyError(
                    f"The adapter in {self.parent_weights} was trained on other weights than {self.base_weights} has. "
                    "Delete both directories and run the same command again: what is in the store comes back."
                )
        if self.data:
            read_sealed(self.data)
            digests["data"] = read_metadata(self.data)[SEAL]
        if self.tokenizer and self.tokenizer_manifest:
            verify_tokenizer(self.tokenizer_manifest, self.tokenizer)
            digests["tokenizer"] = sha256_file(self.tokenizer_manifest)
        if self.reward_manifest and self.reward_weights:
            reward = read_manifest(self.reward_manifest)
            reward.verify(self.reward_weights)
            digests["reward"] = reward.weights
        if self.reference_scores and self.reference_spec is not None:
            key = reference_key(self.reference_spec, digests["parent"], digests["data"])
            digests["reference"] = check_key(self.reference_scores, key)
        for task, data, _ in self.guard.tasks if self.guard else ():
            if task.settings.data is not None and data is not None:
                read_sealed(data)
                digests[f"guard {task.name}"] = read_metadata(data)[SEAL]
        return digests

    def adapted(self, spec: Mapping[str, Any]) -> AdaptedBase | None:
        """What the parent's adapter was trained on, for a model that keeps it apart; else None."""
        return None if self.base_weights is None else AdaptedBase(self.base_weights, **spec["adapted"])

    def reward_source(self, spec: Mapping[str, Any]) -> RewardSource | None:
        """What scores answers of the model that `spec` decides; None if nothing does.

        A reward that is an adapter shares the parent with it, if it was trained on that, in the same number of bits.
        """
        if self.reward is None or self.reward_weights is None or self.reward_manifest is None:
            return None if self.reward is None else RewardSource(self.reward)
        assert self.parent_manifest is not None
        trained = read_manifest(self.reward_manifest)
        shares = (
            (self.reward_weights / lora.DIRECTORY).is_dir()
            and trained.inputs.get("parent") == read_manifest(self.parent_manifest).weights
            and _quantization_in(trained.spec["settings"]) == _quantization_in(spec["settings"])
        )
        return RewardSource(self.reward, self.reward_weights, shares)


def _quantization_in(settings: Mapping[str, Any]) -> str | None:
    """How a base is quantized under an adapter."""
    quantization: str | None = (settings.get("lora") or {}).get("quantization")
    return quantization


def find_source(study: "Study", model: Model) -> Path | None:
    """The directory or GGUF file that the model's weights are taken from; None if it is trained.

    Raises:
        StudyError: it is on the hub, and its revision is not locked or not in the hub's cache.
    """
    needed = study.needed_of(model)
    if needed is None:
        return study.local_source(model)
    found = snapshot(needed, study.lock.commit(needed.revision), study.called())
    source = study.source(model)
    return found / source.gguf if isinstance(source, GgufSource) else found


def describe(study: "Study", model: Model) -> dict[str, Any]:
    """The fields of `Inputs` that say what its files are: weights that are taken over, reference scores, a reward.

    Raises:
        StudyError: as `find_source`; or an adapter was trained on other weights than those of its parent.
    """
    from modecollapse.specs import reference_spec

    fields: dict[str, Any] = {}
    method, source = study.method(model), find_source(study, model)
    assert method is not None
    if source is not None:
        fields["source"] = source
    if source is not None and method.merges_adapter:
        from modecollapse.adapter_bases import check_base

        fields["remark"] = check_base(study, model, source)
    if (scores := study.reference_scores(model)) is not None:
        fields["reference_spec"] = json.loads(reference_spec(study, scores))
    if study.guards(model) is not None:
        fields["guard"] = _guard_source(study, model)
    if method.needs_reward:
        fields |= {"reward": study.stage(model).reward, "world": study.config.world}
    return fields


def _guard_source(study: "Study", model: Model) -> GuardSource:
    """The benchmarks that a run is watched by.

    Raises:
        StudyError: a data set of the hub is not locked or not in its cache.
    """
    from modecollapse.jobs.benchmarks import data_of_task

    settings, rails = study.config.measures.benchmarks, study.config.measures.guard_rails
    guards = study.guards(model)
    assert settings is not None
    assert rails is not None
    assert guards is not None
    known, tasks, changes = {task.name: task for task in study.benchmarks}, [], dict(settings.tasks)
    for rail in study.run_rails(model):
        limits = [limit for limit in (settings.limit_of(rail.task), guards.limit) if limit is not None]
        changes[rail.task] = changes[rail.task].model_copy(update={"limit": min(limits, default=None)})
        tasks.append((known[rail.task], data_of_task(study, known[rail.task]), rail.spec))
    limited = settings.model_copy(update={"tasks": changes})
    return GuardSource(tuple(tasks), limited, rails.confidence, model.stage in settings.chat_template)


@dataclass(frozen=True)
class Asked:
    """A model that a job has to make."""

    model: Model
    spec: Mapping[str, Any]
    """Everything that decides its weights beside the inputs."""
    directory: Path
    """Where it is published: `weights/`, `curves.parquet`, `manifest.json`, `run.json`."""


def make_model(
    model: Model,
    spec: Mapping[str, Any],
    settings: Strict,
    inputs: Inputs,
    directory: Path,
    store: Store,
    layout: Layout | None = None,
) -> Manifest:
    """Publish the model that `spec` asks for at `directory` (`weights/`, `curves.parquet`, `manifest.json`).

    Equal weights made in the same environment have the same manifest; `run.json` beside it tells of the run itself.
    A model that was finished before comes back from the store; a training that was killed is resumed.
    """
    return make_models([Asked(model, spec, directory)], settings, inputs, store, layout)[0]


def make_models(
    asked: Sequence[Asked], settings: Strict, inputs: Inputs, store: Store, layout: Layout | None = None
) -> list[Manifest]:
    """Publish the models of one training run: one, or those after each of its epochs, in their order.

    As `make_model`. If the store lacks one of several, the whole run is made again, and those that it has stay as they
    are: what descends from them does not change.
    """
    if inputs.remark:
        logger.warning("%s", inputs.remark)
    digests = inputs.verified_digests()
    keys = [model_key(each.spec, digests) for each in asked]
    with ExitStack() as locks:
        for key in sorted(keys):  # in one order for all jobs, so that no two wait for each other
            locks.enter_context(store.locked(key))
        restored = [store.restore_model(key, each.directory) for key, each in zip(keys, asked, strict=True)]
        for each in itertools.compress(asked, restored):
            _rename(each.model, each.directory)
            logger.info("%s came back from the store, nothing was computed", each.model)
        if not all(restored):
            finished = _train(asked, settings, inputs, digests, store.state(keys[-1]), layout or Layout())
            for each, directory in itertools.compress(zip(asked, finished, strict=True), restored):
                _compare(each, directory)
            new = [not old for old in restored]
            made = list(itertools.compress(zip(keys, asked, finished, strict=True), new))
            # Kept before it is published: a kill in between must not cost a trained model.
            for key, _, directory in made:
                store.keep_model(key, directory)
            for _, each, directory in made:
                place_model(directory, each.directory)
        store.drop_state(keys[-1])
    return [read_manifest(each.directory / "manifest.json") for each in asked]


def _compare(asked: Asked, finished: Path) -> None:
    """Say so where a restored model, which stays, is not bit by bit the one that its run has now come through."""
    before, again = (read_manifest(directory / "manifest.json") for directory in (asked.directory, finished))
    if before.weights != again.weights:
        logger.warning(
            "%s came back from the store, but its run, made again for other epochs, has other weights there: it was "
            "computed in other circumstances. It stays as it was; the epochs that were missing are of the new run.",
            asked.model,
        )


def _rename(model: Model, directory: Path) -> None:
    """Make a restored model say whose it is: an equal one may have been made under another name."""
    manifest = read_manifest(directory / "manifest.json")
    if manifest.model != str(model):
        _write_curves(read_sealed(directory / "curves.parquet"), model, directory)
        write_manifest(replace(manifest, model=str(model)), directory / "manifest.json")


def _table(curves: Sequence[Mapping[str, float]]) -> pa.Table:
    """The points of curves as rows; a quantity that a point lacks is null there."""
    names = dict.fromkeys(name for point in curves for name in point)
    return pa.table({name: [point.get(name) for point in curves] for name in names})


def _write_curves(curves: pa.Table, model: Model, directory: Path) -> None:
    write_sealed(curves, directory / "curves.parquet", identity_metadata(model))


def _train(
    asked: Sequence[Asked], settings: Strict, inputs: Inputs, digests: Mapping[str, str], state: Path, layout: Layout
) -> list[Path]:
    """Train; returns the directories with the finished models, below `state`."""
    last = asked[-1].spec
    method = METHODS[last["method"]]
    shutil.rmtree(state / "finished", ignore_errors=True)
    finished = [state / "finished" / each.model.stage for each in asked]
    outputs = [directory / "weights" for directory in finished]
    for output in outputs:
        output.mkdir(parents=True)
    (state / "trainer").mkdir(exist_ok=True)
    begun = time.monotonic()
    record = launching.run(
        method,
        TrainingJob(
            settings=settings,
            seed=last.get("seed", 0),
            threads=last["threads"],
            output=outputs[-1],
            epoch_outputs=tuple(outputs),
            state=state / "trainer",
            parent=inputs.parent_weights,
            source=inputs.source,
            architecture=ArchitectureSettings.model_validate(last["architecture"]) if "architecture" in last else None,
            tokenizer=inputs.tokenizer,
            data=inputs.data,
            adapted=inputs.adapted(last),
            reference_scores=inputs.reference_scores,
            reward=inputs.reward_source(last),
            world=inputs.world,
            guard=inputs.guard,
            format=PromptFormat.from_spec("train_format", last["format"]) if "format" in last else None,
            layout=layout,
        ),
    )
    # Only a model that is taken over states files, and it is made alone.
    if (changed := _changed(inputs.source, last, outputs[-1])) is not None:
        raise StudyError(f"{changed} was changed while the study ran. Run the same command again.")
    remarks = (inputs.remark,) if inputs.remark else ()
    run = Run(
        wall_seconds=round(time.monotonic() - begun, 3),
        device=_device(layout),
        layout=asdict(layout) if method.trains else {},
        remarks=remarks,
    )
    for each, directory, part in zip(asked, finished, record.epochs or [record], strict=True):
        manifest = Manifest(
            model=str(each.model),
            spec=dict(each.spec),
            inputs=dict(digests),
            files=sha256_directory(directory / "weights"),
            versions=library_versions(each.spec),
            seed=each.spec.get("seed", 0),
            steps=part.steps,
            tokens=part.tokens,
        )
        _write_curves(_table(part.curves), each.model, directory)
        write_run(run, directory / "run.json")
        write_manifest(manifest, directory / "manifest.json")
    return finished


def library_versions(spec: Mapping[str, Any]) -> dict[str, str]:
    """Versions of what can change the weights of a model with this spec."""
    lora = spec.get("settings", {}).get("lora")
    names = [*_LIBRARIES, *(["peft"] if lora else []), *(["bitsandbytes"] if lora and lora["quantization"] else [])]
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}


def _changed(source: Path | None, spec: Mapping[str, Any], output: Path) -> Path | None:
    """The first file of this machine that is not what the spec says was taken over; None if all are.

    A copy in the output tells by itself. What was converted or merged leaves none, so its source is read again.
    """
    if source is None:
        return None
    gguf = spec.get("source", {})
    if "gguf" in gguf and "hub" not in gguf:
        return source if _digest(source) != gguf["gguf"] else None
    for name, digest in spec.get("files", {}).items():
        if _digest(output / name if (output / name).is_file() else source / name) != digest:
            return source / name
    return None


def _digest(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None


def _device(layout: Layout) -> str:
    import torch

    return torch.cuda.get_device_name() if computes_on(layout) == "cuda" else "cpu"
