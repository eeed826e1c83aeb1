"""What a reward gives to answers: a reward model scores their tokens, a function of `reward_functions` their text.

Rows go through a model longest first, in batches of one size per device and padded on the right. The batch that a row
is in depends on the others' lengths, which changes its score in the last bits (float32: by some 1e-6 of its size),
and by nothing else. The scores of a function depend on the answer alone. Slow to import (torch).
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from modecollapse.data.nano.world import WorldSettings
from modecollapse.errors import StudyError
from modecollapse.methods.base import RewardSource
from modecollapse.methods.reference_file import POSITIONS
from modecollapse.methods.reward_functions import FUNCTIONS, RewardFunction
from modecollapse.methods.reward_model import RewardModel, last_scores, load_reward_model

Ids = Sequence[int]


class Scorer(Protocol):
    """Gives numbers to answers; higher is better."""

    def score(
        self, prompts: Sequence[str], prompt_ids: Sequence[Ids], answer_ids: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """Scores (rows,) of answers, which are only to be compared with each other where the prompt is the same.

        An answer of no tokens is scored as it is: by a model at the last token of its prompt, by a function as the
        empty text. One that was cut off, without end-of-text, is scored where it ends.

        Args:
            prompts: as they stand in the data, not rendered.
            prompt_ids: rendered and tokenized.
            answer_ids: with the end-of-text token, if the answer ended.

        Raises:
            StudyError: a score is not a finite number, or a row is longer than the model's context or has no tokens.
        """


def open_scorer(reward: RewardSource, world: WorldSettings | None, tokenizer: Any, threads: int, device: str) -> Scorer:
    """The scorer of answers that are tokenized with `tokenizer`.

    Args:
        reward: a reward model or a named function.
        world: what functions of the world's utility judge by.
        tokenizer: the policy's.
        threads: CPU threads of this process.
        device: where a model computes, e.g. "cpu" or "cuda:0".

    Raises:
        StudyError: there is no such function, it needs a world and there is none; or the model cannot be loaded
            (`load_reward_model`) or has another tokenizer.
    """
    if reward.weights is None:
        if reward.name not in FUNCTIONS:
            raise StudyError(
                f"reward: {reward.name!r} is no function. Allowed: {', '.join(sorted(FUNCTIONS))}, or the name of a "
                "stage of the method reward."
            )
        return FunctionScorer(reward.name, FUNCTIONS[reward.name](world), tokenizer)
    model = load_reward_model(reward.weights, threads, device)
    check_tokenizer(reward.name, model.tokenizer, tokenizer)
    return ModelScorer(reward.name, model, device)


def check_tokenizer(name: str, tokenizer: Any, policy: Any) -> None:
    """Raises StudyError unless token ids mean the same to the reward `name` as to the policy."""
    own, other = tokenizer.get_vocab(), policy.get_vocab()
    different = sorted(token for token in own.keys() | other.keys() if own.get(token) != other.get(token))
    if not different and tokenizer.eos_token_id == policy.eos_token_id:
        return
    if different:
        token = different[0]
        what = f"{len(different)} tokens differ, e.g. {token!r}, id {own.get(token)} instead of {other.get(token)}"
    else:
        what = f"text ends with token {tokenizer.eos_token_id} instead of {policy.eos_token_id}"
    raise StudyError(
        f"reward: {name} has another tokenizer than the model whose answers it is to score: {what}. A reward model "
        "scores tokens: train it from a stage of the same model family, e.g. from the stage that is tuned."
    )


class ModelScorer:
    """Scores by a reward model (see `Scorer`)."""

    def __init__(self, name: str, model: RewardModel, device: str) -> None:
        self._name, self._model, self._device = name, model, device
        self._positions = POSITIONS[torch.device(device).type]

    def score(
        self, prompts: Sequence[str], prompt_ids: Sequence[Ids], answer_ids: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """As `Scorer.score`; `prompts` are not looked at."""
        rows = [[*prompt, *answer] for prompt, answer in zip(prompt_ids, answer_ids, strict=True)]
        self._check(rows)
        order = sorted(range(len(rows)), key=lambda row: (-len(rows[row]), row))
        scores = np.zeros(len(rows), dtype=np.float32)
        start = 0
        while start < len(order):
            places = order[start : start + max(1, self._positions // len(rows[order[start]]))]
            batch = [torch.tensor(rows[place]) for place in places]
            lengths = torch.tensor([len(row) for row in batch], device=self._device)
            ids = pad_sequence(batch, batch_first=True).to(self._device)
            with torch.inference_mode():
                scores[places] = last_scores(self._model.network, ids, lengths).cpu().numpy()
            start += len(places)
        return finite(scores, self._name)

    def _check(self, rows: Sequence[Ids]) -> None:
        context = self._model.context
        for number, row in enumerate(rows):
            if not row:
                raise StudyError(f"reward: {self._name} is asked for a score of row {number}, which has no tokens.")
            if context is not None and len(row) > context:
                raise StudyError(
                    f"reward: {self._name} is asked for a score of row {number}, which has {len(row)} tokens, prompt "
                    f"and answer, but the model knows {context} positions. Lower max_new_tokens or shorten the prompts."
                )


class FunctionScorer:
    """Scores by a function of the answer's text (see `Scorer`)."""

    def __init__(self, name: str, function: RewardFunction, tokenizer: Any) -> None:
        self._name, self._function, self._tokenizer = name, function, tokenizer

    def score(
        self, prompts: Sequence[str], prompt_ids: Sequence[Ids], answer_ids: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """As `Scorer.score`; `prompt_ids` are not looked at. Special tokens are no part of an answer's text."""
        decode: Callable[..., str] = self._tokenizer.decode
        # As samples are decoded (generation.completions).
        answers = [
            decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False) for ids in answer_ids
        ]
        return finite(np.array(self._function(prompts, answers), dtype=np.float32), self._name)


class Unscored:
    """Gives 0 to every answer, where nobody asks for scores (see `Scorer`)."""

    def score(
        self, prompts: Sequence[str], prompt_ids: Sequence[Ids], answer_ids: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """As `Scorer.score`; nothing is looked at."""
        return np.zeros(len(answer_ids), dtype=np.float32)


def finite(scores: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """Raises StudyError where a score is not a finite number."""
    wrong = np.flatnonzero(~np.isfinite(scores))
    if wrong.size:
        raise StudyError(
            f"reward: {name} gives {scores[wrong[0]]} to the answer of row {wrong[0]} ({wrong.size} of {scores.size} "
            "scores are no finite numbers). Of a function: ask only for prompts that it can judge (utility: those of "
            "the study's world). Of a reward model: train it with a lower learning_rate."
        )
    return scores
