"""TRL's `KTOTrainer`, held to what this project promises.

Slow to import (TRL): only `run` functions import this module.
"""

from collections.abc import Mapping
from typing import Any

import torch
from trl import KTOConfig, KTOTrainer
from trl.trainer import kto_trainer

from modecollapse.methods.kto import KtoSettings
from modecollapse.methods.sharing import COUNTS
from modecollapse.methods.trainers import ExactTrainer, other_reference, start_tolerance

# TRL would name a cache of the reference's log-probabilities by a digest of all weights; here they come with the data.
kto_trainer.hash_module = lambda module: None

_OF_A_KIND = ("rewards", "logps")
_SHARE = "desirable"


def _configuration(**arguments: Any) -> KTOConfig:
    # TRL refuses passes of one answer, in which its own divergence would be that of the answer itself. Ours is that of
    # the batch, and batches are cut by our loader.
    return KTOConfig(**{**arguments, "per_device_train_batch_size": max(2, arguments["per_device_train_batch_size"])})


class KtoTrainer(ExactTrainer, KTOTrainer):
    """Tuning on columns `prompt_ids`, `completion_ids`, `label` and `ref_logps`, and for the divergence from the
    reference `KL_completion_ids` and `ref_KL_logps`.

    The divergence is that of the whole batch, also where it is cut into passes, and is computed without dropout.
    """

    configuration = staticmethod(_configuration)
    recipe: KtoSettings

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # tokenized already (methods.examples)

    def _precompute_ref_logps(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset  # computed already (methods.reference)

    def _amounts(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        mask = inputs["completion_mask"]
        return {"answers": torch.tensor(len(mask), device=mask.device), "tokens": mask[:, 1:].sum()}

    def _unit(self, metric: str) -> str:
        return "tokens" if metric == "entropy" else "answers"

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        items = super()._get_num_items_in_batch(batch_samples, device)
        # What a model learns from mismatched answers is nothing, so they need no gradient, and no random numbers: those
        # of a resumed run are restored after this.
        self.model.eval()
        differences = []
        for sample in batch_samples:
            inputs = self._prepare_inputs(dict(sample))
            if float(inputs.pop(COUNTS, 1.0)):
                logps = super()._compute_kl_logps(self.model, inputs)
                differences.append(logps - inputs["ref_KL_logps"])
        self.model.train()
        self._divergence = torch.cat(differences).mean()
        return items

    def _compute_kl_logps(self, model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
        return batch["ref_KL_logps"] + self._divergence

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> torch.Tensor:
        inputs["ref_KL_logps"] = torch.zeros_like(inputs["ref_KL_logps"])
        metrics = self._metrics["train"]
        of_a_kind = [f"{name}/{kind}" for name in (*_OF_A_KIND, "logits") for kind in ("chosen", "rejected")]
        before = {name: metrics.pop(name, []) for name in (*of_a_kind, "rewards/margins")}
        loss: torch.Tensor = super()._compute_loss(model, inputs, False)
        desirable = inputs["label"].float().mean().item()
        # Kept as means over all answers, of which there always are some, and divided again when they are logged.
        for name in _OF_A_KIND:
            for kind, share in (("chosen", desirable), ("rejected", 1 - desirable)):
                found = metrics.pop(f"{name}/{kind}", [0.0])[-1]
                metrics[f"{name}/{kind}"] = [*before[f"{name}/{kind}"], found * share]
        for name in ("logits/chosen", "logits/rejected", "rewards/margins"):
            metrics.pop(name, None)
        metrics[_SHARE].append(desirable)
        if self.state.global_step == 0:
            self._check_start(loss, inputs)
        return loss

    def _share_of_loss(
        self, model: Any, inputs: Any, amounts: Mapping[str, torch.Tensor], num_items_in_batch: Any
    ) -> torch.Tensor:
        loss = super()._share_of_loss(model, inputs, amounts, num_items_in_batch)
        share = amounts["answers"] / self._shares.whole["answers"]
        return loss * share * self.current_gradient_accumulation_steps

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write a point of the curves; what is of one kind of answers is missing where there were none."""
        metrics = self._metrics["train"]
        shares = metrics.pop(_SHARE, [])
        for kind, share in (("chosen", sum(shares)), ("rejected", len(shares) - sum(shares))):
            for name in _OF_A_KIND:
                found = metrics.pop(f"{name}/{kind}", [])
                if share > 0:
                    metrics[f"{name}/{kind}"] = [sum(found) / share]
        if "rewards/chosen" in metrics and "rewards/rejected" in metrics:
            metrics["rewards/margins"] = [metrics["rewards/chosen"][0] - metrics["rewards/rejected"][0]]
        super().log(logs, start_time)

    def _check_start(self, loss: torch.Tensor, inputs: Mapping[str, Any]) -> None:
        """Policy and reference must be equal before the first update: no rewards, and half of the weights as loss."""
        amounts, beta = self._amounts(inputs), self.beta
        tolerance = start_tolerance(self.recipe.dtype, beta, inputs["ref_logps"], amounts["tokens"], amounts["answers"])
        share = inputs["label"].float().mean().item()
        expected = 0.5 * (self.desirable_weight * share + self.undesirable_weight * (1 - share))
        found = [self._metrics["train"][f"rewards/{kind}"][-1] for kind in ("chosen", "rejected")]
        divergence = beta * self._divergence.item()
        largest = max(self.desirable_weight, self.undesirable_weight)
        wrong = any(not abs(reward) <= tolerance for reward in (*found, divergence))
        if wrong or not abs(loss.item() - expected) <= tolerance * largest:
            raise other_reference(loss.item(), f"implicit rewards {found} and {divergence} of others", expected)
