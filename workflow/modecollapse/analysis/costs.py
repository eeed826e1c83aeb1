"""What a stage costs: how much diversity it loses for the quality it gains, and how far it is from its reference.

The cost is a ratio of two means over the same prompts and seeds, loss per unit of quality. It is told only where the
gain's interval lies above 0; its interval is that of the mean of (loss − cost · gain), divided by the gain, as for
shares in `analysis.attribution`: a linear approximation, which covers too little where the gain is barely known.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from modecollapse.analysis.attribution import MEAN_TEMPERATURE
from modecollapse.analysis.bootstrap import Array, Bootstrap, Estimate, estimate
from modecollapse.analysis.grid import Block, blocks
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.metrics.registry import METRICS, QUALITIES

Divergences = Iterable[tuple[Model, pd.DataFrame]]
"""Models with columns `prompts`, `prompt`, `n_tokens` and `kl` (nats), one row per answer."""

BOUND, MEASURED = "bound of best-of-n", "measured"
"""Where a divergence is from."""

_KEYS = ["format", "temperature", "words", "metric", "definition"]
_SERIES = ["format", "words", "metric", "definition"]
_MODEL_TEMPERATURE = "1.0"
"""Only here a model's own distribution is sampled, which its divergence and the world's true answers speak of."""


def divergence_table(
    models: Divergences,
    reference: str,
    best_of: Mapping[str, Mapping[str, int]],
    formats: Mapping[str, str],
    sets: Sequence[str],
    bootstrap: Bootstrap,
) -> pd.DataFrame:
    """KL divergence of each stage's answers from those of `reference`, in nats per answer and per token.

    Of stages that choose the best of n answers of the reference, the divergence is at most log n − (n − 1)/n (Beirami
    et al. 2024), and about that where no two answers score the same.

    Args:
        models: what was measured.
        reference: the stage that it was measured from.
        best_of: size → stage that chooses → n.
        formats: stage → the prompt format under which it is measured.
        sets: the prompt sets.
        bootstrap: how intervals are made.
    """
    pooled: dict[tuple[str, str], list[pd.DataFrame]] = {}
    for model, frame in models:
        pooled.setdefault((model.size, model.stage), []).append(frame.assign(seed=model.seed))
    rows: list[dict[str, object]] = []
    for (size, stage), seeds in pooled.items():
        for prompts, of_set in pd.concat(seeds).groupby("prompts", sort=False):
            means = of_set.groupby(["seed", "prompt"])["kl"].agg(["mean", "sem"])
            values, errors = (means[name].unstack().to_numpy()[None] for name in ("mean", "sem"))
            found = estimate(values, str(prompts), bootstrap, errors)
            rows.append(
                {
                    **{"size": size, "stage": stage, "prompts": prompts, "format": formats[stage]},
                    **{"value": found.value[0], "low": found.low[0], "high": found.high[0]},
                    "per_token": of_set["kl"].sum() / of_set["n_tokens"].sum(),
                    **{"source": MEASURED, "n_seeds": found.n_seeds[0], "n_prompts": found.n_prompts[0]},
                    "n_completions": len(of_set),
                }
            )
    for size, chosen in best_of.items():
        for stage, n in chosen.items():
            known: dict[str, object] = {"size": size, "stage": stage, "format": formats[stage], "source": BOUND}
            known |= dict.fromkeys(("low", "high", "per_token"), np.nan)
            known |= dict.fromkeys(("n_seeds", "n_prompts", "n_completions"), 0)
            rows += [{**known, "prompts": prompts, "value": math.log(n) - (n - 1) / n} for prompts in sets]
    return pd.DataFrame(rows, columns=SCHEMAS["divergence"].names).assign(reference=reference)


def costs_parts(
    scores: Iterable[pd.DataFrame],
    divergences: pd.DataFrame,
    stages: Sequence[str],
    reference: str,
    bootstrap: Bootstrap,
    truth: pd.DataFrame | None = None,
) -> Iterator[pd.DataFrame]:
    """The rows of the table `costs`, those of one size and prompt set at a time.

    Args:
        scores: of all models, those of a size together.
        divergences: the table `divergence`.
        stages: those that descend from `reference`.
        truth: the table `truth` of a world: what answers tilted by exp(λ · utility) lose and gain at the same
            divergence from the true answers is put beside self-BLEU, by interpolation between the tilts that are there.
    """
    for block in blocks(scores):
        known = divergences[(divergences["size"] == block.size) & (divergences["prompts"] == block.prompts)]
        distance = known.set_index(["stage", "format"])["value"]
        curve = None if truth is None else _tilting(truth, block.prompts)
        for stage in stages:
            frame = _costs(block, stage, reference, bootstrap)
            if frame is not None:
                yield pd.concat(
                    _beside(of_format, float(distance.get((stage, form), np.nan)), curve)
                    for form, of_format in frame.groupby("format", sort=False)
                )


def _costs(block: Block, stage: str, reference: str, bootstrap: Bootstrap) -> pd.DataFrame | None:
    """Losses, gains and costs of one stage; None if it or a quality score was not measured here."""
    rows = block.rows
    quality = next((name for name in ("utility", *QUALITIES) if (rows["metric"] == name).any()), None)
    if quality is None or not (rows["stage"] == stage).any():
        return None
    index = {tuple(row): place for place, row in enumerate(rows[["stage", *_KEYS]].itertuples(index=False, name=None))}
    words, definition = rows.loc[rows["metric"] == quality, ["words", "definition"]].iloc[0]
    scored = (words, quality, definition)
    measures = [name for name, metric in METRICS.items() if metric.direction.sign != 0]
    asked = rows[(rows["stage"] == stage) & rows["metric"].isin(measures)]
    keys: list[tuple[object, ...]] = []
    loss: list[Array] = []
    gain: list[Array] = []
    for (form, words, name, definition), group in asked.groupby(_SERIES, sort=False):
        sign = METRICS[str(name)].direction.sign
        first = len(loss)
        for temperature in sorted(group["temperature"], key=float):
            moved = _moved(block, index, stage, reference, (form, temperature, words, name, definition))
            better = _moved(block, index, stage, reference, (form, temperature, *scored))
            if moved is not None and better is not None:
                # A prompt counts in both means or in neither.
                undefined = np.isnan(moved + better)
                keys.append((form, temperature, words, name, definition))
                loss.append(np.where(undefined, np.nan, -sign * moved))
                gain.append(np.where(undefined, np.nan, better))
        if len(loss) > first:
            keys.append((form, MEAN_TEMPERATURE, words, name, definition))
            for values in (loss, gain):
                values.append(_mean(np.stack(values[first:])))
    if not keys:
        return None
    lost, gained = np.stack(loss), np.stack(gain)
    losses, gains = (estimate(values, block.prompts, bootstrap) for values in (lost, gained))
    cost, low, high = _ratio(lost, gained, losses.value, gains, block.prompts, bootstrap)
    return pd.DataFrame(keys, columns=_KEYS).assign(
        size=block.size, prompts=block.prompts, stage=stage, reference=reference, quality=quality,
        loss=losses.value, loss_low=losses.low, loss_high=losses.high,
        gain=gains.value, gain_low=gains.low, gain_high=gains.high,
        cost=cost, cost_low=low, cost_high=high, n_seeds=losses.n_seeds, n_prompts=losses.n_prompts,
    )  # fmt: skip


def _moved(
    block: Block, index: Mapping[tuple[object, ...], int], stage: str, reference: str, key: tuple[object, ...]
) -> Array | None:
    """How far a value of the stage is from the reference's, [seeds, prompts]; None if one was not measured."""
    after, before = (index.get((each, *key)) for each in (stage, reference))
    return None if after is None or before is None else block.values[after] - block.values[before]


