"""What a study takes from elsewhere: from the hub, from files of this machine, and from what others computed."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modecollapse.cells import Model, ModelData
from modecollapse.data.sources.files import local_files
from modecollapse.errors import StudyError
from modecollapse.file_digests import FileDigests
from modecollapse.hub import Kind, Lock, Needed, Revision
from modecollapse.measures.benchmarks import Task, hub_revisions
from modecollapse.sources import FilesSource, GgufSource, HubSource, PathSource, Source
from modecollapse.stage_config import CompletionsStage
from modecollapse.study_data import DataSets


@dataclass(frozen=True, kw_only=True)
class Sources(DataSets):
    """A grid and its data sets, with where weights, rows, completions and results that were not made here come from."""

    lock: Lock
    """The commits of the hub that the study's revisions stand for."""
    benchmarks: Sequence[Task] = field(default=(), compare=False)
    """The tasks of `measures.benchmarks`, found and checked."""
    file_digests: FileDigests = field(default_factory=FileDigests, compare=False)
    """Digests of files that the study takes from elsewhere."""
    completions: Path | None = field(default=None, compare=False)
    """Directory of the finished completions; None if it is not named."""
    reference: Path | None = field(default=None, compare=False)
    """Directory of the results of others that are to be compared with ours; None leaves the comparison out."""

    def source(self, model: Model) -> Source | None:
        """Where a stage that is not trained here takes its weights from, size and seed filled in."""
        source: Source | None = getattr(self.stage(model), "source", None)
        return source.filled(size=model.size, seed=model.seed) if source else None

    def local_source(self, model: Model) -> Path | None:
        """The directory or file of this machine that the weights are taken from; None if they come from the hub."""
        match self.source(model):
            case PathSource(path=path):
                return Path(path)
            case GgufSource(gguf=file, hub=None):
                return Path(file)
        return None

    def data_files(self, name: str) -> list[Path]:
        """The local files of a data set; none if it comes from elsewhere.

        Raises:
            StudyError: they are not there.
        """
        source = self.config.data[name].source
        if not isinstance(source, FilesSource):
            return []
        try:
            return local_files(source.path, self.file)
        except StudyError as error:
            raise StudyError(f"{self.file}: data.{name}.source: {error}") from error

    def label_files(self, data: ModelData) -> list[Path]:
        """The files of people's labels of the pairs that a model wrote, whether they are there or not."""
        names = self.sampling(data).labels
        return [
            self.file.parent / name.replace("{size}", data.size).replace("{seed}", str(data.seed)) for name in names
        ]

    def needed_of(self, model: Model) -> Needed | None:
        """What the model itself, without its ancestors, needs of the hub."""
        source = self.source(model)
        if isinstance(source, HubSource):
            return Needed(source.of(Kind.MODEL))
        if isinstance(source, GgufSource) and (revision := source.of(Kind.MODEL)):
            return Needed(revision, (glob.escape(source.gguf),))
        return None

    def needed_of_data(self, name: str) -> Needed | None:
        """What a data set needs of the hub."""
        data = self.config.data[name]
        if not isinstance(data.source, HubSource):
            return None
        return Needed(data.source.of(Kind.DATASET), (data.files,) if data.files else ())

    def needed(self) -> list[Needed]:
        """Everything that the study needs of the hub, each once."""
        found = [self.needed_of(model) for model in self.trained()]
        found += [self.needed_of_data(name) for name in self.used_data()]
        found += [Needed(revision) for revision in hub_revisions(self.benchmarks)]
        return list(dict.fromkeys(needed for needed in found if needed))

    def revisions(self) -> list[Revision]:
        """Every revision of the hub that the study needs, each once."""
        return list(dict.fromkeys(needed.revision for needed in self.needed()))

    def completions_file(self, model: Model, prompts: str) -> Path:
        """The file with the finished completions of an imported model."""
        stage = self.stage(model)
        assert isinstance(stage, CompletionsStage)
        assert self.completions is not None
        return self.completions / stage.files[prompts].replace("{size}", model.size).replace("{seed}", str(model.seed))

    def compares(self) -> bool:
        """Whether there are stored results of others to compare with."""
        return self.config.reference is not None and self.reference is not None

    def compared(self) -> list[Model]:
        """The models whose results others have stored; none if the study does not compare."""
        reference = self.config.reference if self.compares() else None
        return [model for model in self.models if model.stage in reference.files] if reference else []

    def reference_file(self, model: Model) -> Path:
        """The file with the stored results of a compared model."""
        assert self.config.reference is not None
        assert self.reference is not None
        file = self.config.reference.files[model.stage]
        return self.reference / file.replace("{size}", model.size).replace("{seed}", str(model.seed))
