"""The Hugging Face hub: which commit a revision stands for is written to a lock file, once; then only the lock counts.

`snakemake download` resolves every revision of a study, writes the lock beside the study file and fetches the files
into the hub's cache (see `modecollapse.jobs.downloading`). Everything else reads the lock and the cache, and never the
network.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from modecollapse.errors import StudyError
from modecollapse.publishing import publish_file
from modecollapse.yaml_files import quoted, read_yaml

COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A git commit: SHA-1, or SHA-256 in newer repositories."""


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
class Needed:
    """What a study needs of the hub."""

    revision: Revision
    files: tuple[str, ...] = ()
    """Glob patterns of the files; empty for everything that is needed of a repository of this kind."""


@dataclass(frozen=True)
class Lock:
    """The commits that a study's revisions were resolved to."""

    file: Path
    commits: Mapping[Revision, str] = field(default_factory=dict)

    def commit(self, revision: Revision) -> str | None:
        """The commit that `revision` stands for in this study; None before `download` has resolved it."""
        return self.commits.get(revision)


def check_revision(revision: Revision) -> None:
    """Check that a repository and a revision of it can have these names; nobody is asked whether they exist.

    Raises:
        StudyError: the hub has no repositories, or git no revisions, of such names.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(revision.repository)
    except HFValidationError:
        raise StudyError(
            f"hub: found {revision.repository!r}. Allowed: OWNER/NAME of letters, digits, '-', '_' and '.', neither "
            "first nor last '-' or '.', and no '--' or '..'; of a model, {size} and {seed} are filled in. "
            "Name a repository of the hub."
        ) from None
    name = revision.revision
    if not all(part.strip(".") for part in name.split("/")) or re.search(
        r"[\s\x00-\x1f\x7f~^:?*\[\]\\{}]|\.\.|^-", name
    ):
        raise StudyError(
            f"revision: found {name!r}, which is no name of a branch, tag or commit. Allowed: e.g. 'main', 'v1.0', "
            "'refs/pr/1', a commit of 40 hexadecimal digits; of a model, {size} and {seed} are filled in. Correct it."
        )


def lock_path(study: Path) -> Path:
    """The lock of a study file: beside it, e.g. ``pythia.lock.yaml`` of ``pythia.yaml``."""
    return study.with_name(f"{study.stem}.lock.yaml")


def read_lock(path: Path) -> Lock:
    """The lock in a YAML file: ``models`` and ``datasets``, each repository → revision → commit. Empty if absent.

    Raises:
        StudyError: the file is not such a lock.
    """
    if not path.is_file() or _is_blank(path):
        return Lock(path)
    commits = {}
    for section, repositories in read_yaml(path).items():
        if section not in ("models", "datasets"):
            raise StudyError(f"{path}: {section}: a lock has only `models` and `datasets`. Remove it.")
        for repository, revisions in _entries(path, section, repositories).items():
            for revision, commit in _entries(path, f"{section}.{repository}", revisions).items():
                if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
                    raise StudyError(
                        f"{path}: {section}.{repository}.{revision}: found {commit!r}. Allowed: a full commit of 40 "
                        "hexadecimal digits (or 64). Delete the entry, and the target `download` writes it anew."
                    )
                commits[Revision(Kind(section.removesuffix("s")), str(repository), str(revision))] = commit
    return Lock(path, commits)


def _is_blank(path: Path) -> bool:
    """Whether a file has nothing but comments: every entry was deleted, so that all are written anew."""
    try:
        return not any(line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return False  # whoever reads it says so


def _entries(path: Path, key: str, value: object) -> Mapping[str, object]:
    if value is None:  # its lines were deleted, so that they are written anew
        return {}
    if not isinstance(value, dict):
        raise StudyError(
            f"{path}: {key}: found {value!r}. A lock holds `models` and `datasets`, each repository → revision → "
            "commit. Delete the entry, and the target `download` writes it anew."
        )
    return value


def add_to_lock(path: Path, commits: Mapping[Revision, str], command: str) -> Lock:
    """Write `commits` to the lock at `path`; entries that are there already keep their commits.

    Args:
        path: the lock file.
        commits: what revisions were resolved to.
        command: the command that does this, for the heading.
    """
    present = read_lock(path).commits
    if set(commits) <= set(present):
        return Lock(path, present)
    entries = {**commits, **present}
    lines = [
        f"# Written by `{command}`: the commit that each revision stands for in this study.",
        "# It goes with the study file, so keep both under version control. The command adds what is missing and never",
        "# changes an entry: to follow a branch that has moved, delete its line and run the command again.",
    ]
    for kind in Kind:
        repositories = sorted({revision.repository for revision in entries if revision.kind is kind})
        lines += [f"{kind}s:"] if repositories else []
        for repository in repositories:
            lines += [f"  {quoted(repository)}:"]
            lines += [
                f"    {quoted(revision.revision)}: {quoted(commit)}"
                for revision, commit in sorted(entries.items())
                if (revision.kind, revision.repository) == (kind, repository)
            ]
    with publish_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Lock(path, entries)


def repository_directory(revision: Revision) -> Path:
    """Where the hub's cache keeps a repository: ``blobs``, ``refs`` and ``snapshots``."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{revision.kind}s--{revision.repository.replace('/', '--')}"


def snapshot_directory(revision: Revision, commit: str) -> Path:
    """Where the hub's cache keeps the files of a commit, be they there or not."""
    return repository_directory(revision) / "snapshots" / commit
