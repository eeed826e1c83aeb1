"""One split of a data set, or one prompt set, with everything that the tables of text features say of it."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from modecollapse.analysis.feature_contrasts import Scale, Side, alignment, corrected, replica
from modecollapse.analysis.feature_rows import Row, Study, TableRows
from modecollapse.analysis.feature_values import Split, Values, differences, over_seeds
from modecollapse.analysis.variance import Array
from modecollapse.measures.text_features import PAIRS

REPLICA, CORRECTED = "replica", "corrected"
DATA, ANSWERS = "chosen − rejected", "stage − reference"


class ComparedData:
    """Chosen against rejected answers of one split of pairs."""

    def __init__(self, split: Split, scaled: Split, study: Study) -> None:
        """`scaled` is the split whose differences are the scale."""
        self.split, self.study, self.gives_scale = split, study, split is scaled
        self.differences = _difference(split)
        self.kept = _complete(split.data)
        of_scale = self.differences if self.gives_scale else _difference(scaled)
        kept = self.kept if self.gives_scale else _complete(scaled.data)
        self.scale = Scale.of(DATA, over_seeds(of_scale))
        self.replica_scale = Scale.of(DATA, of_scale[:, 0, kept])

    @cached_property
    def corrected(self) -> tuple[Side, Array]:
        return corrected(DATA, self.differences, self.scale, self.split.name, self.study.bootstrap)

    def tables(self) -> Iterator[TableRows]:
        study, split = self.study, self.split
        keys: Row = {"kind": PAIRS, "split": split.name}
        side = replica(DATA, self.differences[:, 0, self.kept], self.replica_scale)
        yield study.contrast({"definition": REPLICA, **keys}, self.replica_scale, side, None)
        yield study.contrast({"definition": CORRECTED, **keys}, self.scale, self.corrected[0], None)
        yield study.listwise({"definition": REPLICA, **keys}, split.data)
        yield study.pairwise({"definition": CORRECTED, **keys}, split.data)
        for role, values in split.data.items():
            yield study.means(values, **keys, role=role)


class ComparedStages:
    """The answers of a stage against those of its reference, beside the data where they are to prompts of pairs."""

    def __init__(self, split: Split, after: Values, before: Values, data: ComparedData | None, study: Study) -> None:
        self.split, self.data, self.study = split, data, study
        self.answers = {"stage": after, "reference": before}
        self.differences = differences(after, before)
        self.kept = _complete({**split.data, **self.answers})

    @property
    def replica_scale(self) -> Scale | None:
        """The scale of the replica for this contrast, if this is the split that it comes from."""
        if self.data is None or not self.data.gives_scale:
            return None
        return Scale.of(DATA, self.data.differences[:, 0, self.kept])

    def tables(self, contrast: Row, scale: Scale | None, replica_scale: Scale | None) -> Iterator[TableRows]:
        """All rows but those of means.

        Args:
            contrast: size, stage and reference.
            scale: that of the data; without it the differences are scaled by themselves.
            replica_scale: the same over the rows that the replica keeps.
        """
        study, split = self.study, self.split
        keys = {**contrast, "kind": split.kind, "split": split.name}
        kept = self.differences[:, 0, self.kept]
        replica_scale = replica_scale or Scale.of(ANSWERS, kept)
        scale = scale or Scale.of(ANSWERS, over_seeds(self.differences))
        plain = replica(ANSWERS, kept, replica_scale)
        side, resampled = corrected(ANSWERS, self.differences, scale, split.name, study.bootstrap)
        of_data, of_data_plain = None, None
        if self.data is not None:
            of_data, data_resampled = self.data.corrected
            of_data_plain = replica(DATA, self.data.differences[:, 0, self.kept], replica_scale)
            yield self._alignment(REPLICA, contrast, of_data_plain, plain, None)
            yield self._alignment(CORRECTED, contrast, of_data, side, (data_resampled, resampled))
        yield study.contrast({"definition": REPLICA, **keys}, replica_scale, of_data_plain, plain)
        yield study.contrast({"definition": CORRECTED, **keys}, scale, of_data, side)
        yield study.listwise({"definition": REPLICA, **keys}, {**split.data, **self.answers})
        yield study.pairwise({"definition": CORRECTED, **keys}, self.answers)

    def _alignment(
        self, definition: str, contrast: Row, data: Side, answers: Side, resampled: tuple[Array, Array] | None
    ) -> TableRows:
        found = alignment(data, answers, resampled, self.study.bootstrap)
        row = {"definition": definition, **contrast, "split": self.split.name}
        row |= {"features": found.features, "agreeing": found.agreeing}
        for name, numbers in (("pearson", found.pearson), ("spearman", found.spearman)):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), numbers, strict=True))
        return "text_feature_alignment", [row]


def _difference(split: Split) -> Array:
    return differences(split.data["chosen"], split.data["rejected"])


def _complete(roles: Mapping[str, Values]) -> NDArray[np.bool_]:
    """Items that every role answers with all of its features defined, by the first seed, [items]."""
    complete: NDArray[np.bool_] = np.logical_and.reduce(
        [~np.isnan(values.words[0]) & ~np.isnan(values.features[:, 0]).any(axis=0) for values in roles.values()]
    )
    return complete
