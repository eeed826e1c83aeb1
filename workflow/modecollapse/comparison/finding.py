"""What the comparison found, in plain words: every sentence and number is made from the tables."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from modecollapse.comparison.effects import CORRECTED, difference_of
from modecollapse.comparison.order_q import ALL
from modecollapse.comparison.page import Section
from modecollapse.comparison.residuals import TOLERANCE, Assignment, Verdict, verdict
from modecollapse.comparison.stored_results import EMBEDDER, KEYS, Kind
from modecollapse.metrics.registry import metric

HEADLINES = ("self_bleu", "cosine")
"""The metrics whose consequence is told in sentences: those of the paper's figure 1."""


@dataclass(frozen=True)
class Context:
    """What the tables do not say."""

    title: str
    description: str
    """The study's own words on what its completions are."""
    words: int
    """Number of first words that were compared."""
    embedder: str | None
    """Sentence embedder of our cosines; None if the study has none."""
    labels: Mapping[str, str]
    """Stage → its name in figures."""


def finding(tables: Mapping[str, pd.DataFrame], context: Context) -> list[Section]:
    """The finding from the tables `comparison`, `order_q` and `consequence`, one size after the other."""
    sections: list[Section] = []
    for size in dict.fromkeys(tables["comparison"]["size"]):
        of_size = {name: frame[frame["size"] == size] for name, frame in tables.items()}
        sections.append(_assignment(size, of_size["comparison"], context))
        sections.append(_consequence(size, of_size["consequence"], verdict(of_size["comparison"]), context))
        sections.append(_embedder(size, of_size["comparison"], context))
        if len(of_size["order_q"]):
            sections.append(_order_q(size, of_size["order_q"]))
    return [*sections, _limits(context)]


def _assignment(size: str, comparison: pd.DataFrame, context: Context) -> Section:
    exact = comparison[comparison["kind"] == Kind.EXACT]
    heading = f"{size}: which prompts do the keys of the result files hold?"
    metrics, models = list(dict.fromkeys(exact["metric"])), exact[["seed", "stage"]].drop_duplicates()
    worst = {name: exact[exact["assignment"] == name] for name in Assignment}
    rows = tuple(
        (metric(name).label, *(_residual(of[of["metric"] == name]) for of in worst.values())) for name in metrics
    )
    counted = (
        f"{len(metrics)} metrics that we compute by the same formula, on the first {context.words} words of the same "
        f"completions, were compared with the stored values of {_count(len(models), 'result file')}: "
        f"{_count(int(exact['n'].iloc[0]), 'value')} per metric and file, over both keys."
    )
    return Section(
        heading,
        (counted, *_verdict_sentences(verdict(comparison), worst)),
        ("largest absolute difference", *(name.value for name in Assignment)),
        rows,
    )


def _verdict_sentences(found: Verdict, worst: Mapping[Assignment, pd.DataFrame]) -> tuple[str, ...]:
    largest = {name: _residual(of) for name, of in worst.items()}
    agree = {name: int(of.groupby("metric")["within"].all().sum()) for name, of in worst.items()}
    n_metrics = worst[Assignment.LABELLED]["metric"].nunique()
    first, second = KEYS
    tolerance = f"{TOLERANCE:.0e}"
    if found is Verdict.SWAPPED:
        return (
            f"The keys are exchanged: the key “{first}” holds the values of the {second} prompts, and “{second}” "
            f"those of the {first} prompts. With the keys exchanged every value agrees with ours to "
            f"{largest[Assignment.SWAPPED]} (tolerance {tolerance}), and the same values are undefined. As labelled, "
            f"{agree[Assignment.LABELLED]} of {n_metrics} metrics agree, and values differ by up to "
            f"{largest[Assignment.LABELLED]}.",
        )
    if found is Verdict.LABELLED:
        return (
            "The keys hold what they say. As labelled every value agrees with ours to "
            f"{largest[Assignment.LABELLED]} (tolerance {tolerance}), and the same values are undefined. With the keys "
            f"exchanged, {agree[Assignment.SWAPPED]} of {n_metrics} metrics agree, and values differ by up to "
            f"{largest[Assignment.SWAPPED]}.",
        )
    if found is Verdict.BOTH:
        return (
            "The values do not tell the two keys apart: both assignments are within tolerance. Nothing is corrected.",
        )
    nearer = {name: int(of["chosen"].sum()) for name, of in worst.items()}
    return (
        f"Neither assignment explains the stored values: under each, some metric differs by more than {tolerance} or "
        f"other values are undefined. Residuals are smaller as labelled for {nearer[Assignment.LABELLED]} and with the "
        f"keys exchanged for {nearer[Assignment.SWAPPED]} of {len(worst[Assignment.LABELLED])} comparisons. The files "
        "may have been computed from other completions, or are damaged. Nothing is corrected.",
    )


