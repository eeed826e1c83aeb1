"""Small tables that figures are drawn from in tests."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from modecollapse.analysis.costs import BOUND
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.tokens import UNITS
from modecollapse.figures.context import FigureContext, records
from modecollapse.measures.semantic import QUANTITIES
from modecollapse.measures.toy_bandit import ToyBanditSettings, toy_bandit
from modecollapse.metrics.registry import METRICS, QUALITIES
from tests import continuation_tables

STAGES = ("plm", "sft", "dpo")


SIZES = ("small", "large")

LACKING = ("grpo", "dpo2")
"""Stages of `methods_context` that the large size does not have."""


def grid(**axes: tuple[Any, ...]) -> pd.DataFrame:
    return pd.MultiIndex.from_product(axes.values(), names=list(axes)).to_frame(index=False)


def of_stage(frame: pd.DataFrame, levels: dict[str, float]) -> "pd.Series[float]":
    """A number for each row by its stage; of stages that are not named, the largest."""
    return frame["stage"].map(levels).astype(float).fillna(max(levels.values()))


def measured(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Adds numbers that rise along the rows, with intervals of ± 0.05, and the columns still missing."""
    value = np.linspace(0.2, 0.8, len(frame))
    frame = frame.assign(definition="corrected", low=value - 0.05, high=value + 0.05)
    frame = frame.assign(**{"delta" if "delta" in SCHEMAS[name].names else "value": value})
    defaults = {"format": "human", "unit": "", "share": 0.5}
    defaults |= dict.fromkeys(("format_before", "format_after"), "human")
    missing = {column: defaults.get(column, 20) for column in SCHEMAS[name].names if column not in frame}
    return frame.assign(**missing)[SCHEMAS[name].names]


