"""The sampling loop: one batch of rows, each from the prefix of its prompt to its end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modecollapse import stopping
from modecollapse.errors import BrokenWeights
from modecollapse.generation.cache import PrefixLayer, RowCache
from modecollapse.generation.completions import Completion, Finisher
from modecollapse.generation.models import CausalModel
from modecollapse.generation.sampling import draw
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.streams import uniforms

# Steps between two looks at what has been sampled. Between them nothing waits for the device; rows that end in between
# run on and are cut. To change it changes bits, because it decides the shapes of batches: raise the revision.
_STRIDE = 8
# Rows are thrown out of the batch when at least this share of them has ended: moving the others costs less than a step.
_RETIRE_SHARE = 1 / 32


@dataclass(frozen=True)
class PreparedPrompts:
    """The prompts of a set after one pass through the model: all that its cells share."""

    ids: tuple[str, ...]
    lengths: Tensor
    """(prompts,) tokens of each prompt."""
    layers: tuple[PrefixLayer, ...]
    logits: Tensor
    """(prompts, vocabulary) float32: what the model predicts after each prompt."""
    rows_per_batch: int

    @property
    def width(self) -> int:
        """Tokens of the longest prompt, to which the others are padded on the left."""
        return self.layers[0].keys.shape[2]


class Decoding:
    """One batch on its way: rows of one cell, each from its prompt to its end."""

    def __init__(
        self,
        model: CausalModel,
        settings: SamplingSettings,
        finisher: Finisher,
        prepared: PreparedPrompts,
        rows: Sequence[tuple[int, int]],
        stream: str,
    ) -> None:
        self._model, self._settings, self._finisher = model, settings, finisher
        device, new = model.device, settings.max_new_tokens
        named = [(prepared.ids[prompt], sample) for prompt, sample in rows]
        self._uniforms = torch.from_numpy(uniforms(stream, named, new)).to(device)
        prompts = torch.tensor([prompt for prompt, _ in rows], device=device)
        self._logits = prepared.logits[prompts]
        self._lengths = prepared.lengths[prompts]
        self._cache = RowCache(prepared.layers, prompts, new - 1)
        self._width = prepared.width
        columns = torch.arange(self._width + new, device=device)
        self._mask = (columns >= (self._width - self._lengths)[:, None])[:, None, None, :]
        self._alive = torch.arange(len(rows), device=device)
        self._tokens = torch.zeros((len(rows), new), dtype=torch.int64, device=device)
        self._log_probs = torch.zeros((len(rows), new), device=device)
        self._sampled = torch.zeros(len(rows), dtype=torch.int64)
        self._ended = torch.zeros(len(rows), dtype=torch.bool)

    @torch.inference_mode()
    def run(self, temperature: float) -> Iterator[int]:
        """Sample until every row has ended; yields the number of rows that have, after each stride.

        Raises:
            Stopped: the process was asked to stop.
            BrokenWeights: the model predicts something that is not a number.
        """
        new = self._settings.max_new_tokens
        for start in range(0, new, _STRIDE):
            end = min(start + _STRIDE, new)
            for step in range(start, end):
                stopping.check()
                self._step(step, temperature, last=step == new - 1)
            self._look(start, end)
            if end == new or bool(self._ended.all()):
                break
            yield len(self._tokens) - int((~self._ended).sum())
            if self._ended.sum() >= _RETIRE_SHARE * len(self._ended):
                self._retire()
        yield len(self._tokens)

    def completions(self) -> tuple[list[Completion], list[list[float]]]:
        """The finished rows and the log-probabilities of their tokens, in the order of the rows."""
        rows, log_probs = self.tokens()
        finished = [self._finisher.finish(row) for row in rows]
        return finished, [row[: done.n_tokens] for row, done in zip(log_probs, finished, strict=True)]

    def tokens(self) -> tuple[list[list[int]], NDArray[np.float32]]:
        """What was sampled for each row, past its end where the row ran on, and log-probabilities (rows, steps)."""
        rows = zip(self._tokens.tolist(), self._sampled.tolist(), strict=True)
        return [row[:sampled] for row, sampled in rows], self._log_probs.cpu().numpy()

    def _step(self, step: int, temperature: float, last: bool) -> None:
        settings = self._settings
        tokens, log_probs = draw(
            self._logits, temperature, settings.top_k, settings.top_p, self._uniforms[self._alive, step]
        )
        self._tokens[self._alive, step] = tokens
        self._log_probs[self._alive, step] = log_probs
        if last:
            return
        output = self._model.network(
            input_ids=tokens[:, None],
            attention_mask=self._mask[..., : self._width + step + 1],
            position_ids=(self._lengths + step)[:, None],
            past_key_values=self._cache,
            use_cache=True,
        )
        self._logits = output.logits[:, -1]

    def _look(self, start: int, end: int) -> None:
        """Find the rows that have ended, now that the steps from `start` to `end` are sampled."""
        self._sampled[self._alive.cpu()] = end
        if not bool(self._log_probs[self._alive, start:end].isfinite().all()):
            raise BrokenWeights(
                "The model predicts values that are not numbers: its weights are broken, or overflow in "
                f"{self._settings.dtype}."
            )
        tokens = self._tokens[self._alive, :end].cpu()
        self._ended |= torch.isin(tokens[:, start:], torch.tensor(self._model.end_tokens)).any(-1)
        for i in (~self._ended).nonzero().squeeze(-1).tolist() if self._settings.stop else ():
            self._ended[i] = self._finisher.is_stopped(tokens[i].tolist(), end - start)

    def _retire(self) -> None:
        """Go on with the rows that have not ended."""
        rows = (~self._ended).nonzero().squeeze(-1)
        self._ended = self._ended[rows]
        rows = rows.to(self._model.device)
        self._cache.keep(rows)
        self._alive = self._alive[rows]
        self._logits, self._lengths, self._mask = self._logits[rows], self._lengths[rows], self._mask[rows]