def _consequence(size: str, consequence: pd.DataFrame, found: Verdict, context: Context) -> Section:
    headlines = consequence[consequence["metric"].isin(HEADLINES)]
    totals = headlines[headlines["step"] == "total"]
    paragraphs = [
        "Changes are those of the stored values, averaged over all temperatures; brackets hold 95 % bootstrap "
        "intervals over prompts, paired over the stages. Higher values of Self-BLEU and cosine mean less diversity."
    ]
    for (path, name), of_metric in totals.groupby(["path", "metric"], sort=False):
        for labels, rows in of_metric.groupby("labels", sort=False):
            paragraphs.append(_change_sentence(str(path), str(name), str(labels), rows, found, context))
    paragraphs += _breadth_sentences(consequence[consequence["step"] == "total"], context)
    columns = ("change", "step", "prompts", *dict.fromkeys(headlines["labels"]))
    return Section(
        f"{size}: what follows for the change of diversity",
        tuple(paragraphs),
        columns,
        _change_rows(headlines, context),
    )


def _change_sentence(path: str, name: str, labels: str, rows: pd.DataFrame, found: Verdict, context: Context) -> str:
    by_set = {str(row["prompts"]): row for _, row in rows.iterrows()}
    first, second = KEYS
    difference = by_set[difference_of(KEYS)]
    stages = path.split(">")
    step = f"from {context.labels[stages[0]]} to {context.labels[stages[-1]]}"
    changes = " and ".join(f"{_signed(by_set[key])} for {key} prompts" for key in (second, first))
    gap = f"The difference {difference_of(KEYS)} is {_signed(difference)}"
    if difference["low"] > 0 or difference["high"] < 0:
        larger = second if difference["value"] > 0 else first
        gap += f": it rises more for {larger} prompts."
    else:
        gap += ", an interval that includes 0: for neither prompt type is it shown to rise more."
    if labels == CORRECTED:
        said = "By the prompts that the keys were found to hold"
    else:
        said = "As the keys say" + (", which the comparison contradicts" if found is Verdict.SWAPPED else "")
    return f"{metric(name).label} {step}. {said}, it changes by {changes}. {gap}"


def _breadth_sentences(totals: pd.DataFrame, context: Context) -> list[str]:
    """For how many of all stored measures of diversity the two prompt types are told apart, one sentence per path."""
    established = CORRECTED in set(totals["labels"])
    rows = totals[
        (totals["labels"] == (CORRECTED if established else Assignment.LABELLED))
        & (totals["prompts"] == difference_of(KEYS))
    ]
    sentences = []
    for path, of_path in rows.groupby("path", sort=False):
        larger: dict[str, list[str]] = {name: [] for name in (*KEYS, "")}
        for _, row in of_path.iterrows():
            entry = metric(str(row["metric"]))
            if entry.direction.sign:
                larger[_larger_loss(row, entry.direction.sign)].append(f"“{entry.label}”")
        first, last = str(path).split(">")[0], str(path).split(">")[-1]
        told = "; ".join(
            f"{_count(len(labels), 'measure')} ({', '.join(labels)}) {_MEANING[name].format(name=name)}"
            for name, labels in larger.items()
            if labels
        )
        by = "by the prompts that the keys were found to hold" if established else "as the keys say"
        sentences.append(
            f"All stored measures of diversity, from {context.labels[first]} to {context.labels[last]}, {by}: {told}."
        )
    return sentences


_MEANING = {
    **dict.fromkeys(KEYS, "show a larger loss for {name} prompts, with intervals of the difference that exclude 0"),
    "": "do not tell the prompt types apart",
}


def _larger_loss(difference: "pd.Series[Any]", sign: int) -> str:
    """The prompt type that loses more diversity; empty if the interval of the difference includes 0."""
    first, second = KEYS
    if difference["low"] <= 0 <= difference["high"] or math.isnan(difference["low"]):
        return ""
    return second if difference["value"] * sign < 0 else first


