"""The tables of judged comparisons, and a page of pairs for people to look at."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.judge_agreement import judge_agreement_table
from modecollapse.analysis.table_files import Failing, joined, write_table
from modecollapse.analysis.tables import choose_prompts
from modecollapse.analysis.win_rates import verdicts_of, win_rates_table
from modecollapse.cells import Model
from modecollapse.comparison.page import Section, render
from modecollapse.identities import model_of_table
from modecollapse.jobs.running import failing_of
from modecollapse.publishing import publish_file, write_digests
from modecollapse.sealed import read_sealed

PROMPTS_PER_TASK, PAIRS_PER_PROMPT = 3, 2
"""How many pairs are shown."""


def tabulate_judgements(spec: Mapping[str, Any], judgements: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write win rates, agreement between judges, and a choice of judged pairs as a table and as a page.

    Args:
        spec: the spec of these tables.
        judgements: what each judge says of each model.
        outputs: the tables by name, `judge_agreement` only where there are two judges; and the page.

    Raises:
        CorruptFile: a file is not what was published.
    """
    bootstrap = Bootstrap(resamples=spec["analysis"]["resamples"], seed=spec["analysis"]["seed"])
    read = dict(_judgements(judgements))
    judged = {of: verdicts_of(frame) for of, frame in read.items()}
    frames = {"win_rates": win_rates_table(judged, spec["reference"], bootstrap)}
    if "judge_agreement" in outputs:
        frames["judge_agreement"] = judge_agreement_table(judged, bootstrap)
    frames["judged_pairs"] = judged_pairs_table(read, spec["reference"], spec["analysis"]["seed"])
    failing = failing_of(outputs)
    for name, frame in frames.items():
        write_table(name, [frame], outputs[name], outputs[f"{name}_csv"], failing)
    sections = page_sections(frames["judged_pairs"], spec["labels"], failing or {})
    page = render(list(sections), "Judged pairs of answers")
    with publish_file(outputs["page"]) as partial:
        partial.write_text(page, encoding="utf-8")
    write_digests(outputs["page_sha256"], [outputs["page"]])


def _judgements(paths: Sequence[Path]) -> Iterator[tuple[tuple[str, Model], pd.DataFrame]]:
    for path in paths:
        table = read_sealed(path)
        yield ((table.schema.metadata or {})[b"judge"].decode(), model_of_table(table)), table.to_pandas()


def judged_pairs_table(judged: Mapping[tuple[str, Model], pd.DataFrame], reference: str, seed: int) -> pd.DataFrame:
    """Pairs to be read, with what every judge says of them: the same prompts for all stages, chosen by `seed`.

    Of each size its first training seed is shown, of each task a few prompts, and of each of these the first pairs.
    """
    seeds: dict[str, int] = {}
    for _, model in judged:
        seeds[model.size] = min(model.seed, seeds.get(model.size, model.seed))
    parts = []
    for (judge, model), frame in judged.items():
        if model.seed != seeds[model.size]:
            continue
        keys = frame["prompts"] + "/" + frame["prompt"]
        chosen = {
            key
            for task, of_task in keys.groupby(frame["task"])
            for key in choose_prompts(str(task), of_task.unique(), PROMPTS_PER_TASK, seed)
        }
        shown = frame[keys.isin(chosen)]
        first = shown.groupby(["prompts", "prompt", "temperature"])["sample"].transform(
            lambda samples: samples.isin(sorted(set(samples))[:PAIRS_PER_PROMPT])
        )
        shown = shown[first.astype(bool)].assign(size=model.size, seed=model.seed, stage=model.stage)
        parts.append(shown.assign(reference=reference, judge=judge))
    table = joined("judged_pairs", parts)
    pair = ["size", "stage", "prompts", "prompt", "temperature", "sample"]
    return table.sort_values(pair, kind="stable").reset_index(drop=True)


def page_sections(pairs: pd.DataFrame, labels: Mapping[str, str], failing: Failing) -> Iterator[Section]:
    """A section for each pair of answers: the request, both answers in full, and the verdicts.

    Stages that fail their guard rails in the size of the pair are marked.
    """
    for (size, stage, prompts, prompt, temperature, sample), rows in pairs.groupby(
        ["size", "stage", "prompts", "prompt", "temperature", "sample"], sort=False
    ):
        first = rows.iloc[0]
        ours, other = (
            f"{labels[name]}† (falls below its guard rails)" if name in failing.get(str(size), ()) else labels[name]
            for name in (str(stage), str(first["reference"]))
        )
        yield Section(
            f"{ours} beside {other}, {size}: {prompts}/{prompt}, completion {sample} (task {first['task']}, "
            f"T {temperature})",
            (f"Request: {first['question']}", f"{ours}: {first['text']}", f"{other}: {first['reference_text']}"),
            ("judge", "order", f"verdict on {ours}", f"score of {ours}", f"score of {other}", "reply"),
            tuple(
                (
                    *(str(row["judge"]), str(row["order"]), str(row["verdict"])),
                    *("" if pd.isna(row[name]) else f"{row[name]:.4g}" for name in ("score", "reference_score")),
                    str(row["reply"] or ""),
                )
                for _, row in rows.iterrows()
            ),
        )
