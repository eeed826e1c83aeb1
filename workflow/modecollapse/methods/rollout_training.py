"""The common course of tuning on sampled answers: prompts, scorer, the parent's own answers, training."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from modecollapse.errors import StudyError
from modecollapse.methods import finetuning, processes
from modecollapse.methods.answer_judge import AnswerJudge
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.rollout_prompts import read_prompts
from modecollapse.methods.rollout_settings import RolloutSettings
from modecollapse.methods.scoring import open_scorer
from modecollapse.publishing import publish_file

_BASELINE = "baseline.json"

_STATED: dict[str, Any] = {
    # Sampled from is the very distribution that is tuned. Our own engine does so; TRL's, which is told the same, is not
    # called, but takes the temperature into its log-probabilities.
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": None,
    "repetition_penalty": 1.0,
    "generation_kwargs": None,
    "cache_implementation": None,
    "use_vllm": False,
    "use_transformers_continuous_batching": False,
    # Policy, old policy and reference are compared alike.
    "disable_dropout": True,
    # The data set stands in the order of use, and its column of ids is needed.
    "shuffle_dataset": False,
    "remove_unused_columns": False,
    "pad_to_multiple_of": None,
    # An answer that was cut off is trained as any other.
    "mask_truncated_completions": False,
    "reward_weights": [1.0],
    "epsilon_high": None,
    "router_aux_loss_coef": 0.0,
    # The reference is the parent all along.
    "sync_ref_model": False,
    "model_init_kwargs": None,
    "trust_remote_code": False,
    "log_completions": False,
    "use_liger_kernel": False,
}


def train(
    job: TrainingJob, settings: RolloutSettings, trainer_class: Any, options: Mapping[str, Any]
) -> TrainingRecord:
    """Tune `job.parent` by `trainer_class` to answer the prompts in `job.data` as `job.reward` likes it.

    A point of the curves is measured on a step's answers before they update the model. Means over answers: `score`,
    the reward's less `unended_penalty`; `score_minus_kl`, less β times `kl` as well; `kl` to the reference, in nats;
    `response_length`, in tokens; `share_ended`; in a world `utility`, of the answers that it can judge. The same all
    along: `baseline_score`, of the parent's answers to the prompts of the first step. Mean over tokens: `kl_per_token`,
    in nats. `share_tied`: of the prompts whose answers all have the same score (RLOO: less β times the answer's KL, so
    that from the second step on hardly any but those of equal answers do), from which nothing is learned. Means over a
    step's updates, each measured before it is made: `entropy`, over tokens, in nats; `clip_share`, of the answers
    (GRPO: of the tokens) whose ratio is clipped.

    Raises:
        StudyError: no prompts, none that fits, a score or loss that is not a finite number, a reward with another
            tokenizer, or a model that cannot be trained here.
    """
    from datasets import Dataset

    from modecollapse.methods.rollout_trainers import answers

    assert job.parent is not None
    assert job.data is not None
    assert job.format is not None
    assert job.reward is not None
    if job.layout.processes > 1:
        raise StudyError(
            f"This job was given {job.layout.processes} processes, but it samples and trains in one. "
            "Set machine.training_gpus: 1."
        )
    model = finetuning.load_parent(job, settings)
    # The library pads with end-of-text where there is nothing else. What follows the first one is never looked at, but
    # what is published must not say so: a reward model trained from it would pass over the end of answers.
    tokens = {name: getattr(model.network.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    generation = deepcopy(model.network.generation_config)
    room = settings.max_length - settings.max_new_tokens
    prompts = read_prompts(job.data, model, job.format, room, settings.too_long)
    device = processes.own_device(job.layout)
    scorer = open_scorer(job.reward, job.world, model.tokenizer, job.threads, device)
    judge = AnswerJudge(scorer, model, job.world, settings.unended_penalty)
    order = prompts.order(settings.prompts_per_step * settings.steps, job.seed, settings.balance_tasks)
    stream = f"{job.seed}"

    def parents_score() -> float:
        network = model.network.to(device)
        places = [place for place in order[: settings.prompts_per_step] for _ in range(settings.samples_per_prompt)]
        asked = prompts.at(places)
        here = replace(model, network=network, device=next(network.parameters()).device)
        found = answers(here, asked.ids, settings.samples_per_prompt, settings, f"{stream} baseline")
        tokens = [rollout.tokens for rollout in found]
        return float(judge.scores(asked.texts, asked.ids, tokens).mean())

    baseline = _kept(job.state / _BASELINE, parents_score)
    accumulation = _passes(settings.update_size, job.layout.accumulation(settings.update_size))
    trainer = finetuning.run_trainer(
        job,
        settings,
        trainer_class,
        model,
        Dataset.from_dict({"prompt": prompts.texts, "prompt_ids": prompts.ids}).select(order),
        settings.steps * settings.updates_per_step,
        accumulation,
        {
            **_STATED,
            **options,
            "per_device_train_batch_size": settings.update_size // accumulation,
            "num_generations": settings.samples_per_prompt,
            "steps_per_generation": settings.batch_size // settings.update_size * accumulation,
            "num_iterations": settings.minibatch_epochs,
            "epsilon": settings.clip_policy,
            "beta": settings.kl_weight,
            "max_completion_length": settings.max_new_tokens,
            "logging_steps": settings.log_every * settings.updates_per_step,
            "save_steps": settings.save_every * settings.updates_per_step,
        },
        save_at=settings.updates_per_step,
        parent=model,
        stream=stream,
        baseline=baseline,
        reward_funcs=[judge],
    )
    vars(model.network.config).update(tokens)
    model.network.generation_config = generation
    finetuning.write_model(trainer, job, job.output)
    curves = [{**point, "step": point["step"] // settings.updates_per_step} for point in finetuning.curves_of(trainer)]
    # Counted by TRL in the state that checkpoints keep.
    return TrainingRecord(steps=settings.steps, tokens=int(trainer.state.num_input_tokens_seen), curves=curves)


def _kept(path: Path, measure: Callable[[], float]) -> float:
    """What was measured when the run began, and is kept at `path` for its other beginnings."""
    if not path.exists():
        value = measure()
        with publish_file(path) as partial:
            partial.write_text(json.dumps(value))
    return float(json.loads(path.read_text()))


def _passes(update: int, wanted: int) -> int:
    """The fewest passes, at least `wanted`, that an update of so many answers can be cut into evenly."""
    return next(passes for passes in range(wanted, update + 1) if update % passes == 0)
