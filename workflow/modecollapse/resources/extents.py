"""How much text a data set holds, as far as that is known before jobs run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from modecollapse.resources.settings import Expected
from modecollapse.study import Study

BYTES_PER_TOKEN = 3
"""Of English text; tokenizers of Pythia's kind have 4 to 4.5, so tokens are rather over- than underestimated."""

_PACKING = {".gz": 4, ".zst": 4, ".bz2": 5, ".xz": 5, ".zip": 4, ".parquet": 3}
"""Bytes of text per byte of a file of such a kind, at most as a rule."""


@dataclass(frozen=True)
class Extent:
    """An amount of text."""

    rows: int
    tokens: float | None
    """Tokens of a row on average, at most; None: not known."""
    known: bool
    """Whether the number of rows is more than an assumption."""

    def tokens_of_a_row(self, most: int) -> float:
        """Tokens that a row shows a model that reads at most so many of it."""
        return min(most, self.tokens) if self.tokens is not None else most

    @property
    def bytes(self) -> float:
        """Bytes of text, about; documents of unknown length count as a page of the web."""
        return self.rows * (self.tokens or 1500) * BYTES_PER_TOKEN * 1.5


UNKNOWN_ROWS = 1_000_000
"""Rows of a data set of which nothing is known."""


def extent_of(study: Study, name: str) -> Extent:
    """How much text a data set has.

    Of a set that a stage writes, a pair for each prompt. From the published file if it is there, else from the study:
    the world's `n`, the `sample`, `expected`, or the size of local files. Texts of the world have some 20 tokens per
    column. A set that is made from others is taken to keep all of their rows.
    """
    data, sample = study.config.data[name], None
    if data.sampled is not None:
        prompts = extent_of(study, data.sampled.prompts)
        answers = 2 * data.sampled.max_new_tokens
        tokens = None if prompts.tokens is None else prompts.tokens + answers
        return Extent(min(prompts.rows, data.sampled.count or prompts.rows), tokens, prompts.known)
    if data.parents and study.is_of_model(name):
        return _together([extent_of(study, parent) for parent in data.parents])
    published = Path(study.paths.data(name))
    if (found := _published(published, _stamp(published))) is not None:
        return found
    if data.parents:
        return _together([extent_of(study, parent) for parent in data.parents])
    if data.source is None:
        return Extent(data.n or 0, None, known=True)
    sample, expected = study.data_sample(name), data.expected or Expected()
    files = study.data_files(name)
    size = sum(file.stat().st_size * _PACKING.get(file.suffix, 1) for file in files)
    rows = expected.rows
    if rows is None and files:
        rows = max(1, size // (1000 if expected.tokens is None else expected.tokens * BYTES_PER_TOKEN))
    known = rows is not None or sample is not None
    whole = rows or UNKNOWN_ROWS
    return Extent(whole if sample is None else min(sample, whole) if rows else sample, expected.tokens, known)


def _together(extents: Sequence[Extent]) -> Extent:
    """The extent of several data sets as one."""
    rows = sum(extent.rows for extent in extents)
    known = [extent.tokens * extent.rows for extent in extents if extent.tokens is not None]
    tokens = sum(known) / max(1, rows) if len(known) == len(extents) else None
    return Extent(rows, tokens, all(extent.known for extent in extents))


def _stamp(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


@cache
def _published(path: Path, stamp: float | None) -> Extent | None:
    """From the footer of a sealed Parquet file; a row's tokens are those of all its columns."""
    import pyarrow.parquet as pq

    if stamp is None:
        return None
    try:
        footer = pq.read_metadata(path)
    except (OSError, ValueError):
        return None
    size = sum(footer.row_group(group).total_byte_size for group in range(footer.num_row_groups))
    return Extent(footer.num_rows, size / BYTES_PER_TOKEN / max(1, footer.num_rows), known=True)
