"""TRL's trainers on given examples, held to what this project promises (`modecollapse.methods.resumable`).

Slow to import (TRL): only `run` functions import this module.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.utils.data import DataLoader, SequentialSampler
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.trainer import dpo_trainer

from modecollapse.errors import StudyError
from modecollapse.methods.answer_head import add_answer_head
from modecollapse.methods.order import epoch_batches, updates
from modecollapse.methods.resumable import ResumableTrainer
from modecollapse.methods.settings import FineTuningSettings
from modecollapse.methods.sharing import COUNTS, EpochBatches, Shares, shared_loader

_UNITS = {
    "entropy": "both tokens",
    "mean_token_accuracy": "chosen tokens",
    "logits/chosen": "chosen tokens",
    "logits/rejected": "rejected tokens",
}
"""What those quantities on preference curves are means over that are not means over pairs."""

_FLOAT32_ROUNDING = 1e-6
"""Share of a log-probability that batches of other shapes may change it by in float32, at most (seen: 1e-7)."""

_ROUNDING = 0.04
"""Standard deviation, at most, of what bfloat16 does to a token's log-probability: a logit of 10 is rounded by 0.03."""

_EQUAL_MODELS_LOSS = {"sigmoid": math.log(2), "sigmoid_norm": math.log(2), "robust": math.log(2), "hinge": 1.0}


class ExactTrainer(ResumableTrainer, ABC):
    """What fine-tuning trainers on given examples change in the library's; to be inherited before a TRL trainer.

    A batch that is cut into passes, or shared by processes, gives the loss and the curves of the whole one: every pass
    is weighted by its share of what the batch's mean is over, which neither library does for a last, smaller batch.
    """

    pairs: ClassVar[bool] = False
    """Whether the two halves of a batch's rows follow the same prompts."""
    recipe: FineTuningSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._whole = self.layout.is_whole(self.recipe.batch_size)
        self._shares = Shares(self.accelerator)

    def _add_head(self, network: Any) -> None:
        add_answer_head(network, statistics=True, pairs=self.pairs)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        # The data set already stands in the order of training (methods.order).
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def get_train_dataloader(self) -> DataLoader:
        recipe = self.recipe
        if self._whole and not recipe.each_epoch:
            return super().get_train_dataloader()
        data: Any = self._remove_unused_columns(self.train_dataset, description="Training")
        pin_memory = self.args.dataloader_pin_memory
        if recipe.each_epoch:
            batches = epoch_batches(len(data) // recipe.epochs, recipe.epochs, recipe.batch_size)
        else:
            batches = updates(len(data), recipe.batch_size)
        if self._whole:
            return self.accelerator.prepare(
                DataLoader(
                    data, batch_sampler=EpochBatches(batches), collate_fn=self.data_collator, pin_memory=pin_memory
                )
            )
        return shared_loader(
            data,
            batches,
            self.args.process_index,
            self.layout.processes,
            self.args.gradient_accumulation_steps,
            self.data_collator,
            pin_memory,
        )

    @abstractmethod
    def _amounts(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """How much of each unit that something is a mean over these examples have."""

    @abstractmethod
    def _unit(self, metric: str) -> str:
        """What a quantity on the curves is a mean over."""

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: Any) -> Any:
        if self._whole:
            return super()._get_num_items_in_batch(batch_samples, device)
        amounts: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        for inputs in batch_samples:
            for unit, amount in self._amounts(inputs).items():
                amounts[unit] += amount.to(device) * inputs[COUNTS].to(device)
        self._shares.begin(amounts)
        return self._shares.whole.get("tokens")

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        if self._whole:
            return super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)
        counts = inputs.pop(COUNTS)
        amounts = {unit: amount * counts for unit, amount in self._amounts(inputs).items()}
        with self._shares.alone():
            loss = self._share_of_loss(model, inputs, amounts, num_items_in_batch)
        metrics = self._metrics["train"]
        for name in metrics:
            if metrics[name] and name != "num_tokens":
                self._shares.add(name, metrics[name].pop(), amounts[self._unit(name)])
        if self.accelerator.sync_gradients:
            for name, mean in self._shares.means(self._unit).items():
                metrics[name].append(mean)
        return loss * counts

    def _share_of_loss(
        self, model: Any, inputs: Any, amounts: Mapping[str, torch.Tensor], num_items_in_batch: Any
    ) -> torch.Tensor:
        """The part of the whole batch's loss that these examples make, times the number of processes.

        Processes average their gradients afterwards.
        """
        return super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)


