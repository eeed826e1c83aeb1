"""What training logged, as lines of panels: which runs logged what, and one line per size over all seeds."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, families

REWARDS = ("score", "kl")
"""What stages log that learn from the scores of their own answers."""
SCORES_OF_PAIRS = ("accuracy", "margin")
"""What reward models log."""
LIKELIHOODS_OF_PAIRS = ("rewards/accuracies", "rewards/margins")
"""What stages log that learn from pairs of answers; of single answers they log margins alone."""

_SEED_WIDTH, _MEAN_WIDTH, _SEED_OPACITY = 0.5, 1.1, 0.35


@dataclass(frozen=True)
class Run:
    """The stages of one training run, in the order of epochs."""

    stages: tuple[str, ...]
    logged: pd.DataFrame
    """Its rows of the table `training`."""

    def has(self, quantity: str) -> bool:
        return bool((self.logged["quantity"] == quantity).any())

    def label(self, context: FigureContext) -> str:
        return context.stages[self.stages[0]].run_label

    def values(self, quantity: str) -> pd.DataFrame:
        """Columns size, seed, stage, step, value."""
        return self.logged[self.logged["quantity"] == quantity]


def runs_with(training: pd.DataFrame, context: FigureContext, *choices: Collection[str]) -> list[Run]:
    """The training runs that logged all quantities of one of the choices, in the order of the lineage."""
    runs = (Run(tuple(stages), training[training["stage"].isin(stages)]) for stages in families(context.stages))
    return [run for run in runs if any(set(choice) <= set(run.logged["quantity"]) for choice in choices)]


def draw_seeds(
    axes: Axes, values: pd.DataFrame, context: FigureContext, colour: str | None = None, dashes: str | None = None
) -> None:
    """One line per size, the mean over its seeds, with the seeds as thin lines where there are several.

    `values` has columns size, seed, stage, step and value. The colour is that of the stage, the line style that of the
    size, unless they are given.
    """
    marks, lines = style.marks(context.stages), style.line_styles(context.sizes)
    for size, of_size in values.groupby("size", sort=False):
        look = lines[str(size)] if dashes is None else dashes
        seeds = list(of_size.groupby("seed", sort=False))
        if len(seeds) > 1:
            for _, of_seed in seeds:
                for stage, part in parts(of_seed, context):
                    axes.plot(
                        part["step"], part["value"], color=colour or marks[stage].colour, linestyle=look,
                        linewidth=_SEED_WIDTH, alpha=_SEED_OPACITY,
                    )  # fmt: skip
        # Where only some seeds logged a step, e.g. after another ended early, the mean would jump.
        mean = of_size.groupby(["stage", "step"], sort=False)["value"].agg(["mean", "size"]).reset_index()
        mean = mean[mean["size"] == len(seeds)].rename(columns={"mean": "value"})
        for stage, part in parts(mean, context):
            axes.plot(
                part["step"], part["value"], color=colour or marks[stage].colour, linestyle=look, linewidth=_MEAN_WIDTH
            )


def parts(line: pd.DataFrame, context: FigureContext) -> Iterator[tuple[str, pd.DataFrame]]:
    """A run's line by stage, by rising step: each epoch's part begins where that of the epoch before ended."""
    before = line.iloc[:0]
    for stage in context.stages:
        part = line[line["stage"] == stage].sort_values("step")
        if part.empty:
            continue
        yield stage, pd.concat([before, part]) if len(before) else part
        before = part.iloc[-1:]


def change(values: pd.DataFrame) -> pd.DataFrame:
    """The same less the first value that each model of a size and seed logged."""
    values = values.sort_values("step")
    first = values.groupby(["size", "seed"], sort=False)["value"].transform("first")
    return values.assign(value=values["value"] - first)


def size_handles(context: FigureContext, sizes: Collection[str]) -> list[Line2D]:
    """Legend entries of line styles, where more than one size is drawn."""
    lines = style.line_styles(context.sizes)
    shown = [size for size in context.sizes if size in sizes]
    if len(shown) < 2:
        return []
    return [Line2D([], [], color=style.GREY, linestyle=lines[size], label=size) for size in shown]


def population(runs: Sequence[Run]) -> str:
    """How many seeds the lines are of."""
    seeds = [of_size["seed"].nunique() for run in runs for _, of_size in run.logged.groupby("size")]
    means = "Thick: mean over seeds; thin: each seed." if max(seeds, default=0) > 1 else ""
    return f"{style.counted(seeds, 'training seed')} per line. {means}".rstrip()
