"""The tables of text features."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from modecollapse.analysis.text_features import text_feature_parts, text_feature_tables
from modecollapse.jobs.table_parts import bootstrap_of, model_frames, write_parts
from modecollapse.measures.text_features import MISSING
from modecollapse.metrics.text_features import FEATURES
from modecollapse.sealed import read_metadata, read_sealed


def tabulate_text_features(
    spec: Mapping[str, Any], pairs: Sequence[Path], answers: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Write what differs between chosen and rejected answers, and between each stage and its reference.

    Args:
        spec: the spec of these tables.
        pairs: the features of each set of preference pairs, training pairs first.
        answers: the features of each model's answers.
        outputs: the tables.

    Raises:
        CorruptFile: a file is not what was published.
    """
    parts = text_feature_parts(
        {spec["splits"][name]: frame for name, frame in _sets(pairs)},
        model_frames(answers),
        _missing([*pairs, *answers]),
        {name: feature.category for name, feature in FEATURES.items()},
        [(stage, reference) for stage, reference in spec["contrasts"]],
        bootstrap_of(spec),
    )
    for name, table in text_feature_tables(parts).items():
        if name in outputs:
            write_parts(name, [table], outputs)


def _sets(files: Iterable[Path]) -> Iterator[tuple[str, pd.DataFrame]]:
    for path in files:
        frame = read_sealed(path).to_pandas()
        yield str(frame["set"].iloc[0]), frame


def _missing(files: Iterable[Path]) -> dict[str, str]:
    """Feature → why the pipeline, which is the same for all files, cannot give it."""
    found: dict[str, str] = {}
    for path in files:
        found |= json.loads(read_metadata(path)[MISSING])
    return found