class AnswerTrainer(ExactTrainer, SFTTrainer):
    """Supervised fine-tuning on columns `input_ids` and `labels`, with the dropout that the parent states."""

    configuration = SFTConfig
    keeps_dropout = True

    def _amounts(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        return {"tokens": (inputs["labels"][:, 1:] != -100).sum()}

    def _unit(self, metric: str) -> str:
        return "tokens"


# TRL would name a cache of the reference's log-probabilities by a digest of all weights, which takes a minute for
# billions; here they come with the data.
dpo_trainer.hash_module = lambda module: None


class PreferenceTrainer(ExactTrainer, DPOTrainer):
    """Preference tuning on columns `prompt_ids`, `chosen_ids` and `rejected_ids`, with `ref_chosen_logps` and
    `ref_rejected_logps`: no second model is needed."""

    configuration = DPOConfig
    pairs = True
    loss_weights: list[Any]

    def _precompute_ref_logps(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Computed already, by a job of their own (methods.reference).
        return dataset

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Tokenized already, in batches, which takes a tenth of the time (methods.examples).
        return dataset

    def _amounts(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        chosen, rejected = (mask.sum() for mask in inputs["completion_mask"][:, 1:].chunk(2))
        pairs = torch.tensor(len(inputs["completion_mask"]) // 2, device=chosen.device)
        return {"pairs": pairs, "chosen tokens": chosen, "rejected tokens": rejected, "both tokens": chosen + rejected}

    def _unit(self, metric: str) -> str:
        return _UNITS.get(metric, "pairs")

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if self._whole and self.state.global_step == 0 and self.model.training:
            self._check_start(loss, inputs, self._amounts(inputs))
        return loss

    def _share_of_loss(
        self, model: Any, inputs: Any, amounts: Mapping[str, torch.Tensor], num_items_in_batch: Any
    ) -> torch.Tensor:
        whole = self._shares.whole
        share = amounts["pairs"] / whole["pairs"]
        weights = list(self.loss_weights)
        if "sft" in self.loss_types and amounts["pairs"]:  # its mean is over tokens, the others' are over pairs
            place = self.loss_types.index("sft")
            of_tokens = amounts["chosen tokens"] / whole["chosen tokens"] / share
            self.loss_weights = [*weights[:place], weights[place] * of_tokens, *weights[place + 1 :]]
        try:
            loss = super()._share_of_loss(model, inputs, amounts, num_items_in_batch)
        finally:
            self.loss_weights = weights
        if self.state.global_step == 0:
            self._check_start(loss, inputs, amounts)
        # The library divides by the number of passes, as if all were equal.
        return loss * share * self.layout.processes * self.current_gradient_accumulation_steps

    def _check_start(self, loss: torch.Tensor, inputs: Mapping[str, Any], amounts: Mapping[str, torch.Tensor]) -> None:
        """Policy and reference must be equal before the first update, and the loss then be that of equal models."""
        logps = torch.cat([inputs[f"ref_{answer}_logps"] for answer in ("chosen", "rejected")])
        longer = torch.maximum(amounts["chosen tokens"], amounts["rejected tokens"])
        tolerance = start_tolerance(self.recipe.dtype, self.beta, logps, longer, amounts["pairs"])
        metrics = {name: self._metrics["train"][f"rewards/{name}"][-1] for name in ("chosen", "rejected")}
        expected = _EQUAL_MODELS_LOSS.get(self.loss_types[0]) if len(self.loss_types) == 1 else None
        wrong = any(not abs(reward) <= tolerance for reward in metrics.values())
        if wrong or (expected is not None and not abs(loss.item() - expected) <= tolerance):
            raise other_reference(loss.item(), f"implicit rewards {metrics}", expected)


def start_tolerance(dtype: str, beta: float, logps: torch.Tensor, tokens: torch.Tensor, answers: torch.Tensor) -> float:
    """How far from 0 the mean reward of equal models may be.

    They are computed in different batches, which may round them apart: bfloat16 token by token, float32 by a share of
    the answer's log-probability.

    Args:
        dtype: what they are computed with.
        beta: what rewards are multiples of.
        logps: (…,) log-probabilities of answers in the reference.
        tokens: how many tokens `answers` answers have together.
    """
    tolerance = max(1e-4, beta * _FLOAT32_ROUNDING * float(logps.abs().max()))
    if dtype == "bfloat16":
        rounding = beta * _ROUNDING * tokens.sqrt() / answers.clamp(min=1)
        tolerance = max(0.05, 4 * rounding.item(), tolerance)
    return tolerance


def other_reference(loss: float, rewards: str, expected: float | None) -> StudyError:
    """What is said of a training that does not start where equal models must."""
    return StudyError(
        f"The first loss is {loss:.6f} with {rewards}, but before the first update policy and reference are the same "
        f"model ({'' if expected is None else f'loss {expected}, '}rewards 0). "
        "The log-probabilities of the reference are not those of the parent: delete their file (references/ "
        "in the study's results) and its copy in the store, and run the same command again."
    )
