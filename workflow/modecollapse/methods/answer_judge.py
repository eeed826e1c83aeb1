"""What sampled answers are worth: the reward's scores for training, and the true utility for the curves."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modecollapse.data.nano.world import WorldSettings
from modecollapse.errors import StudyError
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.methods.scoring import Ids, Scorer


class AnswerJudge:
    """Judges the answers of reinforcement learning by token ids, as they were sampled."""

    def __init__(self, scorer: Scorer, model: Any, world: WorldSettings | None, unended_penalty: float) -> None:
        """Judge by the reward of `scorer`.

        Args:
            scorer: of answers that are tokenized as the policy's.
            model: has the policy's `tokenizer` and `end_tokens`.
            world: whose annotators know the true utility; None if the study has none.
            unended_penalty: taken off the score of an answer that did not end.
        """
        self._scorer, self._penalty = scorer, unended_penalty
        self._tokenizer, self._ends = model.tokenizer, frozenset(model.end_tokens)
        self._utility = None if world is None else FUNCTIONS["utility"](world)

    def ended(self, answer_ids: Sequence[Ids]) -> NDArray[np.bool_]:
        """(rows,): whether answers end, or were cut off."""
        return np.array([bool(ids) and ids[-1] in self._ends for ids in answer_ids])

    def scores(
        self, prompts: Sequence[str], prompt_ids: Sequence[Ids], answer_ids: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """(rows,): what the reward says, less the penalty of answers that did not end. Raises as `Scorer.score`."""
        scores = self._scorer.score(prompts, prompt_ids, answer_ids)
        return np.where(self.ended(answer_ids), scores, scores - self._penalty).astype(np.float32)

    def measured(self, prompts: Sequence[str], answer_ids: Sequence[Ids]) -> dict[str, float]:
        """What the curves tell beside the score: `share_ended`, and `utility` where the world can judge an answer."""
        ended = {"share_ended": float(self.ended(answer_ids).mean())}
        utility = self._mean_utility(prompts, answer_ids)
        return ended | {"utility": utility} if math.isfinite(utility) else ended

    def _mean_utility(self, prompts: Sequence[str], answer_ids: Sequence[Ids]) -> float:
        """Mean true utility of the answers that the world can judge; nan where there are none, or no world."""
        if self._utility is None:
            return math.nan
        texts = [
            self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for ids in answer_ids
        ]
        found = np.array(self._utility(prompts, texts), dtype=np.float64)
        judged = found[np.isfinite(found)]
        return float(judged.mean()) if judged.size else math.nan

    def __call__(
        self,
        prompts: Sequence[str],
        completion_ids: Sequence[Ids],
        prompt_ids: Sequence[Ids],
        trainer_state: Any,
        log_metric: Any,
        **_: Any,
    ) -> list[float]:
        """TRL's reward function. Its texts of answers, which lack the end-of-text token, are not looked at.

        Raises:
            StudyError: a score is not a finite number.
        """
        try:
            scores = self.scores(prompts, prompt_ids, completion_ids)
        except StudyError as error:
            raise StudyError(f"After {trainer_state.global_step} updates: {error}") from error
        log_metric("score", float(scores.mean(dtype=np.float64)))
        for name, value in self.measured(prompts, completion_ids).items():
            log_metric(name, value)
        return [float(score) for score in scores]
