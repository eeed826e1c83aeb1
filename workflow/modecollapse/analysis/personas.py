"""Personas by stage: how varied their fields are, how often they fail, and what their reviews are like.

A value is that of one model, averaged over training seeds: outputs of different models are not pooled, for two that
have collapsed upon different values would look varied together. Intervals and tests speak of these models' outputs,
drawn anew, and not of other training runs.

Stages are compared with their first parent, or the next one up the line that was measured, whatever prompt format each
is asked in (a base model cannot be asked as a chat model is), over the seeds that both have.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from modecollapse.analysis import persona_quantities
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.persona_quantities import Quantities, generator, pooled, true_values
from modecollapse.analysis.stage_tests import holm
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.lineage import nearest_before

_MODEL = ["size", "seed", "stage"]


@dataclass(frozen=True)
class Personas:
    """What was read out of the outputs of all models: the files of `jobs.personas` with size, seed and stage."""

    outputs: pd.DataFrame
    answers: pd.DataFrame
    sentences: pd.DataFrame
    clusters: pd.DataFrame

    @property
    def formats(self) -> dict[tuple[str, int, str], str]:
        """(size, seed, stage) of each model → the prompt format that it was asked in."""
        rows = self.outputs.drop_duplicates(_MODEL)[[*_MODEL, "format"]].itertuples(index=False, name=None)
        return {(str(size), int(seed), str(stage)): str(form) for size, seed, stage, form in rows}


def personas_table(found: Personas, spec: Mapping[str, Any], bootstrap: Bootstrap) -> pd.DataFrame:
    """The table `personas`. All tests of a stage in a size are one family of Holm's.

    Args:
        found: values as `respelled` writes them.
        spec: `lineage`, `fields`, `review` and `truth`, as `specs.personas_table_spec` has them.
    """
    rows: list[dict[str, object]] = []
    by_model, formats = _quantities(found, spec, bootstrap), found.formats
    for size in dict.fromkeys(model[0] for model in by_model):
        of_size = {(stage, seed): each for (of, seed, stage), each in by_model.items() if of == size}
        befores = nearest_before(spec["lineage"], {stage for stage, _ in of_size})
        for stage in dict.fromkeys(stage for stage, _ in of_size):
            own = {seed: each for (name, seed), each in of_size.items() if name == stage}
            earlier = {seed: each for (name, seed), each in of_size.items() if name == befores.get(stage)}
            form = formats[size, next(iter(own)), stage]
            keys = {"size": size, "stage": stage, "format": form}
            of_stage = _rows(own, earlier, spec["truth"].get(form, {}), (size, stage), bootstrap)
            p = np.array([row["p"] for row in of_stage], dtype=np.float64)
            held = int((~np.isnan(p)).sum())
            for row, adjusted in zip(of_stage, holm(p), strict=True):
                parent = befores[stage] if row["before"] is not None else None
                rows.append({**keys, **row, "parent": parent, "p_holm": adjusted, "n_family": held})
    return pd.DataFrame(rows, columns=SCHEMAS["personas"].names)


def _quantities(
    found: Personas, spec: Mapping[str, Any], bootstrap: Bootstrap
) -> dict[tuple[str, int, str], Quantities]:
    kinds: dict[str, dict[str, pd.Index]] = {}
    for size, answers in found.answers.groupby("size", sort=False):
        kinds[str(size)] = {
            name: pd.Index(sorted(answers.loc[answers["field"] == name, "value"].dropna().unique()))
            for name in spec["fields"]
        }
    nothing = dict.fromkeys(spec["fields"], pd.Index([]))
    resamples = min(bootstrap.resamples, persona_quantities.RESAMPLES)
    return {
        model: persona_quantities.quantities(
            _of_model(found.outputs, model), _of_model(found.answers, model), _of_model(found.clusters, model),
            spec["fields"], kinds.get(model[0], nothing), spec["review"], (bootstrap.seed, *model), resamples,
        )
        for model in found.formats
    }  # fmt: skip


def _of_model(table: pd.DataFrame, model: tuple[str, int, str]) -> pd.DataFrame:
    size, seed, stage = model
    return table[(table["size"] == size) & (table["seed"] == seed) & (table["stage"] == stage)]


def _rows(
    own: Mapping[int, Quantities],
    earlier: Mapping[int, Quantities],
    truth: Mapping[str, Mapping[str, float]],
    stream: tuple[str, str],
    bootstrap: Bootstrap,
) -> list[dict[str, object]]:
    """Rows of a stage: `own` and `earlier` are seed → what was found of it and of its parent."""
    rows = []
    for key in next(iter(own.values())).values:
        name, quantity = key
        estimate = pooled([each.values[key] for each in own.values()])
        row: dict[str, object] = {
            "field": name, "quantity": quantity, "value": estimate.value, "low": estimate.low, "high": estimate.high,
            "before": None, "difference": None, "test": None, "p": math.nan,
            "truth": true_values(truth.get(name)).get(quantity, math.nan),
            "n_seeds": len(own), "n": sum(each.n[key] for each in own.values()),
        }  # fmt: skip
        pairs = [(own[seed], earlier[seed]) for seed in own if seed in earlier]
        pairs = [pair for pair in pairs if not any(math.isnan(each.values[key].value) for each in pair)]
        if pairs:
            after, before = (pooled([pair[side].values[key] for pair in pairs]).value for side in (0, 1))
            drawn = generator(bootstrap.seed, *stream, *key)
            test, p = persona_quantities.test_of(key, pairs, drawn, bootstrap.resamples)
            row |= {"before": before, "difference": after - before, "test": test, "p": p}
        rows.append(row)
    return rows


def respelled(answers: pd.DataFrame, truth: Mapping[str, Mapping[str, Mapping[str, float]]]) -> pd.DataFrame:
    """The answers, values that differ in case alone written alike: as a world spells them, else as most answers do.

    Of equally frequent spellings the first in the order of characters counts. Missing values stay missing.

    Args:
        answers: of all models; `value` is written anew.
        truth: prompt format → field → value → its probability.
    """
    spelled: dict[tuple[str, str], str] = {}
    stated = answers.dropna(subset=["value"])
    counted = Counter(zip(stated["field"], stated["value"], strict=True))
    for (name, value), _ in sorted(counted.items(), key=lambda item: (-item[1], item[0])):
        spelled.setdefault((name, value.casefold()), value)
    for fields in truth.values():
        spelled |= {(name, value.casefold()): value for name, shares in fields.items() for value in shares}
    values = [
        None if value is None or value != value else spelled[name, value.casefold()]
        for name, value in zip(answers["field"], answers["value"], strict=True)
    ]
    return answers.assign(value=pd.Series(values, index=answers.index, dtype=object))


def values_table(found: Personas, spec: Mapping[str, Any]) -> pd.DataFrame:
    """The table `persona_values`: of each model the values of its fields, the most frequent first.

    Of fields whose true distribution is known also those of its values that do not occur, with n = 0.

    Args:
        found: values as `respelled` writes them.
        spec: as in `personas_table`.
    """
    rows: list[dict[str, object]] = []
    for model, form in found.formats.items():
        answers = _of_model(found.answers, model)
        keys = {**dict(zip(_MODEL, model, strict=True)), "format": form}
        for name, kind in spec["fields"].items():
            truth = spec["truth"].get(form, {}).get(name)
            of_field = {**keys, "field": name, "kind": kind}
            counts = Counter(dict.fromkeys(truth or (), 0))
            counts.update(answers.loc[answers["field"] == name, "value"].dropna())
            total = sum(counts.values())
            for value, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
                share = n / total if total else math.nan
                true = math.nan if truth is None else truth.get(value, 0.0)
                rows.append({**of_field, "value": value, "n": n, "share": share, "true_share": true})
    return pd.DataFrame(rows, columns=SCHEMAS["persona_values"].names)


def clusters_table(sentences: pd.DataFrame) -> pd.DataFrame:
    """The table `persona_clusters`: how large each cluster is, and the sentence closest to its centre."""
    total = sentences.groupby(_MODEL, sort=False)["cluster"].transform("size")
    n = sentences.groupby([*_MODEL, "cluster"], sort=False)["cluster"].transform("size")
    central = sentences.assign(n=n, share=n / total)[sentences["central"].astype(bool)]
    models = central.groupby(_MODEL, sort=False).ngroup()
    return central.iloc[np.lexsort((central["cluster"], models))][SCHEMAS["persona_clusters"].names]


def tables(found: Personas, spec: Mapping[str, Any], bootstrap: Bootstrap) -> dict[str, pd.DataFrame]:
    """All tables of personas by name.

    Args:
        found: as the files have it.
        spec: as in `personas_table`.
    """
    counted = Personas(found.outputs, respelled(found.answers, spec["truth"]), found.sentences, found.clusters)
    return {
        "personas": personas_table(counted, spec, bootstrap),
        "persona_values": values_table(counted, spec),
        "persona_reviews": found.outputs[SCHEMAS["persona_reviews"].names],
        "persona_sentences": found.sentences[SCHEMAS["persona_sentences"].names],
        "persona_clusters": clusters_table(found.sentences),
    }
