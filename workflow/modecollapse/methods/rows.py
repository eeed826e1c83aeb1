"""Examples laid out in few rows: several in one, and two answers behind the one prompt that they share.

Attention is told by a mask to keep examples and answers apart, and positions count from each example's beginning, so
every scored token sees what it sees in a row of its own: results are equal up to rounding. Slow to import (torch).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

_WORTH = 0.9
"""Share of the positions of padded rows up to which the layout is used: the mask costs something, too."""
_MULTIPLE = 8
"""Rows are as long as a multiple of this, which suits the kernels of GPUs."""


@dataclass(frozen=True)
class Rows:
    """What a model is given in place of padded rows."""

    input_ids: torch.Tensor
    """(rows, length)."""
    position_ids: torch.Tensor
    """(rows, length)."""
    examples: torch.Tensor
    """(rows, length): which example a token belongs to; padding is one of its own."""
    branches: torch.Tensor
    """(rows, length): 0 for what an example's answers share, else which of them a token belongs to, from 1."""
    scored: torch.Tensor
    """Where, in all rows one after the other, the labelled tokens are predicted, in the order of the padded rows."""

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """(rows, 1, length, length): 0 where a token sees another, else minus infinity.

        Of truth values attention would keep a copy in `dtype` for every layer.
        """
        length = self.input_ids.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=self.input_ids.device).tril()
        same = self.examples[:, :, None] == self.examples[:, None, :]
        shared = self.branches[:, None, :] == 0
        own = self.branches[:, :, None] == self.branches[:, None, :]
        sees = before & same & (shared | own)
        return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, -torch.inf)[:, None]


def laid_out(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor, pairs: bool) -> Rows | None:
    """The layout of rows that are padded on the right, all (rows, length); None where it would save too little.

    With `pairs`, row i of the first half shares its prompt, all before the first label, with row i of the second half.
    The last token of a prompt stands before each answer, as it predicts the first token of both; the last token of an
    answer predicts nothing and is left out. Depends on what is in the rows alone.
    """
    found = torch.stack([input_ids, attention_mask, labels]).cpu().numpy()
    ids, lengths, scored = found[0], found[1].sum(1).tolist(), found[2] != -100
    count = len(ids) // 2 if pairs else len(ids)
    prompts = [max(0, int(scored[row].argmax()) - 1) if pairs else 0 for row in range(count)]
    parts = [[row, row + count] if pairs else [row] for row in range(count)]
    sizes = [
        prompt + sum(max(0, lengths[row] - 1 - prompt) for row in rows)
        for prompt, rows in zip(prompts, parts, strict=True)
    ]
    length = -(-max(sizes) // _MULTIPLE) * _MULTIPLE
    if length == 0:  # nothing is predicted
        return None
    bins = first_fit(sizes, length)
    if len(bins) * length > _WORTH * ids.size:
        return None
    # Token, position, example and branch of each place; padding is an example of its own, which sees itself.
    table = np.zeros((4, len(bins), length), dtype=np.int64)
    table[2] = -1
    places = np.zeros(ids.shape, dtype=np.int64)
    for number, held in enumerate(bins):
        at = 0
        for example in held:
            prompt = prompts[example]
            first = parts[example][0]
            if any((ids[row, :prompt] != ids[first, :prompt]).any() for row in parts[example]):
                raise ValueError("the two answers of a pair must follow one prompt")
            pieces = [(first, 0, prompt, 0)] if prompt else []
            pieces += [(row, prompt, lengths[row] - 1, branch) for branch, row in enumerate(parts[example], start=1)]
            for row, start, stop, branch in pieces:
                end = at + stop - start
                table[:2, number, at:end] = ids[row, start:stop], np.arange(start, stop)
                table[2:, number, at:end] = [[example], [branch]]
                if branch:
                    places[row, start + 1 : stop + 1] = number * length + np.arange(at, end)
                at = end
    of_tokens = torch.from_numpy(table).to(input_ids.device)
    predicted = torch.from_numpy(places[:, 1:][scored[:, 1:]]).to(input_ids.device)
    return Rows(of_tokens[0], of_tokens[1], of_tokens[2], of_tokens[3], predicted)


def first_fit(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Places of `sizes` in bins of `room`, the largest first, each in the first bin that holds it."""
    bins: list[list[int]] = []
    left: list[int] = []
    for place in sorted(range(len(sizes)), key=lambda place: (-sizes[place], place)):
        chosen = next((number for number, free in enumerate(left) if free >= sizes[place]), len(bins))
        if chosen == len(bins):
            bins.append([])
            left.append(room)
        bins[chosen].append(place)
        left[chosen] -= sizes[place]
    return bins
