"""From texts to sentence vectors.

A text's vector depends on the text, the weights and the batch size alone, not on what else is embedded with it: texts
are batched with others of exactly the same number of tokens, so nothing is padded, and a batch that is not full is
filled with copies of its first text, so that every matrix product has the same shape. On a GPU batches are larger, and
its products sum in another order, so vectors of the two devices agree to rounding (`EmbedderSettings.dtype`).

Jobs that embed at once share their work by the number of tokens: each number is one job's at a time (`Sharing`).
"""

import logging
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent

if TYPE_CHECKING:
    import torch
from modecollapse.measures.embedder import (
    EmbedderSettings,
    embedder_directory,
    pooling_mode,
    rows_per_batch,
    token_limit,
)

logger = logging.getLogger(__name__)


Keep = Callable[[Sequence[str], np.ndarray], None]
"""Called with texts and their vectors (texts, dimensions)."""


@dataclass(frozen=True)
class Sharing:
    """How jobs that embed at once share their work, so that a text of several of them is embedded by one.

    Texts are taken by their number of tokens, since equal texts have the same, and since a batch never mixes two.
    """

    turns: Callable[[Sequence[int]], Generator[int]]
    """Each of these numbers once, when no other job has it; this one has it until it asks for the next."""
    find: Callable[[Sequence[str]], Mapping[str, np.ndarray]]
    """The vectors of those of the texts that other jobs have handed over to `Keep` by now."""


def embed(
    texts: Sequence[str],
    settings: EmbedderSettings,
    threads: int = 1,
    progress: Progress = silent,
    keep: Keep | None = None,
    keep_seconds: float = 60.0,
    device: str = "cpu",
    sharing: Sharing | None = None,
) -> np.ndarray:
    """Sentence vectors of `texts`: (texts, dimensions), float32, unit length.

    Texts longer than the embedder's limit (256 tokens for MiniLM) are cut there. Texts that have the same tokens, such
    as those that differ in case only, are computed once. Halves of surrogate pairs are read as U+FFFD. No network is
    used.

    Args:
        texts: distinct or not.
        settings: the embedder.
        threads: CPU threads of this process.
        progress: called with (texts done, texts).
        keep: called every now and then with what it was not called with yet, and at the end, whatever ends it.
        keep_seconds: time between two calls of `keep` at least.
        device: "cpu" or "cuda". On a GPU without enough memory batches are halved until they fit.
        sharing: with other jobs; `keep` is then also called before a number of tokens is given back to them.

    Raises:
        StudyError: see `embedder_directory`; or the directory holds an architecture that is not supported; or the GPU
            has no memory for a single text.
        Stopped: the process was asked to stop.
    """
    import torch

    torch.set_num_threads(threads)
    embedder = _Embedder.load(embedder_directory(settings), getattr(torch, settings.dtype), device)
    lengths: dict[int, dict[tuple[int, ...], list[int]]] = {}
    for row, tokens in enumerate(embedder.tokenize(texts)):
        lengths.setdefault(len(tokens), {}).setdefault(tokens, []).append(row)
    vectors = np.empty((len(texts), embedder.dimensions), dtype=np.float32)
    size, done, new, kept = rows_per_batch(settings, device), 0, list[int](), time.monotonic()

    def hand_over() -> None:
        nonlocal new, kept
        if keep and new:
            keep([texts[row] for row in new], vectors[new])
        new, kept = [], time.monotonic()

    with closing(_all(sorted(lengths)) if sharing is None else sharing.turns(sorted(lengths))) as turns:
        try:
            for length in turns:
                rows = lengths[length]
                if sharing is not None:
                    done += _take_over(rows, texts, vectors, sharing)
                    progress(done, len(texts))
                left = sorted(rows)
                while left:
                    stopping.check()
                    batch = left[:size]
                    try:
                        found = embedder.forward(batch + batch[:1] * (size - len(batch)))
                    except torch.OutOfMemoryError as error:
                        size = _halved(size, settings, error)
                        continue
                    left = left[size:]
                    for tokens, vector in zip(batch, found, strict=False):
                        vectors[rows[tokens]] = vector
                        new += rows[tokens]
                        done += len(rows[tokens])
                    progress(done, len(texts))
                    if time.monotonic() - kept >= keep_seconds:
                        hand_over()
                if sharing is not None:
                    hand_over()
        finally:
            hand_over()
    return vectors


def _all(lengths: Sequence[int]) -> Generator[int]:
    yield from lengths


def _take_over(
    rows: dict[tuple[int, ...], list[int]], texts: Sequence[str], vectors: np.ndarray, sharing: Sharing
) -> int:
    """Set the vectors that other jobs have computed, leave their texts out of `rows`, and return how many they are."""
    found = sharing.find([texts[row] for same in rows.values() for row in same])
    taken = 0
    for tokens, same in list(rows.items()):
        for row in same:
            if texts[row] in found:
                vectors[row] = found[texts[row]]
                taken += 1
        rows[tokens] = [row for row in same if texts[row] not in found]
        if not rows[tokens]:
            del rows[tokens]
    return taken


def _halved(size: int, settings: EmbedderSettings, error: Exception) -> int:
    """The next number of rows to try on a GPU whose memory was not enough for `size`."""
    import torch

    if size == 1:
        raise StudyError(
            f"measures.diversity.embedder: the GPU has no memory for one text with {settings.model} ({error}). Leave "
            "the GPU to this job alone, choose a smaller embedder, or compute without a GPU (machine.accelerator: cpu)."
        ) from error
    torch.cuda.empty_cache()
    logger.warning("%d texts at once do not fit into the GPU's memory; going on with %d", size, size // 2)
    return size // 2


@dataclass(frozen=True)
class _Embedder:
    """A sentence-transformers directory read with `transformers` alone, which starts in half the time."""

    tokenizer: Any
    model: Any
    pooling: str
    device: str

    @classmethod
    def load(cls, directory: Path, dtype: "torch.dtype", device: str) -> "_Embedder":
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel
        from transformers.utils import logging

        pooling = pooling_mode(directory)
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(token_limit(directory))
        logging.disable_progress_bar()
        model = AutoModel.from_pretrained(
            directory, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        if device != "cpu":
            # Otherwise an environment variable or a container's default may round float32 to TF32's 10 bits.
            torch.set_float32_matmul_precision("highest")
        return cls(tokenizer, model.eval().to(device), pooling, device)

    @property
    def dimensions(self) -> int:
        return int(self.model.config.hidden_size)

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        encodable = [text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") for text in texts]
        return [tuple(encoding.ids) for encoding in self.tokenizer.encode_batch(encodable)]

    def forward(self, batch: Sequence[Sequence[int]]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            ids = torch.tensor(batch, device=self.device)
            states = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float()
            pooled = states.mean(dim=1) if self.pooling == "mean" else states[:, 0]
            return torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
