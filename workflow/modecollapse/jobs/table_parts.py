"""What the jobs that write tables have in common: reading what was measured of models, and writing the rows."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from modecollapse.analysis import table_files
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.identities import model_of_table
from modecollapse.jobs.running import failing_of
from modecollapse.sealed import read_sealed


def bootstrap_of(spec: Mapping[str, Any]) -> Bootstrap:
    """The bootstrap that the spec of a table states."""
    return Bootstrap(resamples=spec["analysis"]["resamples"], seed=spec["analysis"]["seed"])


def model_frames(
    files: Iterable[Path], columns: Sequence[str] | None = None, encoded: Sequence[str] = ()
) -> Iterator[pd.DataFrame]:
    """What was measured of each model, with size, seed and stage; `columns` and `encoded` as in `read_sealed`.

    Raises:
        CorruptFile: a file is not what was published.
    """
    for path in files:
        table = read_sealed(path, columns, encoded=encoded)
        model = model_of_table(table)
        yield table.to_pandas().assign(seed=model.seed, size=model.size, stage=model.stage)


def write_parts(name: str, parts: Iterable[pd.DataFrame], outputs: Mapping[str, Path]) -> None:
    """Write a table, which is among the outputs of a job, with marks at stages that fail their guard rails."""
    table_files.write_table(name, parts, outputs[name], outputs[f"{name}_csv"], failing_of(outputs))
