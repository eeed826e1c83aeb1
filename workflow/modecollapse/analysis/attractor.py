"""Attractors by stage: how many continuations return to the mode whose first sentence they continue.

What is measured of a continuation is averaged over those of a mode, modes are averaged with the weights of their shares
of outputs, and these means over training seeds. Modes in which there is nothing to negate have no continuations and do
not count: `covered` is the share of outputs in the others. Intervals are the central 95 % of a bootstrap over seeds,
modes of a seed and continuations of a mode and arm; both arms have the same modes, so their difference is paired over
these. A resample of modes keeps their shares. The percentiles are not stretched to the width of Student's t as in other
tables: with one mode, the interval speaks of its continuations alone.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.metrics.attractors import negate

Array = NDArray[np.float64]
Measured = Mapping[Model, tuple[pd.DataFrame, pd.DataFrame]]
"""Of each model of one size its modes and their continuations (`measures.attractor.MODES`, `CONTINUATIONS`)."""

ARMS = ("perturbed", "unperturbed")
DIFFERENCE = "difference"
FIRST = 5
"""Tokens of a continuation that count as its first."""
QUANTITIES = ("returned", "cosine", "first_probability", "later_probability")
"""Share that returned; mean cosine to the centre of their mode; mean probability of the first `FIRST` tokens, and of
those behind them."""


@dataclass(frozen=True)
class _Mode:
    share: float
    values: Mapping[str, Array]
    """Arm → [quantities, continuations]; NaN where undefined."""


def attractor_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """The rows of `attractor` of one size: of every stage and temperature, both arms and their difference."""
    rows = []
    for (stage, temperature), seeds in _by_stage(measured).items():
        cut = [modes["prefix"].notna() for modes, _ in seeds.values()]
        held = [
            [_mode(mode, continuations) for mode in modes[known].to_dict("records")]
            for (modes, continuations), known in zip(seeds.values(), cut, strict=True)
        ]
        shares = [modes["share"][known].sum() for (modes, _), known in zip(seeds.values(), cut, strict=True)]
        n = {
            "covered": float(np.mean(shares)),
            "n_modes": sum(map(len, cut)),
            "n_modes_without_verb": int(sum((~known).sum() for known in cut)),
        }
        of_arms = {arm: _estimate(held, arm, bootstrap) for arm in ARMS}
        (perturbed, of_perturbed), (unperturbed, of_unperturbed) = (of_arms[arm] for arm in ARMS)
        of_arms[DIFFERENCE] = (perturbed - unperturbed, np.minimum(of_perturbed, of_unperturbed))
        for arm, (found, observed) in of_arms.items():
            # What was observed once has no interval.
            low, high = (np.where(observed > 1, end, np.nan) for end in bootstrap.interval(found[:, 1:]))
            arms = ARMS if arm == DIFFERENCE else (arm,)
            n_continuations = sum(mode.values[each].shape[1] for modes in held for mode in modes for each in arms)
            known = {"size": next(iter(measured)).size, "stage": stage, "temperature": temperature, "arm": arm, **n}
            known |= {"n_continuations": n_continuations, "n_seeds": len(seeds)}
            for quantity, value, *ends in zip(QUANTITIES, found[:, 0], low, high, strict=True):
                rows.append({**known, "quantity": quantity, "value": value, "low": ends[0], "high": ends[1]})
    return pd.DataFrame(rows, columns=SCHEMAS["attractor"].names)


def _by_stage(measured: Measured) -> dict[tuple[str, str], dict[Model, tuple[pd.DataFrame, pd.DataFrame]]]:
    """(stage, temperature) → model → the modes, largest first, and the continuations at this temperature."""
    found: dict[tuple[str, str], dict[Model, tuple[pd.DataFrame, pd.DataFrame]]] = {}
    for model, (modes, continuations) in measured.items():
        for temperature, of_temperature in modes.groupby("temperature", sort=False):
            continued = continuations[continuations["temperature"] == temperature]
            ordered = of_temperature.sort_values("mode", kind="stable")
            found.setdefault((model.stage, str(temperature)), {})[model] = (ordered, continued)
    return found


def _mode(mode: Mapping[Hashable, Any], continuations: pd.DataFrame) -> _Mode:
    own = continuations[continuations["mode"] == mode["mode"]]
    values = {}
    for arm in ARMS:
        rows = own[own["arm"] == arm].sort_values("sample", kind="stable")
        probabilities = [np.exp(np.asarray(logs, dtype=np.float64)) for logs in rows["log_probs"]]
        parts = [[_mean(each[:FIRST]) for each in probabilities], [_mean(each[FIRST:]) for each in probabilities]]
        values[arm] = np.array([rows["returned"].astype(np.float64), rows["cosine"].astype(np.float64), *parts])
    return _Mode(mode["share"], values)


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _estimate(seeds: list[list[_Mode]], arm: str, bootstrap: Bootstrap) -> tuple[Array, NDArray[np.int64]]:
    """The quantities, [quantities, 1 + resamples], the estimate first; and of how many continuations each is known.

    The draws depend on the number of units only: stages share them, and both arms those of seeds and modes.
    """
    shape = (len(QUANTITIES), 1 + bootstrap.resamples)
    sums, weights, observed = np.zeros(shape), np.zeros(shape), np.zeros(len(QUANTITIES), np.int64)
    of_seeds = _draws(bootstrap, "seeds", len(seeds))
    for seed, modes in enumerate(seeds):
        total, share = np.zeros(shape), np.zeros(shape)
        of_modes = _draws(bootstrap, f"modes/{seed}", len(modes))
        for number, mode in enumerate(modes):
            values = mode.values[arm]
            defined = ~np.isnan(values)
            observed += defined.sum(axis=1)
            drawn = _draws(bootstrap, f"continuations/{arm}/{seed}/{number}", values.shape[1])
            mean = _divided(np.where(defined, values, 0.0) @ drawn, defined @ drawn)
            share_drawn = ~np.isnan(mean) * of_modes[number] * mode.share
            total += np.nan_to_num(mean) * share_drawn
            share += share_drawn
        mean = _divided(total, share)
        sums += np.nan_to_num(mean) * of_seeds[seed]
        weights += ~np.isnan(mean) * of_seeds[seed]
    return _divided(sums, weights), observed


def _draws(bootstrap: Bootstrap, population: str, units: int) -> Array:
    """How often each unit counts, [units, 1 + resamples]: once in the estimate, as often as drawn in a resample."""
    if not units:
        return np.zeros((0, 1 + bootstrap.resamples))
    return np.vstack([np.ones(units), bootstrap.counts(population, units)]).T


def _divided(sums: Array, weights: Array) -> Array:
    return np.divide(sums, weights, out=np.full(np.shape(sums), np.nan), where=weights > 0)


def modes_table(measured: Measured, negations: Mapping[str, str]) -> pd.DataFrame:
    """The rows of `attractor_modes` of one size: every mode, how its output was cut, and how many came back."""
    rows = []
    for models in _by_stage(measured).values():
        for model, (modes, continuations) in models.items():
            returned = continuations.groupby(["mode", "arm"])["returned"].mean().to_dict()
            for mode in modes.to_dict("records"):
                mode |= {f"returned_{arm}": returned.get((mode["mode"], arm), np.nan) for arm in ARMS}
                mode |= {"size": model.size, "seed": model.seed, "stage": model.stage}
                rows.append({**mode, "negated": _before(mode, ARMS[0], negations)})
    return pd.DataFrame(rows, columns=SCHEMAS["attractor_modes"].names)


def _before(mode: Mapping[Hashable, Any], arm: str, negations: Mapping[str, str]) -> str | None:
    """What stands before the continuations of an arm; None if there is nothing to negate."""
    if not isinstance(mode["prefix"], str):
        return None
    return negate(mode["prefix"], mode["verb"], negations) if arm == ARMS[0] else mode["prefix"]


@dataclass(frozen=True)
class Shown:
    """The first continuation of a mode and arm."""

    model: Model
    temperature: str
    mode: int
    share: float
    arm: str
    before: str
    tokens: tuple[str, ...]
    probabilities: tuple[float, ...]
    returned: bool


def shown_continuations(measured: Measured, negations: Mapping[str, str]) -> Iterator[Shown]:
    """Of every stage of one size, of its first seed, the first continuation of each mode and arm."""
    for (_, temperature), models in _by_stage(measured).items():
        model = min(models)
        modes, continuations = models[model]
        for mode in modes.to_dict("records"):
            for arm in ARMS:
                before = _before(mode, arm, negations)
                rows = continuations[(continuations["mode"] == mode["mode"]) & (continuations["arm"] == arm)]
                if before is None or rows.empty:
                    continue
                row = rows.sort_values("sample", kind="stable").iloc[0]
                probabilities = tuple(np.exp(np.asarray(row["log_probs"], dtype=np.float64)).tolist())
                yield Shown(
                    model, temperature, int(mode["mode"]), float(mode["share"]), arm, before,
                    tuple(row["tokens"]), probabilities, bool(row["returned"]),
                )  # fmt: skip


def tokens_table(measured: Measured, negations: Mapping[str, str]) -> pd.DataFrame:
    """The rows of `attractor_tokens` of one size: both arms' first continuation of the largest mode with a verb."""
    rows = []
    largest: dict[tuple[str, str], int] = {}
    for each in shown_continuations(measured, negations):
        if largest.setdefault((each.model.stage, each.temperature), each.mode) == each.mode:
            known = {"temperature": each.temperature, "mode": each.mode, "arm": each.arm, "before": each.before}
            for position, (token, probability) in enumerate(zip(each.tokens, each.probabilities, strict=True)):
                place = {"position": position, "token": token, "probability": probability}
                rows.append({**asdict(each.model), **known, **place})
    return pd.DataFrame(rows, columns=SCHEMAS["attractor_tokens"].names)
