"""Completions side by side: prompts as rows, stages as columns."""

import pandas as pd
from matplotlib.figure import Figure

from modecollapse.figures import style
from modecollapse.figures.context import FigureContext, Tables
from modecollapse.figures.side_by_side import side_by_side

_PROMPTS_PER_SET = 2


@style.styled
def samples(tables: Tables, context: FigureContext) -> Figure:
    """Sample completions of one size (`context.size`) and its first seed, at `context.temperature`.

    Reads the table `samples`: the first two prompts of each set, two completions of each.
    """
    chosen = _chosen(tables["samples"], context)
    labels = {stage: context.label(stage) for stage in context.stages if (chosen["stage"] == stage).any()}
    rows = [
        (
            f"{name}: {context.prompts[name].get(prompt, prompt)}",
            chosen[(chosen["prompts"] == name) & (chosen["prompt"] == prompt)],
        )
        for name in context.prompts
        for prompt in list(dict.fromkeys(chosen.loc[chosen["prompts"] == name, "prompt"]))[:_PROMPTS_PER_SET]
    ]
    scope = context.scope(f"{context.size} · T = {context.temperature}")
    return side_by_side(context, scope + ("" if len(chosen) else " · no samples"), labels, rows)


def _chosen(table: pd.DataFrame, context: FigureContext) -> pd.DataFrame:
    """One size, one seed, one temperature, one prompt format for each stage."""
    table = context.in_view(table)
    table = table[(table["size"] == context.size) & (table["temperature"] == context.temperature)]
    return table[table["seed"] == table["seed"].min()]
