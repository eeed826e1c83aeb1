"""Files of continuations that are looked at token by token: attractors, and confidence along a continuation."""

from modecollapse.paths import Paths
from modecollapse.study import Study


class ContinuationTargets:
    """Those of one study."""

    study: Study
    paths: Paths

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
        return {
            kind: [self.paths.experiment(model, kind) for model in self.study.language_models()]
            for kind, table in asked.items()
            if table in tables
        }
