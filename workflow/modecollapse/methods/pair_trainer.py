"""Preference tuning with losses that TRL has in no stable trainer, in its `DPOTrainer`, which does all the rest.

TRL's trainers of ORPO and CPO (with SimPO) are experimental: they tokenize anew, compute all logits of all positions,
and ORPO's learns prompts as well. Slow to import (TRL): only `run` functions import this module.
"""

from collections.abc import Mapping
from typing import Any

import torch

from modecollapse.methods import finetuning, preferences
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.preferences import PairLossSettings
from modecollapse.methods.trainers import PreferenceTrainer

_REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")


class PairTrainer(PreferenceTrainer):
    """Preference tuning with the loss of its settings, perhaps beside the likelihood of chosen answers (TRL's `sft`).

    The loss is given log-ratios if the examples hold a reference, else log-probabilities.
    """

    recipe: PairLossSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss, likelihood = self.recipe.loss(), self.recipe.likelihood
        self.loss_types = ["sft"] if likelihood else []
        self.loss_weights = [likelihood] if likelihood else []

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> torch.Tensor:
        outputs: list[Any] = []

        def noted(**arguments: Any) -> Any:
            outputs.append(model(**arguments))
            return outputs[-1]

        mask = inputs["completion_mask"][:, 1:]
        sizes, zeros = mask.sum(1), torch.zeros(len(mask) // 2, device=mask.device)
        reference = [inputs.get(name, zeros) for name in _REFERENCE]
        # The library computes what is on the curves, and the likelihood if there is a weight for it.
        whole = super()._compute_loss(noted, {**inputs, **dict(zip(_REFERENCE, reference, strict=True))}, False)
        sums = outputs[0].log_probs[:, -mask.shape[1] :].sum(1).chunk(2)
        compared = [each - other for each, other in zip(sums, reference, strict=True)]
        losses, *rewards = self.loss(*compared, *sizes.chunk(2))
        chosen, rejected = (reward.detach() for reward in rewards)
        metrics = self._metrics["train"]
        for name, values in {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).float(),
        }.items():
            metrics[name][-1] = values.mean().item()
        return whole + losses.mean()

    def _check_start(self, loss: torch.Tensor, inputs: Mapping[str, Any], amounts: Mapping[str, torch.Tensor]) -> None:
        if all(name in inputs for name in _REFERENCE):
            super()._check_start(loss, inputs, amounts)


def train_pairs(job: TrainingJob) -> TrainingRecord:
    """Tune `job.parent` on its pairs with the loss of its settings.

    Raises:
        StudyError: missing columns, no data, a pair that does not fit, log-probabilities of other pairs, a reference
            that is not the parent, or a loss that is not finite.
    """
    settings = job.settings
    assert isinstance(settings, PairLossSettings)
    model = finetuning.load_parent(job, settings)
    pairs = preferences.read(job, settings, model.tokenizer)
    # Log-probabilities of the reference come with the data, or there is none: the library has to compute none.
    options = {"beta": settings.scale, "precompute_ref_log_probs": True}
    arguments = (model, pairs.columns, pairs.lengths, pairs.tokens, options)
    return finetuning.train(job, settings, PairTrainer, *arguments)
