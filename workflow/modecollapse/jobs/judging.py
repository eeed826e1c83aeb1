"""What a judge says of a stage's answers beside those of the reference, found again in the store or asked for."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from modecollapse.cells import Cell, Model
from modecollapse.digests import canonical, digest
from modecollapse.generation.progress import reporter
from modecollapse.identities import cell_of_table, identity_metadata
from modecollapse.jobs.answer_sources import world_of
from modecollapse.jobs.running import Job, device
from modecollapse.judging.asking import Question, ask_all, judged_by_endpoint
from modecollapse.judging.chat import Endpoint, key_of
from modecollapse.judging.journal import open_journal
from modecollapse.judging.pairs import Judged, Pair, PairSettings, judgements_table, pairs_of
from modecollapse.judging.scored import function_scores, judged_by_scores, model_scores
from modecollapse.judging.settings import EndpointSettings
from modecollapse.manifest import read_manifest
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import SEAL, read_metadata, read_sealed
from modecollapse.store import Store

if TYPE_CHECKING:
    from modecollapse.study import Study

logger = logging.getLogger(__name__)

KIND = "judgements"


def judge(
    spec: Mapping[str, Any],
    name: str,
    identity: Model,
    cells: Sequence[Path],
    reference_cells: Sequence[Path],
    reward: tuple[Path, Path] | None,
    output: Path,
    job: Job,
    study: "Study",
) -> None:
    """Publish what one judge says of one model (`judging.pairs.SCHEMA`).

    Args:
        spec: the judgements spec.
        name: the judge.
        identity: the model.
        cells: its completions.
        reference_cells: those of the reference.
        reward: manifest and weights of the reward model that judges; None for other judges.
        output: the file.
        job: the running job.
        study: how an endpoint is reached, and what may be spent; nothing else of it is read.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: completions are missing, a judge cannot judge, or an endpoint does not answer (`judging.asking`).
        Stopped: the process was asked to stop; what an endpoint answered is kept.
    """
    store, by = job.store, spec["judge"]
    read = {"cells": _read(cells), "reference": _read(reference_cells)}
    digests: dict[str, Any] = {side: [seal for _, _, seal in found] for side, found in read.items()}
    if reward is not None:
        manifest = read_manifest(reward[0])
        manifest.verify(reward[1])
        digests["reward"] = manifest.weights
    key = digest({"spec": spec, **digests})
    if store.restore_table(KIND, key, output):
        logger.info("the judgements came back from the store")
        return
    settings = PairSettings(spec["temperatures"], spec["completions"], spec["prompts"])
    pairs = pairs_of(settings, *([(cell, table) for cell, table, _ in found] for found in read.values()))
    logger.info("%d pairs, %d of them of equal answers", len(pairs), sum(pair.equal for pair in pairs))
    if "endpoint" in by:
        endpoint = study.judge(name).endpoint
        assert endpoint is not None
        judged = _by_endpoint(pairs, Question(**by["endpoint"]), endpoint, f"{study.name}/{name}", store)
    else:
        judged = _by_scores(pairs, spec, name, reward, job)
    metadata = {**identity_metadata(identity), "judge": name, "spec": canonical(dict(spec))}
    store.publish_table(KIND, key, judgements_table(judged), output, metadata)


def _read(cells: Sequence[Path]) -> list[tuple[Cell, pa.Table, str]]:
    """Each cell, its answers and its digest."""
    found = []
    for path in cells:
        table = read_sealed(path, ["prompt", "sample", "text", "finish_reason"])
        found.append((cell_of_table(table), table, read_metadata(path)[SEAL]))
    return found


def _by_scores(
    pairs: Sequence[Pair], spec: Mapping[str, Any], name: str, reward: tuple[Path, Path] | None, job: Job
) -> Iterator[tuple[Pair, Judged]]:
    unequal = [pair for pair in pairs if not pair.equal]
    by = spec["judge"]["reward"]
    if reward is None:
        return judged_by_scores(pairs, function_scores(by["function"], world_of(by), unequal))
    job.load("torch", "transformers.modeling_utils", "modecollapse.methods.scoring")
    form = PromptFormat.from_spec("train_format", by["format"])
    scores = model_scores(name, reward[1], form, by["max_new_tokens"], unequal, by["threads"], device())
    return judged_by_scores(pairs, scores)


def _by_endpoint(
    pairs: Sequence[Pair], question: Question, settings: EndpointSettings, payer: str, store: Store
) -> Iterable[tuple[Pair, Judged]]:
    judge = payer.partition("/")[2]
    key = key_of(judge, settings.key_from)
    endpoint = Endpoint(judge, settings.base_url, key, settings.key_from, settings.timeout_seconds)
    with open_journal(store, settings.model) as journal:
        ask_all(pairs, question, settings, endpoint, journal, payer, reporter(f"replies of {judge}"))
        return list(judged_by_endpoint(pairs, question, journal))
