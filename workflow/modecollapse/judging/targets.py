"""What rules read and write that have answers judged side by side."""

from collections.abc import Iterable
from functools import cached_property

from modecollapse.judging.comparisons import Comparisons, Judgement
from modecollapse.paths import Paths
from modecollapse.study import Study


class JudgementTargets:
    """Those of one study."""

    study: Study
    paths: Paths

    @cached_property
    def comparisons(self) -> Comparisons:
        return Comparisons(self.study)

    def all_judgements(self) -> list[str]:
        """What judges say of stages beside the reference."""
        return [self.paths.judgements(each) for each in self.comparisons.judgements()]

    def judgement_inputs(self, judgement: Judgement) -> dict[str, object]:
        """What the job reads that has a judge compare, by name."""
        from snakemake.io import ancient

        model = judgement.model
        sides = {"cells": model, "reference_cells": self.comparisons.reference(model)}
        cells = {name: list(map(self.paths.cell, self.comparisons.cells(model, of))) for name, of in sides.items()}
        weights: dict[str, object] = {}
        if (reward := self.comparisons.reward(judgement)) is not None:
            weights["reward_manifest"] = self.paths.manifest(reward)
            weights["reward_weights"] = ancient(self.paths.weights(reward))
        # Their content is in the spec, so touching them makes nothing stale.
        labels = [ancient(str(path)) for path in self.comparisons.label_files(judgement.judge)]
        # What else people may have labelled in these files; no verdict of this job depends on it.
        of_judge = [each for each in self.comparisons.sheets() if each.judge == judgement.judge]
        sheets = [ancient(self.paths.sheet(each, "csv")) for each in of_judge]
        return {**cells, **weights, "labels": labels, "sheets": sheets}

    def sheet_inputs(self, judgement: Judgement) -> dict[str, object]:
        """What the job reads that writes a sheet for people."""
        return {name: files for name, files in self.judgement_inputs(judgement).items() if name.endswith("cells")}

    def all_sheets(self) -> list[str]:
        """The sheets that people are to label, or have labelled: page, CSV and their digests."""
        return self.sheets(self.comparisons.sheets())

    def sheets(self, judgements: Iterable[Judgement]) -> list[str]:
        """The files of some of these."""
        return [self.paths.sheet(each, suffix) for each in judgements for suffix in ("html", "csv", "sha256")]

    def judgement_tables(self) -> list[str]:
        """The tables of judged comparisons: agreement where there are two judges."""
        judges = self.comparisons.judging
        return ["win_rates", *(["judge_agreement"] if len(judges) > 1 else []), "judged_pairs"] if judges else []
