"""Token statistics: how a model predicts held-out text, position by position.

Every document is read in windows with the beginning-of-text token as prefix (the end-of-text token where a tokenizer
has no other); every token is scored exactly once. Windows are batched by length, so the last bits of a sum depend on
the batch: sums over a document agree with a float64 computation, and with those of any other batch, to 1e-5 of their
size for models in float32 (KL: to 1e-6 nats per token).

The same pass adds up what the replica of O'Mahony et al. (2024) needs: their entropy, confidence and mean probabilities
are over all positions of a window, the context that a drawn-back window repeats included, and their mean probabilities
are means of windows.

Documents are read one after another and forgotten: their windows go through the model in chunks of about
`CHUNK_POSITIONS` positions, within which they are batched by length, and what is added up is kept after chunks, so that
a killed job goes on from there and ends with the very same sums. Memory does not grow with the text, but for some 80
bytes per document, and the token ids of the longest one.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from modecollapse.errors import StudyError
from modecollapse.generation.progress import Progress, silent
from modecollapse.measures.encoding import Ids, encoded
from modecollapse.schema import Strict

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from modecollapse.generation.models import CausalModel

logger = logging.getLogger(__name__)

DOCUMENTS = pa.schema(
    [
        ("document", pa.int32()),
        ("n_tokens", pa.int32()),
        ("n_bytes", pa.int32()),
        ("nll", pa.float64()),
        ("entropy", pa.float64()),
        ("confidence", pa.float64()),
        ("kl", pa.float64()),
        ("n_positions", pa.int32()),
        ("window_entropy", pa.float64()),
        ("window_confidence", pa.float64()),
        ("group", pa.int32()),
    ]
)
VOCABULARY = pa.schema(
    [
        ("definition", pa.string()),
        ("group", pa.int32()),
        ("n_distributions", pa.int32()),
        ("probability_sum", pa.list_(pa.float64())),
    ]
)

REPLICA_BLOCK = 500
"""The authors keep mean probabilities when a document's place in the file, counted from 0, is a multiple of this."""

_QUANTITIES = ("nll", "entropy", "confidence", "kl")
# Entries of the table positions × vocabulary that exist at a time: enough rows for a fast matrix product, or to fill a
# device; and those that are summarised at a time: what fits a processor's cache.
_CPU_ENTRIES, _CPU_PIECE = 2**23, 2**19
_DEVICE_ENTRIES = _DEVICE_PIECE = 2**26
_CPU_POSITIONS = 1024

CHUNK_POSITIONS = 2**18
"""Positions whose windows are sorted by length together: sixteen of the default batches, so few are padded much."""


class TokenSettings(Strict):
    """What held-out text is scored, and how."""

    documents: Annotated[int, Field(ge=1)] = 10_000
    """Documents scored at most, from the beginning of the data."""
    context: Annotated[int, Field(ge=2)] = 1024
    """Positions of a window, the prefix included; not more than the model knows."""
    groups: Annotated[int, Field(ge=2)] = 50
    """Blocks of documents, the units of the bootstrap of vocabulary shares."""
    batch: Annotated[int, Field(ge=1)] = 16_384
    """Positions (padding included) that go through the model together on a device, at least one window; a processor,
    whose caches hold less, takes 1,024 at most."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations; statistics are computed in float32 and summed in float64."""


