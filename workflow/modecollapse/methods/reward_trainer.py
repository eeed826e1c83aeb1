"""TRL's trainer of reward models, held to what this project promises (`methods.trainers.ExactTrainer`).

Slow to import (TRL): only `run` functions import this module.
"""

import types
from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput
from trl import RewardConfig, RewardTrainer

from modecollapse.errors import StudyError
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.resumable import base_network
from modecollapse.methods.reward import RewardSettings
from modecollapse.methods.reward_model import HEAD, last_scores, start_reward_model
from modecollapse.methods.trainers import ExactTrainer


class _PairLoss(RewardTrainer):
    """−log σ(score of the chosen answer − score of the rejected one), and the curves that go with it."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        chosen, rejected = model(**inputs, use_cache=False).logits.squeeze(-1).chunk(2)
        margins = chosen - rejected
        with torch.no_grad():
            found = {
                "accuracy": (margins.sign() + 1) / 2,  # a tie is half right
                "margin": margins,
                "score/chosen": chosen,
                "score/rejected": rejected,
            }
            for name, values in found.items():
                self._metrics["train"][name].append(values.mean().item())
        return -functional.logsigmoid(margins).mean()


class ScoreTrainer(ExactTrainer, _PairLoss):
    """Training of a reward model on columns `chosen_ids` and `rejected_ids`, each a prompt with its answer."""

    configuration = RewardConfig
    head = HEAD
    recipe: RewardSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        settings, tokenizer = kwargs["model"].config.get_text_config(), kwargs["processing_class"]
        padding = settings.pad_token_id, tokenizer.pad_token
        super().__init__(*args, **kwargs)
        # TRL sets end-of-text where there is none, which the library would then pass over in what is published.
        settings.pad_token_id, tokenizer.pad_token = padding
        if self.recipe.head_warmup_steps and self.layout.zero_stage:
            raise StudyError(
                "head_warmup_steps: the head cannot be trained alone where DeepSpeed shards the gradients, and this "
                f"job was given ZeRO stage {self.layout.zero_stage}. Train an adapter (lora), use fewer or larger "
                "GPUs, or set head_warmup_steps: 0 and a warmup_steps."
            )

    def _add_head(self, network: Any) -> None:
        def forward(
            self: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
        ) -> SequenceClassifierOutput:
            return SequenceClassifierOutput(logits=last_scores(self, input_ids, attention_mask.sum(1)).unsqueeze(-1))

        network.forward = types.MethodType(forward, network)

    @staticmethod
    def start(job: TrainingJob) -> Any:
        assert job.parent is not None
        return start_reward_model(job.parent, job.seed, job.threads, "cpu").network

    def _amounts(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        rows = inputs["input_ids"]
        return {"pairs": torch.tensor(len(rows) // 2, device=rows.device)}

    def _unit(self, metric: str) -> str:
        return "pairs"

    def _share_of_loss(
        self, model: Any, inputs: Any, amounts: Mapping[str, torch.Tensor], num_items_in_batch: Any
    ) -> torch.Tensor:
        loss = super()._share_of_loss(model, inputs, amounts, num_items_in_batch)
        share = amounts["pairs"] / self._shares.whole["pairs"]
        # The library divides by the number of passes, as if all were equal.
        return loss * share * self.layout.processes * self.current_gradient_accumulation_steps

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if self.state.global_step < self.recipe.head_warmup_steps:
            # Without a gradient a weight stays as it is, and so do the optimizer's averages of it.
            for name, parameter in base_network(self.model).named_parameters():
                if not name.startswith(f"{HEAD}."):
                    parameter.grad = None
        return loss
