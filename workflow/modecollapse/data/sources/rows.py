"""The rows of a data set: those of its files, without what is broken or empty, perhaps a sample of them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modecollapse.data.sources.records import Broken, Texts, read_records
from modecollapse.data.sources.sampling import Sample
from modecollapse.errors import StudyError

logger = logging.getLogger(__name__)

ANSWERS = ("completion", "chosen", "rejected")
"""Columns that stand behind a prompt and one space."""

_NEEDS_WORDS = ("prompt", *ANSWERS)
_REPORTED = 5


@dataclass
class Reading:
    """What was found while a data set was read."""

    rows: int = 0
    """All rows of the files."""
    broken: int = 0
    empty: int = 0
    """Rows left out because a prompt or an answer holds nothing but white space."""
    first_broken: list[str] = field(default_factory=list)
    """File, line and reason of the first few broken rows."""

    def note(self, path: Path, line: int, why: Broken) -> None:
        """Count a broken row."""
        self.broken += 1
        if len(self.first_broken) < _REPORTED:
            place = f"{path.name}, {'row' if path.suffix.lower() == '.parquet' else 'line'} {line}: {why.reason}"
            self.first_broken.append(place)
            logger.warning("broken row passed over: %s", place)

    def check(self, tolerated: float, source: str) -> None:
        """Report what was left out.

        Raises:
            StudyError: no row is left, or more than the share `tolerated` of them is broken.
        """
        first = "; ".join(self.first_broken)
        if self.broken > tolerated * self.rows:
            raise StudyError(
                f"{source}: {self.broken} of {self.rows} rows are broken, more than the share {tolerated:g} that "
                f"`broken_rows` allows. {first}. Mend or remove them, or raise `broken_rows`."
            )
        if self.rows == self.broken + self.empty:
            raise StudyError(
                f"{source}: of its {self.rows} rows none can be used ({self.broken} are broken, {self.empty} have an "
                "empty prompt or answer). Name files that hold rows."
            )
        if self.broken or self.empty:
            logger.warning("%s: of %d rows %d broken, %d empty", source, self.rows, self.broken, self.empty)


def read_rows(
    files: Sequence[Path],
    columns: Mapping[str, str],
    sample: int | None,
    seed: int,
    reading: Reading,
) -> Iterator[Texts]:
    """The rows of `files`, one file after another; memory holds the sample at most.

    A row's number, by which it is drawn, counts all rows, broken and empty ones included: mending one moves no other.

    Args:
        files: see `modecollapse.data.sources.files`.
        columns: our columns, in the order of the values of a row → the files' columns.
        sample: how many rows are drawn; None takes all.
        seed: seed of the sample.
        reading: is filled while rows are read, and complete after the last one.

    Raises:
        StudyError: a file cannot be read; see `read_records`.
    """
    usable = _usable(files, columns, reading)
    if sample is None:
        for _, row in usable:
            yield row
        return
    drawn: Sample[Texts] = Sample(sample, seed)
    for number, row in usable:
        drawn.offer(number, row)
    yield from drawn.rows()


def _usable(files: Sequence[Path], columns: Mapping[str, str], reading: Reading) -> Iterator[tuple[int, Texts]]:
    for path in files:
        for line, texts in read_records(path, list(columns.values())):
            number = reading.rows
            reading.rows += 1
            if isinstance(texts, Broken):
                reading.note(path, line, texts)
                continue
            row = tuple(text.strip() if ours in ANSWERS else text for ours, text in zip(columns, texts, strict=True))
            if all(text.strip() for ours, text in zip(columns, row, strict=True) if ours in _NEEDS_WORDS):
                yield number, row
            else:
                reading.empty += 1
