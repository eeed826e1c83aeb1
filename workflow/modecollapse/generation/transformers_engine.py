"""Sampling with a Hugging Face model in this process.

The bits of a cell are a function of the weights, the rendered prompts of its set, the sampling settings, its stream,
the number of threads and the rows per batch; not of the cells made before it. Rows per batch, if not given, follow from
the model, the settings and (on an accelerator) the total memory of the device: one class of machine makes one choice,
which every table records.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import torch
import transformers
from torch import Tensor

from modecollapse.cell_tables import CELL_SCHEMA
from modecollapse.errors import StudyError
from modecollapse.generation.cache import PrefixLayer
from modecollapse.generation.completions import Completion, Finisher
from modecollapse.generation.decoding import Decoding, PreparedPrompts
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.generation.progress import Progress, silent
from modecollapse.generation.settings import SamplingSettings
from modecollapse.rendering import token_ids

_PROMPTS_PER_PREFILL = 64
_CPU_BYTES = 2 * 2**30
_DEVICE_SHARE = 0.5


class TransformersEngine:
    """A loaded model that completes prompts."""

    def __init__(self, model_directory: Path, settings: SamplingSettings, threads: int, device: str = "cpu") -> None:
        """Load the model; see `load_causal_model` for what can be wrong with it."""
        self._settings = settings
        self._model: CausalModel = load_causal_model(model_directory, settings.dtype, threads, device)
        self._finisher = Finisher(self._model.tokenizer, self._model.end_tokens, settings.stop)

    def prepare(self, prompts: Sequence[tuple[str, str]]) -> PreparedPrompts:
        """Run the prompts, pairs of (id, rendered text), through the model once, for all completions and temperatures.

        A prompt is tokenised by `modecollapse.rendering.token_ids` (with one beginning-of-text token where the
        tokenizer adds it); an empty prompt becomes that token, or the end-of-text token where there is none.

        Raises:
            StudyError: no prompt, an id given twice, or a prompt too long for the model's context.
        """
        ids = tuple(prompt for prompt, _ in prompts)
        if not ids or len(set(ids)) < len(ids):
            raise StudyError(f"Prompts need distinct ids, and at least one of them: found {list(ids)}.")
        texts = [text for _, text in prompts]
        tokens = [ids or [self._model.prefix_token] for ids in token_ids(self._model.tokenizer, texts)]
        self._check_context(ids, tokens)
        width = max(map(len, tokens))
        parts = [
            self._prefill(tokens[start : start + _PROMPTS_PER_PREFILL], width)
            for start in range(0, len(tokens), _PROMPTS_PER_PREFILL)
        ]
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
        self, prepared: PreparedPrompts, temperature: float, stream: str, progress: Progress = silent
    ) -> pa.Table:
        """One cell: `settings.completions` completions of each prompt, ordered by prompt, then sample.

        Args:
            prepared: from `prepare` of this engine.
            temperature: > 0.
            stream: names the cell's random numbers; cells with different streams are independent.
            progress: called with (completions finished, completions asked for).

        Returns:
            A table of `CELL_SCHEMA`. Its metadata (`cell_record`) says what it was made with.

        Raises:
            StudyError: a temperature that is not positive, or a model that predicts something that is not a number.
        """
        if not (temperature > 0 and math.isfinite(temperature)):
            raise StudyError(f"A temperature must be a positive number, found {temperature}.")
        samples = self._settings.completions
        rows = [(prompt, sample) for prompt in range(len(prepared.ids)) for sample in range(samples)]
        completions: list[Completion] = []
        log_probs: list[list[float]] = []
        for batch in _even_slices(rows, prepared.rows_per_batch):
            decoding = Decoding(self._model, self._settings, self._finisher, prepared, batch, stream)
            for finished in decoding.run(temperature):
                progress(len(completions) + finished, len(rows))
            finished_rows, row_log_probs = decoding.completions()
            completions += finished_rows
            log_probs += row_log_probs
        columns = [
            [prepared.ids[prompt] for prompt, _ in rows],
            [sample for _, sample in rows],
            [completion.text for completion in completions],
            [completion.finish_reason for completion in completions],
            [completion.n_tokens for completion in completions],
            log_probs,
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, CELL_SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=CELL_SCHEMA.with_metadata(self._record(prepared)))

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
        """Rows per batch for half of an accelerator's memory beside the weights, or for 2 GiB without one."""
        positions = layers[0].keys.shape[2] + self._settings.max_new_tokens
        # Retiring rows copies a layer; logits and what sampling makes of them take some 48 bytes per token.
        row = positions * sum(layer.bytes_per_position() for layer in layers) + 48 * self._model.vocabulary_size
        if self._model.device.type != "cuda":
            return max(1, _CPU_BYTES // row)
        memory = _DEVICE_SHARE * torch.cuda.get_device_properties(self._model.device).total_memory
        weights = sum(tensor.numel() * tensor.element_size() for tensor in self._model.network.parameters())
        return max(1, int((memory - weights) // row))

    def _record(self, prepared: PreparedPrompts) -> Mapping[str, str]:
        device = self._model.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return {
            "engine": "transformers",
            "engine_version": transformers.__version__,
            "torch": torch.__version__,
            "device": name,
            "threads": str(torch.get_num_threads()),
            "dtype": self._settings.dtype,
            "rows_per_batch": str(prepared.rows_per_batch),
        }


def cell_record(table: pa.Table) -> dict[str, str]:
    """What a cell was made with: engine and library versions, device, threads, number format, rows per batch."""
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}


def _even_slices(rows: Sequence[tuple[int, int]], most: int) -> Iterator[Sequence[tuple[int, int]]]:
    """Consecutive slices of at most `most` rows, whose lengths differ by at most one."""
    parts = math.ceil(len(rows) / most)
    bounds = [round(len(rows) * part / parts) for part in range(parts + 1)]
    for start, end in pairwise(bounds):
        yield rows[start:end]
