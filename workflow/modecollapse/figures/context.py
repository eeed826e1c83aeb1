"""What a figure has to know about its study besides its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modecollapse.lineage import ordered

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]
"""Tidy tables by name, as described by `modecollapse.analysis.table_files.SCHEMAS`."""


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """The rows of a table as dictionaries by column."""
    return [{str(column): value for column, value in row.items()} for row in frame.to_dict("records")]


def longest_cut(frame: "pd.DataFrame") -> int:
    """The largest number of words that completions of a table were cut to; 0 if there is none."""
    return int(frame["words"].max()) if len(frame) else 0


@dataclass(frozen=True)
class StageInfo:
    """One stage of the lineage, as far as a reader of a figure wants to know it."""

    label: str
    method: str = ""
    parents: tuple[str, ...] = ()
    """By role; the first is the one whose weights are continued."""
    data: str = ""
    """Name of the data it is trained on; empty if none."""
    run: str = ""
    """The training run that it is an epoch of; empty if it is trained alone."""

    @property
    def run_label(self) -> str:
        """The label of its run: its own without the number of the epoch."""
        return self.label.rpartition(" ")[0] if self.run else self.label


def families(stages: Mapping[str, StageInfo]) -> list[list[str]]:
    """Stages by training run, in the order of their first ones: the epochs of a run together, all others alone."""
    found: dict[tuple[str, bool], list[str]] = {}
    for stage, info in stages.items():
        found.setdefault((info.run, True) if info.run else (stage, False), []).append(stage)
    return list(found.values())


@dataclass(frozen=True)
class FigureContext:
    """The axes of the study in the order in which figures show them."""

    title: str
    stages: Mapping[str, StageInfo]
    """Every stage, parents before children: the order of colours and of legends."""
    sizes: tuple[str, ...]
    prompts: Mapping[str, Mapping[str, str]]
    """Prompt sets from left to right, e.g. "factual" and "creative", each with its prompts' wording by id."""
    temperature: str
    """The temperature of figures that show one, as written in the study."""
    size: str | None = None
    """The size that a per-size figure is about."""
    definition: str = "corrected"
    """Which definition of the metrics is drawn."""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], sizes: Sequence[str], size: str | None = None) -> "FigureContext":
        """From the spec of a figure: `title`, `labels`, `methods`, `data`, `lineage`, `temperature`, `prompts`.

        Two may be left out: `stages`, their order where it is not that of their names with parents first, and `runs`,
        the run of each stage that is an epoch of one.

        The factual prompts come first, as in the figures of O'Mahony et al. (2024); other sets as in the study.
        """
        stages = {
            stage: StageInfo(
                label=spec["labels"][stage],
                method=spec["methods"][stage],
                parents=tuple(spec["lineage"][stage]),
                data=spec["data"][stage] or "",
                run=spec.get("runs", {}).get(stage, ""),
            )
            for stage in spec.get("stages") or ordered(spec["lineage"])
        }
        sets = sorted(spec["prompts"], key=lambda name: name != "factual")
        prompts = {name: spec["prompts"][name] for name in sets}
        return cls(spec["title"], stages, tuple(sizes), prompts, spec["temperature"], size)
