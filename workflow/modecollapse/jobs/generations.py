"""Making cells: each is left alone if current, restored if it was finished before, and generated otherwise."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modecollapse.cell_tables import cell_record
from modecollapse.cells import Cell
from modecollapse.completions import read_completions
from modecollapse.digests import canonical, digest, sha256_file
from modecollapse.errors import CorruptFile
from modecollapse.generation.engines import ENGINES, EngineJob
from modecollapse.generation.settings import SamplingSettings
from modecollapse.identities import identity_metadata
from modecollapse.manifest import read_manifest
from modecollapse.prompts import PromptFormat, PromptSet
from modecollapse.rendering import chat_markers, render
from modecollapse.resources.machine import Machine
from modecollapse.sealed import read_sealed
from modecollapse.specs import cell_spec
from modecollapse.store import Store
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)


def cell_metadata(cell: Cell, spec: str, extra: Mapping[str, str]) -> dict[str, str]:
    """What a cell's file says of itself."""
    return {**identity_metadata(cell), "spec": spec, **extra}


def stale_cells(cells: Mapping[Cell, Path], keys: Mapping[Cell, str], store: Store) -> list[Cell]:
    """The cells that have to be computed, after putting back what the store holds."""
    left, restored, stale = 0, 0, []
    for cell, path in cells.items():
        if _current(path, keys[cell]):
            left += 1
        elif store.restore_table("cells", keys[cell], path):
            restored += 1
        else:
            stale.append(cell)
    logger.info("cells: %d current, %d from the store, %d to make", left, restored, len(stale))
    return stale


def _current(path: Path, key: str) -> bool:
    if not path.exists():
        return False
    try:
        found = (read_sealed(path, []).schema.metadata or {}).get(b"key", b"").decode()
    except CorruptFile as error:
        logger.warning("%s It is made again now.", error)
        return False
    return found == key


def generate(
    cells: Mapping[Cell, Path],
    spec: Mapping[str, Any],
    prompts: Mapping[str, PromptSet],
    weights: Path,
    manifest: Path,
    store: Store,
    load: Callable[..., None],
    machine: Machine | None = None,
    root: Path = Path(),
    save_seconds: float = 10.0,
) -> None:
    """Write every stale cell of one model in one pass; the others' bytes and times stay as they are.

    A job that was stopped or killed goes on from the cells that it finished, and in the next one from the batches that
    it kept in the store.

    Args:
        cells: each cell and its file.
        spec: the generation spec.
        prompts: the prompt sets by name.
        weights: model directory, checked against `manifest` before anything is read from it.
        load: called with the libraries to import before the clock of the work starts.
        machine: the machine that the job runs on; one without GPUs by default.
        root: the workflow's root (see `EngineJob`).
        save_seconds: time between two savings of a cell's finished batches at least.

    Raises:
        Stopped: the process was asked to stop.
        CorruptFile: the weights are not those of the manifest.
        StudyError: a prompt and its completion do not fit the model's context, a chat format that the model's
            tokenizer cannot give to a prompt (before its weights are loaded), or what is wrong with the engine.
    """
    digests = read_manifest(manifest)
    digests.verify(weights)
    specs = {cell: cell_spec(dict(spec), cell) for cell in cells}
    keys = {cell: digest({"spec": specs[cell], "weights": digests.weights}) for cell in cells}
    stale = stale_cells(cells, keys, store)
    if not stale:
        return
    from modecollapse.generation.progress import reporter

    settings = sampling_settings(spec)
    kind = ENGINES[spec["engine"]]
    load(*kind.libraries)
    groups = asked(stale, spec, prompts, weights)
    texts = tuple(text for group in groups for _, text in group.rendered)
    job = EngineJob(weights, settings, spec["threads"], texts, machine or Machine(), root)
    progress = reporter(f"cells of {next(iter(cells)).model}")
    done = 0
    with kind.open(job) as engine:
        for group in groups:
            prepared = engine.prepare(group.rendered)
            for cell in group.cells:
                stream = f"{spec['sampling']['seed']}/{cell}"
                table = engine.sample(
                    prepared, float(cell.temperature), stream, unfinished=unfinished(store, keys[cell], save_seconds)
                )
                metadata = cell_metadata(cell, specs[cell], {**cell_record(table), **group.metadata})
                store.publish_table("cells", keys[cell], table, cells[cell], metadata)
                store.drop_state(keys[cell])
                done += 1
                progress(done, len(stale))
                logger.info("made %s", cell)


def sampling_settings(spec: Mapping[str, Any], **changes: Any) -> SamplingSettings:
    """The settings in a generation spec, with changes."""
    stated = {key: value for key, value in spec["sampling"].items() if key in SamplingSettings.model_fields}
    return SamplingSettings.model_validate({**stated, **changes}, strict=False)


@dataclass(frozen=True)
class Asked:
    """Cells that share their prompts and the words around them."""

    cells: Sequence[Cell]
    rendered: Sequence[tuple[str, str]]
    """(id, rendered text) of each prompt."""
    metadata: Mapping[str, str]
    """What the cells say of them."""


def asked(
    stale: Sequence[Cell], spec: Mapping[str, Any], prompts: Mapping[str, PromptSet], weights: Path
) -> list[Asked]:
    """The cells with what the model in `weights` is asked, as the generation spec says.

    Raises:
        StudyError: a chat format that the model's tokenizer cannot give to a prompt.
    """
    from modecollapse.generation.models import load_tokenizer

    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in stale:
        groups.setdefault((cell.prompts, cell.format), []).append(cell)
    formats = {form: PromptFormat.from_spec(form, spec["formats"][form]) for _, form in groups}
    tokenizer = load_tokenizer(weights) if any(form.is_chat for form in formats.values()) else None
    # Only here is the chat template known that says how another turn begins.
    markers = {form: chat_markers(formats[form], tokenizer) for form in formats}
    return [
        Asked(
            members,
            [
                (prompt.id, render(formats[form], tokenizer, prompt.text or "", prompt.start))
                for prompt in prompts[name].prompts
            ],
            {"markers": canonical(list(markers[form]))} if markers[form] else {},
        )
        for (name, form), members in groups.items()
    ]


def unfinished(store: Store, key: str, seconds: float) -> Unfinished:
    """Where the finished batches of a cell are kept until it is whole."""
    return Unfinished(
        lambda: store.read_table("state", key),
        lambda rows: store.write_table("state", key, rows, cell_record(rows)),
        seconds,
    )


def import_completions(
    cells: Mapping[Cell, Path],
    spec: Mapping[str, Any],
    files: Mapping[str, Path],
    prompts: Mapping[str, Sequence[str]],
    store: Store,
) -> None:
    """Write the cells of one model from files of finished completions, one file per prompt set."""
    specs = {cell: canonical({**spec, "prompts": spec["prompts"][cell.prompts], "cell": str(cell)}) for cell in cells}
    sources = {name: sha256_file(path) for name, path in files.items()}
    keys = {cell: digest({"spec": specs[cell], "source": sources[cell.prompts]}) for cell in cells}
    stale = stale_cells(cells, keys, store)
    for name in prompts:
        members = [cell for cell in stale if cell.prompts == name]
        if not members:
            continue
        tables = read_completions(
            files[name],
            layout=spec["layout"],
            prompts=prompts[name],
            temperatures=spec["order"] or [cell.temperature for cell in members],
        )
        for cell in members:
            extra = {"engine": "finished completions", "source": files[name].name, "source_sha256": sources[name]}
            metadata = cell_metadata(cell, specs[cell], extra)
            store.publish_table("cells", keys[cell], tables[cell.temperature], cells[cell], metadata)
