"""Small tables that figures are drawn from in tests."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.tokens import UNITS
from modecollapse.figures.context import FigureContext
from modecollapse.metrics.registry import METRICS, QUALITIES

STAGES = ("plm", "sft", "dpo")


SIZES = ("small", "large")


def grid(**axes: tuple[Any, ...]) -> pd.DataFrame:
    return pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)


def measured(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Adds numbers that rise along the rows, with intervals of ± 0.05, and the columns still missing."""
    value = np.linspace(0.2, 0.8, len(frame))
    frame = frame.assign(definition="corrected", low=value - 0.05, high=value + 0.05)
    frame = frame.assign(**{"delta" if "delta" in SCHEMAS[name].names else "value": value})
    defaults = {"format": "human", "unit": "", "share": 0.5}
    defaults |= dict.fromkeys(("format_before", "format_after"), "human")
    missing = {column: defaults.get(column, 20) for column in SCHEMAS[name].names if column not in frame}
    return frame.assign(**missing)[SCHEMAS[name].names]


def texts(figure: Figure) -> list[str]:
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
        found += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    for legend in figure.legends:
        found += [text.get_text() for text in legend.get_texts()]
    return found


def figure_context() -> FigureContext:
    spec = {
        "title": "A study",
        "labels": {"plm": "PLM", "sft": "SFT", "dpo": "DPO"},
        "methods": {"plm": "pretrain", "sft": "sft", "dpo": "dpo"},
        "data": {"plm": "corpus", "sft": "answers", "dpo": None},
        "lineage": {"plm": [], "sft": ["plm"], "dpo": ["sft"]},
        "temperature": "1.0",
        "prompts": {"creative": {"c0": "Write a poem that costs $5."}, "factual": {"f0": "What is it?"}},
    }
    return FigureContext.from_spec(spec, SIZES, "small")


def figure_tables() -> dict[str, pd.DataFrame]:
    prompts, temperatures = ("creative", "factual"), ("0.5", "1.0", "1.5")
    models = {"size": SIZES, "stage": STAGES}
    cut = tuple(name for name, metric in METRICS.items() if metric.scope != "whole")
    whole = ("mean_length", "empty_rate", *QUALITIES)
    curves = pd.concat(
        grid(**models, prompts=prompts, temperature=temperatures, words=(words,), metric=metrics)
        for words, metrics in ((20, cut), (0, whole))
    )
    steps = {"path": ("plm>sft>dpo",), "step": ("plm>sft", "sft>dpo", "total")}
    output = grid(size=SIZES, level=("output",), prompts=prompts, temperature=("1.0", "mean"), metric=cut, **steps)
    token = grid(size=SIZES, level=("token",), prompts=("",), temperature=("",), metric=tuple(UNITS), **steps)
    attribution = pd.concat([output.assign(words=20), token.assign(words=0)])
    matched = grid(size=SIZES, prompts=prompts, metric=cut, **steps).assign(words=20, note="")
    answers = grid(**models, prompts=prompts, prompt=("c0",), sample=(0, 1))
    logged = grid(**models, step=tuple(range(5)), quantity=("loss", "learning_rate"))
    strengths = grid(task=prompts, quantity=("self_bleu", "utility"), **{"lambda": (0.0, 0.5, 1.0)})
    keys = pd.DataFrame({"key": prompts, "prompts": prompts[::-1]})
    published = grid(**models, temperature=temperatures, metric=("self_bleu", "cosine")).merge(keys, how="cross")
    parts = pd.DataFrame({"effect": ["stage", "format", "apparent"], "within": ["both", "both", ""]})
    sides = {"format_before": ("okay",), "format_after": ("human",)}
    effects = grid(size=SIZES, prompts=prompts, temperature=("mean",), metric=cut, step=("plm>sft", "plm>dpo"), **sides)
    effects = effects.merge(parts, how="cross").assign(words=20)
    asked = grid(**models, task=("arc_easy", "lambada_openai"), shots=(0, 5), metric=("perplexity", "acc"))
    kinds = {"task": ("all", "creative"), "better": ("all", "longer", "shorter"), "quantity": ("accuracy", "pearson")}
    judged = grid(size=SIZES, stage=("dpo",), data=("train", "held"), **kinds)
    floor = pd.DataFrame([{"task": "pretraining", "quantity": "entropy_floor", "lambda": math.nan, "value": 0.7}])
    return {
        "curves": measured("curves", curves),
        "attribution": measured("attribution", attribution),
        "published": measured("published", published),
        "matched_attribution": measured("matched_attribution", matched),
        "format_effect": measured("format_effect", effects),
        "benchmarks_pooled": measured("benchmarks_pooled", asked).assign(
            filter="none", chance=np.where(asked["task"] == "arc_easy", 0.25, math.nan), higher_is_better=True
        ),
        "rewards": measured("rewards", judged),
        "tokens_pooled": measured("tokens_pooled", grid(**models, metric=tuple(UNITS))),
        "vocabulary_cdf": grid(**models, rank_share=(0.001, 0.01, 0.1, 1.0)).assign(
            seed=0, mass=lambda frame: frame["rank_share"] ** 0.1
        ),
        "samples": answers.assign(
            seed=0, format="human", temperature="1.0", text="It costs $5 and \U0001f600, or $x_1. " * 30
        ),
        "training": logged.assign(seed=0, value=1.0),
        "truth": pd.concat([strengths.assign(value=strengths["lambda"] / 4), floor]),
    }
