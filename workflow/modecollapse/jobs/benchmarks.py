"""Benchmarks of one model: each task and number of shots is put back from the store, or run and kept at once."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.digests import canonical, digest
from modecollapse.generation.progress import reporter
from modecollapse.hub import Needed
from modecollapse.identities import identity_metadata
from modecollapse.jobs.running import Job, device
from modecollapse.manifest import read_manifest
from modecollapse.measures.benchmarks import Task
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.snapshots import snapshot
from modecollapse.specs import benchmark_spec
from modecollapse.store import Store
from modecollapse.study import Study

logger = logging.getLogger(__name__)

Pair = tuple[Task, int]
"""A task and a number of shots."""

KINDS = ("benchmark_results", "benchmark_samples")


def run_benchmarks(
    study: Study,
    identity: Model,
    spec: Mapping[str, Any],
    model: tuple[Path, Path],
    outputs: tuple[Path, Path],
    store: Store,
    job: Job,
) -> None:
    """Write the results and the samples of one model: all tasks and numbers of shots, the model loaded once at most.

    Args:
        study: the study, whose tasks these are.
        identity: the model.
        spec: the benchmarks spec.
        model: manifest and weights.
        outputs: files for the tables of results and of samples (see `modecollapse.measures.harness`).
        store: where finished pairs of task and shots are found again.
        job: the running job, to count imports as start-up.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: a data set is not locked or not in the hub's cache, or a task cannot be run.
    """
    manifest, weights = model
    read = read_manifest(manifest)
    read.verify(weights)
    pairs = {}
    for task, described in zip(study.benchmarks, spec["tasks"], strict=True):
        for shots in described["shots"]:
            asked = {"spec": benchmark_spec(dict(spec), described, shots), "weights": read.weights}
            pairs[task, shots] = digest({**asked, "data": _seal(study, task)})
    tables = {pair: kept for pair, key in pairs.items() if (kept := _kept(store, key)) is not None}
    logger.info("benchmarks: %d of %d are in the store", len(tables), len(pairs))
    if len(tables) < len(pairs):
        for pair, made in _run(study, identity, spec, weights, [pair for pair in pairs if pair not in tables], job):
            for kind, table in zip(KINDS, made, strict=True):
                store.write_table(kind, pairs[pair], table)
            tables[pair] = made
    for place, path in enumerate(outputs):
        whole = pa.concat_tables([tables[pair][place].replace_schema_metadata(None) for pair in pairs])
        write_sealed(whole, path, {**identity_metadata(identity), "spec": canonical(spec)})


def _kept(store: Store, key: str) -> tuple[pa.Table, ...] | None:
    tables = [table for kind in KINDS if (table := store.read_table(kind, key)) is not None]
    return tuple(tables) if len(tables) == len(KINDS) else None


def _run(
    study: Study, identity: Model, spec: Mapping[str, Any], weights: Path, pairs: Sequence[Pair], job: Job
) -> Iterator[tuple[Pair, tuple[pa.Table, ...]]]:
    """Each of these tasks and numbers of shots with its tables, as soon as it is done."""
    settings = study.config.measures.benchmarks
    assert settings is not None
    sources = {
        task: data_of_task(study, task) for task, _ in pairs
    }  # what is missing is said before anything is loaded
    job.load("torch", "transformers.modeling_utils", "modecollapse.measures.harness")
    from modecollapse.measures.harness import Harness, load_data

    harness = Harness.load(weights, settings, spec["threads"], device())
    progress = reporter(f"benchmarks of {identity}")
    loaded: tuple[Task, Any] | None = None
    for done, (task, shots) in enumerate(pairs, start=1):
        if loaded is None or loaded[0] is not task:  # one data set in memory at a time
            loaded = (task, load_data(task, sources[task]))
        tables = harness.run(task, shots, loaded[1], spec["chat"])
        yield (task, shots), tables
        progress(done, len(pairs))
        logger.info("done: %s, %d shots, %d documents", task.name, shots, len(tables[1].column("document").unique()))


def check_data(study: Study) -> None:
    """Read every data set of the study's benchmarks once, as its jobs will: for the place where they are downloaded.

    Raises:
        StudyError: one is not locked, not in the hub's cache, comes with a loading script, or lacks a split.
    """
    from modecollapse.measures.harness import load_data

    for task in study.benchmarks:
        if task.hub is not None:
            load_data(task, data_of_task(study, task))


def data_of_task(study: Study, task: Task) -> Path | None:
    """Where a task's data set is: the study's, a commit in the hub's cache, or None for the task's own files.

    Raises:
        CorruptFile: the study's is not what was published.
        StudyError: the hub's is not locked, or not in its cache.
    """
    if task.settings.data is not None:
        path = Path(study.paths.data(task.settings.data))
        read_sealed(path, [])
        return path
    if task.hub is None:
        return None
    return snapshot(Needed(task.hub), study.lock.commit(task.hub), study.called())


def _seal(study: Study, task: Task) -> str | None:
    """The digest of the study's data set that a task reads, if it reads one."""
    if task.settings.data is None:
        return None
    return read_metadata(Path(study.paths.data(task.settings.data)))[SEAL]
