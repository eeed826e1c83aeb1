"""What became of the rows of derived data sets, and the perplexities that filters went by."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from modecollapse.analysis.table_files import joined

ALL = "all"
"""All tasks together, and the only one of a set without tasks."""

Reports = Iterable[tuple[Mapping[str, str], Mapping[str, Any]]]
"""Of each set its identity (`data`, and `size` and `seed`, empty where it is the same for all) and its report (see
`jobs.derived_data.derive_data`)."""


def filters_table(reports: Reports) -> pd.DataFrame:
    """Rows of the table `filters`: how many rows of each task, and of all, had each outcome.

    `share` is of the rows of the task. Where a perplexity filter set a bound for the task, `bound` is it and `n_own`
    the number of the scorer's own responses that it is from.
    """
    return joined("filters", (pd.DataFrame(_outcomes(identity, report)) for identity, report in reports))


def perplexities_table(reports: Reports) -> pd.DataFrame:
    """Rows of the table `perplexities`: quantiles of the perplexity of the scorer's own, chosen and rejected responses.

    Of sets that were filtered by perplexity; before the filter, `n` responses of each task.
    """
    frames = (pd.DataFrame(_quantiles(identity, report)) for identity, report in reports if "quantiles" in report)
    return joined("perplexities", frames)


def _outcomes(identity: Mapping[str, str], report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    counts: list[dict[str, Any]] = report["counts"]
    if {row["task"] for row in counts} != {ALL}:
        whole: Counter[tuple[str, bool]] = Counter()
        for row in counts:
            whole[row["outcome"], row["kept"]] += row["n"]
        counts = [{"task": ALL, "outcome": name, "kept": kept, "n": n} for (name, kept), n in whole.items()] + counts
    sizes: Counter[str] = Counter()
    for row in counts:
        sizes[row["task"]] += row["n"]
    for row in counts:
        bound = report.get("bounds", {}).get(row["task"], {})
        yield {
            **identity,
            "transformation": report["transformation"],
            **row,
            "share": row["n"] / sizes[row["task"]],
            "bound": bound.get("bound"),
            "n_own": bound.get("n", 0),
        }


def _quantiles(identity: Mapping[str, str], report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for task, texts in report["quantiles"].items():
        bound = report["bounds"].get(task, {}).get("bound")
        for text, known in texts.items():
            last = len(known["values"]) - 1
            for place, value in enumerate(known["values"]):
                of_text = {"task": task, "text": text, "n": known["n"], "bound": bound}
                yield {**identity, **of_text, "quantile": place / last, "perplexity": value}