def _mean(values: Array) -> Array:
    """Mean over the first axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=0) / defined.sum(axis=0))


def _ratio(
    lost: Array, gained: Array, loss: Array, gains: Estimate, prompts: str, bootstrap: Bootstrap
) -> tuple[Array, Array, Array]:
    """Loss per gain with its interval, each [rows]; NaN where the gain's interval does not lie above 0."""
    cost, low, high = (np.full(len(loss), np.nan) for _ in range(3))
    known = np.flatnonzero(gains.low > 0)
    if len(known):
        cost[known] = loss[known] / gains.value[known]
        off = estimate(lost[known] - cost[known, None, None] * gained[known], prompts, bootstrap)
        low[known], high[known] = (cost[known] + end / gains.value[known] for end in (off.low, off.high))
    return cost, low, high


def _tilting(truth: pd.DataFrame, prompts: str) -> pd.DataFrame | None:
    """Divergence, self-BLEU and utility of tilted true answers by λ, from no tilt on; None if they are not known."""
    curve = truth[(truth["task"] == prompts) & truth["quantity"].isin(["kl", "self_bleu", "utility"])]
    if curve.empty:
        return None
    return curve.pivot(index="lambda", columns="quantity", values="value").sort_index()


def _beside(frame: pd.DataFrame, distance: float, curve: pd.DataFrame | None) -> pd.DataFrame:
    """The rows with the stage's divergence, and what true answers lose and gain at the same."""
    at_one = frame["temperature"] == _MODEL_TEMPERATURE
    frame = frame.assign(kl=np.where(at_one, distance, np.nan), tilted_loss=np.nan, tilted_gain=np.nan)
    # The true value is that of answers cut like the longest cut (data.nano.truth).
    like_truth = at_one & (frame["metric"] == "self_bleu") & (frame["definition"] == "corrected")
    like_truth &= frame["words"] == frame["words"].max()
    if curve is not None and 0 <= distance <= curve["kl"].max():
        for column, quantity in (("tilted_loss", "self_bleu"), ("tilted_gain", "utility")):
            value = float(np.interp(distance, curve["kl"], curve[quantity])) - float(curve[quantity].iloc[0])
            frame.loc[like_truth, column] = value
    return frame[SCHEMAS["costs"].names]
