"""How likely a model finds its own answers: what scores them where no reward is asked for.

An answer is read anew from its text, as answers of a data set are: sampled tokens need not be those that its text is
tokenized to. Rows go through the model longest first, in batches of one size per device; what else is in a batch
changes a score in its last bits. Slow to import (torch).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modecollapse.generation.models import CausalModel
from modecollapse.methods.examples import Encoded, Ids, encode, paired
from modecollapse.methods.reference import answer_log_probabilities, prepare_to_score
from modecollapse.methods.reference_file import POSITIONS, PairSettings
from modecollapse.prompts import PromptFormat


class LikelihoodScorer:
    """Mean log-probabilities per token of answers, end-of-text token included, given their prompts (see `Scorer`).

    Args:
        model: the model, on the device where it computes; it is given a head that scores answers.
        form: the prompt format.
        settings: how an example is truncated, as one of a pair of equal answers, and in which number format the model
            is computed with.
    """

    def __init__(self, model: CausalModel, form: PromptFormat, settings: PairSettings, device: str) -> None:
        prepare_to_score(model.network, pairs=False)
        self._model, self._form, self._settings, self._device = model, form, settings, device

    def score(
        self, prompts: Sequence[str], prompt_ids: Sequence[Sequence[int]], answer_ids: Sequence[Sequence[int]]
    ) -> NDArray[np.float32]:
        """As `Scorer.score`, in nats; NaN for an answer that did not end or says nothing.

        `prompt_ids` are not looked at: prompts are read anew with their answers.

        Raises:
            StudyError: as `encode`.
        """
        decode: Any = self._model.tokenizer.decode
        texts = [
            decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
            for ids in answer_ids
        ]
        ended = [len(ids) > 0 and ids[-1] in self._model.end_tokens for ids in answer_ids]
        rows = [row for row, text in enumerate(texts) if text and ended[row]]
        scores = np.full(len(texts), np.nan, dtype=np.float32)
        if rows:
            scores[rows] = self._means([prompts[row] for row in rows], [texts[row] for row in rows])
        return scores

    def _means(self, prompts: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
        prompt_ids, ids = self._read(prompts, texts)
        lengths = [len(prompt) + len(answer) for prompt, answer in zip(prompt_ids, ids, strict=True)]
        order = sorted(range(len(ids)), key=lambda row: (-lengths[row], row))
        means = np.zeros(len(ids))
        start, positions = 0, POSITIONS[_kind(self._device)]
        while start < len(order):
            batch = order[start : start + max(1, positions // lengths[order[start]])]
            sums = answer_log_probabilities(
                self._model.network,
                [prompt_ids[row] for row in batch],
                [ids[row] for row in batch],
                self._settings.dtype,
                self._device,
            )
            means[batch] = sums / [len(ids[row]) for row in batch]
            start += len(batch)
        return means

    def _read(self, prompts: Sequence[str], texts: Sequence[str]) -> tuple[list[Ids], list[Ids]]:
        """Token ids of prompts and answers, truncated."""
        encoded = encode(self._model.tokenizer, self._form, prompts, [texts])
        (answers,) = encoded.answers
        limits = (self._settings.max_length, self._settings.max_prompt_length)
        columns = paired(Encoded(encoded.prompts, [answers, answers]), *limits, "truncate", Path())
        return columns["prompt_ids"], columns["chosen_ids"]


def _kind(device: str) -> Literal["cuda", "cpu"]:
    return "cuda" if device.startswith("cuda") else "cpu"
