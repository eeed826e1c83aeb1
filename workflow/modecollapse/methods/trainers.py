"""TRL's trainers, held to what this project promises: exact resume, our data order, our schedule, no side effects.

Slow to import (TRL): only `run` functions import this module.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from transformers import Trainer, TrainerCallback
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from modecollapse.errors import StudyError
from modecollapse.methods.answer_head import add_answer_head
from modecollapse.methods.order import epoch_batches
from modecollapse.methods.progress import report
from modecollapse.methods.resume import checkpoint_path, keep_snapshot, remove_older, seal
from modecollapse.methods.schedule import learning_rate_share
from modecollapse.methods.settings import FineTuningSettings

_EQUAL_MODELS_LOSS = {"sigmoid": math.log(2), "sigmoid_norm": math.log(2), "robust": math.log(2), "hinge": 1.0}


class ProgressCallback(TrainerCallback):
    """A line in the log every tenth of the run, a point on the curve for the last update, and a stop at divergence."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if state.global_step == state.max_steps:
            control.should_log = True
        return control

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
        if "loss" in logs:
            report(state.global_step, state.max_steps, args.logging_steps, logs["loss"])


class EpochCallback(TrainerCallback):
    """Snapshots of the model where epochs end, each written before the Trainer saves its own state of that step.

    A checkpoint that is resumed from has thus all snapshots up to its step.
    """

    def __init__(self, snapshots: Mapping[int, Path], write: Callable[[Any, Path], None]) -> None:
        """`snapshots`: update after which an epoch ends → where its model goes; `write(model, directory)` puts it."""
        self.snapshots, self.write = snapshots, write

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **kwargs: Any) -> Any:
        if state.global_step in self.snapshots:
            keep_snapshot(self.snapshots[state.global_step], lambda directory: self.write(model, directory))
            control.should_log = True  # the epoch's part of the curves ends here
        return control


class _EpochBatches(BatchSampler):
    """Batches in the order of the data set, none of which spans two epochs."""

    def __init__(self, examples: int, epochs: int, batch_size: int) -> None:
        super().__init__(SequentialSampler(range(examples * epochs)), batch_size, drop_last=False)
        self.batches = epoch_batches(examples, epochs, batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(batch) for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Exact(Trainer):
    """What all fine-tuning trainers change in the library's; to be inherited before a TRL trainer."""

    recipe: FineTuningSettings
    lr_scheduler: LambdaLR | None

    def __init__(self, *args: Any, recipe: FineTuningSettings, **kwargs: Any) -> None:
        self.recipe = recipe
        super().__init__(*args, **kwargs)
        add_answer_head(self.model, statistics=True)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        # The data set already stands in the order of training (methods.order).
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)

    def get_train_dataloader(self) -> DataLoader:
        if not self.recipe.each_epoch:
            return super().get_train_dataloader()
        data: Any = self._remove_unused_columns(self.train_dataset, description="Training")
        epochs = self.recipe.epochs
        batches = _EpochBatches(len(data) // epochs, epochs, self.recipe.batch_size)
        return self.accelerator.prepare(
            DataLoader(
                data,
                batch_sampler=batches,
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        if self.lr_scheduler is None:
            recipe = self.recipe
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda step: learning_rate_share(step, num_training_steps, recipe.warmup_steps, recipe.schedule),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # The library loads with strict=False, which leaves GPT-NeoX's head as it was before training: it is called
        # lm_head in memory and embed_out on disk. from_pretrained knows the names, and strict=True proves it.
        model = self.model if model is None else model
        restored = type(model).from_pretrained(
            resume_from_checkpoint, dtype=model.dtype, use_safetensors=True, local_files_only=True
        )
        model.load_state_dict(restored.state_dict(), strict=True)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            checkpoint = checkpoint_path(Path(self.args.output_dir), self.state.global_step)
            seal(checkpoint)
            remove_older(checkpoint)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the manifest says how the model was made."""

    def _send_telemetry(self) -> None:
        """None: training tells nobody."""


class AnswerTrainer(_Exact, SFTTrainer):
    """Supervised fine-tuning on columns `input_ids` and `labels`."""

    configuration = SFTConfig


class PreferenceTrainer(_Exact, DPOTrainer):
    """Preference tuning on columns `prompt_ids`, `chosen_ids` and `rejected_ids`."""

    configuration = DPOConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_answer_head(self.ref_model, statistics=False)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # Tokenized already, in batches, which takes a tenth of the time (methods.examples).
        return dataset

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if self.state.global_step == 0 and self.model.training:
            self._check_start(loss)
        return loss

    def _check_start(self, loss: torch.Tensor) -> None:
        """Policy and reference must be equal before the first update, and the loss then be that of equal models.

        bfloat16 may round policy and reference apart; float32 may not.
        """
        tolerance = 1e-4 if self.recipe.dtype == "float32" else 0.05
        metrics = {name: self._metrics["train"][f"rewards/{name}"][-1] for name in ("chosen", "rejected")}
        expected = _EQUAL_MODELS_LOSS.get(self.loss_types[0]) if len(self.loss_types) == 1 else None
        wrong = any(not abs(reward) <= tolerance for reward in metrics.values())
        if wrong or (expected is not None and not abs(loss.item() - expected) <= tolerance):
            raise StudyError(
                f"The first {self.loss_types[0]} loss is {loss.item():.6f} with implicit rewards {metrics}, but before "
                f"the first update policy and reference are the same model (loss {expected}, rewards 0). "
                "The reference is not the parent: make the parent stage again."
            )
