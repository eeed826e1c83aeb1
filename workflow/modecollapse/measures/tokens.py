"""Token statistics: how a model predicts held-out text, position by position.

Every document is read in windows with the beginning-of-text token as prefix (the end-of-text token where a tokenizer
has no other); every token is scored exactly once. Windows are batched by length, so the last bits of a sum depend on
the batch: sums over a document agree with a float64 computation, and with those of any other batch, to 1e-5 of their
size for models in float32 (KL: to 1e-6 nats per token).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.schema import Strict

if TYPE_CHECKING:
    from torch import Tensor

    from modecollapse.generation.models import CausalModel

DOCUMENTS = pa.schema(
    [
        ("document", pa.int32()),
        ("n_tokens", pa.int32()),
        ("n_bytes", pa.int32()),
        ("nll", pa.float64()),
        ("entropy", pa.float64()),
        ("confidence", pa.float64()),
        ("kl", pa.float64()),
        ("group", pa.int32()),
    ]
)
VOCABULARY = pa.schema([("group", pa.int32()), ("n_tokens", pa.int32()), ("probability_sum", pa.list_(pa.float64()))])

_QUANTITIES = ("nll", "entropy", "confidence", "kl")
# Entries of the table positions × vocabulary that exist at a time: what fits a processor's cache, or fills a device.
_CPU_ENTRIES = 2**19
_DEVICE_ENTRIES = 2**26


class TokenSettings(Strict):
    """What held-out text is scored, and how."""

    documents: Annotated[int, Field(ge=1)] = 10_000
    """Documents scored at most, from the beginning of the data."""
    context: Annotated[int, Field(ge=2)] = 1024
    """Positions of a window, the prefix included; not more than the model knows."""
    groups: Annotated[int, Field(ge=2)] = 50
    """Blocks of documents, the units of the bootstrap of vocabulary shares."""
    batch: Annotated[int, Field(ge=1)] = 16_384
    """Positions (padding included) that go through the model together; at least one window does."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations; statistics are computed in float32 and summed in float64."""


@dataclass(frozen=True)
class Window:
    """A stretch of one document: `inputs[i]` predicts `targets[i]`, which counts from position `first` on."""

    document: int
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    first: int


def windows(document: int, tokens: Sequence[int], prefix: int, context: int) -> Iterator[Window]:
    """Windows of at most `context` positions that score every token of a document exactly once.

    The last window is drawn back so that it is full: what it repeats is context, and not scored.
    """
    sequence = (prefix, *tokens)
    for scored in range(0, len(tokens), context):
        end = min(scored + context, len(tokens))
        start = max(0, end - context)
        yield Window(document, sequence[start:end], sequence[start + 1 : end + 1], scored - start)


def token_statistics(
    model_directory: Path,
    reference_directory: Path | None,
    texts: Sequence[str],
    settings: TokenSettings,
    threads: int,
    device: str = "cpu",
    progress: Progress = silent,
) -> tuple[pa.Table, pa.Table]:
    """Score the first `settings.documents` texts with a model.

    Args:
        model_directory: model and tokenizer.
        reference_directory: the model of the first stage, for KL(model ‖ reference); None leaves `kl` undefined (NaN).
        texts: held-out documents.
        settings: see `TokenSettings`.
        threads: CPU threads of this process.
        device: "cpu" or "cuda".
        progress: called with (windows scored, windows).

    Returns:
        documents: one row per text: document, n_tokens (scored), n_bytes (UTF-8), sums over its tokens of nll, entropy,
            confidence (probability of the most probable token) and kl in nats, and its block `group`.
        vocabulary: one row per block: group, n_tokens, probability_sum (the predicted distributions added up).

    Raises:
        StudyError: no text; a context longer than the model's; a reference with another vocabulary; a head that does
            more than a matrix product; predictions that are not numbers.
    """
    import torch

    from modecollapse.generation.models import load_causal_model

    texts = texts[: settings.documents]
    if not texts:
        raise StudyError("Token statistics need at least one held-out document.")
    model = load_causal_model(model_directory, settings.dtype, threads, device)
    reference = None
    if reference_directory is not None:
        same = reference_directory.resolve() == model_directory.resolve()
        reference = model if same else load_causal_model(reference_directory, settings.dtype, threads, device)
    _check(model, reference, settings)
    encoded: list[list[int]] = model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    groups = _blocks(len(texts), settings.groups)
    sums = _Sums(model, reference, groups, len(texts))
    pieces = [
        window
        for document, tokens in enumerate(encoded)
        for window in windows(document, tokens, model.prefix_token, settings.context)
    ]
    if not pieces:
        raise StudyError("Token statistics need held-out text: every document is empty.")
    done = 0
    with torch.inference_mode():
        for batch in _batches(pieces, settings.batch):
            sums.add(batch)
            done += len(batch)
            progress(done, len(pieces))
    return sums.tables(np.array([len(tokens) for tokens in encoded]), [len(text.encode()) for text in texts])


