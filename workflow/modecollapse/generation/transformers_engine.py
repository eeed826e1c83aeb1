"""Sampling with a Hugging Face model in this process.

The bits of a cell are a function of the weights, the rendered prompts of its set, the sampling settings, its stream,
the number of threads and the rows per batch; not of the cells made before it. Rows per batch, if not given, follow from
the model, the settings and (on an accelerator) the total memory of the device: one class of machine makes one choice.
On a device that others use as well they are halved until they fit what is free, and halved again where memory runs out
all the same. Every table records them.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from torch import Tensor

from modecollapse import stopping
from modecollapse.cell_tables import CELL_SCHEMA, cell_record
from modecollapse.errors import StudyError
from modecollapse.generation.cache import PrefixLayer
from modecollapse.generation.completions import Completion, Finisher
from modecollapse.generation.decoding import Decoding, PreparedPrompts
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.generation.progress import Progress, silent
from modecollapse.generation.settings import SamplingSettings
from modecollapse.rendering import token_ids
from modecollapse.stopping import Stopped
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)

_PROMPTS_PER_PREFILL = 64
_CPU_BYTES = 2 * 2**30
_DEVICE_SHARE = 0.5
"""Of an accelerator's memory, what weights and rows may take. The rest is for copies while rows are retired."""


