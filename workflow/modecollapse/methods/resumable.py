"""What every one of the library's trainers is held to here: exact resume, our schedule, no side effects.

Slow to import (transformers).
"""

import json
from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import Trainer

from modecollapse.generation.models import load_causal_model
from modecollapse.methods.answer_head import add_answer_head
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.layout import Layout
from modecollapse.methods.lora import restore_adapter, train_in_float32
from modecollapse.methods.resume import checkpoint_path, remove_older, seal
from modecollapse.methods.schedule import learning_rate_share
from modecollapse.methods.settings import OptimisationSettings
from modecollapse.methods.zero import full_weights


class ResumableTrainer(Trainer, ABC):
    """What all trainers change in the library's; to be inherited before a TRL trainer, whose metrics it keeps."""

    head: ClassVar[str | None] = None
    """The name of a new layer that is trained in full beside an adapter."""
    keeps_dropout: ClassVar[bool] = False
    """Whether the network is trained with the dropout that its configuration states."""
    recipe: OptimisationSettings
    layout: Layout
    lr_scheduler: LambdaLR | None
    _tr_loss: torch.Tensor
    _globalstep_last_logged: int
    _metrics: dict[str, dict[str, list[float]]]

    def __init__(self, *args: Any, recipe: OptimisationSettings, layout: Layout, **kwargs: Any) -> None:
        self.recipe = recipe
        self.layout = layout
        super().__init__(*args, **kwargs)
        if recipe.lora is not None:
            train_in_float32(self.model)
        network = base_network(self.model)
        self.dropout = {} if self.keeps_dropout else turn_off_dropout(network)
        """What the parent's configuration states, which holds for what is published."""
        self._add_head(network)

    def _add_head(self, network: Any) -> None:
        """Have `network`, without its adapter, compute what the loss is of."""
        add_answer_head(network, statistics=True)

    @staticmethod
    def start(job: TrainingJob) -> Any:
        """The network that training starts from, in float32, as it was before an adapter was put on it."""
        assert job.parent is not None
        return load_causal_model(job.parent, "float32", job.threads, "cpu").network

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:
        if self.lr_scheduler is None:
            recipe = self.recipe
            self.lr_scheduler = LambdaLR(
                optimizer or self.optimizer,
                lambda step: learning_rate_share(step, num_training_steps, recipe.warmup_steps, recipe.schedule),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # A state that is saved between two points of the curves holds half of the next one's means.
        means = {"loss": self._tr_loss.item(), "logged": self._globalstep_last_logged}
        pending = {**means, "metrics": self._metrics["train"]}
        self._pending(output_dir).write_text(json.dumps(pending))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            saved = sorted(Path(checkpoint).glob("pending_*.json"))
            if len(saved) == self.args.world_size:
                saved = [self._pending(checkpoint)]
            # Other processes than those that saved share the sum of the losses; all else is the same in all of them.
            pending = [json.loads(path.read_text()) for path in saved]
            self._tr_loss = self._tr_loss + sum(each["loss"] for each in pending) / len(pending)
            self._globalstep_last_logged = pending[0]["logged"]
            self._metrics["train"].update(pending[0]["metrics"])

    def _pending(self, checkpoint: str) -> Path:
        return Path(checkpoint) / f"pending_{self.args.process_index}.json"

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        # The library loads with strict=False, which leaves GPT-NeoX's head as it was before training: it is called
        # lm_head in memory and embed_out on disk. from_pretrained knows the names, and strict=True proves it.
        model = self.model if model is None else model
        if self.recipe.lora is not None:
            restore_adapter(model, Path(resume_from_checkpoint))
            return
        restored = type(model).from_pretrained(
            resume_from_checkpoint, dtype=model.dtype, use_safetensors=True, local_files_only=True
        )
        model.load_state_dict(restored.state_dict(), strict=True)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()  # each process writes files of its own
        if self.args.should_save:
            checkpoint = checkpoint_path(Path(self.args.output_dir), self.state.global_step)
            seal(checkpoint)
            remove_older(checkpoint)
        self.accelerator.wait_for_everyone()  # nobody ends before it counts

    def gathered_weights(self) -> dict[str, torch.Tensor] | None:
        """All weights in float32 where processes hold parts of them, in the first process; else None."""
        return full_weights(self.model, self.args.should_save) if self.layout.zero_stage else None

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not self.layout.zero_stage:  # whose own checkpoints hold all that is needed to go on
            super().save_model(output_dir, _internal_call)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the manifest says how the model was made."""

    def _send_telemetry(self) -> None:
        """None: training tells nobody."""


def turn_off_dropout(network: Any) -> dict[str, float]:
    """Set all numbers of dropout to 0, also those that attention passes on to functions; returns the configuration's.

    The library turns off layers of dropout alone, so that policy and reference would be compared with other networks.
    """
    settings = vars(network.config.get_text_config())
    stated = _dropout(settings)
    for holder in (settings, *map(vars, network.modules())):
        holder.update(dict.fromkeys(_dropout(holder), 0.0))
    return stated


def _dropout(holder: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in holder.items() if "drop" in name and isinstance(value, float) and value}


def base_network(model: Any) -> Any:
    """The model below its adapter, if it has one."""
    return model.get_base_model() if hasattr(model, "peft_config") else model
