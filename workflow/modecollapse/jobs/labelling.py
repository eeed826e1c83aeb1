"""Candidate pairs become sheets for people, and preference pairs once they are labelled."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.data.nano.world import World
from modecollapse.digests import canonical, digest, sha256_file
from modecollapse.errors import StudyError
from modecollapse.generation.streams import uniforms
from modecollapse.jobs.answer_sources import world_of
from modecollapse.labelling.candidates import sheet_of
from modecollapse.labelling.label_files import check_labels, read_label_files
from modecollapse.labelling.labels import Label, Labelled, label_table, unanimous
from modecollapse.labelling.sheet import sheet_csv, sheet_page
from modecollapse.methods.reward_functions import ANNOTATORS
from modecollapse.publishing import publish_file, write_digests
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed

logger = logging.getLogger(__name__)


def write_sheet(spec: Mapping[str, Any], candidates: Path, outputs: Mapping[str, Path]) -> None:
    """Publish the sheet of these candidates: `html`, `csv`, and `sha256` of both.

    Raises:
        CorruptFile: the candidates are not what was published.
    """
    table = read_sealed(candidates)
    # Lines end as they are written, on every system.
    with publish_file(outputs["html"]) as partial:
        partial.write_text(sheet_page(table, spec["seed"]), encoding="utf-8", newline="")
    with publish_file(outputs["csv"]) as partial:
        partial.write_text(sheet_csv(table, spec["seed"]), encoding="utf-8", newline="")
    write_digests(outputs["sha256"], [outputs["html"], outputs["csv"]])
    logger.info("the sheet %s has %d pairs", sheet_of(table), table.num_rows)


def label_pairs(
    spec: Mapping[str, Any], name: str, candidates: Path, files: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Publish the labels of candidates (`labels`) and the pairs on which all labels agree (`pairs`).

    Args:
        spec: the spec of the labelling.
        name: what the data set is called, for messages.
        candidates: sealed Parquet (`labelling.candidates.SCHEMA`).
        files: people's labels; none where simulated annotators label.
        outputs: `pairs` has `prompt`, `chosen`, `rejected`, and `task` if candidates do; its metadata has `counts`.

    Raises:
        CorruptFile: the candidates are not what was published.
        StudyError: as `read_label_files` and `check_labels`; or no pair is left.
    """
    table = read_sealed(candidates)
    if "labels" in spec:
        if sorted(sha256_file(path) for path in files) != spec["labels"]:
            raise StudyError(f"{name}: a file of labels was edited while it ran. Run the same command again.")
        given = check_labels(read_label_files(files), sheet_of(table), table["pair"].to_pylist(), spec["overlap"])
    else:
        given = _annotated(spec, table)
    pairs, counts = unanimous(table, given)
    if not counts.taken:
        raise StudyError(
            f"{name}: no pair is left. {counts}. Label more pairs (raise count), or have fewer annotators label each "
            "(overlap)."
        )
    logger.info("%s: %s", name, counts)
    made_from = {"candidates": read_metadata(candidates)[SEAL]}
    labels = label_table(table, given)
    write_sealed(labels, outputs["labels"], {"spec": canonical(dict(spec)), **made_from})
    # Of people's files what they say, not what they look like: nothing is trained anew for a space or an empty line.
    metadata = {"spec": canonical({key: value for key, value in spec.items() if key != "labels"}), **made_from}
    metadata |= {"labels": digest(labels.to_pylist()), "counts": canonical(asdict(counts))}
    write_sealed(pairs, outputs["pairs"], metadata)


def _annotated(spec: Mapping[str, Any], candidates: pa.Table) -> list[Labelled]:
    """Labels of simulated annotators, each with noise of its own; of more annotators the first ones say the same."""
    annotators = World(world_of(spec)).annotators
    rows = [(str(row), 0) for row in candidates["row"].to_pylist()]
    drawn = uniforms(f"{spec['stream']}/{ANNOTATORS}", rows, spec["overlap"])
    columns = (candidates[name].to_pylist() for name in ("pair", "a_score", "b_score"))
    return [
        Labelled(pair, f"annotator-{number}", Label.A if uniform < annotators.preference(a, b) else Label.B)
        for (pair, a, b), uniforms_of_pair in zip(zip(*columns, strict=True), drawn, strict=True)
        for number, uniform in enumerate(uniforms_of_pair, start=1)
    ]
