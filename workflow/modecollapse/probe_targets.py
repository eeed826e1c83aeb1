"""What the rules read and write that tabulate single prompts looked at closely: entropy along outputs, and probes."""

from modecollapse.paths import Paths
from modecollapse.study import Study


class ProbeTargets:
    """Those of one study."""

    study: Study
    paths: Paths

    def experiments(self, kind: str) -> list[str]:
        """What was sampled of every model that predicts tokens, e.g. its "choices"."""
        return [self.paths.experiment(model, kind) for model in self.study.language_models()]

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
        return {kind: self.experiments(kind) for kind in kinds}
