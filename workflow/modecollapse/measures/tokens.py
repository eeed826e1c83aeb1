"""Token statistics: how a model predicts held-out text, position by position.

Every document is read in windows with the beginning-of-text token as prefix (the end-of-text token where a tokenizer
has no other); every token is scored exactly once. Windows are batched by length, so the last bits of a sum depend on
the batch: sums over a document agree with a float64 computation, and with those of any other batch, to 1e-5 of their
size for models in float32 (KL: to 1e-6 nats per token).

The same pass adds up what the replica of O'Mahony et al. (2024) needs: their entropy, confidence and mean probabilities
are over all positions of a window, the context that a drawn-back window repeats included, and their mean probabilities
are means of windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    import torch
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
_CPU_POSITIONS = 1024


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
            confidence (probability of the most probable token) and kl in nats; for the replica n_positions (of all
            its windows, repeated context included) and sums of entropy and confidence over them; its block `group`.
        vocabulary: sums of `n_distributions` predicted distributions. Definition "corrected": one row per block, the
            distributions of its tokens. Definition "replica": one row without a block, the mean distributions of the
            windows of every document up to the last one whose number is a multiple of `REPLICA_BLOCK` and that is not
            empty: what comes after it, O'Mahony et al. computed but did not keep.

    Raises:
        StudyError: no text; a context longer than the model's; a reference with another vocabulary; a head that does
            more than a matrix product; predictions that are not numbers.
    """
    from modecollapse.generation.models import load_causal_model

    if not texts:
        raise StudyError("Token statistics need at least one held-out document.")
    model = load_causal_model(model_directory, settings.dtype, threads, device)
    reference = None
    if reference_directory is not None:
        same = reference_directory.resolve() == model_directory.resolve()
        reference = model if same else load_causal_model(reference_directory, settings.dtype, threads, device)
    return score_documents(model, reference, texts, settings, progress)


def score_documents(
    model: CausalModel,
    reference: CausalModel | None,
    texts: Sequence[str],
    settings: TokenSettings,
    progress: Progress = silent,
) -> tuple[pa.Table, pa.Table]:
    """As `token_statistics`, with loaded models; `reference` may be `model` itself."""
    import torch

    texts = texts[: settings.documents]
    _check(model, reference, settings)
    encoded: list[list[int]] = model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    n_tokens = np.array([len(tokens) for tokens in encoded])
    pieces = [
        window
        for document, tokens in enumerate(encoded)
        for window in windows(document, tokens, model.prefix_token, settings.context)
    ]
    if not pieces:
        raise StudyError("Token statistics need held-out text: every document is empty.")
    sums = _Sums(model, reference, _blocks(len(texts), settings.groups), _kept(n_tokens))
    done = 0
    with torch.inference_mode():
        for batch in batches(pieces, settings, model.device):
            sums.add(batch)
            done += len(batch)
            progress(done, len(pieces))
    return sums.tables(n_tokens, [len(text.encode()) for text in texts])


