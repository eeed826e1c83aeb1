"""What rules read and write that have pairs labelled: candidates, sheets, labels."""

from collections.abc import Iterable

from modecollapse.cells import Model, ModelData
from modecollapse.data_lineage import family
from modecollapse.methods.reward_functions import PEOPLE
from modecollapse.study import Study

SHEET = ("html", "csv", "sha256")
"""A labelling sheet's files: the page, the same as CSV, and the digests of both."""


class LabelTargets:
    """Those of one study, for the sets whose pairs are labelled by a job of their own."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.paths = study.paths

    def labelled_data(self) -> list[ModelData]:
        """Those sets, of each size and seed."""
        return [data for data in self.study.all_sampled_data() if self.study.sampling(data).labelled_apart]

    def labelled_names(self) -> list[str]:
        """What they are called in the study."""
        return list(dict.fromkeys(data.data for data in self.labelled_data()))

    def unlabelled_names(self) -> list[str]:
        """The sets that stages write and that are labelled as they are sampled."""
        names = dict.fromkeys(data.data for data in self.study.all_sampled_data())
        return [name for name in names if name not in self.labelled_names()]

    def all_labels(self) -> list[str]:
        return [self.paths.labels(data) for data in self.labelled_data()]

    def labelling_sheets(self) -> list[str]:
        """What people label."""
        data = [each for each in self.labelled_data() if self.study.sampling(each).reward == PEOPLE]
        return [path for each in data for path in self.sheet(each).values()]

    def sheets_to_label(self) -> list[str]:
        """Those of them that can be made before anybody labels anything else."""
        data = [each for each in self.labelled_data() if self.study.sampling(each).reward == PEOPLE]
        ready = [each for each in data if not self._written_by_labels(each)]
        return [path for each in ready for path in self.sheet(each).values()]

    def waits_for_labels(self, model: Model) -> bool:
        """Whether the model, or one that it needs, is trained on labels of people that are not there."""
        lineage, above = self.study.lineage, [model.stage]
        for stage in above:
            above += [parent for parent in lineage[stage] if parent not in above]
        models = [Model(model.size, model.seed, stage) for stage in above if self.study.has(model.size, stage)]
        sets = {name for each in models if (name := self.study.stage(each).data) is not None}
        return self._unlabelled(model.size, model.seed, sets)

    def _written_by_labels(self, data: ModelData) -> bool:
        prompts = self.study.sampling(data).prompts
        return self.waits_for_labels(self.study.writer(data)) or self._unlabelled(data.size, data.seed, [prompts])

    def _unlabelled(self, size: str, seed: int, names: Iterable[str]) -> bool:
        """Whether one of these sets, or of those that they are made from, lacks labels of people."""
        sets = self.study.config.data
        found = {each for name in names for each in family(self.study.config, name)}
        people = [name for name in found if (sampled := sets[name].sampled) and sampled.reward == PEOPLE]
        files = [self.study.label_files(ModelData(size, seed, name)) for name in people]
        return any(not each or not all(path.is_file() for path in each) for each in files)

    def sheet(self, data: ModelData) -> dict[str, str]:
        """The files of one sheet by name."""
        return {suffix: self.paths.labelling_sheet(data, suffix) for suffix in SHEET}

    def sealed_label_files(self) -> list[str]:
        """Candidates and labels: the sealed files on the way from answers to labelled pairs, without these."""
        return [self.paths.candidates(data) for data in self.labelled_data()] + self.all_labels()

    def label_inputs(self, data: ModelData) -> dict[str, object]:
        """What the job reads that labels pairs, by name: people's files as far as they are there."""
        from snakemake.io import ancient

        files = [str(path) for path in self.study.label_files(data) if path.is_file()]
        # They are in the spec by their SHA-256, so touching them makes nothing stale.
        return {"candidates": self.paths.candidates(data), "files": [ancient(file) for file in files]}
