"""What figures of text features draw: which features, in which order, of which comparisons, and how these look."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, records

_DATA = "chosen − rejected"

Step = tuple[str, str]
"""A stage and its reference."""


@dataclass(frozen=True)
class Shown:
    """What the figures draw of `text_features`: the data's own rows, and those of the steps of one size."""

    rows: Mapping[tuple[Step | None, str, str], Mapping[str, Any]]
    """By step (None for the data), split and feature."""
    steps: list[Step]
    splits: list[str]
    lines: list[tuple[str, str]]
    """(category, feature) from top to bottom, before each category a line of its own without a feature."""
    notes: list[str]
    """Which features are not drawn, and why."""
    has_data: bool
    n: str

    @property
    def features(self) -> list[str]:
        return [feature for _, feature in self.lines if feature]

    def series(self) -> list[Step | None]:
        return [None, *self.steps] if self.has_data else list(self.steps)

    def value(self, step: Step | None, split: str, feature: str, column: str) -> float:
        """A number of the side that the step, or the data, is; NaN where there is none."""
        row = self.rows.get((step, split, feature))
        return math.nan if row is None else float(row[f"{'answer' if step else 'data'}_{column}"])

    def places(self) -> Iterator[tuple[int, str]]:
        """(line, feature) of every feature."""
        return ((place, feature) for place, (_, feature) in enumerate(self.lines) if feature)


def shown_features(table: pd.DataFrame, context: FigureContext, drawn: str = "normalised") -> Shown:
    """What is shown of features of which some row has the number that is drawn: `normalised`, `q` or `agreement`."""
    own = table[(table["definition"] == context.definition) & table["stage"].isna()]
    of_size = rows_of_size(table, context)
    every = pd.concat([own, of_size])
    rows: dict[tuple[Step | None, str, str], Mapping[str, Any]] = {}
    for row in records(every):
        step = None if pd.isna(row["stage"]) else (str(row["stage"]), str(row["reference"]))
        rows[step, row["split"], row["feature"]] = row
    order = list(context.stages)
    steps = sorted(
        {key[0] for key in rows if key[0]},
        key=lambda step: tuple(order.index(each) if each in order else -1 for each in step),
    )
    splits = list(dict.fromkeys(every["split"]))
    columns = [drawn] if drawn == "agreement" else [f"data_{drawn}", f"answer_{drawn}"]
    defined = every[every[columns].notna().any(axis=1)]
    names = set(defined["feature"])
    first = steps[0] if steps else None
    shown = Shown(rows, steps, splits, [], _left_out(every, names), bool(len(own)), _counted(own, of_size))
    level = {}
    for name in names:
        values = (shown.value(step, split, name, "normalised") for step in (None, first) for split in splits)
        level[name] = next((value for value in values if not math.isnan(value)), -math.inf)
    lines: list[tuple[str, str]] = []
    for category, members in defined.groupby("category", sort=False)["feature"]:
        ordered = sorted(dict.fromkeys(members), key=lambda name: -level[name])
        lines += [(str(category), ""), *((str(category), name) for name in ordered)]
    categories = list(dict.fromkeys(every["category"]))
    lines.sort(key=lambda line: categories.index(line[0]))
    shown.lines.extend(lines)
    return shown


def rows_of_size(table: pd.DataFrame, context: FigureContext) -> pd.DataFrame:
    """The rows of the drawn definition about the figure's size and its stages."""
    rows = table[(table["definition"] == context.definition) & table["stage"].isin(list(context.stages))]
    return rows[rows["size"] == context.size]


def _left_out(every: pd.DataFrame, drawn: set[str]) -> list[str]:
    """Sentences that name the features that are not drawn, by category and reason."""
    lacking = every[~every["feature"].isin(drawn)].drop_duplicates("feature")
    reasons = lacking["reason"].fillna("not defined")
    found = []
    for (category, reason), group in lacking.groupby(["category", reasons], sort=False):
        found.append(f"Not drawn of {category}: {', '.join(group['feature'])} ({reason}).")
    return found


def _counted(own: pd.DataFrame, of_size: pd.DataFrame) -> str:
    parts = []
    for name, noun, rows in (("data_n", f"{_DATA}: ", own), ("answer_n", "steps: ", of_size)):
        held = rows.loc[rows[name] > 0, name]
        if len(held):
            unit = "prompt" if (rows["kind"] == "prompts").all() else "pair"
            parts.append(noun + style.counted([int(held.min()), int(held.max())], unit))
    return ", ".join(parts) + "." if parts else ""


def look_of(step: Step | None, shown: Shown, context: FigureContext) -> dict[str, Any]:
    """A step looks as its stage does; if that is compared with several references, hollow but for the first."""
    if step is None:
        return {"color": "black", "marker": "D", "markersize": 2.2, "linestyle": "none", "markeredgewidth": 0.6}
    mark = style.marks(context.stages)[step[0]]
    first = next(each for each in shown.steps if each[0] == step[0])
    face = {} if first == step else {"markerfacecolor": style.lightened(mark.colour, 0.6)}
    size = {"markersize": 2.4, "linestyle": "none", "markeredgewidth": 0.6}
    return {"color": mark.colour, "marker": mark.marker, **size, **face}


def step_label(step: Step | None, context: FigureContext) -> str:
    if step is None:
        return _DATA
    return " − ".join(context.label(each) if each in context.stages else each for each in step)


def footer_lines(shown: Shown, text: str, inches: float) -> list[str]:
    """What is said below a figure so wide: n, the text, and what is not drawn."""
    said = [f"{shown.n} {text}".strip(), *shown.notes]
    return [line for each in said for line in style.wrapped(each, inches - 0.3, style.TINY)]


def agreement(shown: Shown, step: Step, split: str, feature: str) -> float:
    row = shown.rows.get((step, split, feature))
    return math.nan if row is None else float(row["agreement"])