class _Sums:
    """What is added up over all positions."""

    def __init__(
        self,
        model: CausalModel,
        reference: CausalModel | None,
        groups: NDArray[np.int64],
        kept: NDArray[np.bool_],
    ) -> None:
        """`groups` and `kept` [documents]: each one's block, and whether the replica's mean probabilities hold it."""
        import torch

        self._model, self._reference, self._groups, self._kept = model, reference, groups, kept
        # One row per block, and the replica's at the end.
        shape = (int(groups.max()) + 2, model.vocabulary_size)
        self._probabilities = torch.zeros(shape, dtype=torch.float64, device=model.device)
        n = len(groups)
        self._scored = np.zeros((len(_QUANTITIES), n))
        if reference is None:
            self._scored[_QUANTITIES.index("kl")] = np.nan
        self._windows = np.zeros((2, n))
        self._positions, self._kept_windows = np.zeros(n, dtype=np.int64), 0

    def add(self, batch: Sequence[Window]) -> None:
        """Score the windows of a batch."""
        import torch

        device = self._model.device
        lengths = np.array([len(window.inputs) for window in batch])
        inputs = torch.zeros((len(batch), int(lengths.max())), dtype=torch.int64)
        for row, window in enumerate(batch):
            # Padding stands on the right, where causal attention never looks: no mask is needed.
            inputs[row, : len(window.inputs)] = torch.tensor(window.inputs)
        inside = (torch.arange(inputs.shape[1]) < torch.from_numpy(lengths)[:, None]).to(device)
        inputs = inputs.to(device)
        hidden = last_hidden(self._model, inputs)[inside]
        other = None
        if self._reference is not None and self._reference is not self._model:
            other = last_hidden(self._reference, inputs)[inside]
        targets = torch.tensor([token for window in batch for token in window.targets], device=device)
        owners = np.repeat([window.document for window in batch], lengths)
        scored = np.concatenate([np.arange(len(window.inputs)) >= window.first for window in batch])
        share = np.repeat(1 / lengths, lengths) * self._kept[owners]
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
        n = len(self._groups)
        for quantity, row in enumerate(table):
            self._scored[quantity] += np.bincount(owners[scored], weights=row[scored], minlength=n)
        for quantity, row in enumerate(table[1:3]):
            self._windows[quantity] += np.bincount(owners, weights=row, minlength=n)
        self._positions += np.bincount(owners, minlength=n)
        self._kept_windows += int(self._kept[[window.document for window in batch]].sum())

    def _weights(
        self, owners: NDArray[np.int64], scored: NDArray[np.bool_], share: NDArray[np.float64]
    ) -> tuple[Tensor, Tensor]:
        """(numbers [k], weights [k, positions]): which rows of the probabilities get how much of each position."""
        import torch

        replica = len(self._probabilities) - 1
        groups, place = np.unique(self._groups[owners], return_inverse=True)
        weights = np.zeros((len(groups) + 1, len(owners)), dtype=np.float32)
        weights[place, np.arange(len(owners))] = scored
        weights[-1] = share
        device = self._model.device
        return torch.from_numpy(np.append(groups, replica)).to(device), torch.from_numpy(weights).to(device)

    def tables(self, n_tokens: NDArray[np.int64], n_bytes: Sequence[int]) -> tuple[pa.Table, pa.Table]:
        """The two results; see `token_statistics`."""
        n = len(n_tokens)
        columns = [
            *(np.arange(n), n_tokens, np.array(n_bytes), *self._scored, self._positions, *self._windows),
            self._groups,
        ]
        documents = [pa.array(column).cast(field.type) for column, field in zip(columns, DOCUMENTS, strict=True)]
        blocks = len(self._probabilities) - 1
        totals = np.bincount(self._groups, weights=n_tokens).astype(np.int64)
        rows = [
            ["corrected"] * blocks + ["replica"],
            [*range(blocks), None],
            [*totals.tolist(), self._kept_windows],
            list(self._probabilities.cpu().numpy()),
        ]
        vocabulary = [pa.array(column, field.type) for column, field in zip(rows, VOCABULARY, strict=True)]
        return (
            pa.Table.from_arrays(documents, schema=DOCUMENTS),
            pa.Table.from_arrays(vocabulary, schema=VOCABULARY),
        )


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
    if reference is not None and reference.vocabulary_size != model.vocabulary_size:
        raise StudyError(
            f"KL needs one vocabulary: the model has {model.vocabulary_size} tokens, its reference "
            f"{reference.vocabulary_size}."
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


def _blocks(n: int, groups: int) -> NDArray[np.int64]:
    """A block for each of `n` documents: equally large, and blind to the order of the documents."""
    return np.random.default_rng(n).permutation(n) % min(groups, n)


def _kept(n_tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which documents the replica's mean probabilities hold; see `token_statistics`."""
    places = np.arange(len(n_tokens))
    last = max(places[(places % REPLICA_BLOCK == 0) & (n_tokens > 0)], default=-1)
    return np.asarray(places <= last)


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
