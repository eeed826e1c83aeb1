"""The common course of fine-tuning: load the parent, build the trainer, train or resume, save."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel
from modecollapse.methods import processes
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.lora import adapter_configuration, write_merged
from modecollapse.methods.model_files import copy_tokenizer
from modecollapse.methods.order import training_order
from modecollapse.methods.resume import (
    is_complete,
    newest_complete,
    remove_half_written,
    remove_of_other_kind,
    take_snapshot,
)
from modecollapse.methods.settings import FineTuningSettings, OptimisationSettings
from modecollapse.methods.start import load_start
from modecollapse.methods.zero import prepare_zero, zero_configuration

if TYPE_CHECKING:
    from modecollapse.methods.reward_model import RewardModel

logger = logging.getLogger(__name__)

_NOT_ON_CURVES = ("epoch", "step", "num_tokens")
"""`num_tokens` counts from the last resume; `TrainingRecord.tokens` is the true number."""


def load_parent(job: TrainingJob, settings: OptimisationSettings) -> CausalModel:
    """The parent's model in float32 and its tokenizer, read from disk. Raises as `load_start`."""
    assert job.parent is not None
    quantized = None if settings.lora is None else settings.lora.quantization
    # A quantized model stays where it is loaded, so it has to be loaded to where it is trained.
    device = processes.own_device(job.layout) if quantized else "cpu"
    return load_start(job.parent, job.format, settings.max_length, settings.dtype, quantized, job.threads, device)


def train(
    job: TrainingJob,
    settings: FineTuningSettings,
    trainer_class: Any,
    model: "CausalModel | RewardModel",
    examples: Mapping[str, Any],
    lengths: Sequence[int],
    tokens: Sequence[int],
    options: Mapping[str, Any] | None = None,
) -> TrainingRecord:
    """Train `model` on tokenized `examples` (column → one value per example) and write it to `job.output`.

    `lengths` are what examples may be grouped by, `tokens` how many tokens each shows the model; `options` are further
    arguments of the trainer's configuration. A run that was killed goes on from its newest complete checkpoint. With
    `each_epoch` the models go to `job.epoch_outputs`.
    """
    from datasets import Dataset

    order = training_order(lengths, settings.epochs, settings.batch_size, job.seed, settings.group_by_length)
    updates = math.ceil(len(lengths) / settings.batch_size)
    ends = [updates * epoch for epoch in range(1, settings.epochs + 1)] if settings.each_epoch else []
    steps = ends[-1] if ends else math.ceil(len(order) / settings.batch_size)
    snapshots = {end: job.state / f"epoch-{epoch}" for epoch, end in enumerate(ends, start=1)}
    accumulation = job.layout.accumulation(settings.batch_size)
    chosen = {
        "per_device_train_batch_size": math.ceil(settings.batch_size / job.layout.processes / accumulation),
        "max_length": None,  # truncated already
        **(options or {}),
    }
    data = Dataset.from_dict(dict(examples)).select(order)
    logger.info("%d examples, %d epochs, %d steps", len(lengths), settings.epochs, steps)
    trainer = run_trainer(job, settings, trainer_class, model, data, steps, accumulation, chosen, snapshots)
    curves, shown = curves_of(trainer), sum(tokens)
    if not ends:
        write_model(trainer, job, job.output)
        return TrainingRecord(steps=steps, tokens=shown * settings.epochs, curves=curves)
    epochs = []
    for epoch, (end, output) in enumerate(zip(ends, job.epoch_outputs, strict=True), start=1):
        if trainer.args.should_save:
            take_snapshot(snapshots[end], output)
        own = [point for point in curves if end - updates < point["step"] <= end]
        epochs.append(TrainingRecord(steps=end, tokens=shown * epoch, curves=own))
    return TrainingRecord(steps=steps, tokens=shown * settings.epochs, curves=curves, epochs=epochs)


