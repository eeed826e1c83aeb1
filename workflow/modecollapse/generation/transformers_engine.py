"""Sampling with a Hugging Face model in this process.

The bits of a cell are a function of the weights, the rendered prompts of its set, the sampling settings, its stream,
the number of threads and the rows per batch; not of the cells made before it. Rows per batch, if not given, follow from
the model, the settings and (on an accelerator) the total memory of the device: one class of machine makes one choice.
On a device that others use as well they are halved until they fit what is free, and halved again where memory runs out
all the same. Every table records them.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from torch import Tensor

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.cache import PrefixLayer
from modecollapse.generation.cell_rows import completion_rows, joined_rows, same_rows
from modecollapse.generation.completions import Finisher
from modecollapse.generation.decoding import Decoding, PreparedPrompts
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.generation.prefill import even_bounds, prefill, rows_that_fit
from modecollapse.generation.progress import Progress, silent
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.tokenized import check_context, tokenize_prompts
from modecollapse.stopping import Stopped
from modecollapse.unfinished import Unfinished

logger = logging.getLogger(__name__)

_PROMPTS_PER_PREFILL = 64


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

        They are tokenised by `tokenize_prompts`.

        Raises:
            StudyError: no prompt, an id given twice, or a prompt too long for the model's context.
            Stopped: the process was asked to stop.
        """
        ids, tokens = tokenize_prompts(self._model, prompts)
        check_context(ids, tokens, self._settings.max_new_tokens, self._model.context)
        width = max(map(len, tokens))
        parts: list[tuple[tuple[PrefixLayer, ...], Tensor]] = []
        start, most = 0, _PROMPTS_PER_PREFILL
        while start < len(tokens):
            stopping.check()
            with suppress(torch.OutOfMemoryError):
                parts.append(prefill(self._model, tokens[start : start + most], width))
                start += most
                continue
            most = self._half(min(most, len(tokens) - start), "prompts together", width)
        layers = tuple(
            PrefixLayer(torch.cat([part.keys for part in layer]), torch.cat([part.values for part in layer]))
            for layer in zip(*(layers for layers, _ in parts), strict=True)
        )
        return PreparedPrompts(
            ids=ids,
            lengths=torch.tensor([len(row) for row in tokens], device=self._model.device),
            layers=layers,
            logits=torch.cat([logits for _, logits in parts]),
            rows_per_batch=self._settings.rows_per_batch
            or rows_that_fit(self._model, layers, self._settings.max_new_tokens),
        )

    def sample(
        self,
        prepared: PreparedPrompts,
        temperature: float,
        stream: str,
        progress: Progress = silent,
        unfinished: Unfinished | None = None,
    ) -> pa.Table:
        """See `Engine.sample`. Rows are kept batch by batch, for the same threads and rows per batch as well.

        Raises:
            StudyError: also if memory does not even do for one row.
        """
        if not (temperature > 0 and math.isfinite(temperature)):
            raise StudyError(f"A temperature must be a positive number, found {temperature}.")
        while True:
            with suppress(torch.OutOfMemoryError):
                return self._cell(prepared, temperature, stream, progress, unfinished)
            # Out of the failed attempt, nothing holds its tensors any more. All of the cell is made again, as rows per
            # batch decide its bits; so are those of all cells from now on.
            rows = min(self._rows_per_batch(prepared), len(prepared.ids) * self._settings.completions)
            self._most_rows = self._half(rows, "rows per batch", prepared.width)

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
        bounds = list(even_bounds(len(rows), self._rows_per_batch(prepared)))
        record = self._record(prepared)
        names = [(prepared.ids[prompt], sample) for prompt, sample in rows]
        ends = [end for _, end in bounds]
        kept = same_rows(unfinished.load(), names, record, ends) if unfinished else None
        parts, done = ([], 0) if kept is None else ([kept], kept.num_rows)
        try:
            for start, end in bounds:
                if start < done:
                    continue
                decoding = Decoding(self._model, self._settings, self._finisher, prepared, rows[start:end], stream)
                for finished in decoding.run(temperature):
                    progress(start + finished, len(rows))
                parts.append(completion_rows(names[start:end], *decoding.completions()))
                if unfinished and end < len(rows) and unfinished.is_due():
                    unfinished.save(joined_rows(parts, record))
        except Stopped:
            if unfinished and parts:
                unfinished.save(joined_rows(parts, record))
            raise
        return joined_rows(parts, record)

    def _rows_per_batch(self, prepared: PreparedPrompts) -> int:
        return min(prepared.rows_per_batch, self._most_rows or prepared.rows_per_batch)

    def _half(self, number: int, what: str, width: int) -> int:
        """Half of what the memory did not do for, which is free again.

        Raises:
            StudyError: it does not do for one.
        """
        if number == 1:
            raise StudyError(
                f"The memory of {self._device_name()} does not do for one completion of {width} + "
                f"{self._settings.max_new_tokens} tokens beside the weights. Use a device with more memory that is "
                "free, dtype bfloat16, or fewer max_new_tokens."
            )
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning("out of memory with %d %s: going on with %d", number, what, number // 2)
        return number // 2

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
