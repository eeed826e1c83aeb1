"""The pretraining loop. Slow to import (torch): only `pretrain.run` imports this module."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.methods.architecture import neox_config, new_model
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.examples import read_texts
from modecollapse.methods.model_files import copy_tokenizer
from modecollapse.methods.packing import packed
from modecollapse.methods.pretrain_settings import PretrainSettings
from modecollapse.methods.processes import computes_on
from modecollapse.methods.progress import report
from modecollapse.methods.resume import checkpoint_path, newest_complete, remove_older, seal
from modecollapse.methods.saving import SaveClock
from modecollapse.methods.schedule import learning_rate_share
from modecollapse.publishing import publish_directory


def train(job: TrainingJob, settings: PretrainSettings) -> TrainingRecord:
    """See `pretrain.run`. A plain loop: it starts 2 s sooner than the Trainer, and its state needs no pickle."""
    assert job.architecture is not None
    assert job.tokenizer is not None
    assert job.data is not None
    torch.set_num_threads(job.threads)
    disable_progress_bar()
    if settings.sequence_length > job.architecture.context:
        raise StudyError(
            f"sequence_length {settings.sequence_length} is longer than the architecture's context, "
            f"{job.architecture.context} tokens. Set sequence_length to at most {job.architecture.context}."
        )
    texts = read_texts(job.data, ("text",))["text"]
    tokenizer = AutoTokenizer.from_pretrained(job.tokenizer, trust_remote_code=False, local_files_only=True)
    if tokenizer.eos_token_id is None:
        raise StudyError(f"The tokenizer in {job.tokenizer} names no end-of-text token, which separates documents.")
    documents = tokenizer(texts, add_special_tokens=False)["input_ids"]

    steps = math.ceil(settings.tokens / (settings.batch_size * settings.sequence_length))
    rows = packed(documents, tokenizer.eos_token_id, steps * settings.batch_size, settings.sequence_length, job.seed)
    config = neox_config(job.architecture, len(tokenizer), tokenizer.eos_token_id, tokenizer.bos_token_id)
    device = computes_on(job.layout)
    run = _Run(new_model(config, job.seed).to(device), settings, steps)
    checkpoint = newest_complete(job.state)
    if checkpoint is not None:
        run.load(checkpoint)
    clock = SaveClock(job.layout.save_minutes)
    while run.step < steps:
        batch = rows[run.step * settings.batch_size : (run.step + 1) * settings.batch_size]
        run.update(torch.from_numpy(batch.astype("int64")).to(device))
        stop = stopping.requested()
        if (stop or clock.is_due() or run.step % settings.save_every == 0) and run.step < steps:
            run.save(job.state)
            clock.restart()
            if stop:
                raise stopping.Stopped(f"asked to stop; the state after {run.step} of {steps} updates is kept")
    run.model.save_pretrained(job.output)
    copy_tokenizer(job.tokenizer, job.output)
    return TrainingRecord(steps=steps, tokens=rows.shape[0] * settings.sequence_length, curves=run.curves)


class _Run:
    """A training under way: weights, optimizer and curves after `step` updates."""

    def __init__(self, model: Any, settings: PretrainSettings, steps: int) -> None:
        self.model = model
        self.settings = settings
        self.steps = steps
        self.step = 0
        self.curves: list[dict[str, float]] = []
        matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
        vectors = [parameter for parameter in model.parameters() if parameter.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=1e-8,
            fused=True,
        )
        self._losses: list[torch.Tensor] = []
        self._norms: list[torch.Tensor] = []
        model.train()

    def update(self, batch: torch.Tensor) -> None:
        """One update on `batch`, (sequences, length + 1) token ids."""
        warmup = round(self.settings.warmup * self.steps)
        share = learning_rate_share(self.step, self.steps, warmup, self.settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * share
        hidden = self.model.gpt_neox(batch[:, :-1], use_cache=False).last_hidden_state
        logits = self.model.lm_head(hidden)
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.step += 1
        self._losses.append(loss.detach())
        self._norms.append(norm)
        if self.step % self.settings.log_every == 0 or self.step == self.steps:
            self._log(self.settings.learning_rate * share)

    def _log(self, learning_rate: float) -> None:
        loss = float(torch.stack(self._losses).mean())
        report(self.step, self.steps, self.settings.log_every, loss)
        norm = float(torch.stack(self._norms).mean())
        self.curves.append({"step": self.step, "loss": loss, "grad_norm": norm, "learning_rate": learning_rate})
        self._losses.clear()
        self._norms.clear()

    def save(self, state: Path) -> None:
        """Write a sealed checkpoint; safetensors and JSON only."""
        moments = {}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                moments[f"{name}:{key}"] = value
        path = checkpoint_path(state, self.step)
        with publish_directory(path) as partial:
            save_file(self.model.state_dict(), partial / "model.safetensors")
            save_file(moments, partial / "optimizer.safetensors")
            # A state that is saved between two points of the curve holds part of the next one's means.
            pending = {"losses": _numbers(self._losses), "norms": _numbers(self._norms)}
            progress = {"step": self.step, "curves": self.curves, **pending}
            (partial / "progress.json").write_text(json.dumps(progress))
            seal(partial)
        remove_older(path)

    def load(self, checkpoint: Path) -> None:
        """Go on from `checkpoint`."""
        device = str(next(self.model.parameters()).device)
        progress = json.loads((checkpoint / "progress.json").read_text())
        self.step, self.curves = progress["step"], progress["curves"]
        self._losses, self._norms = (
            [torch.tensor(number, device=device) for number in progress[name]] for name in ("losses", "norms")
        )
        self.model.load_state_dict(load_file(checkpoint / "model.safetensors", device=device), strict=True)
        moments = load_file(checkpoint / "optimizer.safetensors", device=device)
        for name, parameter in self.model.named_parameters():
            prefix = f"{name}:"
            self.optimizer.state[parameter] = {
                key.removeprefix(prefix): value for key, value in moments.items() if key.startswith(prefix)
            }


def _numbers(tensors: list[torch.Tensor]) -> list[float]:
    return [tensor.item() for tensor in tensors]
