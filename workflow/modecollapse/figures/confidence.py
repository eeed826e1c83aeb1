"""How sure each stage is of the tokens that it writes, as coloured text."""

from matplotlib.figure import Figure

from modecollapse.figures import style
from modecollapse.figures.coloured_text import CUT, Block, Passage, coloured_sheet
from modecollapse.figures.context import FigureContext, Tables

_QUESTIONS, _STAGES = 3, 8
"""Questions, and stages of each, that are drawn at most."""


@style.styled
def confidence(tables: Tables, context: FigureContext) -> Figure:
    """Continuations of each question by all stages of one size (`context.size`) and its first seed.

    Reads `confidence_tokens`.
    """
    table = tables["confidence_tokens"]
    table = table[table["size"] == context.size]
    table = table[table["seed"] == table["seed"].min()]
    stages = [stage for stage in context.stages if (table["stage"] == stage).any()]
    questions = list(dict.fromkeys(table["question"]))
    looks = style.marks(context.stages)
    blocks = []
    for question in questions[:_QUESTIONS]:
        passages = []
        for stage in stages[:_STAGES]:
            rows = table[(table["question"] == question) & (table["stage"] == stage)].sort_values("position")
            if len(rows):
                before, tokens = str(rows["before"].iloc[0]), list(rows["token"])
                colour = looks[stage].colour
                passages.append(Passage(context.label(stage), before, tokens, list(rows["probability"]), colour))
        blocks.append(Block(question, style.GREY, passages))
    beyond = {"question": len(questions) - _QUESTIONS, "stage": len(stages) - _STAGES}
    left_out = [style.counted([number], noun) for noun, number in beyond.items() if number > 0]
    more = f" Not drawn, but on the page of coloured continuations: {' and '.join(left_out)}." if left_out else ""
    footer = f"Grey: the question; coloured: what the stage wrote, one sample. {CUT}{more}"
    return coloured_sheet(blocks, f"{context.size} · confidence in each token", footer, "no continuations")
