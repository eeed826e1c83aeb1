"""What token statistics add up over windows, and the tables that it becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from modecollapse.errors import StudyError
from modecollapse.measures.windows import Window

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


class TokenSums:
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
