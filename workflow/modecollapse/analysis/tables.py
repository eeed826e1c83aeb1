"""The tidy tables of a study: from scores and token statistics of single models to what figures and readers use."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import groupby

import numpy as np
import pandas as pd
import pyarrow as pa

from modecollapse.analysis.bootstrap import Bootstrap, Estimate, estimate
from modecollapse.analysis.grid import CELL_COLUMNS, Block, blocks, codes
from modecollapse.analysis.table_files import SCHEMAS, joined
from modecollapse.analysis.tokens import UNITS, TokenStatistics, pool, vocabulary_cdf
from modecollapse.cells import Cell, Model
from modecollapse.digests import digest

CDF_POINTS = 400


def diversity_table(scores: Iterable[pd.DataFrame], bootstrap: Bootstrap) -> pd.DataFrame:
    """One row per model, cell, words and metric: the mean over prompts and its interval over prompts.

    `scores` holds one frame per model: its scores file with size, seed and stage added.
    """
    return joined("diversity", diversity_parts(scores, bootstrap))


def diversity_parts(scores: Iterable[pd.DataFrame], bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    """The rows of `diversity_table`, those of one size at a time."""
    yield from _by_size("diversity", _of_seeds(scores, bootstrap))


def _of_seeds(scores: Iterable[pd.DataFrame], bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    for block in blocks(scores):
        for column, seed in enumerate(block.seeds):
            part = slice(column, column + 1)
            values, completions = block.values[:, part], block.completions[:, part]
            estimates = estimate(values, block.prompts, bootstrap, block.errors[:, part])
            frame = _estimates(block, estimates, values, completions)
            measured = np.flatnonzero(block.measured[:, column].any(axis=1))
            yield frame.assign(seed=seed).iloc[measured]


def curves_table(scores: Iterable[pd.DataFrame], bootstrap: Bootstrap) -> pd.DataFrame:
    """As `diversity_table`, pooled over training seeds: intervals over seeds and prompts."""
    return joined("curves", curves_parts(scores, bootstrap))


def curves_parts(scores: Iterable[pd.DataFrame], bootstrap: Bootstrap) -> Iterator[pd.DataFrame]:
    """The rows of `curves_table`, those of one size at a time."""
    pooled = (
        _estimates(
            block, estimate(block.values, block.prompts, bootstrap, block.errors), block.values, block.completions
        )
        for block in blocks(scores)
    )
    yield from _by_size("curves", pooled)


Measured = Iterable[tuple[Model, TokenStatistics]]
"""Models with their token statistics; a model may stand here once for each definition."""


def tokens_table(statistics: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """One row per model, definition and token-level metric: its value and its interval over blocks of documents."""
    rows = []
    for model, one in statistics:
        for metric, value in one.values.items():
            low, high = one.interval(metric, bootstrap)
            rows.append(
                (
                    *(model.size, model.seed, model.stage, metric, one.definition, UNITS[metric]),
                    *(value, low, high, one.n_documents, one.n_tokens),
                )
            )
    return pd.DataFrame(rows, columns=SCHEMAS["tokens"].names)


def tokens_pooled_table(statistics: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """As `tokens_table`, the mean over training seeds: intervals over seeds and blocks of documents."""
    pooled: dict[tuple[str, str, str], dict[int, TokenStatistics]] = {}
    for model, one in statistics:
        pooled.setdefault((model.size, model.stage, one.definition), {})[model.seed] = one
    rows = []
    for (size, stage, definition), by_seed in pooled.items():
        models = [by_seed[seed] for seed in sorted(by_seed)]
        for metric in models[0].values:
            over_seeds = pool(models, metric)
            rows.append(
                (
                    *(
                        size,
                        stage,
                        metric,
                        definition,
                        UNITS[metric],
                        over_seeds.value,
                        *over_seeds.interval(bootstrap),
                    ),
                    *(len(models), models[0].n_documents, models[0].n_tokens),
                )
            )
    return pd.DataFrame(rows, columns=SCHEMAS["tokens_pooled"].names)


def vocabulary_cdf_table(vocabularies: Mapping[Model, pd.DataFrame]) -> pd.DataFrame:
    """Cumulative mean predicted probability by rank, at `CDF_POINTS` ranks at most per model."""
    parts = []
    for model, vocabulary in vocabularies.items():
        rank_share, mass = vocabulary_cdf(vocabulary, CDF_POINTS)
        parts.append(_with_model(pd.DataFrame({"rank_share": rank_share, "mass": mass}), model))
    return joined("vocabulary_cdf", parts)


def choose_prompts(prompts: str, ids: Iterable[str], count: int, seed: int) -> list[str]:
    """`count` prompt ids of a set, chosen by digest: the choice does not change with the order of the set."""
    return sorted(ids, key=lambda id: digest([seed, prompts, id]))[:count]


def samples_table(
    cells: Iterable[tuple[Cell, pa.Table]], prompts_per_set: int, samples_per_prompt: int, seed: int
) -> pd.DataFrame:
    """Completions to be read: the same prompts for all models, chosen by `seed`, and the first samples of each."""
    parts = []
    for cell, table in cells:
        frame = table.select(["prompt", "sample", "text"]).to_pandas()
        chosen = choose_prompts(cell.prompts, frame["prompt"].unique(), prompts_per_set, seed)
        frame = frame[frame["prompt"].isin(chosen)].sort_values(["prompt", "sample"])
        frame = frame.groupby("prompt", sort=False).head(samples_per_prompt)
        frame = frame.assign(prompts=cell.prompts, format=cell.format, temperature=cell.temperature)
        parts.append(_with_model(frame, cell.model))
    return joined("samples", parts)


def training_table(curves: Mapping[Model, pd.DataFrame]) -> pd.DataFrame:
    """What training logged, one row per model, step and quantity; quantities not logged at a step have no row."""
    parts = []
    for model, frame in curves.items():
        long = frame.melt(id_vars="step", var_name="quantity", value_name="value").dropna(subset=["value"])
        parts.append(_with_model(long, model))
    return joined("training", parts)


def _estimates(block: Block, estimates: Estimate, values: np.ndarray, completions: np.ndarray) -> pd.DataFrame:
    used = np.where(np.isnan(values), 0, completions).sum(axis=(1, 2))
    return block.rows.assign(
        size=block.size,
        prompts=block.prompts,
        value=estimates.value,
        low=estimates.low,
        high=estimates.high,
        completion_se=estimates.completion_se,
        n_seeds=estimates.n_seeds,
        n_prompts=estimates.n_prompts,
        n_completions=used,
    )


def _with_model(frame: pd.DataFrame, model: Model) -> pd.DataFrame:
    return frame.assign(size=model.size, seed=model.seed, stage=model.stage)


def _by_size(name: str, parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The parts of each size joined and sorted: cells together and by rising temperature, the rest as it came."""
    seen: dict[str, dict[Hashable, int]] = {}
    for _, of_size in groupby((part for part in parts if len(part)), lambda part: str(part["size"].iloc[0])):
        frame = joined(name, of_size)
        columns = ["prompts", *(["seed"] if "seed" in frame else []), *CELL_COLUMNS]
        numbers = {"seed", "temperature"}
        order = pd.DataFrame(
            {
                column: frame[column].astype(float) if column in numbers else codes(frame[column], seen, column)
                for column in columns
            }
        )
        yield frame.loc[order.sort_values(columns, kind="stable").index].reset_index(drop=True)
