"""What the rules of the creativity measures read and write."""

from collections.abc import Sequence

from modecollapse.cells import Model
from modecollapse.measures.asking import KINDS
from modecollapse.paths import Paths
from modecollapse.study import Study


class ExperimentTargets:
    """Those of one study."""

    study: Study
    paths: Paths

    def experiment_kinds(self) -> list[str]:
        """What the job of a model writes."""
        return [kind for name in self.study.experiments() for kind in KINDS[name]]

    def experiment_outputs(self, model: Model) -> dict[str, str]:
        """Its files by kind."""
        return {kind: self.paths.experiment(model, kind) for kind in self.experiment_kinds()}

    def of_experiments(self, kind: str) -> list[str]:
        """The files of one kind of all models."""
        return [self.paths.experiment(model, kind) for model in self.study.experimented()]

    def all_experiments(self) -> list[str]:
        """The files of all kinds."""
        return [path for kind in self.experiment_kinds() for path in self.of_experiments(kind)]

    def all_semantic(self, kinds: Sequence[str] = ("outputs", "values")) -> list[str]:
        """The outputs of each model with their clusters, and what was found of each prompt."""
        models = self.study.answering() if self.study.config.measures.semantic else []
        return [self.paths.semantic(model, kind) for model in models if self.semantic_cells(model) for kind in kinds]

    def semantic_cells(self, model: Model) -> list[str]:
        """The cells whose outputs are looked at, and the outputs that were sampled for that alone."""
        settings = self.study.config.measures.semantic
        if settings is None:
            return []
        cells = [
            self.paths.cell(cell)
            for cell in self.study.cells(model)
            if cell.prompts in settings.prompts and cell.temperature == settings.temperature
        ]
        asked = [self.paths.experiment(model, "asked")] if settings.asked and model in self.study.experimented() else []
        return cells + asked

    def semantic_tables(self) -> list[str]:
        """The tables of the rule `tabulate_semantic`."""
        names = ["semantic", "semantic_outputs", "semantic_clusters"]
        return names if self.study.config.measures.semantic else []

    def continuation_tables(self) -> list[str]:
        """The tables of the rule `tabulate_continuations`."""
        measures = self.study.config.measures
        names = ["attractor", "attractor_modes", "attractor_tokens"] if measures.attractor else []
        return names + (
            ["confidence", "confidence_tokens"] if measures.probes and measures.probes.continuations else []
        )

    def continuation_inputs(self) -> dict[str, list[str]]:
        """What the rule reads, by name, a file of each kind for every model; nothing of what the study leaves out."""
        tables = self.continuation_tables()
        asked = {"modes": "attractor", "continuations": "attractor", "confidence": "confidence"}
        return {kind: self.of_experiments(kind) for kind, table in asked.items() if table in tables}

    def top_entropy_tables(self) -> list[str]:
        """The tables of the rule `tabulate_top_entropy`."""
        measured = self.study.config.measures.top_entropy is not None and bool(self.study.language_models())
        return ["top_entropy", "top_entropy_outputs", "top_entropy_tokens"] if measured else []

    def probe_tables(self) -> list[str]:
        """The tables of the rule `tabulate_probes`."""
        settings = self.study.config.measures.probes
        if settings is None or not self.study.language_models():
            return []
        names = ["choices", "choice_summary", "next_tokens"] if settings.choices else []
        return names + (["responses"] if settings.responses else [])

    def probe_inputs(self) -> dict[str, list[str]]:
        """What the rule `tabulate_probes` reads, by name."""
        kinds = [kind for kind in ("choices", "next_tokens", "responses") if kind in self.probe_tables()]
        return {kind: self.of_experiments(kind) for kind in kinds}

    def all_personas(self, kinds: Sequence[str] = ("outputs", "answers", "sentences", "clusters")) -> list[str]:
        """What was read out of each model's sampled personas."""
        models = self.study.language_models() if self.study.config.measures.personas else []
        return [self.paths.personas(model, kind) for model in models for kind in kinds]

    def persona_tables(self) -> list[str]:
        """The tables of the rule `tabulate_personas`."""
        settings = self.study.config.measures.personas
        if settings is None or not self.study.language_models():
            return []
        of_reviews = ["persona_reviews", "persona_sentences", "persona_clusters"]
        return ["personas", "persona_values", *(of_reviews if settings.review is not None else [])]

    def creativity_tables(self) -> list[str]:
        """The tables of all these measures."""
        of_outputs = self.semantic_tables() + self.persona_tables() + self.top_entropy_tables()
        return of_outputs + self.continuation_tables() + self.probe_tables()
