"""The Hugging Face hub: which commit a revision stands for is written to a lock file, once; then only the lock counts.

`snakemake download` resolves every revision of a study, writes the lock beside the study file and fetches the files
into the hub's cache. Everything else reads the lock and the cache, and never the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from modecollapse.errors import StudyError
from modecollapse.yaml_files import read_yaml


class Kind(StrEnum):
    """What a repository of the hub holds."""

    MODEL = "model"
    DATASET = "dataset"


@dataclass(frozen=True, order=True)
class Revision:
    """A branch, tag or commit of a repository, as a study names it."""

    kind: Kind
    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"


@dataclass(frozen=True)
class Lock:
    """The commits that a study's revisions were resolved to."""

    file: Path
    commits: Mapping[Revision, str] = field(default_factory=dict)

    def commit(self, revision: Revision) -> str | None:
        """The commit that `revision` stands for in this study; None before `download` has resolved it."""
        return self.commits.get(revision)


def lock_path(study: Path) -> Path:
    """The lock of a study file: beside it, e.g. ``pythia.lock.yaml`` of ``pythia.yaml``."""
    return study.with_name(f"{study.stem}.lock.yaml")


def read_lock(path: Path) -> Lock:
    """The lock in a YAML file: ``models`` and ``datasets``, each repository → revision → commit. Empty if absent.

    Raises:
        StudyError: the file is not such a lock.
    """
    if not path.is_file():
        return Lock(path)
    commits = {}
    for section, repositories in read_yaml(path).items():
        if section not in ("models", "datasets") or not isinstance(repositories, dict):
            raise StudyError(f"{path}: {section}: a lock has only `models` and `datasets`. Remove it.")
        kind = Kind(section.removesuffix("s"))
        for repository, revisions in repositories.items():
            for revision, commit in dict(revisions).items():
                commits[Revision(kind, str(repository), str(revision))] = str(commit)
    return Lock(path, commits)


def snapshot(revision: Revision, commit: str | None, study: str) -> Path:
    """The directory of the hub's cache that holds `revision` at `commit`, as `download` put it there.

    Raises:
        StudyError: the revision is not locked, or its files are not in the cache.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    command = f"Run `snakemake download --config study={study}` where there is a network."
    if commit is None:
        raise StudyError(f"{revision}: no commit is locked for it. {command}")
    try:
        found = snapshot_download(
            revision.repository, repo_type=revision.kind.value, revision=commit, local_files_only=True
        )
    except LocalEntryNotFoundError as error:
        raise StudyError(f"{revision}: commit {commit} is not in the hub's cache. {command}") from error
    return Path(found)