def of_few_metrics(tables: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The tables with three metrics of completions in those that have a panel drawn for each."""
    few = dict(tables)
    for name in ("curves", "attribution", "matched_attribution", "format_effect"):
        frame = tables[name]
        of_cut_texts = frame["words"] > 0
        few[name] = frame[~of_cut_texts | frame["metric"].isin(("self_bleu", "cosine", "ncd"))]
    return few


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
    kinds = ("any", "multiple", "tandem", "cycle")
    repetitive = grid(**models, prompts=prompts, temperature=(*temperatures, "mean"), kind=kinds)
    tasks = {"temperature": ("1.0",), "task": ("all", "chat", "open QA")}
    compared = grid(size=SIZES, stage=STAGES[1:], judge=("rm", "gpt"), **tasks)
    agreed = grid(size=SIZES, judge=("rm",), other=("gpt",), task=("all", "chat"), counted=("all", "won or lost"))
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
        "repetition": measured("repetition", repetitive),
        "win_rates": measured("win_rates", compared).assign(reference="plm", wins=11, ties=4, losses=3, refusals=1),
        "judge_agreement": measured("judge_agreement", agreed).assign(kappa=0.1, kappa_low=-0.2, kappa_high=0.4),
        "tokens_pooled": measured("tokens_pooled", grid(**models, metric=tuple(UNITS))),
        "vocabulary_cdf": grid(**models, rank_share=(0.001, 0.01, 0.1, 1.0)).assign(
            seed=0, mass=lambda frame: frame["rank_share"] ** 0.1
        ),
        "samples": answers.assign(
            seed=0, format="human", temperature="1.0", text="It costs $5 and \U0001f600, or $x_1. " * 30
        ),
        "training": logged.assign(seed=0, value=1.0),
        "truth": pd.concat([strengths.assign(value=strengths["lambda"] / 4), floor]),
        **cost_tables(STAGES[1:], "plm"),
        **filter_tables(),
        "data_cards": card_table(),
        **semantic_tables(),
        **continuation_tables.figure_tables(SIZES, STAGES),
        **top_entropy_tables(),
        **probe_tables(),
        **persona_tables(),
        **text_feature_tables(),
        "toy_bandit": toy_bandit(ToyBanditSettings(runs=20, simulated_updates=50)).to_pandas(),
        "candidates": candidate_table([(SIZES[0], "dpo")]),
    }


def semantic_tables() -> dict[str, pd.DataFrame]:
    """`semantic`, and `semantic_outputs`: 30 outputs of three prompts in three clusters, one of them without a word."""
    models, prompts = {"size": SIZES, "stage": STAGES}, ("creative", "factual")
    found = grid(**models, prompts=prompts, quantity=QUANTITIES)
    found = measured("semantic", found.assign(temperature="1.0"))
    outputs = grid(**models, prompts=prompts, prompt=("c0", "f0"), sample=tuple(range(30)))
    outputs = outputs[outputs["prompt"].str[0] == outputs["prompts"].str[0]]
    angle = outputs["sample"] * 0.7
    outputs = outputs.assign(
        seed=0, format="human", temperature="1.0", cluster=outputs["sample"] % 3, x=np.cos(angle) * outputs["sample"],
        y=np.sin(angle), similarity=outputs["sample"].where(outputs["sample"] != 4) / 60, text="A $ sign.",
    )  # fmt: skip
    return {"semantic": found, "semantic_outputs": outputs[SCHEMAS["semantic_outputs"].names]}


def top_entropy_tables() -> dict[str, pd.DataFrame]:
    """Twenty outputs of each stage, and the first six tokens of one; the truth of the smaller size is known."""
    model = {"size": SIZES, "stage": STAGES}
    outputs = grid(**model, sample=tuple(range(20))).assign(seed=0, n_tokens=9, ended=True)
    level = of_stage(outputs, {"plm": 1.6, "sft": 1.2, "dpo": 0.9}) + 0.02 * (outputs["sample"] % 7)
    shares = {"top_entropy": 1.0, "top_entropy_renormalised": 1.1, "entropy": 2.0, "mass_of_top": 0.5}
    outputs = outputs.assign(**{name: level * share for name, share in shares.items()}, entropy_per_output=level * 18)
    found = grid(**model, quantity=(*shares, "entropy_per_output")).assign(value=1.0, ended=1.0, n_outputs=20)
    known = (found["quantity"] == "entropy_per_output") & (found["size"] == SIZES[0])
    found = found.assign(truth=np.where(known, 22.9, math.nan))
    drawn = ("\n", " Stories", "$x_1", "\U0001f600", " a", "<|endoftext|>")
    tokens = grid(**model, position=tuple(range(len(drawn))), rank=(1, 2, 3, 4, 5))
    token = tokens["position"].map(dict(enumerate(drawn)))
    entropy = of_stage(tokens, {"plm": 1.6, "sft": 1.2, "dpo": 0.9}) + 0.1 * tokens["position"]
    tokens = tokens.assign(
        seed=0, sample=0, token=token, probability=0.3, top_entropy=entropy, top_entropy_renormalised=entropy * 1.1,
        entropy=entropy * 2, top_token=np.where(tokens["rank"] == 2, token, " b"), top_probability=0.4 / tokens["rank"],
    )  # fmt: skip
    frames = {"top_entropy": found, "top_entropy_outputs": outputs, "top_entropy_tokens": tokens}
    return {name: frame.reindex(columns=SCHEMAS[name].names) for name, frame in frames.items()}


def probe_tables() -> dict[str, pd.DataFrame]:
    """A choice of 101 integers and one of four words, whose truth is known; next tokens; two responses to a prompt."""
    model = {"size": SIZES, "stage": STAGES}
    integers = grid(**model, question=("integer",), choice=tuple(map(str, range(101))))
    favourite = np.where(integers["choice"] == "42", of_stage(integers, {"plm": 0.03, "sft": 0.2, "dpo": 0.5}), 0)
    integers = integers.assign(probability=0.003 + favourite, true_probability=math.nan)
    words = grid(**model, question=("animal",), choice=("fox", "hare", "hedgehog", "ox"))
    words = words.assign(probability=0.2, true_probability=words["choice"].map(len) / 18)
    quantities = ("mass", "entropy", "effective_number", "total_variation", "kl", "most_probable")
    summary = measured("choice_summary", grid(**model, question=("integer", "animal"), quantity=quantities))
    summary = summary.assign(truth=np.where(summary["question"] == "animal", 1.8, math.nan))
    ranked = grid(**model, question=("integer", "animal"), rank=tuple(range(1, 201)))
    ranked = ranked.assign(probability=0.5 / ranked["rank"] ** 1.5, token=" " + ranked["rank"].astype(str))
    ranked.loc[ranked["rank"] == 3, "token"] = "\n\U0001f600 and many more $ words"
    texts = grid(**model, question=("new-word",), sample=(0, 1))
    texts = texts.assign(format="human", text="“Flumplenook” costs $5 and \U0001f600. " * 20)
    frames = {"choices": pd.concat([integers, words]), "choice_summary": summary, "next_tokens": ranked}
    frames |= {"responses": texts}
    return {name: frame.assign(seed=0)[SCHEMAS[name].names] for name, frame in frames.items()}


def persona_tables() -> dict[str, pd.DataFrame]:
    """Those of personas that are drawn: two fields of names, a category of 25 values, ages, reviews with clusters.

    The last stage has few values, the first size no failures, and of the ages the true distribution is known.
    """
    source = np.random.default_rng(0)
    models = grid(size=SIZES, seed=(0, 1), stage=STAGES).assign(format="human")
    fields = {
        "first_name": "name",
        "last_name": "name",
        "nationality": "category",
        "gender": "category",
        "age": "number",
    }
    kinds = {
        "first_name": [f"Emily{n}" for n in range(40)], "last_name": ["Jones", "$mith", "\U0001f600", "O'Brien"],
        "nationality": [f"Long nationality {n}" for n in range(25)], "gender": ["female", "male", "non-binary"],
        "age": [str(age) for age in range(18, 80, 3)],
    }  # fmt: skip
    values = []
    for model in records(models):
        for name, held in kinds.items():
            kept = 2 if model["stage"] == STAGES[-1] else len(held)
            weights = np.where(np.arange(len(held)) < kept, 1 / np.arange(1, len(held) + 1), 0.0)
            n = source.multinomial(100, weights / weights.sum())
            true = 1 / len(held) if name in ("age", "gender") else math.nan
            found = pd.DataFrame({"value": held, "n": n, "share": n / 100})
            values.append(found.assign(**model, field=name, kind=fields[name], true_share=true))
    quantities = pd.concat(
        [
            pd.DataFrame({"field": "", "quantity": ["failures"], "value": 0.2, "low": 0.1, "high": 0.3}),
            grid(field=tuple(fields), quantity=("effective", "missing")).assign(value=0.4, low=0.3, high=0.6),
        ]
    )
    summary = grid(size=SIZES, stage=STAGES).merge(quantities, how="cross").assign(n=200, n_seeds=2)
    samples = models.merge(pd.DataFrame({"sample": range(50)}), how="cross")
    lengths = source.poisson(40, len(samples)).astype(float)
    reviews = samples.assign(
        parsed=True, words=lengths, characters=5 * lengths, polarity=np.tanh(source.normal(1, 1, len(samples)))
    )
    angle = samples["sample"] * 0.7
    sentences = samples.assign(
        sentence=0,
        cluster=samples["sample"] % 12,
        x=np.cos(angle) * samples["sample"],
        y=np.sin(angle),
        text="It works.",
    )
    clusters = models.merge(pd.DataFrame({"cluster": range(12)}), how="cross").assign(
        n=4, share=1 / 12, text="I love that my $40 coffee stays warm \U0001f600 while I am out for a run."
    )
    made = {
        "personas": summary, "persona_values": pd.concat(values), "persona_reviews": reviews,
        "persona_sentences": sentences, "persona_clusters": clusters,
    }  # fmt: skip
    return {name: frame.reindex(columns=SCHEMAS[name].names) for name, frame in made.items()}


def text_feature_tables(
    stages: Sequence[str] = STAGES, features: int = 12, steps: Sequence[tuple[str, str]] | None = None
) -> dict[str, pd.DataFrame]:
    """Those of text features: two splits of pairs, every stage against the one before it; the last fourth is lacking.

    The first stage compared goes the data's way, the next the other way, and so on. Some features are constant.
    """
    source = np.random.default_rng(1)
    categories = ("descriptive statistics", "readability", "quality", "parts of speech")
    of_category = -(-features // len(categories))
    named = [
        (category, f"{category.replace(' ', '_')}_feature_{n}") for category in categories for n in range(of_category)
    ]
    named = named[:features]
    lacking = "needs a tagger, which the pipeline 'blank' does not have"
    pairs = list(itertools.pairwise(stages)) if steps is None else list(steps)
    rows, alignments = [], []
    level = dict(zip(named, source.normal(0, 0.4, features), strict=True))
    for size, (before, after), split in itertools.product(SIZES, [(None, None), *pairs], ("train", "validation")):
        keys = {"definition": "corrected", "size": size if after else None, "stage": after, "reference": before}
        if after is None and size != SIZES[0]:
            continue
        direction = 0.7 * (-1) ** pairs.index((before, after)) if after else 0.0
        for place, (category, name) in enumerate(named):
            row = {**keys, "kind": "pairs", "split": split, "category": category, "feature": name, "data_n": 900}
            row["scaled_by"] = "chosen − rejected"
            if category == categories[-1]:
                rows.append(row | {"data_n": 0, "reason": lacking})
                continue
            if place == 1:
                rows.append(row | {"data_difference": 0.0, "reason": "chosen − rejected does not vary"})
                continue
            data = level[category, name] + source.normal(0, 0.03)
            answer = direction * level[category, name] + source.normal(0, 0.1) if after else math.nan
            for side, value in (("data", data), ("answer", answer)):
                p = 10.0 ** (-40 * abs(value))
                row |= {f"{side}_{column}": value for column in ("difference", "normalised")}
                row |= {f"{side}_low": value - 0.06, f"{side}_high": value + 0.06, f"{side}_p": p, f"{side}_q": p}
            row |= {"answer_n": 880 if after else 0, "agreement": np.sign(data) * np.sign(answer)}
            rows.append(row)
        if after:
            found = {"pearson": 0.8 * np.sign(direction), "spearman": 0.7 * np.sign(direction)}
            found |= {f"{name}_{end}": found[name] + by for name in found for end, by in (("low", -0.1), ("high", 0.1))}
            alignments.append({**keys, "split": split, "features": 8, "agreeing": 6, **found})
    frames = {"text_features": rows, "text_feature_alignment": alignments}
    return {name: pd.DataFrame(each, columns=SCHEMAS[name].names) for name, each in frames.items()}


def card_table() -> pd.DataFrame:
    """`data_cards` of a set of every size, and of a set of two training seeds of the first size."""
    made = pd.DataFrame({"data": ("pairs", "own", "own"), "size": ("", *2 * SIZES[:1]), "seed": ("", "0", "1")})
    quantities = [("pairs", math.nan, 40.0), ("better_longer_of_unequal_characters", math.nan, 0.6)]
    quantities += [("length_ratio_characters", level, 0.5 + level) for level in (0.05, 0.25, 0.5, 0.75, 0.95)]
    keys = made.merge(grid(task=("all", "chat")), how="cross")
    cards = keys.merge(pd.DataFrame(quantities, columns=["quantity", "level", "value"]), how="cross")
    shares = cards["quantity"].str.startswith("better")
    return cards.assign(
        types="column", other="", low=cards["value"].where(shares) - 0.1, high=cards["value"].where(shares) + 0.1, n=40
    )[SCHEMAS["data_cards"].names]


def filter_tables() -> dict[str, pd.DataFrame]:
    """`filters` and `perplexities` of one filtered set: a task with a bound, and one without own responses."""
    keys = grid(data=("on_dist",), size=SIZES, seed=("0", "1"), task=("creative", "factual"))
    creative = keys["task"] == "creative"
    outcomes = keys.assign(
        transformation="perplexity", outcome=np.where(creative, "kept", "unknown task"), kept=creative, n=100,
        share=1.0, bound=np.where(creative, 12.0, math.nan), n_own=np.where(creative, 200, 0),
    )  # fmt: skip
    curves = keys.merge(grid(text=("own", "chosen", "rejected"), quantile=tuple(np.linspace(0, 1, 11))), how="cross")
    curves = curves[(curves["task"] == "creative") | (curves["text"] != "own")].reset_index(drop=True)
    curves = curves.assign(
        n=100, perplexity=2.0 * np.exp(3 * curves["quantile"]),
        bound=np.where(curves["task"] == "creative", 12.0, math.nan),
    )  # fmt: skip
    tables = {"filters": outcomes, "perplexities": curves}
    return {name: frame[SCHEMAS[name].names] for name, frame in tables.items()}


def cost_tables(stages: Sequence[str], reference: str) -> dict[str, pd.DataFrame]:
    """`costs` of self-BLEU, and `divergence`: each stage costs more than the one before it."""
    keys = grid(size=SIZES, prompts=("creative", "factual"), stage=tuple(stages))
    order = keys["stage"].map({stage: 1 + place for place, stage in enumerate(stages)})
    order = order * keys["prompts"].map({"creative": 1.0, "factual": 0.4}) + 0.3 * (keys["size"] == SIZES[1])
    far = {"value": order, "low": order - 0.3, "high": order + 0.3, "source": "measured", "per_token": order / 20}
    costs = keys.assign(temperature="1.0", format="human", words=20, metric="self_bleu", definition="corrected")
    for name, value in {"loss": order * 0.04, "gain": order**0.5 * 0.5, "cost": order * 0.1}.items():
        costs = costs.assign(**{name: value, f"{name}_low": value - 0.03, f"{name}_high": value + 0.03})
    known = {"quality": "utility", "kl": order, "tilted_loss": order * 0.03, "tilted_gain": order**0.5 * 0.6}
    frames = {"costs": costs.assign(**known), "divergence": keys.assign(format="human", **far)}
    return {
        name: frame.assign(reference=reference, **{c: 20 for c in SCHEMAS[name].names if c.startswith("n_")})[
            SCHEMAS[name].names
        ]
        for name, frame in frames.items()
    }


def methods_context() -> FigureContext:
    """Fourteen stages: a reward model without completions, stages with two parents, and stages of one size."""
    tuned = ("dpo", "ipo", "kto", "orpo", "simpo", "rm")
    rewarded = ("ppo", "rloo", "grpo", "bon", "rsft")
    lineage = {"plm": [], "sft": ["plm"], **{name: ["sft"] for name in tuned}}
    lineage |= {name: ["sft", "rm"] for name in rewarded} | {"dpo2": ["dpo", "rm"]}
    methods = {name: name for name in lineage} | {"rm": "reward", "bon": "best_of_n", "rsft": "rejection_sft"}
    data = dict.fromkeys(lineage, "preferences") | {"plm": "corpus", "sft": "answers", "dpo2": "sampled"}
    spec = {
        "title": "Methods",
        "labels": {name: name.upper() for name in lineage},
        "methods": methods,
        "data": data | {"bon": None},
        "lineage": lineage,
        "stages": list(lineage),
        "some_sizes": {stage: ["small"] for stage in LACKING},
        "rewards": dict.fromkeys(rewarded, "rm") | {"grpo": "utility"},
        "log_ratio_scales": {size: {"dpo": 0.1, "ipo": 0.5, "kto": 0.1, "dpo2": 0.1} for size in SIZES},
        "sharpness": 2.0,
        "temperature": "1.0",
        "prompts": {"creative": {"c0": "Write a poem that costs $5."}, "factual": {"f0": "What is it?"}},
    }
    return FigureContext.from_spec(spec, SIZES, "small")


def methods_tables() -> dict[str, pd.DataFrame]:
    """Tables of that study. `rm` has no completions, it and `bon` predict no tokens, `bon` is not trained."""
    context = methods_context()
    answering = [stage for stage in context.stages if stage != "rm"]
    predicting = [stage for stage in answering if stage != "bon"]
    tables = {}
    for name, frame in figure_tables().items():
        if "path" in frame or "effect" in frame:
            leaves = [stage for stage in answering if stage not in ("plm", "sft", "dpo")]
            lines = [["plm", "sft", *(["dpo"] if leaf == "dpo2" else []), leaf] for leaf in leaves]
            if "effect" in frame:
                parts = [frame[frame["step"] == "plm>sft"]]
            else:
                parts = [
                    frame[frame["step"] == "plm>sft"].assign(path=">".join(line), step=step, delta=0.02 * (1 + place))
                    for line in lines
                    for place, step in enumerate([*(f"{a}>{b}" for a, b in itertools.pairwise(line)), "total"])
                ]
                parts = [part.assign(low=part["delta"] - 0.01, high=part["delta"] + 0.01) for part in parts]
                for place, part in enumerate(parts):
                    leaf = part["path"].str.split(">").str[-1]
                    unknown = (leaf == "bon") & (part.get("level", "") == "token")
                    parts[place] = part[~unknown & ~(leaf.isin(LACKING) & (part["size"] == "large"))]
        elif name == "rewards":
            parts = [frame.assign(stage="rm")]
        elif "stage" in frame:
            stages = predicting if name in ("tokens_pooled", "vocabulary_cdf", "benchmarks_pooled") else answering
            parts = [_moved(frame[frame["stage"] == "sft"], n).assign(stage=stage) for n, stage in enumerate(stages)]
        else:
            parts = [frame]
        tables[name] = pd.concat(parts, ignore_index=True)
    tables |= cost_tables(answering[2:], "sft") | {"training": _logged(context)}
    bounded = tables["divergence"]["stage"] == "bon"
    tables["divergence"].loc[bounded, ["low", "high"]] = math.nan
    tables["divergence"].loc[bounded, "source"] = BOUND
    return {
        name: frame[~((frame["size"] == "large") & frame["stage"].isin(LACKING))]
        if {"size", "stage"} <= set(frame)
        else frame
        for name, frame in tables.items()
    }


def _moved(frame: pd.DataFrame, steps: int) -> pd.DataFrame:
    """The same with other numbers."""
    numbers = frame.select_dtypes("number").columns.intersection(["value", "low", "high"])
    return frame.assign(**{name: frame[name] * (1 + 0.04 * steps) for name in numbers})


def _logged(context: FigureContext) -> pd.DataFrame:
    """The table `training` of that study: two seeds, twenty points each."""
    of_rewards = {"score": (0.0, 3.0), "score_minus_kl": (0.0, 2.0), "baseline_score": (0.0, 0.0), "kl": (0.0, 9.0)}
    of_rewards |= {"response_length": (30.0, 12.0), "entropy": (1.2, -0.6), "policy_loss": (0.1, -0.1)}
    of_rewards |= {"kl_per_token": (0.0, 0.3), "share_ended": (0.9, 0.1), "clip_share": (0.0, 0.1)}
    of_pairs = {"loss": (0.69, -0.4), "rewards/accuracies": (0.5, 0.3), "rewards/margins": (0.0, 2.0)}
    of_pairs |= {"rewards/chosen": (0.0, -0.5), "rewards/rejected": (0.0, -2.5), "logps/chosen": (-60.0, -5.0)}
    of_pairs |= {"logps/rejected": (-70.0, -25.0), "logits/chosen": (1.0, 0.5), "entropy": (1.2, -0.3)}
    of_scores = {"loss": (0.69, -0.3), "accuracy": (0.5, 0.25), "margin": (0.0, 1.5)}
    of_scores |= {"score/chosen": (0.0, 1.0), "score/rejected": (0.0, -0.5)}
    of_text = {"loss": (2.0, -1.0), "learning_rate": (1e-3, 0.0)}
    parts = []
    for order, (stage, info) in enumerate(context.stages.items()):
        known = of_text
        if stage in ("ppo", "rloo", "grpo"):
            known = of_rewards
        elif info.method == "reward":
            known = of_scores
        elif info.data in ("preferences", "sampled") and stage != "rsft":
            known = {name: each for name, each in of_pairs.items() if stage != "kto" or name != "rewards/accuracies"}
        if stage == "bon":
            continue
        keys = grid(size=SIZES, seed=(0, 1), step=tuple(range(0, 100, 5)))
        at = keys["step"] / 95
        noise = 0.03 * np.sin(7 * keys["step"] + 3 * keys["seed"] + (keys["size"] == SIZES[1]))
        for quantity, (start, change) in known.items():
            value = start + change * (at**0.5 * (1 + 0.03 * order) + noise * (at > 0))
            parts.append(keys.assign(stage=stage, quantity=quantity, value=value))
        if stage == "rsft":
            before = keys[keys["step"] == 0].assign(stage=stage)
            parts += [before.assign(quantity=f"score/{which}", value=1.0) for which in ("sampled", "kept")]
        if stage in ("ppo", "rloo", "grpo"):
            # The true utility falls where the score goes on to rise.
            parts.append(keys.assign(stage=stage, quantity="utility", value=1 + 2 * at - 1.8 * at**2 + noise))
    return pd.concat(parts, ignore_index=True)[SCHEMAS["training"].names]


def candidate_table(failing: Sequence[tuple[str, str]] = ()) -> pd.DataFrame:
    """`candidates` of SFT and DPO against PLM on two tasks; `failing` are pairs of a size and a stage."""
    rows = grid(size=SIZES, stage=STAGES[1:], task=("arc_easy", "piqa"))
    fails = [(size, stage) in failing for size, stage in zip(rows["size"], rows["stage"], strict=True)]
    value = np.where(fails, -0.1, np.where(rows["task"] == "piqa", -0.01, 0.01))
    tasks = rows.assign(level="task", shots=0, filter="none", metric="acc", value=value, margin=0.02)
    tasks = tasks.assign(low=value - 0.015, high=value + 0.015, definition="mean acc, candidate − reference")
    tasks = tasks.assign(verdict=np.where(fails, "fails", np.where(tasks["low"] > -0.02, "passes", "undecided")))
    overall = rows[["size", "stage"]].drop_duplicates().assign(level="overall", task="", filter="", metric="")
    found = [(size, stage) in failing for size, stage in zip(overall["size"], overall["stage"], strict=True)]
    overall = overall.assign(verdict=np.where(found, "fails", "undecided"))
    overall = overall.assign(definition=np.where(found, "fails arc_easy, piqa", "undecided: piqa"))
    known = {"reference": "plm", "low_confidence": 0.95, "high_confidence": 0.975, "n": 500, "n_seeds": 1}
    return pd.concat([tasks, overall]).assign(**known)[SCHEMAS["candidates"].names]
