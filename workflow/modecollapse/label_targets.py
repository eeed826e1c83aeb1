"""What rules read and write that have pairs labelled: candidates, sheets, labels."""

from modecollapse.cells import ModelData
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
