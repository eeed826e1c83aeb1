"""Whether what is trained is the model that answers are sampled from. Slow to import (torch)."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from modecollapse.errors import StudyError
from modecollapse.generation.rollouts import Rollout


def check_sampling(model: str, rollouts: Sequence[Rollout], log_probs: Tensor, largest: float) -> None:
    """Check that training gives the tokens of answers the log-probabilities that they were sampled with.

    Some architectures do more to their logits than their output layer: then training would be of another model.

    Args:
        model: where the model is kept, for the message.
        rollouts: answers, sampled with the weights as they are.
        log_probs: (rows, steps) in nats, by the training pass; what stands beyond an answer's end is not looked at.
        largest: mean difference in nats per token that rounding explains.

    Raises:
        StudyError: they differ by more.
    """
    pairs = zip(rollouts, log_probs.detach().float().cpu().numpy(), strict=True)
    errors = [np.abs(row[: len(rollout.tokens)] - rollout.log_probs) for rollout, row in pairs]
    difference = float(np.concatenate(errors).mean())
    if not difference <= largest:
        raise StudyError(
            f"The model in {model} gives its tokens other log-probabilities when it is trained than when it is sampled "
            f"from: they differ by {difference:.3g} nats per token. Supported are models whose logits are those of "
            "their output layer, such as GPT-NeoX or Llama. Use one of these."
        )
