"""Making cells: each is left alone if current, restored if it was finished before, and generated otherwise."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modecollapse.cells import Cell
from modecollapse.completions import read_completions
from modecollapse.digests import canonical, digest, sha256_file
from modecollapse.errors import CorruptFile
from modecollapse.generation.settings import SamplingSettings
from modecollapse.jobs.running import device
from modecollapse.manifest import read_manifest
from modecollapse.prompts import PromptFormat, PromptSet
from modecollapse.rendering import chat_markers, render
from modecollapse.sealed import read_sealed
from modecollapse.specs import cell_spec
from modecollapse.store import Store

logger = logging.getLogger(__name__)


def _metadata(cell: Cell, spec: str, extra: Mapping[str, str]) -> dict[str, str]:
    identity = {
        "size": cell.model.size,
        "seed": cell.model.seed,
        "stage": cell.model.stage,
        "prompts": cell.prompts,
        "format": cell.format,
        "temperature": cell.temperature,
    }
    return {"cell": canonical(identity), "spec": spec, **extra}


def _stale(cells: Mapping[Cell, Path], keys: Mapping[Cell, str], store: Store) -> list[Cell]:
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
) -> None:
    """Write every stale cell of one model in one pass; the others' bytes and times stay as they are.

    Args:
        cells: each cell and its file.
        spec: the generation spec.
        prompts: the prompt sets by name.
        weights: model directory, checked against `manifest` before anything is read from it.
        load: called with the libraries to import before the clock of the work starts.

    Raises:
        CorruptFile: the weights are not those of the manifest.
        StudyError: a prompt and its completion do not fit the model's context, or a chat format that the model's
            tokenizer cannot give to a prompt (before its weights are loaded).
    """
    digests = read_manifest(manifest)
    digests.verify(weights)
    specs = {cell: cell_spec(dict(spec), cell) for cell in cells}
    keys = {cell: digest({"spec": specs[cell], "weights": digests.weights}) for cell in cells}
    stale = _stale(cells, keys, store)
    if not stale:
        return
    from modecollapse.generation.progress import reporter

    settings = SamplingSettings.model_validate(
        {key: value for key, value in spec["sampling"].items() if key in SamplingSettings.model_fields}, strict=False
    )
    load("modecollapse.generation.transformers_engine", "transformers:AutoModelForCausalLM")
    from modecollapse.generation.models import load_tokenizer
    from modecollapse.generation.transformers_engine import TransformersEngine, cell_record

    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in stale:
        groups.setdefault((cell.prompts, cell.format), []).append(cell)
    formats = {form: PromptFormat.from_spec(form, spec["formats"][form]) for _, form in groups}
    tokenizer = load_tokenizer(weights) if any(form.is_chat for form in formats.values()) else None
    rendered = {
        (name, form): [
            (prompt.id, render(formats[form], tokenizer, prompt.text or "", prompt.start))
            for prompt in prompts[name].prompts
        ]
        for name, form in groups
    }
    markers = {form: chat_markers(formats[form], tokenizer) for form in formats}
    engine = TransformersEngine(weights, settings, spec["threads"], device())
    progress = reporter(f"cells of {next(iter(cells)).model}")
    done = 0
    for (name, form), members in groups.items():
        prepared = engine.prepare(rendered[name, form])
        # Only here is the chat template known that says how another turn begins.
        found = {"markers": canonical(list(markers[form]))} if markers[form] else {}
        for cell in members:
            table = engine.sample(prepared, float(cell.temperature), f"{spec['sampling']['seed']}/{cell}")
            metadata = _metadata(cell, specs[cell], {**cell_record(table), **found})
            store.publish_table("cells", keys[cell], table, cells[cell], metadata)
            done += 1
            progress(done, len(stale))
            logger.info("made %s", cell)


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
    stale = _stale(cells, keys, store)
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
            metadata = _metadata(cell, specs[cell], extra)
            store.publish_table("cells", keys[cell], tables[cell.temperature], cells[cell], metadata)
