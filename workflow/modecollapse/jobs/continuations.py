"""Continuations looked at token by token: their tables, and a page that colours them by the model's confidence."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from modecollapse.analysis.attractor import (
    Measured,
    attractor_table,
    modes_table,
    shown_continuations,
    tokens_table,
)
from modecollapse.analysis.coloured_page import ColouredText, render
from modecollapse.analysis.confidence import confidence_table, confidence_tokens_part
from modecollapse.cells import Model
from modecollapse.identities import model_of_table
from modecollapse.jobs.table_parts import bootstrap_of, model_frames, write_parts
from modecollapse.publishing import publish_file, write_digests
from modecollapse.sealed import read_sealed

_ABOUT = """Each token is coloured by the probability that the model gave to it when it wrote it; point at it to see \
the number. Grey is what the model continued.

Attractors: of every mode of a stage's outputs, the first continuation of its first training seed, behind the words of \
that mode ("unperturbed") and behind the same with the last verb negated ("perturbed").
Confidence: of every stage, the continuation of each question, of its first training seed."""


def tabulate_continuations(
    spec: Mapping[str, Any],
    modes: Sequence[Path],
    continuations: Sequence[Path],
    confidence: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write the tables of attractors and of confidence, those that are among the outputs, and the coloured page.

    Args:
        spec: the spec of these tables.
        modes: of each model the modes of its outputs; those of a size together.
        continuations: their continuations, in the same order.
        confidence: of each model the tokens of its continuations of questions; those of a size together.
        outputs: the tables' files; and the page.

    Raises:
        CorruptFile: a file is not what was published.
    """
    bootstrap = bootstrap_of(spec)
    negations, questions = spec["negations"], dict(spec["questions"])
    frames: dict[str, list[pd.DataFrame]] = {}
    texts: list[ColouredText] = []
    for size, measured in _of_sizes(modes, continuations):
        frames.setdefault("attractor", []).append(attractor_table(measured, bootstrap))
        frames.setdefault("attractor_modes", []).append(modes_table(measured, negations))
        frames.setdefault("attractor_tokens", []).append(tokens_table(measured, negations))
        texts += attractor_texts(size, measured, negations, spec["labels"])
    sure = [confidence_tokens_part(frame, questions) for frame in model_frames(confidence)]
    frames |= {"confidence": [confidence_table(sure)], "confidence_tokens": sure}
    for name in ("attractor", "attractor_modes", "attractor_tokens", "confidence", "confidence_tokens"):
        if name in outputs:
            write_parts(name, frames.get(name, []), outputs)
    texts += confidence_texts(sure, spec["labels"])
    with publish_file(outputs["page"]) as partial:
        partial.write_text(render(texts, "Continuations by confidence", _ABOUT), encoding="utf-8")
    write_digests(outputs["page_sha256"], [outputs["page"]])


def _of_sizes(modes: Sequence[Path], continuations: Sequence[Path]) -> Iterator[tuple[str, Measured]]:
    def read() -> Iterator[tuple[Model, tuple[pd.DataFrame, pd.DataFrame]]]:
        for path, beside in zip(modes, continuations, strict=True):
            table = read_sealed(path)
            yield model_of_table(table), (table.to_pandas(), read_sealed(beside).to_pandas())

    # The continuations of one size at a time are in memory.
    for size, models in groupby(read(), lambda entry: entry[0].size):
        yield size, dict(models)


def attractor_texts(
    size: str, measured: Measured, negations: Mapping[str, str], labels: Mapping[str, str]
) -> Iterator[ColouredText]:
    """Every stage's first continuation of each mode and arm, of its first seed."""
    for each in shown_continuations(measured, negations):
        section = f"Attractors: {size}, {labels[each.model.stage]}, T = {each.temperature}"
        back = "returned" if each.returned else "did not return"
        heading = f"mode {each.mode + 1} ({each.share:.0%} of outputs), {each.arm}: {back}"
        yield ColouredText(section, heading, each.before, each.tokens, each.probabilities)


def confidence_texts(parts: Sequence[pd.DataFrame], labels: Mapping[str, str]) -> Iterator[ColouredText]:
    """Every stage's continuation of each question, of its first seed; `parts` are rows of `confidence_tokens`."""
    first = min((int(part["seed"].iloc[0]) for part in parts if len(part)), default=0)
    for part in parts:
        for (size, seed, stage, question), rows in part.groupby(["size", "seed", "stage", "question"], sort=False):
            if seed == first:
                mean = f"mean probability {rows['probability'].mean():.2f}"
                yield ColouredText(
                    f"Confidence: {size}, {labels[str(stage)]}", f"{question}: {mean}", rows["before"].iloc[0],
                    tuple(rows["token"]), tuple(rows["probability"]),
                )  # fmt: skip
