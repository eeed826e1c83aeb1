"""What a figure has to know about its study besides its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modecollapse.lineage import ordered

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]
"""Tidy tables by name, as described by `modecollapse.analysis.table_files.SCHEMAS`."""

DAGGER = "†"
"""Behind the label of a stage that fails its guard rails."""


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
    sizes: tuple[str, ...] = ()
    """The sizes that have it; none where all have."""
    run_fails: bool = False
    """Whether some epoch of its run fails its guard rails."""

    @property
    def run_label(self) -> str:
        """The label of its run: its own without the number of the epoch."""
        return self.label.rpartition(" ")[0] + (DAGGER if self.run_fails else "") if self.run else self.label


def families(stages: Mapping[str, StageInfo]) -> list[list[str]]:
    """Stages by training run, in the order of their first ones: the epochs of a run together, all others alone."""
    found: dict[tuple[str, bool], list[str]] = {}
    for stage, info in stages.items():
        found.setdefault((info.run, True) if info.run else (stage, False), []).append(stage)
    return list(found.values())


@dataclass(frozen=True)
class View:
    """Which prompt format a figure shows of each stage, in a study that has several."""

    name: str
    """The prompt format, or the name of the study's own choice of formats (`analysis.across_formats`)."""
    formats: Mapping[str, str]
    """Stage → format, of the stages that are shown."""

    @property
    def format(self) -> str | None:
        """The format, if it is the same for all stages."""
        formats = set(self.formats.values())
        return formats.pop() if len(formats) == 1 else None


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
    view: View | None = None
    """The prompt formats that are shown, where a study has several."""
    rewards: Mapping[str, str] = field(default_factory=dict)
    """Stage → the stage or the function that scores answers for it; where a figure asks for it."""
    log_ratio_scales: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Size → stage → what the rewards of answers on its curves are multiples of, of the difference between their
    log-probabilities in the model and in the reference; where a figure asks for it."""
    sharpness: float = 1.0
    """The annotators of a world prefer an answer to another with log-odds of this times the difference of utilities;
    where a figure asks for it."""
    questions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Kind of question ("choices", "responses", "semantic" or "top_entropy") → name → text; where a figure asks for
    it."""
    failing: tuple[str, ...] = ()
    """What is said of each stage that fails its guard rails, in the order of stages; their labels have a dagger."""

    def marked(self, candidates: "pd.DataFrame") -> "FigureContext":
        """The same with a dagger at the stages that fail their guard rails in a size that the figure shows.

        Args:
            candidates: the table `candidates`, or its rows about the figure's size.
        """
        overall = candidates[(candidates["level"] == "overall") & (candidates["verdict"] == "fails")]
        stages, notes = dict(self.stages), []
        for stage, info in self.stages.items():
            rows = records(overall[(overall["stage"] == stage) & overall["size"].isin(self.sizes)])
            if rows:
                stages[stage] = replace(info, label=info.label + DAGGER)
                reference = rows[0]["reference"]
                against = self.stages[reference].label if reference in self.stages else reference
                where = "; ".join(f"{row['size']}: {row['definition']}" for row in rows)
                notes.append(
                    f"{DAGGER} {info.label} falls below {against} by more than its guard rails allow ({where})."
                )
        runs = {self.stages[stage].run for stage in stages if stages[stage] != self.stages[stage]} - {""}
        marked = {stage: replace(info, run_fails=info.run in runs) for stage, info in stages.items()}
        return replace(self, stages=marked, failing=tuple(notes))

    def in_view(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The rows of a table with `stage` and `format` that this figure shows; the view is then their format."""
        if self.view is None:
            return frame
        shown = frame[frame["format"] == frame["stage"].map(self.view.formats)]
        return shown.assign(format=self.view.name)

    def question(self, kind: str, name: str) -> str:
        """The text of a question; its name where that is not known."""
        return self.questions.get(kind, {}).get(name, name)

    def compared(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The rows of a table of changes, whose `format` is the name of a view, that this figure shows."""
        return frame if self.view is None else frame[frame["format"] == self.view.name]

    def scope(self, text: str) -> str:
        """A heading that says the prompt format as well, where the study has several."""
        if self.view is None:
            return text
        return f"{text} · {f'format: {self.view.format}' if self.view.format else f'formats: “{self.view.name}”'}"

    def label(self, stage: str) -> str:
        """A stage's name in legends: with its prompt format where stages are shown under different ones."""
        label = self.stages[stage].label
        mixed = self.view is not None and self.view.format is None and stage in self.view.formats
        return f"{label} ({self.view.formats[stage]})" if mixed and self.view else label

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], sizes: Sequence[str], size: str | None = None) -> "FigureContext":
        """From the spec of a figure: `title`, `labels`, `methods`, `data`, `lineage`, `temperature`, `prompts`.

        Others may be left out: `stages`, their order where it is not that of their names with parents first; `runs`,
        the run of each stage that is an epoch of one; `some_sizes`, the sizes of stages that not all sizes have;
        `view`, which prompt format is shown; and what only some figures ask for (`features.FACTS`).

        The factual prompts come first, as in the figures of O'Mahony et al. (2024); other sets as in the study.
        """
        stages = {
            stage: StageInfo(
                label=spec["labels"][stage],
                method=spec["methods"][stage],
                parents=tuple(spec["lineage"][stage]),
                data=spec["data"][stage] or "",
                run=spec.get("runs", {}).get(stage, ""),
                sizes=tuple(spec.get("some_sizes", {}).get(stage, ())),
            )
            for stage in spec.get("stages") or ordered(spec["lineage"])
        }
        sets = sorted(spec["prompts"], key=lambda name: name != "factual")
        prompts = {name: spec["prompts"][name] for name in sets}
        view = View(spec["view"]["name"], spec["view"]["formats"]) if "view" in spec else None
        facts = {name: spec[name] for name in ("rewards", "log_ratio_scales", "sharpness", "questions") if name in spec}
        return cls(spec["title"], stages, tuple(sizes), prompts, spec["temperature"], size, view=view, **facts)
