"""What it takes to train on answers that are sampled and scored on the way.

Beside the policy stand the reference, where no adapter can be taken off, and the reward model, both in float32; while
answers are sampled, keys and values take their place beside them, before activations do. Every answer goes through the
policy and the reference without a gradient, through the reward model, and once per pass through the policy that learns.
PPO has a critic as well: every answer goes through it once without a gradient and once per pass, and unless it is an
adapter it is trained in full beside the policy.
"""

from modecollapse.cells import Model
from modecollapse.methods.ppo import PpoSettings
from modecollapse.methods.rollout_settings import RolloutSettings
from modecollapse.resources import inference
from modecollapse.resources.known import Known
from modecollapse.resources.training import Adapter, Training

_BESIDE = 3
"""Forward passes of an answer beside the one that is learned from: policy, reference, reward model."""
_CRITIC = 1 + 3
"""Those of the critic: one without a gradient, and one that is learned from, which takes as much as three."""
_TRAINED = 16.0
"""Bytes per parameter of a model that is trained in full: weights, gradients and two moments in float32."""


def rollout_training(known: Known, model: Model, settings: RolloutSettings | PpoSettings) -> Training:
    """What such a job trains. Answers are taken to be as long as they may be."""
    shape, lora, reward = known.shape(model), settings.lora, known.study.reward(model)
    critic = isinstance(settings, PpoSettings)
    update = settings.minibatch_size or settings.batch_size
    sampling = inference.Generating(
        shape=shape,
        cells=settings.steps + 1,  # the parent's answers
        rows=settings.batch_size,
        prompts=settings.batch_size // settings.samples_per_prompt,
        prompt_length=settings.max_length - settings.max_new_tokens,
        new_tokens=settings.max_new_tokens,
        rows_per_batch=None,
        dtype="float32",
    )
    weights = 4.0 * shape.parameters
    cache = inference.generation_bytes(sampling, known.machine) - weights
    watching, watched_bytes = _watching(known, model, settings.steps)
    return Training(
        shape=shape,
        kind="answers",
        batch=update,
        length=settings.max_length,
        examples=settings.batch_size * settings.minibatch_epochs * settings.steps,
        tokens=settings.max_length,
        dtype=settings.dtype,
        moments=1 if isinstance(settings, RolloutSettings) and settings.optimizer == "rmsprop" else 2,
        adapter=None if lora is None else Adapter(lora.rank, lora.quantization is not None),
        save_every=settings.save_every * settings.minibatch_epochs * -(-settings.batch_size // update),
        forward_passes=_BESIDE + (_CRITIC if critic else 0),
        others=(0.0 if lora else weights)
        + (0.0 if reward is None else weights)
        + (_TRAINED * shape.parameters if critic and lora is None else 0.0)
        + max(0.0, cache)
        + watched_bytes,
        seconds_beside=inference.generation_seconds(sampling, known.machine, known.threads) + watching,
    )


def _watching(known: Known, model: Model, steps: int) -> tuple[float, float]:
    """Seconds and bytes of guard rails: the looks and one at the parent, a batch of theirs, and the good weights."""
    guards = known.study.guards(model)
    if guards is None:
        return 0.0, 0.0
    asked = [(rail.task, rail.shots) for rail in known.study.run_rails(model)]
    job = known.benchmarking(model, asked, guards.limit)
    looks = 2 + steps // guards.every
    return looks * inference.benchmark_seconds(job, known.machine, known.threads), inference.benchmark_bytes(job)
