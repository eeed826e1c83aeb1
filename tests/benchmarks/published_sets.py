"""Sets of completions that the authors published, cut to a number of words."""

import argparse
from pathlib import Path

from modecollapse.completions.npy import read_string_lists
from modecollapse.metrics.lexical import first_words
from tests.projects import PUBLISHED


def add_arguments(parser: argparse.ArgumentParser, every: int) -> None:
    """Which sets a script reads."""
    parser.add_argument("completions", type=Path, nargs="*", default=sorted(PUBLISHED.glob("completions/*.npy")))
    parser.add_argument("--every", type=int, default=every, help="use only every so-many-th set")
    parser.add_argument("--words", type=int, default=20)


def read_sets(arguments: argparse.Namespace) -> list[list[str]]:
    """Sets of texts of so many words, those with an empty text left out.

    Raises:
        SystemExit: there are no files to read.
    """
    if not arguments.completions:
        raise SystemExit(f"not measured: no completions are named, and the published ones are not at {PUBLISHED}")
    return [
        cut
        for path in arguments.completions
        for texts in read_string_lists(path)[1][:: arguments.every]
        if all(cut := [first_words(text, arguments.words) for text in texts])
    ]
