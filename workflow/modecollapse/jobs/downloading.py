"""The target `download`: what a study needs of the hub, resolved to commits, locked, and fetched into the hub's cache.

The only place that touches the network. The token is taken by the hub's library from where it is usually kept
(`HF_TOKEN`, `hf auth login`); it stands in no message and no log.
"""

import glob
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError
from modecollapse.hub import (
    COMMIT,
    Kind,
    Needed,
    Revision,
    add_to_lock,
    check_revision,
    repository_directory,
    snapshot_directory,
)
from modecollapse.jobs.benchmarks import check_data
from modecollapse.jobs.data import files_of
from modecollapse.jobs.models import find_source
from modecollapse.publishing import publish_file
from modecollapse.snapshots import (
    absent_files,
    chosen_files,
    chosen_weights,
    lacking,
    listed_files,
    snapshot,
    unlisted,
)
from modecollapse.source_checks import check_columns, check_source
from modecollapse.study import Study

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 30

_ONLINE = (
    "HF_HUB_OFFLINE is set, so nothing is fetched. Run the same command with HF_HUB_OFFLINE=0 where there is a network."
)
_AGAIN = "Run the same command again."


def download(study: Study) -> str:
    """Resolve, lock and fetch everything that the study needs of the hub; returns what was done, for people to read.

    Revisions that are locked already keep their commits; a branch that has moved since is reported. What can be
    resolved is locked even if something else fails, and what fails does not keep the rest from being fetched.

    Raises:
        StudyError: repositories, revisions or files that cannot be had; one message for each.
    """
    needed = study.needed()
    if not needed:
        return f"{study.name} needs nothing of the hub."
    for name in ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2"):  # they tell of every request
        logging.getLogger(name).setLevel(logging.ERROR)
    command = f"snakemake download --config study={study.called()}"
    faults: list[str] = []
    notes: list[str] = []
    resolved: dict[Revision, str] = {}
    for revision in study.revisions():
        locked = study.lock.commit(revision)
        try:
            resolved[revision] = _resolve(revision)
        except _NoSuchRevision as error:
            if locked is None:
                faults.append(str(error))
            else:
                notes.append(_gone(revision, locked, study.lock.file))
        except StudyError as error:
            if locked is None or not _is_offline():  # offline, nothing but the locked files is asked for
                faults.append(str(error))
        if locked is not None and resolved.get(revision, locked) != locked:
            notes.append(_moved(revision, locked, resolved[revision], study.lock.file, command))
    lock = add_to_lock(study.lock.file, resolved, command)
    study = replace(study, lock=lock)
    lines = []
    for need in needed:
        commit = lock.commit(need.revision)
        if commit is None:
            continue
        try:
            bytes_there = _fetch(need, commit)
            _check_content(study, need)
            lines.append(f"{need.revision}: commit {commit}, {bytes_there / 1e9:.2f} GB in the hub's cache")
        except StudyError as error:
            if str(error) not in faults:
                faults.append(str(error))
        if resolved.get(need.revision) == commit and need.revision.revision != commit:
            _remember_branch(need.revision, commit)
    if faults:
        raise StudyError("\n\n".join([*notes, *dict.fromkeys(faults)]))
    check_data(study)
    heading = f"{study.name}: {len(lines)} of {len(needed)} repositories of the hub are here and locked in {lock.file}"
    return "\n".join([f"{heading}:", *(f"  {line}" for line in lines), *notes])


def require_downloads(study: Study, needed: Iterable[Needed]) -> None:
    """Check that this is locked, in the cache, and can be used, so that no job starts in vain.

    Raises:
        StudyError: a line for each revision that is not; it names the command that fetches them.
    """
    missing = []
    for need in dict.fromkeys(needed):
        try:
            snapshot(need, study.lock.commit(need.revision), study.called())
            _check_content(study, need)
        except StudyError as error:
            missing.append(str(error))
    if missing:
        raise StudyError("\n".join(missing))


