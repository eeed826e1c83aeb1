"""What is computed before the first token is drawn: prompts in one pass, and how many rows are sampled side by side."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from modecollapse.generation.cache import PrefixLayer
from modecollapse.generation.models import CausalModel

_CPU_BYTES = 2 * 2**30
_DEVICE_SHARE = 0.5
"""Of an accelerator's memory, what weights and rows may take. The rest is for copies while rows are retired."""


@torch.inference_mode()
def prefill(model: CausalModel, tokens: Sequence[Sequence[int]], width: int) -> tuple[tuple[PrefixLayer, ...], Tensor]:
    """Keys and values of prompts that are padded on the left to `width`, and the logits (prompts, vocabulary) after
    them in float32."""
    device = model.device
    ids = torch.zeros((len(tokens), width), dtype=torch.int64)
    lengths = torch.tensor([len(row) for row in tokens])
    for i, row in enumerate(tokens):
        ids[i, width - len(row) :] = torch.tensor(row)
    positions = (torch.arange(width) - (width - lengths)[:, None]).clamp(min=0)
    real = torch.arange(width) >= (width - lengths)[:, None]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    # Padding sees itself: a position that may look nowhere gives numbers that are none, in some kernels.
    mask = (causal & real[:, None, :]) | torch.eye(width, dtype=torch.bool)
    output = model.network(
        input_ids=ids.to(device),
        attention_mask=mask[:, None].to(device),
        position_ids=positions.to(device),
        use_cache=True,
        logits_to_keep=1,
    )
    layers = tuple(PrefixLayer(layer.keys, layer.values) for layer in output.past_key_values.layers)
    return layers, output.logits[:, -1].float()


@dataclass
class RowMemory:
    """What rows may take of an accelerator's memory in all calls of a run, chosen in the first of them.

    How much is free differs from call to call and from process to process, and rows per batch change bits.
    """

    bytes: int | None = None

    def rows(self, row: int, share: int, free: int) -> int:
        """Rows of `row` bytes; the first call looks at `share` and `free` (see `rows_in_memory`)."""
        if self.bytes is None:
            self.bytes = row * rows_in_memory(row, share, free)
        return max(1, self.bytes // row)


def rows_that_fit(
    model: CausalModel, layers: Sequence[PrefixLayer], max_new_tokens: int, memory: RowMemory | None = None
) -> int:
    """Rows per batch for a share of an accelerator's memory beside the weights, or for 2 GiB without one.

    With `memory`, for what was chosen there.
    """
    positions = layers[0].keys.shape[2] + max_new_tokens
    # Retiring rows copies a layer; logits and what sampling makes of them take some 48 bytes per token.
    row = positions * sum(layer.bytes_per_position() for layer in layers) + 48 * model.vocabulary_size
    device = model.device
    if device.type != "cuda":
        return max(1, _CPU_BYTES // row)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.network.parameters())
    free, total = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return (memory or RowMemory()).rows(row, int(_DEVICE_SHARE * total) - weights, free)


def rows_in_memory(row: int, share: int, free: int) -> int:
    """Rows of `row` bytes that fit the share of a device that is ours, halved until they fit what is free of it."""
    rows = max(1, share // row)
    while rows > 1 and rows * row > free:
        rows //= 2
    return rows


def even_bounds(number: int, most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of consecutive slices of `number` rows; at most `most` rows each, and lengths that differ by one."""
    parts = math.ceil(number / most)
    return pairwise(round(number * part / parts) for part in range(parts + 1))
