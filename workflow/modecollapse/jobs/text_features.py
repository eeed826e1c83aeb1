"""Features of texts: of the answers in preference pairs, and of what a model answers."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.data.compared_pairs import pairs_compared
from modecollapse.digests import digest
from modecollapse.generation.progress import reporter
from modecollapse.identities import identity_metadata
from modecollapse.jobs.running import Job
from modecollapse.measures.feature_pipeline import BLANK, PipelineSettings
from modecollapse.measures.text_features import COLUMNS, MISSING, PAIRS, PROMPTS
from modecollapse.metrics.text_features import FEATURES
from modecollapse.sealed import SEAL, read_metadata, read_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)

KIND = "text_features"
"""Kind of tables in the store."""
_SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class _Text:
    kind: str
    set: str
    item: str
    role: str
    sample: int
    text: str


def measure_pair_features(
    spec: Mapping[str, Any], name: str, data: Path, output: Path, store: Store, job: Job, processes: int = 1
) -> None:
    """Write the features of chosen and rejected answers (`measures.text_features.COLUMNS`).

    Args:
        spec: the spec of pair features.
        name: the data set.
        data: sealed Parquet with `chosen` and `rejected`.
        output: the file.
        store: where a finished result is found again.
        job: the running job, to count imports as start-up.
        processes: that share the work; nothing in the result depends on them.

    Raises:
        CorruptFile: the data is not what was published.
        StudyError: as `measures.feature_extractor.extract`.
        Stopped: the process was asked to stop.
    """

    def texts() -> Iterable[_Text]:
        rows, table = pairs_compared(data, spec["count"], spec["seed"])
        for side in _SIDES:
            for row, text in zip(rows, table[side].take(rows).to_pylist(), strict=True):
                yield _Text(PAIRS, name, str(row), side, 0, text)

    key = digest({"spec": dict(spec), "set": name, "data": read_metadata(data)[SEAL]})
    _publish(key, texts, spec, output, {}, store, job, processes)


def measure_answer_features(
    spec: Mapping[str, Any],
    model: Model,
    answers: Sequence[Path],
    cells: Sequence[Path],
    output: Path,
    store: Store,
    job: Job,
    processes: int = 1,
) -> None:
    """Write the features of a model's answers to pairs' prompts, and of its completions; as `measure_pair_features`.

    Args:
        answers: its file of `measures.text_features.ANSWERS`, or none.
        cells: its completions at one temperature, a file of each prompt set.
    """

    def texts() -> Iterable[_Text]:
        for path in answers:
            for row in read_sealed(path, ["set", "item", "sample", "text"]).to_pylist():
                yield _Text(PAIRS, row["set"], row["item"], "answer", row["sample"], row["text"])
        for path in cells:
            name = json.loads(read_metadata(path)["cell"])["prompts"]
            for row in read_sealed(path, ["prompt", "sample", "text"]).to_pylist():
                yield _Text(PROMPTS, name, row["prompt"], "answer", row["sample"], row["text"])

    read = [read_metadata(path)[SEAL] for path in (*answers, *cells)]
    key = digest({"spec": dict(spec), "of": str(model), "answers": read})
    _publish(key, texts, spec, output, identity_metadata(model), store, job, processes)


def _publish(
    key: str,
    texts: Callable[[], Iterable[_Text]],
    spec: Mapping[str, Any],
    output: Path,
    metadata: Mapping[str, str],
    store: Store,
    job: Job,
    processes: int,
) -> None:
    with store.locked(key):
        if store.restore_table(KIND, key, output):
            logger.info("the features came back from the store")
            return
        table, missing = _features(list(texts()), spec, job, processes)
        store.publish_table(KIND, key, table, output, {**metadata, MISSING: json.dumps(missing, sort_keys=True)})


def _features(
    texts: Sequence[_Text], spec: Mapping[str, Any], job: Job, processes: int
) -> tuple[pa.Table, dict[str, str]]:
    settings = PipelineSettings.model_validate(spec["pipeline"], strict=False)
    if settings.pipeline == BLANK:
        job.do_without("torch")  # spaCy imports it wherever it is installed, for half of the start
    job.load("modecollapse.measures.feature_extractor")
    from modecollapse.measures.feature_extractor import extract

    # White space around answers is no part of them: that of data sets is removed when these are read.
    stripped = [each.text.strip() for each in texts]
    found = extract(stripped, settings, processes, reporter("texts"))
    columns: dict[str, Any] = {
        name: [getattr(each, name) for each in texts] for name in ("kind", "set", "item", "role", "sample")
    }
    columns |= {"words": [len(text.split()) for text in stripped], "reason": list(found.reasons)}
    columns |= {name: np.ascontiguousarray(found.values[:, place]) for place, name in enumerate(FEATURES)}
    return pa.table(columns, schema=COLUMNS), dict(found.missing)
