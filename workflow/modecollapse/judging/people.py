"""Judges that are people: the sheet that they label, and their labels as verdicts."""

import logging
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from modecollapse.errors import StudyError
from modecollapse.judging.pairs import Judged, Pair
from modecollapse.judging.verdicts import Verdict
from modecollapse.labelling.candidates import Scored, candidate_table, sheet_of
from modecollapse.labelling.label_files import check_labels, read_label_files
from modecollapse.labelling.labels import Label

logger = logging.getLogger(__name__)

_SEED = 0
"""Decides which answer of a pair is a and which is b."""


def sheet_pairs(pairs: Sequence[Pair]) -> pa.Table:
    """The pairs that people are asked about, blind (`labelling.candidates.SCHEMA`): those whose answers differ."""
    asked = [pair for pair in pairs if not pair.equal]
    return candidate_table(
        range(len(asked)),
        [pair.question for pair in asked],
        [tuple(Scored(text, None) for text in pair.shown()) for pair in asked],  # type: ignore[misc]
        [pair.task for pair in asked],
        _SEED,
    )


def judged_by_people(
    pairs: Sequence[Pair], files: Sequence[Path], overlap: int, sheet: Path, others: Collection[str]
) -> Iterator[tuple[Pair, Judged]]:
    """What each annotator says of each pair; equal answers are a tie, and to skip a pair is to refuse a verdict.

    Args:
        pairs: those that the sheet was made of.
        files: of labels.
        overlap: annotators who have to label each pair, at least.
        sheet: where it lies, for messages.
        others: the judge's sheets of other models, whose labels may stand in the same files.

    Raises:
        StudyError: the files have no label of this sheet, or as `read_label_files` and `check_labels`.
    """
    shown = sheet_pairs(pairs)
    identity = sheet_of(shown)
    rows = read_label_files(files)
    own = sum(row.sheet == identity for row in rows)
    logger.info("%d of %d labels are of this sheet, %s", own, len(rows), identity)
    if shown.num_rows and not own:
        raise StudyError(
            f"{', '.join(map(str, files))}: none of {len(rows)} labels is of the sheet {identity}, which is {sheet}. "
            "The sheet was made anew if the answers have changed since. Have this one labelled, and name the files in "
            "`labels`."
        )
    given: dict[str, list[tuple[str, Label]]] = {}
    for each in check_labels(rows, identity, shown["pair"].to_pylist(), overlap, others):
        given.setdefault(each.pair, []).append((each.annotator, each.label))
    names = iter(zip(*(shown[name].to_pylist() for name in ("pair", "a")), strict=True))
    for pair in pairs:
        if pair.equal:
            yield pair, Judged(Verdict.TIE)
            continue
        name, first = next(names)
        for annotator, label in sorted(given[name]):
            yield pair, Judged(_verdict(label, first == pair.shown()[0]), reply=str(label), answered_by=annotator)


def _verdict(label: Label, stage_is_a: bool) -> Verdict:
    if label is Label.TIE:
        return Verdict.TIE
    if label is Label.SKIP:
        return Verdict.REFUSAL
    return Verdict.WIN if (label is Label.A) == stage_is_a else Verdict.LOSS