class Documents(Protocol):
    """Texts that can be counted, and read in order as often as is needed."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


@dataclass(frozen=True)
class Unfinished:
    """Where sums are kept while they grow."""

    load: Callable[[], pa.Table | None]
    """What `save` was given last; None if nothing was."""
    save: Callable[[pa.Table], None]
    seconds: float = 60.0
    """Time between two calls of `save` at least."""


@dataclass(frozen=True)
class Window:
    """A stretch of one document: `inputs[i]` predicts `targets[i]`, which counts from position `first` on."""

    document: int
    inputs: Ids
    targets: Ids
    first: int


def windows(document: int, tokens: Sequence[int] | Ids, prefix: int, context: int) -> Iterator[Window]:
    """Windows of at most `context` positions that score every token of a document exactly once.

    The last window is drawn back so that it is full: what it repeats is context, and not scored.
    """
    sequence = np.empty(len(tokens) + 1, dtype=np.int32)
    sequence[0], sequence[1:] = prefix, tokens
    for scored in range(0, len(tokens), context):
        end = min(scored + context, len(tokens))
        start = max(0, end - context)
        yield Window(document, sequence[start:end], sequence[start + 1 : end + 1], scored - start)


def token_statistics(
    model_directory: Path,
    reference_directory: Path | None,
    texts: Documents,
    settings: TokenSettings,
    threads: int,
    device: str = "cpu",
    progress: Progress = silent,
    unfinished: Unfinished | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Score the first `settings.documents` texts with a model.

    Args:
        model_directory: model and tokenizer.
        reference_directory: the model of the first stage, for KL(model ‖ reference); `kl` is undefined (NaN) without
            one, and if its vocabulary is another.
        texts: held-out documents.
        settings: see `TokenSettings`.
        threads: CPU threads of this process.
        device: "cpu" or "cuda".
        progress: called with (documents scored, documents).
        unfinished: where sums are kept for a job that is killed; what is there is gone on from.

    Returns:
        documents: one row per text: document, n_tokens (scored), n_bytes (UTF-8), sums over its tokens of nll, entropy,
            confidence (probability of the most probable token) and kl in nats; for the replica n_positions (of all
            its windows, repeated context included) and sums of entropy and confidence over them; its block `group`.
        vocabulary: sums of `n_distributions` predicted distributions. Definition "corrected": one row per block, the
            distributions of its tokens. Definition "replica": one row without a block, the mean distributions of the
            windows of every document up to the last one whose number is a multiple of `REPLICA_BLOCK` and that is not
            empty: what comes after it, O'Mahony et al. computed but did not keep.

    Raises:
        StudyError: no text; a context longer than the model's; a head that does more than a matrix product; predictions
            that are not numbers.
    """
    from modecollapse.generation.models import load_causal_model

    if not len(texts):
        raise StudyError("Token statistics need at least one held-out document.")
    model = load_causal_model(model_directory, settings.dtype, threads, device)
    reference = None
    if reference_directory is not None:
        same = reference_directory.resolve() == model_directory.resolve()
        reference = model if same else load_causal_model(reference_directory, settings.dtype, threads, device)
    return score_documents(model, reference, texts, settings, progress, unfinished)