def run_trainer(
    job: TrainingJob,
    settings: OptimisationSettings,
    trainer_class: Any,
    model: "CausalModel | RewardModel",
    data: Any,
    updates: int,
    accumulation: int,
    options: Mapping[str, Any],
    snapshots: Mapping[int, Path] | None = None,
    save_at: int = 1,
    **further: Any,
) -> Any:
    """The trainer, after so many `updates` of `model` on `data`, which stands in the order of training.

    A run that was killed goes on from its newest complete checkpoint.

    Args:
        job: what is trained.
        settings: how.
        trainer_class: a `ResumableTrainer`.
        model: the parent.
        data: a data set of the library.
        updates: how many are planned.
        accumulation: passes through the model that every process makes for one of them.
        options: further arguments of the trainer's configuration.
        snapshots: update → where the model after it is kept.
        save_at: the state can be saved after updates whose number this divides.
        further: arguments of the trainer.

    Raises:
        StudyError: an adapter cannot be made, or what the trainer raises.
        Stopped: the process was asked to stop; the state is kept.
    """
    from modecollapse.methods.callbacks import EpochCallback, ProgressCallback, StopCallback

    snapshots = snapshots or {}
    adapter = None
    if settings.lora is None:
        model.network.requires_grad_(True)
    elif job.layout.zero_stage:
        raise StudyError(
            f"lora: this job was given ZeRO stage {job.layout.zero_stage}, which shards weights that adapters need "
            "whole. Set lora.quantization: nf4, which takes an eighth of the memory, or use GPUs with more of it."
        )
    else:
        adapter = adapter_configuration(settings.lora, model.network, trainer_class.head)
    stop = StopCallback(job.layout, processes.asked_to_stop(job.state), save_at)
    arguments = trainer_class.configuration(**{**_arguments(job, settings, accumulation), **options})
    if arguments.n_gpu > 1 and job.layout.processes == 1:
        arguments._n_gpu = 1  # the Trainer would spread the model over all GPUs that it sees, and multiply the batch
    trainer = trainer_class(
        recipe=settings,
        layout=job.layout,
        model=model.network,
        args=arguments,
        train_dataset=data,
        processing_class=model.tokenizer,
        callbacks=[ProgressCallback(), stop],
        peft_config=adapter,
        **further,
    )
    trainer.add_callback(EpochCallback(snapshots, lambda to: write_model(trainer, job, to), trainer.args.should_save))
    processes.check_size(job.layout, trainer.args.world_size)
    _print_nothing(trainer)
    checkpoint = processes.decided_by_first(lambda: _checkpoint(job, snapshots))
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    made = trainer.state.global_step
    if stop.stopped:
        raise stopping.Stopped(f"asked to stop; the state after {made} of {updates} updates is kept")
    if made != updates:
        raise RuntimeError(f"{made} steps were made, {updates} were planned")
    return trainer


def _checkpoint(job: TrainingJob, snapshots: Mapping[int, Path]) -> Path | None:
    """What to go on from, after removing what is of no use."""
    remove_half_written(job.state)
    remove_of_other_kind(job.state, job.layout.kind_of_state)
    # Without the snapshot of an epoch, a checkpoint from after it is of no use.
    lost = next((end for end, snapshot in snapshots.items() if not is_complete(snapshot)), math.inf)
    return newest_complete(job.state, before=lost)


def write_model(trainer: Any, job: TrainingJob, directory: Path) -> None:
    """Write the model as it is now and the parent's tokenizer to `directory`.

    To be called by all processes, as they may hold a part of the weights each; the first one writes.
    """
    assert job.parent is not None
    weights = trainer.gathered_weights()
    if not trainer.args.should_save:
        return
    if trainer.recipe.lora is not None:
        write_merged(trainer.model, trainer.start(job), directory)
        copy_tokenizer(job.parent, directory)
        return
    network = trainer.model
    settings = vars(network.config.get_text_config())
    training, network.config.use_cache = network.config.use_cache, True
    settings.update(trainer.dropout)
    # The Trainer turns the cache off, and generation would inherit that.
    network.save_pretrained(directory, state_dict=weights)
    network.config.use_cache = training
    settings.update(dict.fromkeys(trainer.dropout, 0.0))
    copy_tokenizer(job.parent, directory)


def _arguments(job: TrainingJob, settings: OptimisationSettings, accumulation: int) -> dict[str, Any]:
    """Everything that TRL and the Trainer would otherwise decide by defaults of their own."""
    betas = settings.betas or (0.9, 0.999)
    layout, cuda = job.layout, processes.computes_on(job.layout) == "cuda"
    spread: dict[str, Any] = {}
    if layout.processes > 1:
        spread = {"ddp_backend": "nccl" if cuda else "gloo", "ddp_find_unused_parameters": False}
        # The only buffers are constants.
        spread |= {"ddp_broadcast_buffers": False, "average_tokens_across_devices": True}
    if layout.zero_stage:
        prepare_zero()
        spread["deepspeed"] = zero_configuration(job, settings, accumulation)
    return {
        **spread,
        "output_dir": str(job.state),
        "seed": job.seed,
        "data_seed": job.seed,
        "num_train_epochs": 1,  # the order holds all epochs
        "gradient_accumulation_steps": accumulation,
        "learning_rate": settings.learning_rate,
        "optim": "adamw_torch_fused" if settings.optimizer == "adamw" else "rmsprop",
        "adam_beta1": betas[0],
        "adam_beta2": betas[1],
        "adam_epsilon": 1e-8,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.clip,
        "use_cpu": not cuda,
        # DeepSpeed does its own casting.
        "bf16": settings.dtype == "bfloat16" and not layout.zero_stage,
        "fp16": False,
        "gradient_checkpointing": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": cuda,
        "dataloader_drop_last": False,
        "logging_strategy": "steps",
        "logging_steps": settings.log_every,
        "logging_first_step": False,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "eval_strategy": "no",
        "load_best_model_at_end": False,
        "report_to": "none",
        "disable_tqdm": True,
        "push_to_hub": False,
    }


def _print_nothing(trainer: Any) -> None:
    from transformers.trainer_callback import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def curves_of(trainer: Any) -> list[dict[str, float]]:
    """Logged points (`step` first); the entry at the end that sums up the run is left out."""
    return [
        {"step": entry["step"], **{key: float(value) for key, value in entry.items() if key not in _NOT_ON_CURVES}}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