class TransformersEngine:
    """A loaded model that completes prompts."""

    def __init__(self, model_directory: Path, settings: SamplingSettings, threads: int, device: str = "cpu") -> None:
        """Load the model; see `load_causal_model` for what can be wrong with it."""
        self._settings = settings
        self._model: CausalModel = load_causal_model(model_directory, settings.dtype, threads, device)
        self._finisher = Finisher(self._model.tokenizer, self._model.end_tokens, settings.stop)
        self._most_rows: int | None = None
        """Rows of a batch since memory ran out."""

    def prepare(self, prompts: Sequence[tuple[str, str]]) -> PreparedPrompts:
        """Run the prompts, pairs of (id, rendered text), through the model once, for all completions and temperatures.

        A prompt is tokenised by `modecollapse.rendering.token_ids` (with one beginning-of-text token where the
        tokenizer adds it); an empty prompt becomes that token, or the end-of-text token where there is none.

        Raises:
            StudyError: no prompt, an id given twice, or a prompt too long for the model's context.
            Stopped: the process was asked to stop.
        """
        ids = tuple(prompt for prompt, _ in prompts)
        if not ids or len(set(ids)) < len(ids):
            raise StudyError(f"Prompts need distinct ids, and at least one of them: found {list(ids)}.")
        texts = [text for _, text in prompts]
        tokens = [ids or [self._model.prefix_token] for ids in token_ids(self._model.tokenizer, texts)]
        self._check_context(ids, tokens)
        width = max(map(len, tokens))
        parts = []
        for start in range(0, len(tokens), _PROMPTS_PER_PREFILL):
            stopping.check()
            parts.append(self._prefill(tokens[start : start + _PROMPTS_PER_PREFILL], width))
        layers = tuple(
            PrefixLayer(torch.cat([part.keys for part in layer]), torch.cat([part.values for part in layer]))
            for layer in zip(*(layers for layers, _ in parts), strict=True)
        )
        return PreparedPrompts(
            ids=ids,
            lengths=torch.tensor([len(row) for row in tokens], device=self._model.device),
            layers=layers,
            logits=torch.cat([logits for _, logits in parts]),
            rows_per_batch=self._settings.rows_per_batch or self._rows_that_fit(layers),
        )

    def sample(
        self,
        prepared: PreparedPrompts,
        temperature: float,
        stream: str,
        progress: Progress = silent,
        unfinished: Unfinished | None = None,
    ) -> pa.Table:
        """One cell: `settings.completions` completions of each prompt, ordered by prompt, then sample.

        Args:
            prepared: from `prepare` of this engine.
            temperature: > 0.
            stream: names the cell's random numbers; cells with different streams are independent.
            progress: called with (completions finished, completions asked for).
            unfinished: where the rows of finished batches are kept; what is there is gone on from if it was made with
                the same versions, device, threads and rows per batch.

        Returns:
            A table of `CELL_SCHEMA`. Its metadata (`cell_record`) says what it was made with.

        Raises:
            StudyError: a temperature that is not positive, a model that predicts something that is not a number, or
                memory that does not even do for one row.
            Stopped: the process was asked to stop; finished batches are kept.
        """
        if not (temperature > 0 and math.isfinite(temperature)):
            raise StudyError(f"A temperature must be a positive number, found {temperature}.")
        while True:
            with suppress(torch.OutOfMemoryError):
                return self._cell(prepared, temperature, stream, progress, unfinished)
            # Out of the failed attempt, nothing holds its tensors any more.
            self._halve(prepared)

    def _cell(
        self,
        prepared: PreparedPrompts,
        temperature: float,
        stream: str,
        progress: Progress,
        unfinished: Unfinished | None,
    ) -> pa.Table:
        samples = self._settings.completions
        rows = [(prompt, sample) for prompt in range(len(prepared.ids)) for sample in range(samples)]
        bounds = list(_even_bounds(len(rows), self._rows_per_batch(prepared)))
        record = self._record(prepared)
        kept = _kept(prepared, rows, bounds, record, unfinished) if unfinished else None
        parts, done = ([], 0) if kept is None else ([kept], kept.num_rows)
        try:
            for start, end in bounds:
                if start < done:
                    continue
                decoding = Decoding(self._model, self._settings, self._finisher, prepared, rows[start:end], stream)
                for finished in decoding.run(temperature):
                    progress(start + finished, len(rows))
                parts.append(_table(prepared, rows[start:end], *decoding.completions()))
                if unfinished and end < len(rows) and unfinished.is_due():
                    unfinished.save(_joined(parts, record))
        except Stopped:
            if unfinished and parts:
                unfinished.save(_joined(parts, record))
            raise
        return _joined(parts, record)

    def _rows_per_batch(self, prepared: PreparedPrompts) -> int:
        return min(prepared.rows_per_batch, self._most_rows or prepared.rows_per_batch)

    def _halve(self, prepared: PreparedPrompts) -> None:
        """Go on with half the rows per batch, in all cells from now on."""
        rows = min(self._rows_per_batch(prepared), len(prepared.ids) * self._settings.completions)
        if rows == 1:
            raise StudyError(
                f"The memory of {self._device_name()} does not do for one completion of {prepared.width} + "
                f"{self._settings.max_new_tokens} tokens beside the weights. Use a device with more memory that is "
                "free, dtype bfloat16, or fewer max_new_tokens."
            )
        self._most_rows = rows // 2
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning("out of memory with %d rows per batch: going on with %d", rows, self._most_rows)

    def _check_context(self, ids: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
        new, context = self._settings.max_new_tokens, self._model.context
        for prompt, row in zip(ids, tokens, strict=True):
            if context is not None and len(row) + new > context:
                raise StudyError(
                    f"Prompt {prompt!r} has {len(row)} tokens; with max_new_tokens = {new} that is {len(row) + new}, "
                    f"more than the {context} positions of the model. Shorten the prompt, or set max_new_tokens to at "
                    f"most {context - len(row)}."
                )

    @torch.inference_mode()
    def _prefill(self, tokens: Sequence[Sequence[int]], width: int) -> tuple[tuple[PrefixLayer, ...], Tensor]:
        """Keys and values of left-padded prompts, and the logits (prompts, vocabulary) after them."""
        device = self._model.device
        ids = torch.zeros((len(tokens), width), dtype=torch.int64)
        lengths = torch.tensor([len(row) for row in tokens])
        for i, row in enumerate(tokens):
            ids[i, width - len(row) :] = torch.tensor(row)
        positions = (torch.arange(width) - (width - lengths)[:, None]).clamp(min=0)
        real = torch.arange(width) >= (width - lengths)[:, None]
        causal = torch.ones(width, width, dtype=torch.bool).tril()
        # Padding sees itself: a position that may look nowhere gives numbers that are none, in some kernels.
        mask = (causal & real[:, None, :]) | torch.eye(width, dtype=torch.bool)
        output = self._model.network(
            input_ids=ids.to(device),
            attention_mask=mask[:, None].to(device),
            position_ids=positions.to(device),
            use_cache=True,
            logits_to_keep=1,
        )
        layers = tuple(PrefixLayer(layer.keys, layer.values) for layer in output.past_key_values.layers)
        return layers, output.logits[:, -1].float()

    def _rows_that_fit(self, layers: Sequence[PrefixLayer]) -> int:
        """Rows per batch for a share of an accelerator's memory beside the weights, or for 2 GiB without one."""
        positions = layers[0].keys.shape[2] + self._settings.max_new_tokens
        # Retiring rows copies a layer; logits and what sampling makes of them take some 48 bytes per token.
        row = positions * sum(layer.bytes_per_position() for layer in layers) + 48 * self._model.vocabulary_size
        device = self._model.device
        if device.type != "cuda":
            return max(1, _CPU_BYTES // row)
        weights = sum(tensor.numel() * tensor.element_size() for tensor in self._model.network.parameters())
        free, total = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return rows_in_memory(row, int(_DEVICE_SHARE * total) - weights, free)

    def _record(self, prepared: PreparedPrompts) -> Mapping[str, str]:
        return {
            "engine": "transformers",
            "engine_version": transformers.__version__,
            "torch": torch.__version__,
            "device": self._device_name(),
            "threads": str(torch.get_num_threads()),
            "dtype": self._settings.dtype,
            "rows_per_batch": str(self._rows_per_batch(prepared)),
        }

    def _device_name(self) -> str:
        device = self._model.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def rows_in_memory(row: int, share: int, free: int) -> int:
    """Rows of `row` bytes that fit the share of a device that is ours, halved until they fit what is free of it."""
    rows = max(1, share // row)
    while rows > 1 and rows * row > free:
        rows //= 2
    return rows


def _even_bounds(number: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of consecutive slices of `number` rows; at most `most` rows each, and lengths that differ by one."""
    parts = math.ceil(number / most)
    return pairwise(round(number * part / parts) for part in range(parts + 1))


def _table(
    prepared: PreparedPrompts,
    rows: Sequence[tuple[int, int]],
    completions: Sequence[Completion],
    log_probs: Sequence[Sequence[float]],
) -> pa.Table:
    columns = [
        [prepared.ids[prompt] for prompt, _ in rows],
        [sample for _, sample in rows],
        [completion.text for completion in completions],
        [completion.finish_reason for completion in completions],
        [completion.n_tokens for completion in completions],
        log_probs,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, CELL_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=CELL_SCHEMA)


def _joined(parts: Sequence[pa.Table], record: Mapping[str, str]) -> pa.Table:
    """One table as if it had been made in one piece."""
    return pa.concat_tables(parts).combine_chunks().replace_schema_metadata(record)


def _kept(
    prepared: PreparedPrompts,
    rows: Sequence[tuple[int, int]],
    bounds: Sequence[tuple[int, int]],
    record: Mapping[str, str],
    unfinished: Unfinished,
) -> pa.Table | None:
    """The rows of the first batches that an earlier run has finished, if this one would make the same ones."""
    kept = unfinished.load()
    if kept is None:
        return None
    made_with = cell_record(kept)
    names = [(prepared.ids[prompt], sample) for prompt, sample in rows[: kept.num_rows]]
    same = {key: made_with.get(key) for key in record} == record
    whole = kept.num_rows in [end for _, end in bounds]
    if not same or not whole or names != list(zip(*(kept.column(i).to_pylist() for i in (0, 1)), strict=True)):
        logger.warning("rows of an earlier run are not used: they were made with other versions or in other batches")
        return None
    logger.info("going on from row %d of %d", kept.num_rows, len(rows))
    return kept.replace_schema_metadata(None)
