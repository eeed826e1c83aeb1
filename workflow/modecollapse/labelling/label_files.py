"""Files of labels, as people fill them in: read, checked as a whole against their sheet, and told apart by line."""

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modecollapse.errors import StudyError
from modecollapse.labelling.labels import PREFERENCES, Label, Labelled

COLUMNS = ("sheet", "pair", "annotator", "label")
"""What a file of labels has; further columns, such as the texts of a filled-in sheet, are not read, but for
`shown_first`."""

_SHOWN_FIRST = "shown_first"
_DELIMITERS = ",;\t"
_FAULTS = 10
"""So many faults of a file are told at once."""
_LONGEST = 64


@dataclass(frozen=True)
class Row:
    """A label with its place, for messages."""

    path: Path
    line: int
    sheet: str
    labelled: Labelled

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


def read_label_files(paths: Sequence[Path]) -> list[Row]:
    """The labels of files that were exported from a sheet's page, or of sheets that were filled in by hand.

    UTF-8 (a byte order mark may stand in front), with commas, semicolons or tabs. Rows without a label are passed over:
    nobody has labelled the pair yet.

    Raises:
        StudyError: a file cannot be read, lacks a column, or has a row that cannot be understood, whatever the sheet.
    """
    return [row for path in paths for row in _read(path)]


def check_labels(
    rows: Sequence[Row], sheet: str, pairs: Sequence[str], overlap: int, others: Collection[str] = ()
) -> list[Labelled]:
    """The labels, once they are known to be those of this sheet, complete and single.

    Args:
        rows: what was read of all files for the sheet.
        sheet: its identity.
        pairs: those of its candidates.
        overlap: annotators who have to label each pair, at least; to skip it is a label, too.
        others: sheets whose labels may stand in the same files; they are passed over.

    Raises:
        StudyError: labels of another sheet or of unknown pairs, two labels of one annotator for a pair, or pairs with
            too few annotators.
    """
    rows = [row for row in rows if row.sheet == sheet or row.sheet not in others]
    known, first, faults = set(pairs), dict[tuple[str, str], Row](), list[str]()
    names: dict[str, str] = {}
    for row in rows:
        labelled = row.labelled
        names.setdefault(_folded(labelled.annotator), labelled.annotator)
        key = (labelled.pair, _folded(labelled.annotator))
        if row.sheet != sheet:
            faults.append(
                f"{row}: the label is of the sheet {row.sheet!r}, but this one is {sheet!r}: its pairs were made anew "
                "or are those of another model. Label the present sheet, or go back to the settings that the other "
                "one was made with."
            )
        elif labelled.pair not in known:
            faults.append(
                f"{row}: the sheet has no pair {labelled.pair!r}. Allowed: its {len(known)} pairs. Copy the pair from "
                "the sheet, or remove the line."
            )
        elif key in first:
            other = first[key]
            faults.append(
                f"{row}: {labelled.annotator} labels the pair {labelled.pair} a second time, after {other} "
                f"({other.labelled.label}). Allowed: one label of each annotator. Remove one of the lines."
            )
        else:
            first[key] = row
    _raise(faults)
    _check_overlap(list(first.values()), pairs, overlap)
    return [replace(row.labelled, annotator=names[_folded(row.labelled.annotator)]) for row in rows]


def _check_overlap(rows: Sequence[Row], pairs: Sequence[str], overlap: int) -> None:
    given = Counter(row.labelled.pair for row in rows)
    few = [pair for pair in pairs if given[pair] < overlap]
    if not few:
        return
    last = {row.labelled.pair: row for row in rows}
    where = f"; the last one stands in {last[few[0]]}" if few[0] in last else ""
    people = Counter(_folded(row.labelled.annotator) for row in rows)
    done = ", ".join(f"{name} {number}" for name, number in sorted(people.items())) or "nobody any"
    files = ", ".join(sorted({str(row.path) for row in rows})) or "the named files"
    raise StudyError(
        f"{files}: {len(few)} of {len(pairs)} pairs have fewer than {overlap} labels, e.g. {few[0]} has "
        f"{given[few[0]]}{where}. Labels by annotator: {done}. Allowed: at least {overlap} annotators for each pair, "
        "who may also say `tie` or `skip`. Have the rest labelled and name the files in `labels`, or lower `overlap`."
    )


def _read(path: Path) -> Iterator[Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read: {error.strerror}. Export it from the sheet, or correct `labels`."
        ) from error
    except UnicodeDecodeError as error:
        raise StudyError(
            f"{path} is not UTF-8 text (byte {error.start}). Export it from the sheet's page again, or save it as "
            "“CSV UTF-8”."
        ) from error
    header = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    faults: list[str] = []
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(path, names)
        line = reader.line_num
        for values in reader:
            began, line = line + 1, reader.line_num
            if not any(value.strip() for value in values):
                continue
            found = _parse(path, began, dict(zip(names, values, strict=False)))
            if isinstance(found, Row):
                yield found
            elif found:
                faults.append(found)
    except csv.Error as error:
        raise StudyError(
            f"{path}, line {reader.line_num}: this is no CSV: {error}. Export it from the sheet's page again."
        ) from error
    _raise(faults)


def _check_header(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise StudyError(
            f"{path}, line 1: there is no column {missing[0]!r}; found {', '.join(filter(None, names)) or 'nothing'}. "
            f"Needed: {', '.join(COLUMNS)}. Use a file that was exported from the sheet's page, or the sheet's CSV."
        )
    twice = [name for name in (*COLUMNS, _SHOWN_FIRST) if names.count(name) > 1]
    if twice:
        raise StudyError(
            f"{path}, line 1: there are {names.count(twice[0])} columns {twice[0]!r}. Allowed: one. Remove the others, "
            "or use a file that was exported from the sheet's page."
        )


def _parse(path: Path, line: int, values: dict[str, str]) -> Row | str:
    """A row, or what is wrong with it; an empty text if nobody has filled it in."""
    sheet, pair, annotator, given = (values.get(name, "").strip() for name in COLUMNS)
    place = f"{path}, line {line}"
    if not given:
        return ""
    if given.lower() not in set(Label):
        return f"{place}: found the label {given!r}. Allowed: {', '.join(Label)}, or nothing. Correct it."
    annotator = unicodedata.normalize("NFC", annotator)
    if not annotator or len(annotator) > _LONGEST or not annotator.isprintable():
        return (
            f"{place}: found the annotator {annotator!r}. Allowed: 1 to {_LONGEST} characters that can be seen, "
            "and spaces. Say who labelled the pair, each annotator by one name of their own."
        )
    shown = values.get(_SHOWN_FIRST, "").strip().lower()
    if shown not in ("", *PREFERENCES):
        return f"{place}: found shown_first {shown!r}. Allowed: a, b, or nothing. Correct it."
    first = Label(shown) if shown else None
    return Row(path, line, sheet, Labelled(pair, annotator, Label(given.lower()), first))


def _folded(annotator: str) -> str:
    """By what annotators are told apart: "Ann A", "ann  a" and the same in full-width letters are one."""
    return " ".join(unicodedata.normalize("NFKC", annotator).casefold().split())


def _raise(faults: Sequence[str]) -> None:
    if faults:
        more = [f"… and {len(faults) - _FAULTS} more."] if len(faults) > _FAULTS else []
        raise StudyError("\n".join([*faults[:_FAULTS], *more]))
