"""What it takes to train on answers that are sampled and scored on the way.

Beside the policy stand the reference, where no adapter can be taken off, and the reward model, both in float32; while
answers are sampled, keys and values take their place beside them, before activations do. Every answer goes through the
policy and the reference without a gradient, through the reward model, and once per pass through the policy that learns.
"""

from modecollapse.cells import Model
from modecollapse.methods.rollout_settings import RolloutSettings
from modecollapse.resources import inference
from modecollapse.resources.known import Known
from modecollapse.resources.training import Adapter, Training

_BESIDE = 3
"""Forward passes of an answer beside the one that is learned from: policy, reference, reward model."""


def rollout_training(known: Known, model: Model, settings: RolloutSettings) -> Training:
    """What such a job trains. Answers are taken to be as long as they may be."""
    shape, lora, reward = known.shape(model), settings.lora, known.study.reward(model)
    sampling = inference.Generating(
        shape=shape,
        cells=settings.steps + 1,  # the parent's answers
        rows=settings.batch_size,
        prompts=settings.prompts_per_step,
        prompt_length=settings.max_length - settings.max_new_tokens,
        new_tokens=settings.max_new_tokens,
        rows_per_batch=None,
        dtype="float32",
    )
    weights = 4.0 * shape.parameters
    cache = inference.generation_bytes(sampling, known.machine) - weights
    return Training(
        shape=shape,
        kind="answers",
        batch=settings.update_size,
        length=settings.max_length,
        examples=settings.batch_size * settings.minibatch_epochs * settings.steps,
        tokens=settings.max_length,
        dtype=settings.dtype,
        moments=2 if settings.optimizer == "adamw" else 1,
        adapter=None if lora is None else Adapter(lora.rank, lora.quantization is not None),
        save_every=settings.save_every * settings.updates_per_step,
        forward_passes=_BESIDE,
        others=(weights if lora is None else 0.0) + (0.0 if reward is None else weights) + max(0.0, cache),
        seconds_beside=inference.generation_seconds(sampling, known.machine, known.threads),
    )
