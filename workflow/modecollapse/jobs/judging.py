"""What a judge says of a stage's answers beside those of the reference, found again in the store or asked for."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.cells import Cell
from modecollapse.digests import canonical, digest
from modecollapse.generation.progress import reporter
from modecollapse.identities import cell_of_table, identity_metadata
from modecollapse.jobs.answer_sources import world_of
from modecollapse.jobs.running import Job, device
from modecollapse.judging.asking import Question, ask_all, judged_by_endpoint
from modecollapse.judging.chat import Endpoint, key_of
from modecollapse.judging.comparisons import Comparisons, Judgement
from modecollapse.judging.journal import open_journal
from modecollapse.judging.pairs import Judged, Pair, PairSettings, judgements_table, pairs_of
from modecollapse.judging.people import judged_by_people, sheet_pairs
from modecollapse.judging.scored import function_scores, judged_by_scores, model_scores
from modecollapse.judging.settings import Kind
from modecollapse.labelling.sheet import sheet_csv, sheet_in, sheet_page
from modecollapse.manifest import read_manifest
from modecollapse.prompts import PromptFormat
from modecollapse.publishing import publish_file, write_digests
from modecollapse.sealed import SEAL, read_metadata, read_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)

KIND = "judgements"

SHEET_SEED = 0
"""Decides the order of pairs on a sheet, together with an annotator's name."""

Read = tuple[Cell, pa.Table, str]
"""A cell, its answers and its digest."""


def judge(
    spec: Mapping[str, Any],
    judgement: Judgement,
    comparisons: Comparisons,
    cells: Sequence[Path],
    reference_cells: Sequence[Path],
    reward: tuple[Path, Path] | None,
    output: Path,
    job: Job,
) -> None:
    """Publish what one judge says of one model (`judging.pairs.SCHEMA`).

    Args:
        spec: the judgements spec.
        judgement: the judge and the model.
        comparisons: those of the study: where an endpoint or files of labels are, and what may be spent. What decides
            a verdict is read from the spec.
        cells: the model's completions.
        reference_cells: those of the reference.
        reward: manifest and weights of the reward model that judges; None for other judges.
        output: the file.
        job: the running job.

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
    pairs = _pairs(spec, read["cells"], read["reference"])
    logger.info("%d pairs, %d of them of equal answers", len(pairs), sum(pair.equal for pair in pairs))
    judged: Iterable[tuple[Pair, Judged]]
    if Kind.ENDPOINT in by:
        judged = _by_endpoint(pairs, Question(**by[Kind.ENDPOINT]), judgement, comparisons, store)
    elif Kind.LABELS in by:
        files, sheet = comparisons.label_files(judgement.judge), Path(comparisons.study.paths.sheet(judgement, "html"))
        sheets = {name for path in job.inputs("sheets") if (name := sheet_in(path)) is not None}
        judged = judged_by_people(pairs, files, by[Kind.LABELS]["overlap"], sheet, sheets)
    else:
        judged = _by_scores(pairs, by[Kind.REWARD], judgement.judge, reward, job)
    metadata = {**identity_metadata(judgement.model), "judge": judgement.judge, "spec": canonical(dict(spec))}
    store.publish_table(KIND, key, judgements_table(judged), output, metadata)


def write_sheet(
    spec: Mapping[str, Any], cells: Sequence[Path], reference_cells: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Publish the sheet on which people compare the answers of a model with the reference's: a page and a CSV.

    Args:
        spec: the spec of the sheet.
        cells: the model's completions.
        reference_cells: those of the reference.
        outputs: `page`, `csv` and `sha256`.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: completions are missing.
    """
    shown = sheet_pairs(_pairs(spec, _read(cells), _read(reference_cells)))
    for name, content in (("page", sheet_page(shown, SHEET_SEED)), ("csv", sheet_csv(shown, SHEET_SEED))):
        with publish_file(outputs[name]) as partial:
            partial.write_text(content, encoding="utf-8", newline="")
    write_digests(outputs["sha256"], [outputs["page"], outputs["csv"]])


def _pairs(spec: Mapping[str, Any], ours: Sequence[Read], others: Sequence[Read]) -> list[Pair]:
    settings = PairSettings(spec["temperatures"], spec["completions"], spec["prompts"])
    return pairs_of(settings, *([(cell, table) for cell, table, _ in found] for found in (ours, others)))


def _read(cells: Sequence[Path]) -> list[Read]:
    """Each cell, its answers and its digest."""
    found = []
    for path in cells:
        table = read_sealed(path, ["prompt", "sample", "text", "finish_reason"])
        found.append((cell_of_table(table), table, read_metadata(path)[SEAL]))
    return found


def _by_scores(
    pairs: Sequence[Pair], by: Mapping[str, Any], name: str, reward: tuple[Path, Path] | None, job: Job
) -> Iterator[tuple[Pair, Judged]]:
    unequal = [pair for pair in pairs if not pair.equal]
    if reward is None:
        return judged_by_scores(pairs, function_scores(by["function"], world_of(by), unequal))
    job.load("torch", "transformers.modeling_utils", "modecollapse.methods.scoring")
    form = PromptFormat.from_spec("train_format", by["format"])
    scores = model_scores(name, reward[1], form, by["max_new_tokens"], unequal, by["threads"], device())
    return judged_by_scores(pairs, scores)


def _by_endpoint(
    pairs: Sequence[Pair], question: Question, judgement: Judgement, comparisons: Comparisons, store: Store
) -> list[tuple[Pair, Judged]]:
    name, settings = judgement.judge, comparisons.judges[judgement.judge].endpoint
    assert settings is not None
    key = key_of(name, settings.key_from)
    endpoint = Endpoint(name, settings.base_url, key, settings.key_from, settings.timeout_seconds)
    payer = f"{comparisons.study.name}/{name}"
    with open_journal(store, settings.model) as journal:
        ask_all(pairs, question, settings, endpoint, journal, payer, reporter(f"replies of {judgement}"))
        return list(judged_by_endpoint(pairs, question, journal))