def score_documents(
    model: CausalModel,
    reference: CausalModel | None,
    texts: Documents,
    settings: TokenSettings,
    progress: Progress = silent,
    unfinished: Unfinished | None = None,
) -> tuple[pa.Table, pa.Table]:
    """As `token_statistics`, with loaded models; `reference` may be `model` itself."""
    import torch

    _check(model, reference, settings)
    if reference is not None and not _share_vocabulary(model, reference):
        logger.warning("the model and its reference have different vocabularies, so KL between them is undefined")
        reference = None
    n = min(len(texts), settings.documents)
    sums = _Sums(model, reference, _blocks(n, settings.groups))
    if unfinished and (before := unfinished.load()) is not None:
        sums.restore(before)
        logger.info("going on from document %d of %d", sums.position[0], n)
    saved = time.monotonic()
    with torch.inference_mode():
        for chunk in _chunks(_windows_from(sums, itertools.islice(texts, n), model, settings.context)):
            sums.begin(chunk)
            first, last, done = chunk[0].document, chunk[-1].document, 0
            for batch in batches(chunk, settings, model.device):
                sums.add(batch)
                done += len(batch)
                progress(first + (last - first) * done // len(chunk), n)
            if unfinished and time.monotonic() - saved >= unfinished.seconds:
                unfinished.save(sums.state())
                saved = time.monotonic()
    if not sums.n_tokens.any():
        raise StudyError("Token statistics need held-out text: every document is empty.")
    progress(n, n)
    return sums.tables()


def _windows_from(sums: _Sums, texts: Iterator[str], model: CausalModel, context: int) -> Iterator[Window]:
    """The windows that `sums` does not hold yet, in order, while it is told of each document."""
    document, scored = sums.position
    rest = itertools.islice(texts, document, None)
    for text, tokens in encoded(model.tokenizer, rest):
        sums.meet(document, len(tokens), len(text.encode()))
        yield from itertools.islice(windows(document, tokens, model.prefix_token, context), scored, None)
        document, scored = document + 1, 0


def _chunks(pieces: Iterator[Window]) -> Iterator[list[Window]]:
    chunk: list[Window] = []
    positions = 0
    for window in pieces:
        chunk.append(window)
        positions += len(window.inputs)
        if positions >= CHUNK_POSITIONS:
            yield chunk
            chunk, positions = [], 0
    if chunk:
        yield chunk


class _Sums:
    """What is added up over all positions."""

    def __init__(self, model: CausalModel, reference: CausalModel | None, groups: NDArray[np.int64]) -> None:
        """`groups` [documents]: each one's block."""
        import torch

        self._model, self._reference, self._groups = model, reference, groups
        self._blocks = int(groups.max()) + 1
        # One row per block; then the replica's, and what it gets if another multiple of its block follows.
        shape = (self._blocks + 2, model.vocabulary_size)
        self._probabilities = torch.zeros(shape, dtype=torch.float64, device=model.device)
        n = len(groups)
        self.n_tokens, self._n_bytes = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        self._scored = np.zeros((len(_QUANTITIES), n))
        if reference is None:
            self._scored[_QUANTITIES.index("kl")] = np.nan
        self._windows = np.zeros((2, n))
        self._positions = np.zeros(n, dtype=np.int64)
        self._replica_windows = np.zeros(2, dtype=np.int64)
        self._last_kept = -1
        self.position = (0, 0)
        """The first document that is not summed up yet as a whole, and how many of its windows are."""

    def meet(self, document: int, n_tokens: int, n_bytes: int) -> None:
        """Learn of a document before its windows come."""
        self.n_tokens[document], self._n_bytes[document] = n_tokens, n_bytes

    def begin(self, chunk: Sequence[Window]) -> None:
        """Prepare for the next windows in order: all of them are added before anything else is asked."""
        document, scored = chunk[-1].document, 0
        if document == self.position[0]:
            scored = self.position[1]
        scored += sum(window.document == document for window in chunk)
        self.position = (document, scored)
        multiples = [window.document for window in chunk if window.document % REPLICA_BLOCK == 0]
        if multiples:
            # It is not empty, so what came before it is kept, too.
            self._last_kept = multiples[-1]
            self._probabilities[-2] += self._probabilities[-1]
            self._probabilities[-1] = 0
            self._replica_windows += [self._replica_windows[1], -self._replica_windows[1]]

    def add(self, batch: Sequence[Window]) -> None:
        """Score the windows of a batch."""
        import torch

        device = self._model.device
        lengths = np.array([len(window.inputs) for window in batch])
        padded = np.zeros((len(batch), int(lengths.max())), dtype=np.int64)
        for row, window in enumerate(batch):
            # Padding stands on the right, where causal attention never looks: no mask is needed.
            padded[row, : len(window.inputs)] = window.inputs
        inputs = torch.from_numpy(padded)
        inside = (torch.arange(inputs.shape[1]) < torch.from_numpy(lengths)[:, None]).to(device)
        inputs = inputs.to(device)
        hidden = last_hidden(self._model, inputs)[inside]
        other = None
        if self._reference is not None and self._reference is not self._model:
            other = last_hidden(self._reference, inputs)[inside]
        targets = torch.from_numpy(np.concatenate([window.targets for window in batch]).astype(np.int64)).to(device)
        documents = np.array([window.document for window in batch])
        owners = np.repeat(documents, lengths)
        scored = np.concatenate([np.arange(len(window.inputs)) >= window.first for window in batch])
        share = np.repeat(1 / lengths, lengths)
        small = _CPU_PIECE if device.type == "cpu" else _DEVICE_PIECE
        piece = max(1, small // self._model.vocabulary_size)
        values = []
        for rows in logit_rows(self._model, len(targets)):
            logits = float_logits(self._model, hidden[rows])
            others = None if other is None else float_logits(self._reference, other[rows])
            for first in range(0, len(logits), piece):
                part = slice(first, first + piece)
                whole = slice(rows.start + first, min(rows.start + first + piece, rows.stop))
                numbers, weights = self._weights(owners[whole], scored[whole], share[whole])
                compared = None if others is None else others[part]
                found, sums = _summarise(logits[part], compared, targets[whole], weights)
                self._probabilities[numbers] += sums.double()
                values.append(found)
        table = torch.cat(values, dim=1).double().cpu().numpy()
        if not np.isfinite(table).all():
            raise StudyError("The model predicts values that are not numbers: its weights are broken.")
        # Only the documents of the batch are touched: their number does not grow with the corpus.
        present, place = np.unique(owners, return_inverse=True)
        n = len(present)
        for quantity, row in enumerate(table):
            self._scored[quantity, present] += np.bincount(place[scored], weights=row[scored], minlength=n)
        for quantity, row in enumerate(table[1:3]):
            self._windows[quantity, present] += np.bincount(place, weights=row, minlength=n)
        self._positions[present] += np.bincount(place, minlength=n)
        kept = int((documents <= self._last_kept).sum())
        self._replica_windows += [kept, len(documents) - kept]

    def _weights(
        self, owners: NDArray[np.int64], scored: NDArray[np.bool_], share: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor]:
        """(numbers [k], weights [k, positions]): which rows of the probabilities get how much of each position."""
        import torch

        groups, place = np.unique(self._groups[owners], return_inverse=True)
        pending = owners > self._last_kept
        replica = self._blocks + np.flatnonzero(np.array([not pending.all(), pending.any()]))
        weights = np.zeros((len(groups) + len(replica), len(owners)), dtype=np.float32)
        columns = np.arange(len(owners))
        weights[place, columns] = scored
        weights[len(groups) + pending * (len(replica) - 1), columns] = share
        device = self._model.device
        numbers = torch.from_numpy(np.append(groups, replica)).to(device)
        return numbers, torch.from_numpy(weights).to(device)

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """The two results; see `token_statistics`."""
        n = len(self.n_tokens)
        columns = [
            *(np.arange(n), self.n_tokens, self._n_bytes, *self._scored, self._positions, *self._windows),
            self._groups,
        ]
        documents = [pa.array(column).cast(field.type) for column, field in zip(columns, DOCUMENTS, strict=True)]
        totals = np.bincount(self._groups, weights=self.n_tokens).astype(np.int64)
        rows = [
            ["corrected"] * self._blocks + ["replica"],
            [*range(self._blocks), None],
            [*totals.tolist(), int(self._replica_windows[0])],
            list(self._probabilities[:-1].cpu().numpy()),
        ]
        vocabulary = [pa.array(column, field.type) for column, field in zip(rows, VOCABULARY, strict=True)]
        return (
            pa.Table.from_arrays(documents, schema=DOCUMENTS),
            pa.Table.from_arrays(vocabulary, schema=VOCABULARY),
        )

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that grows, by name; the arrays themselves, but for the probabilities and what is no array."""
        return {
            "probabilities": self._probabilities.cpu().numpy(),
            "n_tokens": self.n_tokens,
            "n_bytes": self._n_bytes,
            "scored": self._scored,
            "windows": self._windows,
            "positions": self._positions,
            "replica_windows": self._replica_windows,
            "place": np.array([*self.position, self._last_kept], dtype=np.int64),
        }

    def state(self) -> pa.Table:
        """One row: every array that grows, in full precision."""
        # Copies: Arrow would share the memory of arrays that go on growing.
        arrays = {name: array.flatten() for name, array in self._arrays().items()}
        return pa.table({name: pa.ListArray.from_arrays([0, len(flat)], flat) for name, flat in arrays.items()})

    def restore(self, state: pa.Table) -> None:
        """Take up what `state` returned for the same model, documents and settings."""
        import torch

        found = {}
        for name, array in self._arrays().items():
            flat = state.column(name).combine_chunks().values.to_numpy()
            found[name] = flat.astype(array.dtype, copy=True).reshape(array.shape)
        self._probabilities = torch.from_numpy(found["probabilities"]).to(self._model.device)
        self.n_tokens, self._n_bytes = found["n_tokens"], found["n_bytes"]
        self._scored, self._windows = found["scored"], found["windows"]
        self._positions, self._replica_windows = found["positions"], found["replica_windows"]
        *position, self._last_kept = found["place"].tolist()
        self.position = (position[0], position[1])


def _summarise(logits: Tensor, other: Tensor | None, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """What is kept of predicted distributions; overwrites `logits` and `other`.

    With z = logits − max and s = Σ exp z: nll = ln s − z[target], entropy = ln s − Σ exp(z) z / s, confidence = 1 / s,
    so the exponential is taken once per entry and no table of probabilities is divided.

    Args:
        logits: [positions, vocabulary], float32.
        other: those of the reference; None if it is the model itself, or none.
        targets: [positions].
        weights: [k, positions].

    Returns:
        values: [quantities, positions].
        sums: [k, vocabulary], the weighted sums of the distributions.
    """
    import torch

    z = logits.sub_(logits.amax(-1, keepdim=True))
    p = z.exp()
    s = p.sum(-1)
    log_s = s.log()
    nll = log_s - z.gather(-1, targets[:, None]).squeeze(-1)
    entropy = log_s - torch.linalg.vecdot(p, z) / s
    if other is None:
        kl = torch.zeros_like(nll)
    else:
        z_other = other.sub_(other.amax(-1, keepdim=True))
        log_s_other = z_other.logsumexp(-1)
        kl = torch.linalg.vecdot(p, z.sub_(z_other)) / s - log_s + log_s_other
    return torch.stack([nll, entropy, 1 / s, kl]), (weights / s) @ p


def last_hidden(model: CausalModel, inputs: Tensor) -> Tensor:
    """[…, width] of every position of `inputs`: what the output embeddings are applied to."""
    return model.network.base_model(input_ids=inputs, use_cache=False).last_hidden_state


def float_logits(model: Any, hidden: Tensor) -> Tensor:
    """Logits [positions, vocabulary] from `last_hidden`, in float32."""
    return model.network.get_output_embeddings()(hidden).float()


def logit_rows(model: CausalModel, positions: int) -> Iterator[slice]:
    """Positions 0 to `positions` in slices whose logits may exist together."""
    entries = _CPU_ENTRIES if model.device.type == "cpu" else _DEVICE_ENTRIES
    step = max(1, entries // model.vocabulary_size)
    for start in range(0, positions, step):
        yield slice(start, min(start + step, positions))


def _check(model: CausalModel, reference: CausalModel | None, settings: TokenSettings) -> None:
    """What must hold before hours are spent on scoring."""
    import torch

    if model.context is not None and settings.context > model.context:
        raise StudyError(
            f"Token statistics ask for a context of {settings.context} positions, the model knows {model.context}. "
            f"Set context to at most {model.context}."
        )
    for each in {id(one): one for one in (model, reference) if one is not None}.values():
        ids = torch.full((1, 2), each.prefix_token, device=each.device)
        with torch.inference_mode():
            whole = each.network(input_ids=ids, use_cache=False).logits.float().log_softmax(-1)
            parts = float_logits(each, last_hidden(each, ids)).log_softmax(-1)
        if not torch.allclose(whole, parts, atol=0.05 if settings.dtype == "bfloat16" else 1e-4, equal_nan=True):
            raise StudyError(
                f"Models of type {each.network.config.model_type} are not supported here: their logits are more than "
                "their output embeddings applied to the last hidden state."
            )


def _share_vocabulary(model: CausalModel, reference: CausalModel) -> bool:
    """Whether every entry of the logits stands for the same token in both, as far as both tokenizers know it."""
    if model is reference:
        return True
    ours, theirs = ({i: token for token, i in each.tokenizer.get_vocab().items()} for each in (model, reference))
    return model.vocabulary_size == reference.vocabulary_size and all(
        theirs.get(i, token) == token for i, token in ours.items()
    )


def _blocks(n: int, groups: int) -> NDArray[np.int64]:
    """A block for each of `n` documents: equally large, and blind to the order of the documents."""
    return np.random.default_rng(n).permutation(n) % min(groups, n)


def batches(pieces: Sequence[Window], settings: TokenSettings, device: torch.device) -> Iterator[list[Window]]:
    """Windows of similar length together, the longest first: what does not fit in memory fails at once."""
    positions = min(settings.batch, _CPU_POSITIONS) if device.type == "cpu" else settings.batch
    batch: list[Window] = []
    for window in sorted(pieces, key=lambda window: (-len(window.inputs), window.document, window.first)):
        if batch and len(batch[0].inputs) * (len(batch) + 1) > positions:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
