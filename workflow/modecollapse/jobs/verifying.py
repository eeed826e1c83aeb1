"""Checking everything that a study has published."""

from collections.abc import Callable, Iterator
from pathlib import Path

from modecollapse.analysis.table_files import verify_table
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.jobs.tokenizers import verify_tokenizer
from modecollapse.manifest import read_manifest
from modecollapse.publishing import verify_digests
from modecollapse.sealed import read_sealed
from modecollapse.study import Study
from modecollapse.targets import Targets


def verify(study: Study) -> str:
    """Check every published file of the study; returns one line that counts them.

    Raises:
        StudyError: files are corrupt; the message names each and says how to make it again.
    """
    intact, missing, corrupt = 0, 0, []
    for path, check in _checks(study):
        if not path.exists():
            if (orphan := _without_digests(path)) is not None:
                corrupt.append(
                    f"{orphan} cannot be checked: {path} is missing. Delete it and run the same command again."
                )
            missing += 1
            continue
        try:
            check()
            intact += 1
        except CorruptFile as error:
            corrupt.append(str(error))
    if corrupt:
        raise StudyError(
            "\n".join([f"{len(corrupt)} of {intact + len(corrupt)} published files are corrupt:", *corrupt])
        )
    return f"{study.name}: {intact} published files are intact, {missing} are not made yet."


def _without_digests(path: Path) -> Path | None:
    """A file or directory whose digests should stand at `path`, which is missing; None if there is none either."""
    beside = [path.with_suffix(".svg"), path.with_suffix(".png")] if path.suffix == ".sha256" else []
    if path.name == "manifest.json":
        beside = [path.parent / "weights", path.parent / "files"]
    return next((file for file in beside if file.exists()), None)


def _checks(study: Study) -> Iterator[tuple[Path, Callable[[], object]]]:
    targets, paths = Targets(study), study.paths
    for model in study.trained():
        manifest, weights = Path(paths.manifest(model)), Path(paths.weights(model))
        yield manifest, lambda m=manifest, w=weights: read_manifest(m).verify(w)  # type: ignore[misc]
    if study.config.tokenizer:
        manifest, files = Path(paths.tokenizer_manifest()), Path(paths.tokenizer())
        yield manifest, lambda m=manifest, f=files: verify_tokenizer(m, f)  # type: ignore[misc]
    sealed = [paths.data(name) for name, data in study.config.data.items() if data.world or data.source]
    sealed += (
        targets.all_sampled_data()
        + targets.all_derived_data()
        + targets.all_own_answers()
        + targets.cells()
        + targets.sealed_label_files()
        + targets.measurements()
    )
    sealed += [paths.curves(model) for model in study.trained()] + targets.all_reference_scores()
    for path in map(Path, sealed):
        yield path, lambda p=path: read_sealed(p)  # type: ignore[misc]
    for name in targets.table_names():
        yield Path(paths.table(name)), lambda n=name: verify_table(Path(paths.table(n)), Path(paths.table_csv(n)))  # type: ignore[misc]
    for path in map(Path, targets.digest_lists()):
        yield path, lambda p=path: verify_digests(p)  # type: ignore[misc]
    for name in targets.drawings():
        path = Path(paths.figure(name, "sha256"))
        yield path, lambda p=path: verify_digests(p)  # type: ignore[misc]
