"""What tuning does to text: differences of features between chosen and rejected answers, and between two stages.

Both definitions are those of "How does DPO affect text generation" (A. Cherniak). `REPLICA` is its steps 4a to 4h: a
row has the chosen and the rejected answer and those of both stages (of the first training seed that both have), and is
left out as a whole where any available feature of any of its answers is undefined; S is the standard deviation
(n − 1 degrees of freedom, as pandas has it; the paper does not say) of chosen − rejected over the rows of the training
split that are left; p is that of scipy's Wilcoxon test, as it comes and without correction. `CORRECTED` leaves out
pairs, of one feature and one side, and is described in `feature_contrasts`. Features that the pipeline cannot give are
not available: they have a row that says why, and do not count elsewhere.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.feature_rows import Study, TableRows
from modecollapse.analysis.feature_splits import ComparedData, ComparedStages
from modecollapse.analysis.feature_values import Split, pair_splits, values_of
from modecollapse.analysis.table_files import SCHEMAS, joined
from modecollapse.measures.text_features import PAIRS, PROMPTS

TRAIN = "train"
TABLES = ("text_features", "text_feature_alignment", "text_feature_rows", "text_feature_means")

Part = Mapping[str, pd.DataFrame]
"""Rows of each of `TABLES`."""

Asked = Mapping[tuple[str, str], Mapping[str, Mapping[int, pd.DataFrame]]]
"""(kind, set) → stage → seed → its rows."""


def text_feature_parts(
    pairs: Mapping[str, pd.DataFrame],
    answers: Iterable[pd.DataFrame],
    missing: Mapping[str, str],
    categories: Mapping[str, str],
    contrasts: Sequence[tuple[str, str]],
    bootstrap: Bootstrap,
) -> Iterator[Part]:
    """The rows of the four tables: those of the data alone, then those of each size.

    S is that of chosen − rejected on the training split, or on the first split where there is none, for prompt sets as
    well; where there are no pairs it is that of the contrast's own differences. A contrast is between the answers to
    the same item by models of the same training seed, and is left out where a size lacks one of its stages or where
    they have no item in common.

    Args:
        pairs: split → the rows of its data set in the columns of a file of features, roles "chosen" and "rejected".
        answers: of each model its rows (role "answer") with size, seed and stage; the models of a size together.
        missing: feature → why the pipeline cannot give it.
        categories: feature → its category, all features in the order of the tables.
        contrasts: (stage, reference).

    Raises:
        ValueError: models of a size do not stand together; a split of pairs is not a data set of its own; or answers
            are to the prompts of pairs that are not among `pairs`.
    """
    study = Study(categories, missing, bootstrap)
    splits = pair_splits(pairs, study.features)
    scaled = next((each for each in splits.values() if each.name == TRAIN), next(iter(splits.values()), None))
    data = {name: ComparedData(split, scaled or split, study) for name, split in splits.items()}
    yield _part(itertools.chain.from_iterable(each.tables() for each in data.values()))
    seen: set[str] = set()
    held = (frame for frame in answers if len(frame))
    for size, frames in itertools.groupby(held, lambda frame: str(frame["size"].iloc[0])):
        if size in seen:
            raise ValueError(f"answers of {size} come in two places")
        seen.add(size)
        yield _part(_of_size(size, _asked(frames), data, contrasts, study))


def text_feature_tables(parts: Iterable[Part]) -> dict[str, pd.DataFrame]:
    """The tables from their consecutive parts."""
    held = list(parts)
    return {name: joined(name, [part[name] for part in held if len(part[name])]) for name in TABLES}


def _part(rows: Iterable[TableRows]) -> Part:
    found: dict[str, list[Mapping[str, object]]] = {name: [] for name in TABLES}
    for name, some in rows:
        found[name].extend(some)
    return {name: pd.DataFrame(each, columns=SCHEMAS[name].names) for name, each in found.items()}


def _asked(frames: Iterable[pd.DataFrame]) -> Asked:
    found: dict[tuple[str, str], dict[str, dict[int, pd.DataFrame]]] = {}
    for frame in frames:
        for (kind, name, stage, seed), rows in frame.groupby(["kind", "set", "stage", "seed"], sort=False):
            found.setdefault((str(kind), str(name)), {}).setdefault(str(stage), {})[int(str(seed))] = rows
    return found


def _of_size(
    size: str,
    asked: Asked,
    data: Mapping[str, ComparedData],
    contrasts: Sequence[tuple[str, str]],
    study: Study,
) -> Iterator[TableRows]:
    unknown = [name for kind, name in asked if kind == PAIRS and name not in data]
    if unknown:
        raise ValueError(f"{size} answers the prompts of the pairs {unknown[0]!r}, of which there are no features")
    # Pairs first, in their order; prompt sets as they come.
    order = [(PAIRS, name) for name in data if (PAIRS, name) in asked] + [key for key in asked if key[0] != PAIRS]
    compared: dict[tuple[str, str], list[ComparedStages]] = {contrast: [] for contrast in contrasts}
    for kind, name in order:
        stages, of_data = asked[kind, name], data[name] if kind == PAIRS else None
        split = of_data.split if of_data else _prompts(name, stages)
        for stage, seeds in stages.items():
            values = values_of((seeds[seed] for seed in sorted(seeds)), study.features, split.items)
            yield study.means(values, size=size, stage=stage, kind=kind, split=split.name, role="answer")
        for contrast in contrasts:
            common = sorted(set(stages.get(contrast[0], ())) & set(stages.get(contrast[1], ())))
            if not common:
                continue
            after, before = (
                values_of((stages[stage][seed] for seed in common), study.features, split.items) for stage in contrast
            )
            if (after.answered & before.answered).any():
                compared[contrast].append(ComparedStages(split, after, before, of_data, study))
    any_data = next(iter(data.values()), None)
    for (stage, reference), splits in compared.items():
        # The rows that the replica keeps depend on whose answers are compared, and so does its scale.
        scales = [scale for each in splits if (scale := each.replica_scale)]
        scales += [any_data.replica_scale] if any_data else []
        for each in splits:
            keys = {"size": size, "stage": stage, "reference": reference}
            yield from each.tables(keys, any_data.scale if any_data else None, next(iter(scales), None))


def _prompts(name: str, stages: Mapping[str, Mapping[int, pd.DataFrame]]) -> Split:
    items = {str(item) for seeds in stages.values() for rows in seeds.values() for item in rows["item"]}
    return Split(PROMPTS, name, pd.Index(sorted(items), dtype=object), {})
