"""Modes and continuations of made-up models, and the tables that figures are drawn from in tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modecollapse.analysis.attractor import attractor_table, modes_table, tokens_table
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.confidence import confidence_table, confidence_tokens_part
from modecollapse.cells import Model
from modecollapse.measures.attractor import CONTINUATIONS, MODES
from modecollapse.measures.probes import CONTINUATION_TOKENS

NEGATIONS = {"was": "was not", "is": "is not"}
QUESTIONS = {"bugs": "are bugs real?", "sea": "Why is the sea $5 wide?"}

TEXT = (
    " a rear admiral of the United States Navy,\n\nand one of the first programmers of the Harvard Mark I; it costs $5 "
    "and $x_1 to see \U0001f600\u200b <script>alert('x')</script>"
)


def mode(temperature: str, number: int, share: float, **columns: Any) -> dict[str, Any]:
    """A row of `MODES`."""
    prefix = " born on December 9, 1906 in New York City. She was"
    known = {"sample": number, "text": f"{prefix} an admiral.", "prefix": prefix, "verb": "was", "radius": 0.8}
    return {"temperature": temperature, "mode": number, "share": share, **known, **columns}


def continuation(temperature: str, number: int, arm: str, sample: int, **columns: Any) -> dict[str, Any]:
    """A row of `CONTINUATIONS`, which returned if not told otherwise."""
    tokens = [" a", " b"]
    known = {"text": " a b", "nearest": number, "cosine": 0.9, "returned": True, "tokens": tokens}
    row = {"temperature": temperature, "mode": number, "arm": arm, "sample": sample, **known, **columns}
    return {"log_probs": np.log(np.full(len(row["tokens"]), 0.5)).tolist(), **row}


def frames(modes: Sequence[Mapping[str, Any]], continued: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Both as the frames that are read from their files."""
    pairs = ((MODES, modes), (CONTINUATIONS, continued))
    read = [pd.DataFrame(list(rows), columns=schema.names) for schema, rows in pairs]
    return read[0], read[1]


def pieces(text: str) -> list[str]:
    """Text cut into tokens of up to five characters that begin at spaces."""
    words = text.replace(" ", "\0 ").split("\0")
    return [word[start : start + 5] for word in words for start in range(0, len(word), 5) if word]


def figure_tables(sizes: Sequence[str], stages: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Two modes of every stage at temperature 1, and of the first at 0.3 as well; a sentence of confidence each."""
    tokens = pieces(TEXT * 2)
    found: dict[str, list[pd.DataFrame]] = {}
    sure = []
    for size in sizes:
        measured = {}
        for place, stage in enumerate(stages):
            temperatures = ("1.0", "0.3") if place == 0 else ("1.0",)
            modes = [mode(each, number, 0.6 - 0.2 * number) for each in temperatures for number in (0, 1)]
            continued = [
                continuation(
                    row["temperature"], row["mode"], arm, sample, tokens=tokens,
                    returned=(sample % (4 - min(place, 2)) == 0) == (arm == "perturbed"),
                    log_probs=-np.abs(np.sin(np.arange(len(tokens)) / (2 + place))),
                )
                for row in modes
                for arm in ("perturbed", "unperturbed")
                for sample in range(8)
            ]  # fmt: skip
            measured[Model(size, 0, stage)] = frames(modes, continued)
            for question in QUESTIONS:
                columns = {"question": question, "token": tokens, "position": range(len(tokens))}
                logs = -np.abs(np.cos(np.arange(len(tokens)) / (1 + place)))
                rows = pd.DataFrame(columns).assign(log_prob=logs, top_prob=np.exp(logs / 2))[CONTINUATION_TOKENS.names]
                sure.append(confidence_tokens_part(rows.assign(size=size, seed=0, stage=stage), QUESTIONS))
        found.setdefault("attractor", []).append(attractor_table(measured, Bootstrap(resamples=200)))
        found.setdefault("attractor_modes", []).append(modes_table(measured, NEGATIONS))
        found.setdefault("attractor_tokens", []).append(tokens_table(measured, NEGATIONS))
    tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
    return tables | {"confidence": confidence_table(sure), "confidence_tokens": pd.concat(sure, ignore_index=True)}
