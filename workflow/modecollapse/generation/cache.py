"""A key-value cache in memory that is allocated once per batch.

The library's own cache is concatenated anew in every step: at 500 rows that costs several times what attention does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


@dataclass(frozen=True)
class PrefixLayer:
    """One layer's keys and values of the (left-padded) prompts, each (prompts, heads, prefix, head size)."""

    keys: Tensor
    values: Tensor

    def bytes_per_position(self) -> int:
        """Memory that one more position of one row takes in this layer."""
        sizes = (tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in (self.keys, self.values))
        return sum(sizes)


class _RowLayer(DynamicLayer):
    """Keys and values of a batch: buffers of (rows, heads, prefix + new, head size), filled from the left."""

    def __init__(self, prefix: PrefixLayer, prompts: Tensor, new: int) -> None:
        super().__init__()
        self.length = prefix.keys.shape[2]
        self._key_buffer = _extended(prefix.keys, prompts, new)
        self._value_buffer = _extended(prefix.values, prompts, new)
        self.dtype, self.device = prefix.keys.dtype, prefix.keys.device
        self.is_initialized = True
        self._show()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new positions; returns those of all positions so far."""
        start = self.length
        self.length += key_states.shape[2]
        self._key_buffer[:, :, start : self.length] = key_states
        self._value_buffer[:, :, start : self.length] = value_states
        return self._show()

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these; the memory stays."""
        self._key_buffer = _compacted(self._key_buffer, rows, self.length)
        self._value_buffer = _compacted(self._value_buffer, rows, self.length)
        self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        self.keys = self._key_buffer[:, :, : self.length]
        self.values = self._value_buffer[:, :, : self.length]
        return self.keys, self.values


class RowCache(Cache):
    """The cache of a batch of rows, each of which begins with the prefix of its prompt."""

    def __init__(self, prefix: Sequence[PrefixLayer], prompts: Tensor, new: int) -> None:
        """`prompts` (rows,): the index of each row's prompt in `prefix`; `new`: positions to make room for."""
        self._rows = [_RowLayer(layer, prompts, new) for layer in prefix]
        super().__init__(layers=list(self._rows))

    def keep(self, rows: Tensor) -> None:
        """Forget all rows but these (indices into the present rows)."""
        for layer in self._rows:
            layer.keep(rows)


def _extended(prefix: Tensor, prompts: Tensor, new: int) -> Tensor:
    _, heads, length, size = prefix.shape
    buffer = torch.empty((len(prompts), heads, length + new, size), dtype=prefix.dtype, device=prefix.device)
    buffer[:, :, :length] = prefix.index_select(0, prompts)
    return buffer


def _compacted(buffer: Tensor, rows: Tensor, length: int) -> Tensor:
    kept = buffer[: len(rows)]
    kept[:, :, :length] = buffer[:, :, :length].index_select(0, rows)
    return kept
