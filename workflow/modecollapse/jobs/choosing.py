"""Making the cells of a stage that chooses: candidates are sampled from its parent, and the reward picks the best.

All candidates are sampled before the first is scored, so that the engine has left the device when the reward model
takes it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from modecollapse.cell_tables import cell_record
from modecollapse.cells import Cell
from modecollapse.digests import digest
from modecollapse.generation.engines import ENGINES, EngineJob
from modecollapse.jobs.answer_sources import AnswerSources, world_of
from modecollapse.jobs.generations import Asked, asked, cell_metadata, sampling_settings, stale_cells, unfinished
from modecollapse.methods.selection import best
from modecollapse.prompts import Prompt, PromptFormat, PromptSet
from modecollapse.rendering import continued_ids, render
from modecollapse.resources.machine import Machine
from modecollapse.specs import cell_spec
from modecollapse.store import Store

if TYPE_CHECKING:
    from modecollapse.methods.scoring import Scorer

logger = logging.getLogger(__name__)


def choose(
    cells: Mapping[Cell, Path],
    spec: Mapping[str, Any],
    prompts: Mapping[str, PromptSet],
    sources: AnswerSources,
    store: Store,
    load: Callable[..., None],
    machine: Machine | None = None,
    root: Path = Path(),
    save_seconds: float = 10.0,
) -> None:
    """Write every stale cell of one stage; the others' bytes and times stay as they are.

    Of the candidates of a prompt, those with the numbers i·n to i·n + n − 1 stand for its completion i. A job that was
    stopped or killed goes on from the cells that it finished, the cells whose candidates it had, and in the next one
    from the batches that it kept in the store.

    Args:
        cells: each cell and its file.
        spec: the choice spec.
        prompts: the prompt sets by name.
        sources: the parent and the reward.
        load: called with the libraries to import before the clock of the work starts.
        machine: the machine that the job runs on; one without GPUs by default.
        root: the workflow's root (see `EngineJob`).
        save_seconds: time between two savings of a cell's finished batches at least.

    Raises:
        Stopped: the process was asked to stop.
        CorruptFile: weights are not those of their manifest.
        StudyError: as `jobs.generations.generate`, `open_scorer` and `Scorer.score`.
    """
    digests = sources.digests()
    specs = {cell: cell_spec(dict(spec), cell) for cell in cells}
    keys = {cell: digest({"spec": specs[cell], **digests}) for cell in cells}
    stale = stale_cells(cells, keys, store)
    if not stale:
        return
    kind = ENGINES[spec["engine"]]
    load(*kind.libraries, "modecollapse.methods.scoring")
    groups = asked(stale, spec, prompts, sources.weights)
    candidates = _sample(groups, spec, keys, sources.weights, store, machine or Machine(), root, save_seconds)
    choice = _Choice(spec, sources)
    reward = {"reward": sources.reward, **({"reward_weights": digests["reward"]} if "reward" in digests else {})}
    for group in groups:
        for cell in group.cells:
            table, numbers = choice.best(candidates[cell], prompts[cell.prompts].prompts, group)
            metadata = {**cell_record(table), **group.metadata, **reward, **numbers}
            store.publish_table("cells", keys[cell], table, cells[cell], cell_metadata(cell, specs[cell], metadata))
            store.drop_state(keys[cell])
            logger.info("made %s: %s", cell, ", ".join(f"{name} {number}" for name, number in numbers.items()))


def _sample(
    groups: Sequence[Asked],
    spec: Mapping[str, Any],
    keys: Mapping[Cell, str],
    weights: Path,
    store: Store,
    machine: Machine,
    root: Path,
    save_seconds: float,
) -> dict[Cell, pa.Table]:
    """The candidates of every cell; the store keeps them as state."""
    from modecollapse.generation.progress import reporter

    settings = sampling_settings(spec, completions=spec["sampling"]["completions"] * spec["choice"]["n"])
    texts = tuple(text for group in groups for _, text in group.rendered)
    job = EngineJob(weights, settings, spec["threads"], texts, machine, root)
    found: dict[Cell, pa.Table] = {}
    number = sum(len(group.cells) for group in groups)
    progress = reporter(f"candidates for cells of {groups[0].cells[0].model}")
    with ENGINES[spec["engine"]].open(job) as engine:
        for group in groups:
            prepared = engine.prepare(group.rendered)
            for cell in group.cells:
                stream = f"{spec['sampling']['seed']}/{cell}"
                kept = unfinished(store, keys[cell], save_seconds)
                found[cell] = engine.sample(prepared, float(cell.temperature), stream, unfinished=kept)
                kept.save(found[cell])
                progress(len(found), number)
    return found


class _Choice:
    """What picks one of n candidates, as a choice spec says."""

    def __init__(self, spec: Mapping[str, Any], sources: AnswerSources) -> None:
        from modecollapse.generation.models import load_tokenizer
        from modecollapse.jobs.running import device
        from modecollapse.methods.scoring import open_scorer

        choice = spec["choice"]
        self._n: int = choice["n"]
        self._most: int = spec["sampling"]["max_new_tokens"]
        form = choice["reward"].get("format")
        self._form = PromptFormat.from_spec("train_format", form) if form is not None else None
        self._tokenizer = load_tokenizer(sources.weights)
        self._scorer: Scorer = open_scorer(
            sources.scored_by,
            world_of(choice["reward"]),
            self._tokenizer,
            spec["threads"],
            device(),
        )

    def best(self, table: pa.Table, prompts: Sequence[Prompt], group: Asked) -> tuple[pa.Table, dict[str, str]]:
        """The chosen rows of a cell's candidates, as a cell; and what the choice was like, for its record."""
        n, samples = self._n, table.num_rows // len(prompts)
        rendered = [text for _, text in group.rendered]
        if self._form is not None:
            # A reward model is shown prompts as it was trained on them, whatever the format of the cell.
            form = self._form
            rendered = [render(form, self._tokenizer, prompt.text or "", prompt.start) for prompt in prompts]
        texts, reasons = table["text"].to_pylist(), table["finish_reason"].to_pylist()
        owners = np.repeat(np.arange(len(prompts)), samples).tolist()
        prompt_ids, answers = continued_ids(self._tokenizer, rendered, owners, texts)
        end = [self._tokenizer.eos_token_id]
        answers = [
            # Tokens of a text are at most those that it was sampled with, for all that is known of tokenizers.
            [*ids[: self._most - 1], *end] if reason == "eos" else ids[: self._most]
            for ids, reason in zip(answers, reasons, strict=True)
        ]
        scores = self._scorer.score(
            [prompts[owner].text or "" for owner in owners], [prompt_ids[owner] for owner in owners], answers
        )
        by_choice = scores.reshape(-1, n)
        chosen = best(by_choice)
        rows = np.arange(len(chosen)) * n + chosen
        kept = table.take(pa.array(rows))
        numbers = pa.array(np.tile(np.arange(samples // n), len(prompts)), pa.int32())
        kept = kept.set_column(1, table.schema.field("sample"), numbers).combine_chunks()
        told = {
            "best_of": str(n),
            "mean_score_of_candidates": f"{by_choice.mean(dtype=np.float64):.6g}",
            "mean_score_of_chosen": f"{by_choice.max(1).mean(dtype=np.float64):.6g}",
        }
        return kept.replace_schema_metadata(table.schema.metadata), told