def _change_rows(changes: pd.DataFrame, context: Context) -> tuple[tuple[str, ...], ...]:
    table = []
    for (path, name, step, prompts), rows in changes.groupby(["path", "metric", "step", "prompts"], sort=False):
        ends = str(step).split(">") if step != "total" else [str(path).split(">")[0], str(path).split(">")[-1]]
        cells = [_signed(row) for _, row in rows.iterrows()]
        stages = " → ".join(context.labels[stage] for stage in ends)
        table.append((metric(str(name)).label, stages, str(prompts), *cells))
    return tuple(table)


def _embedder(size: str, comparison: pd.DataFrame, context: Context) -> Section:
    found = verdict(comparison)
    heading = f"{size}: cosines are of another embedder"
    rows = comparison[(comparison["kind"] == Kind.EMBEDDER) & (comparison["assignment"] == found.value)]
    if context.embedder is None:
        return Section(
            heading, (f"The stored cosines are of {EMBEDDER}. The study computes none to compare them with.",)
        )
    said = (
        f"The stored cosines are of {EMBEDDER}; ours are of {context.embedder}. They are not expected to be equal, and "
        "no tolerance is set. How far they lie from each other says how much the choice of the embedder matters here."
    )
    table = tuple(
        (
            metric(str(row["metric"])).label,
            context.labels[str(row["stage"])],
            _number(row["correlation"]),
            f"{row['bias']:+.4f}",
            f"{row['mean_difference']:.4f}",
        )
        for _, row in rows.iterrows()
    )
    columns = (
        "metric",
        "stage",
        "correlation over cells",
        "mean difference (stored − ours)",
        "mean absolute difference",
    )
    return Section(heading, (said,), columns, table)


def _order_q(size: str, orders: pd.DataFrame) -> Section:
    pooled = orders[orders["stage"] == ALL]
    every = pooled[pooled["order"] == 0].iloc[0]
    by_order = pooled[pooled["order"] != 0]
    said = (
        "The stored diversities of order q are averages over randomly drawn tuples of texts, without a seed, so they "
        "cannot be computed again. We compute the exact value, and compare on the scale on which the estimate has no "
        "bias, the mean similarity μ = D^(1−q)."
    )
    zeros = (
        f"{int(every['n_undefined']):,} of {int(every['n']):,} stored values are undefined, which is what μ = 0 "
        f"becomes: no drawn tuple had any similarity. Their number implies {_draws(every)} draws per value."
    )
    bias = (
        f"With this number of draws, the mean standardised error is {every['mean_z']:+.3f} ± {every['se_z']:.3f} "
        f"(standard error), its standard deviation {every['sd_z']:.2f}; 0 and 1 are expected. Were a text never "
        f"compared with itself, the mean would be {every['mean_z_distinct']:+.3f}. For large q single rare tuples "
        "dominate the scatter, so its standard deviation is a weak test there."
    )
    table = tuple(
        (
            f"q = {int(row['order'])}",
            f"{int(row['n_undefined'])} ({row['expected_undefined']:.0f} expected)",
            _draws(row),
            _number(row["draws_scatter"], 1),
            f"{row['mean_z']:+.3f} ± {row['se_z']:.3f}",
            f"{row['sd_z']:.2f}",
        )
        for _, row in by_order.iterrows()
    )
    columns = ("order", "undefined", "draws implied by these", "by the scatter", "mean z", "SD of z")
    return Section(
        f"{size}: diversities of order q scatter around the exact value", (said, zeros, bias), columns, table
    )


def _limits(context: Context) -> Section:
    return Section(
        "What this does not show",
        (
            "It is about the values in the result files and the texts in the files of completions. Which panel of a "
            "printed figure was drawn from which key is not in these files, nor is why they are labelled as they are.",
            "Nor do the values say what causes a change. Completions to one prompt type may be shorter than the cut, "
            "or run into another turn of the dialogue, more often at one stage than at another; both are in the table "
            "`curves`.",
            "Intervals are over prompts. They do not say how much another training run would differ, and nothing is "
            f"known here of stored results for other cuts than the first {context.words} words.",
            *((f"The study says of its completions: {context.description}",) if context.description else ()),
        ),
    )


def _residual(rows: pd.DataFrame) -> str:
    return f"{rows['max_difference'].max():.1e}"


def _signed(row: "pd.Series[Any]") -> str:
    if math.isnan(row["low"]):
        return f"{row['value']:+.3f}"
    return f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def _draws(row: "pd.Series[Any]") -> str:
    """The number of draws that zeros imply, with its interval."""
    low, high = _number(row["draws_zeros_low"], 1), _number(row["draws_zeros_high"], 1)
    return f"{_number(row['draws_zeros'], 1)} [{low}, {high}]"


def _number(value: float, digits: int = 3) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
