"""Rows of the tables of text features."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.feature_contrasts import Scale, Side, agreement
from modecollapse.analysis.feature_values import Values, mean_of, over_seeds
from modecollapse.analysis.variance import Array

Row = Mapping[str, object]
TableRows = tuple[str, list[Row]]
"""The name of a table, and some of its rows."""


@dataclass(frozen=True)
class Study:
    """What all rows need."""

    categories: Mapping[str, str]
    """Feature → its category; all features."""
    missing: Mapping[str, str]
    """Feature → why the pipeline cannot give it."""
    bootstrap: Bootstrap

    @cached_property
    def features(self) -> list[str]:
        """Those that the pipeline gives."""
        return [name for name in self.categories if name not in self.missing]

    def contrast(self, keys: Row, scale: Scale, data: Side | None, answers: Side | None) -> TableRows:
        """A row of `text_features` for every feature; an absent side is undefined."""
        sides = {prefix: side for prefix, side in (("data", data), ("answer", answers)) if side is not None}
        agreeing = agreement(data, answers) if data and answers else np.full(len(self.features), np.nan)
        places = {name: place for place, name in enumerate(self.features)}
        rows: list[Row] = []
        for name, category in self.categories.items():
            row = {**keys, "category": category, "feature": name, "scaled_by": scale.by, "data_n": 0, "answer_n": 0}
            if name in self.missing:
                rows.append({**row, "reason": self.missing[name]})
                continue
            place, reasons = places[name], [scale.reason(places[name])]
            for prefix, side in sides.items():
                values = {each.name: getattr(side, each.name)[place] for each in fields(Side)}
                reasons.append(values.pop("reasons"))
                row |= {f"{prefix}_{column}": value for column, value in values.items()}
            said = "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None
            numbers = {"scale": scale.sd[place], "scale_mad": scale.mad[place], "agreement": agreeing[place]}
            rows.append({**row, **numbers, "reason": said})
        return "text_features", rows

    def means(self, values: Values, **keys: object) -> TableRows:
        """Rows of `text_feature_means` over (seed, item), of the features that the pipeline gives."""
        answered = ~np.isnan(values.words)
        rows: list[Row] = []
        for name, of_feature in zip(self.features, values.features, strict=True):
            known = of_feature[answered & ~np.isnan(of_feature)]
            row = {**keys, "category": self.categories[name], "feature": name, "n": len(known)}
            row["undefined"] = int(answered.sum()) - len(known)
            if len(known):
                row |= {"mean": known.mean(), "median": np.median(known)}
            if len(known) > 1:
                with np.errstate(over="ignore"):
                    row["sd"] = known.std(ddof=1)
            rows.append(row)
        return "text_feature_means", rows

    def listwise(self, keys: Row, roles: Mapping[str, Values]) -> TableRows:
        """Rows of `text_feature_rows` under listwise deletion: how many each role drops, and all of them together.

        A row is one that every role answers; a role drops those of which some feature of its own answer is undefined.
        The words of "any" are those of all of its answers. By the first seed.
        """
        firsts = {role: values.first() for role, values in roles.items()}
        rows: NDArray[np.bool_] = np.logical_and.reduce([values.answered for values in firsts.values()])
        gaps: dict[str, NDArray[np.bool_]] = {
            role: np.logical_or.reduce(np.isnan(values.features[:, 0]), axis=0) for role, values in firsts.items()
        }
        gaps["any"] = np.logical_or.reduce(list(gaps.values()))
        words = {role: values.words[0] for role, values in firsts.items()}
        words["any"] = np.mean(list(words.values()), axis=0)
        found: list[Row] = [{**keys, "whose": role, **_dropped(rows, gaps[role], words[role])} for role in gaps]
        return "text_feature_rows", found

    def pairwise(self, keys: Row, roles: Mapping[str, Values]) -> TableRows:
        """Rows of `text_feature_rows` under pairwise deletion: of each role the answers without each feature."""
        rows: list[Row] = []
        for role, values in roles.items():
            gaps, words = np.isnan(over_seeds(values.features)), mean_of(values.words, 0)
            for name, gap in zip(self.features, gaps, strict=True):
                rows.append({**keys, "feature": name, "whose": role, **_dropped(values.answered, gap, words)})
        return "text_feature_rows", rows


def _dropped(rows: NDArray[np.bool_], gaps: NDArray[np.bool_], words: Array) -> dict[str, object]:
    kept, dropped = words[rows & ~gaps], words[rows & gaps]
    found: dict[str, object] = {"n": int(rows.sum()), "dropped": len(dropped)}
    means = {"words_kept": kept, "words_dropped": dropped}
    return found | {name: float(some.mean()) for name, some in means.items() if len(some)}