class _Sums:
    """What is added up over all positions."""

    def __init__(self, model: CausalModel, reference: CausalModel | None, groups: NDArray[np.int64], n: int) -> None:
        import torch

        self._model, self._reference, self._groups = model, reference, groups
        shape = (int(groups.max()) + 1, model.vocabulary_size)
        self._probabilities = torch.zeros(shape, dtype=torch.float64, device=model.device)
        self._documents = np.zeros((len(_QUANTITIES), n))
        if reference is None:
            self._documents[_QUANTITIES.index("kl")] = np.nan

    def add(self, batch: Sequence[Window]) -> None:
        """Score the windows of a batch."""
        import torch

        device, vocabulary = self._model.device, self._model.vocabulary_size
        width = max(len(window.inputs) for window in batch)
        inputs = torch.zeros((len(batch), width), dtype=torch.int64)
        scored = torch.zeros((len(batch), width), dtype=torch.bool)
        for row, window in enumerate(batch):
            # Padding stands on the right, where causal attention never looks: no mask is needed.
            inputs[row, : len(window.inputs)] = torch.tensor(window.inputs)
            scored[row, window.first : len(window.inputs)] = True
        inputs, scored = inputs.to(device), scored.to(device)
        hidden = _hidden(self._model, inputs)[scored]
        other = None
        if self._reference is not None and self._reference is not self._model:
            other = _hidden(self._reference, inputs)[scored]
        targets = torch.tensor([token for window in batch for token in window.targets[window.first :]], device=device)
        lengths = [len(window.targets) - window.first for window in batch]
        owners = np.repeat([window.document for window in batch], lengths)
        size = max(1, (_CPU_ENTRIES if device.type == "cpu" else _DEVICE_ENTRIES) // vocabulary)
        values = []
        for start in range(0, len(targets), size):
            chunk = slice(start, start + size)
            log_p = _log_probabilities(self._model, hidden[chunk])
            log_q = log_p if other is None else _log_probabilities(self._reference, other[chunk])
            values.append(self._score(log_p, log_q, targets[chunk], owners[chunk]))
        table = torch.cat(values, dim=1).double().cpu().numpy()
        if not np.isfinite(table).all():
            raise StudyError("The model predicts values that are not numbers: its weights are broken.")
        for quantity, row in enumerate(table):
            np.add.at(self._documents[quantity], owners, row)

    def _score(self, log_p: Tensor, log_q: Tensor, targets: Tensor, owners: NDArray[np.int64]) -> Tensor:
        """(quantities, positions) of a chunk; adds its probabilities to those of its blocks."""
        import torch

        p = log_p.exp()
        # Positions of a document stand together, so each block's part is a slice: no scattered, unordered additions.
        edges = np.flatnonzero(np.diff(self._groups[owners], prepend=-1, append=-1))
        for start, end in pairwise(edges):
            self._probabilities[int(self._groups[owners[start]])] += p[start:end].sum(0, dtype=torch.float64)
        nll = -log_p.gather(-1, targets[:, None]).squeeze(-1)
        entropy = -torch.linalg.vecdot(p, log_p)
        kl = torch.zeros_like(nll) if log_q is log_p else torch.linalg.vecdot(p, log_p - log_q)
        return torch.stack([nll, entropy, p.amax(-1), kl])

    def tables(self, n_tokens: NDArray[np.int64], n_bytes: Sequence[int]) -> tuple[pa.Table, pa.Table]:
        """The two results; see `token_statistics`."""
        n = len(n_tokens)
        columns = [np.arange(n), n_tokens, np.array(n_bytes), *self._documents, self._groups]
        documents = [pa.array(column).cast(field.type) for column, field in zip(columns, DOCUMENTS, strict=True)]
        numbers = np.arange(len(self._probabilities))
        totals = np.bincount(self._groups, weights=n_tokens).astype(np.int32)
        vocabulary = [
            pa.array(numbers).cast(pa.int32()),
            pa.array(totals),
            pa.array(list(self._probabilities.cpu().numpy()), VOCABULARY.field("probability_sum").type),
        ]
        return (
            pa.Table.from_arrays(documents, schema=DOCUMENTS),
            pa.Table.from_arrays(vocabulary, schema=VOCABULARY),
        )


def _hidden(model: CausalModel, inputs: Tensor) -> Tensor:
    return model.network.base_model(input_ids=inputs, use_cache=False).last_hidden_state


def _log_probabilities(model: Any, hidden: Tensor) -> Tensor:
    return model.network.get_output_embeddings()(hidden).float().log_softmax(-1)


def _check(model: CausalModel, reference: CausalModel | None, settings: TokenSettings) -> None:
    """What must hold before hours are spent on scoring."""
    import torch

    if model.context is not None and settings.context > model.context:
        raise StudyError(
            f"Token statistics ask for a context of {settings.context} positions, the model knows {model.context}. "
            f"Set context to at most {model.context}."
        )
    if reference is not None and reference.vocabulary_size != model.vocabulary_size:
        raise StudyError(
            f"KL needs one vocabulary: the model has {model.vocabulary_size} tokens, its reference "
            f"{reference.vocabulary_size}."
        )
    for each in {id(one): one for one in (model, reference) if one is not None}.values():
        ids = torch.full((1, 2), each.prefix_token, device=each.device)
        with torch.inference_mode():
            whole = each.network(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
            parts = _log_probabilities(each, _hidden(each, ids))
        if not torch.allclose(whole, parts, atol=0.05 if settings.dtype == "bfloat16" else 1e-4, equal_nan=True):
            raise StudyError(
                f"Models of type {each.network.config.model_type} are not supported here: their logits are more than "
                "their output embeddings applied to the last hidden state."
            )


def _blocks(n: int, groups: int) -> NDArray[np.int64]:
    """A block for each of `n` documents: equally large, and blind to the order of the documents."""
    return np.random.default_rng(n).permutation(n) % min(groups, n)


def _batches(pieces: Sequence[Window], positions: int) -> Iterator[list[Window]]:
    """Windows of similar length together, the longest first: what does not fit in memory fails at once."""
    batch: list[Window] = []
    for window in sorted(pieces, key=lambda window: (-len(window.inputs), window.document, window.first)):
        if batch and len(batch[0].inputs) * (len(batch) + 1) > positions:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
