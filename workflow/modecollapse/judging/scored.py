"""Judges that score answers: of a pair the answer with the higher score wins. Slow to import (torch) for a model.

Scores are compared within a pair and nowhere else: those of answers to different prompts have no common scale.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from modecollapse.data.nano.world import WorldSettings
from modecollapse.errors import StudyError
from modecollapse.judging.pairs import Answer, Judged, Pair
from modecollapse.judging.verdicts import Verdict
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.prompts import PromptFormat


def judged_by_scores(pairs: Sequence[Pair], scores: NDArray[np.floating]) -> Iterator[tuple[Pair, Judged]]:
    """The verdict on each pair; equal texts and equal scores are ties.

    Args:
        pairs: any.
        scores: (unequal pairs, 2), of the stage's answer and of the reference's.
    """
    left = iter(scores.tolist())
    for pair in pairs:
        if pair.equal:
            yield pair, Judged(Verdict.TIE)
            continue
        ours, other = next(left)
        verdict = Verdict.TIE if ours == other else Verdict.WIN if ours > other else Verdict.LOSS
        yield pair, Judged(verdict, scores=(ours, other))


def function_scores(name: str, world: WorldSettings | None, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    """What a function of `methods.reward_functions` gives to the answers of pairs: (pairs, 2).

    Raises:
        StudyError: it cannot judge a prompt.
    """
    questions = [pair.question for pair in pairs for _ in range(2)]
    found = FUNCTIONS[name](world)(questions, [text for pair in pairs for text in pair.shown()])
    return _finite(np.array(found, dtype=np.float64).reshape(-1, 2), name, pairs)


def model_scores(
    name: str, weights: Path, form: PromptFormat, most: int, pairs: Sequence[Pair], threads: int, device: str
) -> NDArray[np.float32]:
    """What a reward model gives to the answers of pairs, prompts put as it was trained on them: (pairs, 2).

    Args:
        name: what it is called, for messages.
        weights: its directory.
        form: the format of its training text.
        most: tokens that completions were sampled with at most.
        pairs: any.
        threads: CPU threads of this process.
        device: where it computes.

    Raises:
        StudyError: the model cannot be loaded, a text is longer than its context, or a score is no number.
    """
    from modecollapse.generation.models import load_tokenizer
    from modecollapse.methods.base import RewardSource
    from modecollapse.methods.scoring import open_scorer
    from modecollapse.rendering import continued_ids, render

    # Its own tokenizer: answers are read as texts, whoever wrote them.
    tokenizer = load_tokenizer(weights)
    scorer = open_scorer(RewardSource(name, weights), None, tokenizer, threads, device)
    rendered = [render(form, tokenizer, pair.question, pair.start) for pair in pairs]
    owners = [place for place in range(len(pairs)) for _ in range(2)]
    answers = [answer for pair in pairs for answer in (pair.stage, pair.reference)]
    prompt_ids, ids = continued_ids(tokenizer, rendered, owners, [answer.text for answer in answers])
    scores = scorer.score(
        [pairs[owner].question for owner in owners],
        [prompt_ids[owner] for owner in owners],
        [_ended(each, answer, most, tokenizer.eos_token_id) for each, answer in zip(ids, answers, strict=True)],
    )
    return scores.reshape(-1, 2)


def _ended(ids: Sequence[int], answer: Answer, most: int, end: int) -> list[int]:
    """Token ids of an answer as training has them: with the end-of-text token, if the model wrote one."""
    return [*ids[: most - 1], end] if answer.finish_reason == "eos" else list(ids[:most])


def _finite(scores: NDArray[np.float64], name: str, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1))
    if wrong.size:
        pair = pairs[int(wrong[0])]
        raise StudyError(
            f"measures.judgements: {name} gives no number to answers to the prompt {pair.prompt} ({pair.prompts}), "
            "which it cannot judge. Name the prompt sets that it can judge in measures.judgements.prompts (utility: "
            "prompts of the study's world)."
        )
    return scores