def require_downloads_or_exit(study: Study, needed: Iterable[Needed]) -> None:
    """`require_downloads` for the Snakefile: an error is printed as it is, without a traceback, and ends the run."""
    try:
        require_downloads(study, needed)
    except StudyError as error:
        print(f"\n{error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)


def _check_content(study: Study, needed: Needed) -> None:
    """Check what was fetched as local sources are checked when a study is planned: by headers and first rows.

    Raises:
        StudyError: weights or data of the study cannot be taken from there.
    """
    # Models of several seeds may share a source; one of each stage tells what is to be taken from it.
    for model in {model.stage: model for model in study.trained() if study.needed_of(model) == needed}.values():
        path = find_source(study, model)
        assert path is not None
        try:
            check_source(study, model, path)
        except StudyError as error:
            raise StudyError(
                f"{study.file}: stages.{model.stage}.source ({needed.revision}): {error} Or name another repository, "
                "another `revision`, or a mended copy of it with `path`."
            ) from error
    for name in study.used_data():
        if study.needed_of_data(name) == needed:
            check_columns(study, name, files_of(study, name)[:1])


def _moved(revision: Revision, locked: str, now: str, lock: Path, command: str) -> str:
    return (
        f"\nATTENTION: {revision} HAS MOVED since it was locked.\n  locked: {locked}\n  now:    {now}\n"
        f"  The study stays with the locked commit. To follow the branch, delete its line in {lock} and run\n"
        f"  `{command}` again; everything that was made from it becomes stale."
    )


def _gone(revision: Revision, locked: str, lock: Path) -> str:
    return (
        f"\nATTENTION: {revision} IS NO LONGER ON THE HUB since it was locked.\n  locked: {locked}\n"
        f"  The study stays with the locked commit. To use another revision, name it in the study; {lock} follows."
    )


class _NoSuchRevision(StudyError):
    pass


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _api() -> Any:
    """The hub, under the endpoint and with the token of the environment."""
    from huggingface_hub import HfApi, constants, get_token

    token = get_token()
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
        # The library would show it in its error.
        raise StudyError("HF_TOKEN (or the token of `hf auth login`) holds characters that no token has. Set it anew.")
    return HfApi(endpoint=constants.ENDPOINT)


def _resolve(revision: Revision) -> str:
    """The commit that a revision stands for now; with HF_HUB_OFFLINE=1 the one that the cache knows."""
    if _is_offline():
        ref = repository_directory(revision) / "refs" / revision.revision
        known = COMMIT.fullmatch(revision.revision) and snapshot_directory(revision, revision.revision).is_dir()
        commit = revision.revision if known else ref.read_text().strip() if ref.is_file() else ""
        if not COMMIT.fullmatch(commit):
            raise StudyError(
                f"{revision} is not known in the hub's cache, {ref.parents[2]}, and HF_HUB_OFFLINE is set, so nothing "
                "is fetched. Run the same command with HF_HUB_OFFLINE=0 where there is a network."
            )
        return commit
    with _explained(revision):
        found = _api().repo_info(
            revision.repository, repo_type=revision.kind.value, revision=revision.revision, timeout=_TIMEOUT_SECONDS
        )
        return str(found.sha)


def _fetch(needed: Needed, commit: str) -> int:
    """Put the files of a commit into the cache, if they are not there; returns how many bytes are needed of it."""
    revision = needed.revision
    directory = snapshot_directory(revision, commit)
    if _is_offline():
        if not directory.is_dir():
            raise StudyError(
                f"{revision}: commit {commit} is not in the hub's cache, {directory.parents[2]}. {_ONLINE}"
            )
        sizes = listed_files(revision, commit)
        if sizes is None:
            raise StudyError(f"{revision}: {unlisted(revision, commit)} {_ONLINE}")
        names = list(sizes)
    else:
        with _explained(revision, commit):
            names = _api().list_repo_files(revision.repository, repo_type=revision.kind.value, revision=commit)
    chosen = _get(revision, commit, chosen_files(needed, names))
    chosen += _get(revision, commit, chosen_weights(needed, names, directory))
    return sum((directory / name).stat().st_size for name in chosen)


def _get(revision: Revision, commit: str, names: Sequence[str]) -> list[str]:
    """Fetch these files unless they are there in full, and the list of the commit's files with them."""
    directory, sizes = snapshot_directory(revision, commit), listed_files(revision, commit)
    absent = absent_files(directory, names, sizes or {})
    # What other tools have put into the cache may be all that is needed, but come without that list.
    if (absent or sizes is None) and not _is_offline():
        from huggingface_hub import constants, snapshot_download

        with _explained(revision, commit):
            for name in absent:
                _remove_cut_off(directory / name)
            snapshot_download(
                revision.repository,
                repo_type=revision.kind.value,
                revision=commit,
                allow_patterns=[glob.escape(name) for name in absent],
                endpoint=constants.ENDPOINT,
            )
        sizes = listed_files(revision, commit)
        absent = absent_files(directory, names, sizes or {})
    if absent:
        raise StudyError(f"{revision}: {lacking(directory, absent)} {_ONLINE if _is_offline() else _AGAIN}")
    if sizes is None:
        raise StudyError(f"{revision}: {unlisted(revision, commit)} See that it can be written there. {_AGAIN}")
    return list(names)


def _remove_cut_off(file: Path) -> None:
    """Remove a file that is there in part, with its blob: the hub's library takes whatever is there for whole."""
    blob = file.resolve()
    file.unlink(missing_ok=True)
    if blob.parent.name == "blobs":
        blob.unlink(missing_ok=True)


def _remember_branch(revision: Revision, commit: str) -> None:
    """Note in the cache what a branch stood for, as the hub's library does: other studies can then lock it offline."""
    ref = repository_directory(revision) / "refs" / revision.revision
    try:
        if not _is_offline() and (not ref.is_file() or ref.read_text() != commit):
            with publish_file(ref) as partial:
                partial.write_text(commit)
    except OSError as error:
        logger.warning("%s cannot be written: %s", ref, error)


@contextmanager
def _explained(revision: Revision, commit: str = "") -> Iterator[None]:
    """Turn what the hub's library raises into one message that says what to do."""
    from huggingface_hub import constants, errors, get_token

    page = f"https://huggingface.co/{'datasets/' if revision.kind is Kind.DATASET else ''}{revision.repository}"
    has_token = get_token() is not None
    try:
        yield
    except StudyError:
        raise
    except errors.GatedRepoError:
        found = "the token that is set has no access to it" if has_token else "no token is set"
        raise StudyError(
            f"{revision} is gated, and {found}. Accept its licence at {page}, make a token at "
            "https://huggingface.co/settings/tokens, put it into HF_TOKEN (or `hf auth login`), and run the same "
            "command again."
        ) from None
    except errors.DisabledRepoError:
        raise StudyError(f"{revision}: the hub has disabled this repository, see {page}. Use another one.") from None
    except errors.RepositoryNotFoundError:
        private = "the token that is set may not see it" if has_token else "it is private and HF_TOKEN is not set"
        raise StudyError(
            f"{revision}: there is no such {revision.kind} on the hub, or {private}. Correct its id in the study, or "
            "put a token that may see it into HF_TOKEN."
        ) from None
    except errors.RevisionNotFoundError:
        if commit:
            raise StudyError(
                f"{revision}: its repository no longer has the locked commit {commit}. Delete its line in the lock "
                "file to take what the revision stands for now."
            ) from None
        raise _NoSuchRevision(
            f"{revision}: the repository has no such branch, tag or commit. Correct `revision` in the study; "
            f"{page}/tree/main lists them."
        ) from None
    except errors.HFValidationError:
        check_revision(revision)
        raise StudyError(f"{revision}: its id is no id of a repository. Correct it.") from None
    except errors.HfHubHTTPError as error:
        raise StudyError(_refusal(revision, error.response.status_code, page, constants.ENDPOINT)) from None
    except Exception as error:  # whatever it is, the token must not stand in it
        raise _unreachable_or_unexpected(revision, error) from None


def _refusal(revision: Revision, status: int, page: str, endpoint: str) -> str:
    match status:
        case 401:
            return f"{revision}: the hub does not know the token in HF_TOKEN (or of `hf auth login`). Set it anew."
        case 403:
            return (
                f"{revision}: the hub refuses access (status 403). Accept its licence at {page}, and see that the "
                "token in HF_TOKEN may read it (a fine-grained one needs a right for gated repositories)."
            )
        case 429:
            return f"{revision}: the hub asks for fewer requests (status 429). Wait some minutes and try again."
    return f"{revision}: the hub answers with status {status}. Try again later; what is here already stays."


def _unreachable_or_unexpected(revision: Revision, error: Exception) -> Exception:
    from huggingface_hub import errors, get_token

    cause = error.__cause__ or error
    reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
    if token := get_token():
        reason = reason.replace(token, "***")
    if isinstance(error, errors.HTTPError | errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        return StudyError(
            f"{revision}: the hub cannot be reached ({reason}). Run the same command where there is a network (on a "
            "cluster often the login node only); HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy."
        )
    if isinstance(error, OSError):
        return StudyError(f"{revision}: its files cannot be written ({reason}). Make room there, or set HF_HOME.")
    return RuntimeError(f"{revision}: {reason}")
