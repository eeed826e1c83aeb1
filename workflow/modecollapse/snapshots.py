"""Repositories in the hub's cache: which of their files a study needs, and whether all of these are there.

A snapshot that exists need not be complete: a download may have been killed, or have fetched fewer files for another
study. The hub's library keeps the list of a commit's files beside its snapshots (``trees/COMMIT.json``), which it
writes before it fetches the first of them. A snapshot counts only if it is known to hold everything that is needed.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from modecollapse.data.sources.patterns import select
from modecollapse.errors import StudyError
from modecollapse.hub import Kind, Needed, Revision, repository_directory, snapshot_directory
from modecollapse.methods import adapter
from modecollapse.methods.model_files import TOKENIZER_FILES
from modecollapse.methods.weight_files import CONFIGURATION, LAYOUTS, shards_of

_SMALL_FILES = (*CONFIGURATION, adapter.CONFIG, *TOKENIZER_FILES, *(name for name, index in LAYOUTS if index))
"""What is needed of a model beside its weights."""


def snapshot(needed: Needed, commit: str | None, study: str) -> Path:
    """The directory of the hub's cache that holds what is `needed` at `commit`, as `download` put it there.

    The place is the cache's documented one and not asked of the hub's library: that counts a snapshot as incomplete
    which has only the files that a study needs.

    Args:
        needed: what of which revision.
        commit: what the revision is locked to, if it is.
        study: what the study is called on the command line, for messages.

    Raises:
        StudyError: the revision is not locked, or not all files that are needed of it are in the cache.
    """
    revision, command = needed.revision, f"Run `snakemake download --config study={study}` where there is a network."
    if commit is None:
        raise StudyError(f"{revision}: no commit is locked for it. {command}")
    found = snapshot_directory(revision, commit)
    if not found.is_dir():
        raise StudyError(f"{revision}: commit {commit} is not in the hub's cache, {found.parents[2]}. {command}")
    sizes = listed_files(revision, commit)
    if sizes is None:
        raise StudyError(f"{revision}: {unlisted(revision, commit)} {command}")
    absent = absent_files(found, chosen_files(needed, sizes), sizes)
    # Which weights are needed may stand in an index, which is among the files above.
    absent = absent or absent_files(found, chosen_weights(needed, sizes, found), sizes)
    if absent:
        raise StudyError(f"{revision}: {lacking(found, absent)} {command}")
    return found


def listed_files(revision: Revision, commit: str) -> dict[str, int] | None:
    """The files of a commit → their bytes, as the cache knows them; None if it holds no list of them."""
    from huggingface_hub import constants, errors, get_cached_repo_tree

    try:
        files = get_cached_repo_tree(
            revision.repository, repo_type=revision.kind.value, revision=commit, cache_dir=constants.HF_HUB_CACHE
        )
    except errors.CachedRepoTreeNotFoundError:
        return None
    return {file.path: file.size for file in files}


def unlisted(revision: Revision, commit: str) -> str:
    """What is said of a snapshot without a list of its files."""
    listing = repository_directory(revision) / "trees" / f"{commit}.json"
    return (
        f"the hub's cache holds files of commit {commit}, but not the list of them, {listing}, so nobody can tell "
        "whether they are all there."
    )


def lacking(directory: Path, absent: Collection[str]) -> str:
    """What is said of a snapshot that lacks files."""
    names = ", ".join(sorted(absent)[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
    return f"commit {directory.name} is not complete in the hub's cache: {directory} lacks {names}."


def absent_files(directory: Path, names: Collection[str], sizes: Mapping[str, int]) -> list[str]:
    """Those of `names` that a snapshot does not hold, or not in full."""
    return [name for name in names if not _is_whole(directory / name, sizes.get(name))]


def _is_whole(file: Path, size: int | None) -> bool:
    return file.is_file() and (size is None or file.stat().st_size == size)


def chosen_files(needed: Needed, names: Collection[str]) -> list[str]:
    """What is needed of a repository that holds the files `names`, apart from a model's weights.

    Raises:
        StudyError: a file that is asked for is not among them.
    """
    if not needed.files:
        return [name for name in names if needed.revision.kind is Kind.DATASET or name in _SMALL_FILES]
    chosen = []
    for pattern in needed.files:
        matching = select(names, pattern)
        if not matching:
            raise StudyError(
                f"{needed.revision} has no file {pattern}. It holds {', '.join(list(names)[:20]) or 'nothing'}. "
                "Correct the name in the study."
            )
        chosen += matching
    return list(dict.fromkeys(chosen))


def chosen_weights(needed: Needed, names: Collection[str], directory: Path) -> list[str]:
    """The weight files of a model or an adapter: safetensors, and pickled ones only where there are none.

    Args:
        needed: what is needed of the repository; no weights unless it is a model without named files.
        names: the files that the repository holds.
        directory: where its index of weights is, if it has one.

    Raises:
        StudyError: there are no weights, or some that an index lists are not among the files.
    """
    if needed.files or needed.revision.kind is not Kind.MODEL:
        return []
    layouts = [*LAYOUTS, (adapter.WEIGHTS, False), (adapter.PICKLED, False)]
    for leading, is_index in layouts:
        if leading in names:
            chosen = shards_of(directory / leading) if is_index else [leading]
            if missing := set(chosen) - set(names):
                raise StudyError(
                    f"{needed.revision} lacks {min(missing)}, which its {leading} lists. Use another revision."
                )
            return chosen
    raise StudyError(
        f"{needed.revision} has no weights of a kind that is read: none of {', '.join(name for name, _ in layouts)}. "
        f"It holds {', '.join(list(names)[:20]) or 'nothing'}. For a GGUF file, name it: {{hub: …, gguf: FILE}}."
    )
