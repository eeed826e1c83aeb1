"""The course of PPO: sample, score, estimate advantages, update, again. Slow to import (torch, transformers)."""

import logging
import math
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modecollapse import stopping
from modecollapse.errors import BrokenWeights, StudyError
from modecollapse.generation.prefill import RowMemory
from modecollapse.generation.rollouts import Rollout, sample_rollouts
from modecollapse.methods.answer_judge import AnswerJudge
from modecollapse.methods.base import TrainingJob, TrainingRecord
from modecollapse.methods.ppo import PpoSettings
from modecollapse.methods.ppo_losses import (
    advantages_and_returns,
    explained_variance,
    kl_of_answers,
    kl_of_update,
    masked_mean,
    normalised,
    policy_losses,
    token_rewards,
    value_losses,
)
from modecollapse.methods.ppo_models import Answers, Experience, Role, load_models
from modecollapse.methods.ppo_state import Checkpoints
from modecollapse.methods.rollout_prompts import Prompts, read_prompts
from modecollapse.methods.sampling_check import check_sampling
from modecollapse.methods.saving import SaveClock
from modecollapse.methods.schedule import learning_rate_share

if TYPE_CHECKING:  # the harness is slow to import, and few runs need it
    from modecollapse.methods.guarding import Guard

logger = logging.getLogger(__name__)

_LINES = 10
_DIFFERENCE = {"float32": 1e-3, "bfloat16": 0.1}
"""Nats per token, on average, by which sampling and training may differ in the log-probabilities of the same tokens."""


def train(job: TrainingJob, settings: PpoSettings) -> TrainingRecord:
    """See `ppo.run`."""
    course = Course(job, settings)
    clock = SaveClock(job.layout.save_minutes)
    while True:
        try:
            if course.finished:
                course.check_published()
                break
            course.iterate()
            if not course.finished:
                stopping.check()
        except stopping.Stopped:
            course.save()
            raise stopping.Stopped(
                f"asked to stop; the state after {course.step} of {settings.steps} iterations is kept"
            ) from None
        if not course.finished and (clock.is_due() or course.step % settings.save_every == 0):
            course.save_due = True
            clock.restart()
    course.models.write(job)
    return TrainingRecord(steps=course.published_step, tokens=course.tokens, curves=course.curves)


class Course:
    """A run under way: the models, their moments and the curves (see `ppo.run`) after `step` iterations."""

    def __init__(self, job: TrainingJob, settings: PpoSettings) -> None:
        assert job.parent is not None
        assert job.data is not None
        assert job.format is not None
        assert job.reward is not None
        self.job, self.settings = job, settings
        self.rows = job.layout.micro_batch or settings.minibatch_size
        self.step, self.tokens, self.stopped = 0, 0, False
        self.curves: list[dict[str, float]] = []
        self.models = load_models(job, settings.lora, settings.max_length, settings.dtype, self.rows)
        model = self.models.sampler(Role.REFERENCE)
        room = settings.max_length - settings.max_new_tokens
        self.prompts = read_prompts(job.data, model, job.format, room, settings.too_long)
        per_step = settings.batch_size // settings.samples_per_prompt
        order = self.prompts.order(per_step * settings.steps, job.seed, settings.balance_tasks)
        self.asked = [order[start : start + per_step] for start in range(0, len(order), per_step)]
        self.judge = AnswerJudge(self.models.scorer(job), model, job.world, settings.unended_penalty)
        groups = [(self.models.policy, settings.learning_rate), (self.models.critic, settings.critic_learning_rate)]
        self.optimizer = torch.optim.AdamW(
            [{"params": list(trained.values()), "lr": rate, "peak": rate} for trained, rate in groups],
            betas=settings.betas,
            eps=1e-8,
            weight_decay=0.0,
            fused=True,
        )
        self.good: dict[str, Tensor] = {}
        """The policy of the iteration before, where it may have to be gone back to."""
        self.gone_back_to: int | None = None
        """After how many iterations `good` was what `stop_kl` has the run end with."""
        self.memory = RowMemory()
        self.measured = True
        """Whether the KL of the present policy to the reference is known to be within `limit_kl`; at first it is 0."""
        self.save_due = False
        """Whether the present state is to be saved once that is known."""
        self.guard = None
        if job.guard is not None and settings.guard_rails is not None:
            from modecollapse.methods.guarding import Guard

            self.guard = Guard(job.guard, settings.guard_rails, settings.steps)
        self.checkpoints = Checkpoints(job.state, self.models.trained, self.optimizer)
        self._begin()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be learned."""
        return self.stopped or self.step == self.settings.steps

    @property
    def published_step(self) -> int:
        """Iterations that made the published policy."""
        if self.guard is not None and self.guard.failed:
            return self.guard.step
        return self.step if self.gone_back_to is None else self.gone_back_to

    def iterate(self) -> None:
        """Sample answers, estimate advantages, update in minibatches, stop if it went too far; a point of the curves.

        Raises:
            StudyError: the run diverged.
            Stopped: the process was asked to stop while it sampled; nothing has changed.
        """
        settings = self.settings
        experience = self.experience()
        measured = experience.measured
        self.stopped = self._too_far(measured["kl"])
        if settings.stop_kl is not None and not self.stopped:
            self.good = {name: weight.detach().clone() for name, weight in self.models.policy.items()}
        share = learning_rate_share(self.step, settings.steps, settings.warmup_steps, settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        updates = self._update(experience)
        if self.stopped:
            self._go_back(measured["kl"])
        self.step += 1
        self.measured = False
        further = {"learning_rate": settings.learning_rate * share, "stopped": float(self.stopped)}
        self.curves.append({"step": self.step, **measured, **updates, **further})
        if self.guard is not None and not self.stopped and self.guard.is_due(self.step):
            self._look(self.guard)
        if self.step * _LINES // settings.steps > (self.step - 1) * _LINES // settings.steps:
            told = (self.step, settings.steps, measured["score"], measured["kl"])
            logger.info("iteration %d of %d, score %.3f, KL %.2f", *told)

    def experience(self) -> Experience:
        """The policy's answers to the next prompts, with their advantages; changes nothing but the count of tokens.

        A state that is due to be saved is saved here, as soon as the answers tell that its policy is a good one.

        Raises:
            StudyError: the run diverged, or the model is not supported.
            Stopped: the process was asked to stop.
        """
        settings, models = self.settings, self.models
        places = np.repeat(self.asked[self.step], settings.samples_per_prompt).tolist()
        asked = self.prompts.at(places)
        rollouts = self._sample(Role.POLICY, f"iteration {self.step + 1}", places)
        tokens = [rollout.tokens for rollout in rollouts]
        answers = Answers.of(asked.ids, tokens, models.device)
        log_probs, entropy, reference, values = self._looked_at(answers)
        if not self.step:
            check_sampling(str(self.job.parent), rollouts, log_probs, _DIFFERENCE[settings.dtype])
        log_ratios, mask = log_probs - reference, answers.mask
        kl = kl_of_answers(log_ratios, mask).mean()
        self._check_distance(float(kl))
        scores = torch.from_numpy(self._scores(asked, tokens)).to(models.device)
        rewards = token_rewards(scores, log_ratios, mask, settings.kl_weight)
        advantages, returns = advantages_and_returns(rewards, values, mask, settings.gamma, settings.lam)
        if not bool(returns.isfinite().all()):
            raise self._diverged("a log-probability or a value of the critic is not a finite number")
        self.tokens += int(answers.lengths.sum())
        score = scores.mean()
        mean = masked_mean(advantages, mask)
        measured = {
            "score": score,
            "score_minus_kl": score - settings.kl_weight * kl,
            "baseline_score": self.baseline,
            "kl": kl,
            "kl_per_token": masked_mean(log_ratios, mask),
            "entropy": masked_mean(entropy, mask),
            "response_length": mask.sum() / len(mask),
            **self.judge.measured(asked.texts, tokens),
            "advantage_mean": mean,
            "advantage_std": masked_mean((advantages - mean) ** 2, mask).sqrt(),
            "explained_variance": explained_variance(values, returns, mask),
        }
        if settings.normalise_advantages:
            advantages = normalised(advantages, mask)
        numbers = {name: float(value) for name, value in measured.items()}
        return Experience(answers, log_probs, values, advantages, returns, numbers)

    @torch.no_grad()
    def _looked_at(self, answers: Answers) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the tokens, each (rows, steps): the policy's log-probabilities and entropies, the reference's, values."""
        parts = []
        for part in answers.parts(self.rows):
            policy, entropy = self.models.log_probabilities(Role.POLICY, part, self.settings.temperature)
            reference, _ = self.models.log_probabilities(Role.REFERENCE, part, self.settings.temperature)
            parts.append((policy, entropy, reference, self.models.values(part)))
        log_probs, entropies, references, values = (torch.cat(columns) for columns in zip(*parts, strict=True))
        return log_probs, entropies, references, values

    def _update(self, experience: Experience) -> dict[str, float]:
        """Minibatch updates on an iteration's answers, and the means of what is measured before each of them.

        Once the run has stopped they are measured, in one pass, and not made.
        """
        settings = self.settings
        means: dict[str, list[float]] = defaultdict(list)
        updates = 0
        for minibatch in self._minibatches(len(experience.answers)):
            measured = self.gradients(experience, minibatch)
            for name, value in measured.items():
                means[name].append(value)
            if not math.isfinite(measured["policy_loss"] + measured["value_loss"]):
                raise self._diverged(f"the losses are {measured['policy_loss']} and {measured['value_loss']}")
            if self.stopped:
                continue
            if settings.target_update_kl is not None and measured["update_kl"] > settings.target_update_kl:
                break
            for group in self.optimizer.param_groups:
                norm = torch.nn.utils.clip_grad_norm_(group["params"], settings.max_grad_norm)
                if not bool(norm.isfinite()):
                    raise self._diverged(f"the norm of a gradient is {float(norm)}")
            self.optimizer.step()
            updates += 1
        first = means.pop("ratio")[0]
        averaged = {name: sum(values) / len(values) for name, values in means.items()}
        return {**averaged, "ratio_first": first, "updates": float(updates)}

    def _minibatches(self, rows: int) -> Iterator[NDArray[np.int64]]:
        size = self.settings.minibatch_size
        for epoch in range(1 if self.stopped else self.settings.minibatch_epochs):
            order = np.random.default_rng([self.job.seed, self.step, epoch]).permutation(rows)
            yield from (order[start : start + size] for start in range(0, rows, size))

    def gradients(self, experience: Experience, minibatch: NDArray[np.int64]) -> dict[str, float]:
        """Leave the gradients of a minibatch's losses, which are means over its tokens; returns what they were."""
        settings, models = self.settings, self.models
        self.optimizer.zero_grad()
        device = experience.answers.mask.device
        whole = experience.answers.mask[torch.from_numpy(minibatch).to(device)].sum()
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=device))
        for start in range(0, len(minibatch), self.rows):
            rows = torch.from_numpy(minibatch[start : start + self.rows]).to(device)
            answers, old = experience.answers.rows(rows), experience.log_probs[rows]
            share = answers.mask.sum() / whole
            log_probs, entropy = models.log_probabilities(Role.POLICY, answers, settings.temperature)
            losses, ratios = policy_losses(log_probs, old, experience.advantages[rows], settings.clip_policy)
            policy_loss = masked_mean(losses - settings.entropy_weight * entropy, answers.mask)
            (policy_loss * share).backward()
            values = models.values(answers)
            losses = value_losses(values, experience.values[rows], experience.returns[rows], settings.clip_value)
            value_loss = masked_mean(losses, answers.mask)
            (value_loss * share).backward()
            with torch.no_grad():
                beyond = ((ratios - 1).abs() > settings.clip_policy).float()
                of_tokens = {"clip_share": beyond, "update_kl": kl_of_update(log_probs - old), "ratio": ratios}
                means = {name: masked_mean(each, answers.mask) for name, each in of_tokens.items()}
                for name, mean in {"policy_loss": policy_loss, "value_loss": value_loss, **means}.items():
                    sums[name] += mean * share
        return {name: float(value) for name, value in sums.items()}

    def check_published(self) -> None:
        """Measure the policy that the last updates have made; one of an early stop was. Raises as `experience`."""
        if self.stopped:
            return
        places = self.prompts.order(self.settings.batch_size, self.job.seed, self.settings.balance_tasks)
        tokens = [rollout.tokens for rollout in self._sample(Role.POLICY, "published", places)]
        answers = Answers.of(self.prompts.at(places).ids, tokens, self.models.device)
        log_probs, _, reference, _ = self._looked_at(answers)
        kl = float(kl_of_answers(log_probs - reference, answers.mask).mean())
        self._check_distance(kl)
        self.stopped = self._too_far(kl)
        if self.stopped:
            self._go_back(kl)
            self.curves[-1]["stopped"] = 1.0

    def _too_far(self, kl: float) -> bool:
        return self.settings.stop_kl is not None and kl > self.settings.stop_kl

    def _go_back(self, kl: float) -> None:
        """Early stop: the policy is that of the iteration before again, whose KL was within `stop_kl`."""
        logger.warning(
            "stopping after iteration %d: the KL to the reference is %.2f nats per answer (stop_kl %s); the policy is "
            "that of the iteration before", self.step, kl, self.settings.stop_kl,
        )  # fmt: skip
        self.gone_back_to = max(0, self.step - 1)
        with torch.no_grad():
            for name, weight in self.good.items():
                self.models.policy[name].copy_(weight)

    def _look(self, guard: "Guard") -> None:
        """Put the policy to the benchmarks; if it has fallen, it is that of the last look again, and the run ends."""
        self.curves[-1] |= guard.look(self.step, self.models.sampler(Role.POLICY), self.models.policy)
        self.stopped = guard.failed
        self.curves[-1]["stopped"] = float(self.stopped)

    def _sample(self, role: Role, stream: str, places: list[int]) -> list[Rollout]:
        """An answer to the prompt at each of these places."""
        settings = self.settings
        prompts = {str(place): self.prompts.ids[place] for place in places}
        taken: dict[int, Iterator[int]] = defaultdict(count)  # a prompt may be asked several times
        rows = [(str(place), next(taken[place])) for place in places]
        named = f"ppo, seed {self.job.seed}, {stream}"
        model = self.models.sampler(role)
        # Before the first update there are no moments yet, and there is nothing to go on from.
        memory = self.memory if self.step else None
        try:
            with self.models.casting():
                return sample_rollouts(
                    model, prompts, rows, settings.temperature, settings.max_new_tokens, named, memory=memory
                )
        except BrokenWeights as error:
            raise self._diverged(f"the policy cannot be sampled from: {error}") if self.step else error from error

    def _scores(self, asked: Prompts, answer_ids: list[list[int]]) -> NDArray[np.float32]:
        """As `AnswerJudge.scores`; an error says when."""
        try:
            return self.judge.scores(asked.texts, asked.ids, answer_ids)
        except StudyError as error:
            if not self.step:
                raise
            when = f"In iteration {self.step + 1} of {self.settings.steps}"
            raise StudyError(f"{when}: {error} {self._kept()}") from error

    def _check_distance(self, kl: float) -> None:
        """Raises StudyError if the present policy is too far from the reference; saves its state if not, and if due."""
        if not math.isfinite(kl):
            raise self._diverged(f"the KL to the reference is {kl}: a log-probability is not a finite number")
        if kl > self.settings.limit_kl:
            raise self._diverged(f"the KL to the reference is {kl:.1f} nats per answer (limit_kl)")
        self.measured = True
        if self.save_due:
            self.save()
        self.checkpoints.confirm(self.step)

    def _diverged(self, what: str) -> StudyError:
        steps = self.settings.steps
        return StudyError(
            f"PPO diverged in iteration {min(self.step + 1, steps)} of {steps}: {what}. {self._kept()} Lower "
            "learning_rate or minibatch_epochs, raise kl_weight, or set stop_kl to end the run before that."
        )

    def _kept(self) -> str:
        """Where the newest state of a policy that is known to be good is kept; newer ones are removed."""
        return self.checkpoints.told_kept(self.step + self.measured)

    def save(self) -> None:
        """Keep the present state, if anything has been learned."""
        self.save_due = False
        if self.step:
            progress: dict[str, Any] = {
                "tokens": self.tokens,
                "baseline": self.baseline,
                "curves": self.curves,
                "measured": self.measured,
                "row_memory": self.memory.bytes,
            }
            good = self.good
            if self.guard is not None:
                watched, progress["guard"] = self.guard.state()
                good = {**good, **watched}
            self.checkpoints.write(self.step, good, progress)

    def _begin(self) -> None:
        """Go on from the newest state that is kept, or measure what the reference's own answers score."""
        kept = self.checkpoints.read_newest()
        if kept is None:
            places = self.prompts.order(self.settings.batch_size, self.job.seed, self.settings.balance_tasks)
            rollouts = self._sample(Role.REFERENCE, "baseline", places)
            scores = self._scores(self.prompts.at(places), [rollout.tokens for rollout in rollouts])
            self.baseline = float(scores.mean())
            if self.guard is not None:
                self.guard.begin(self.models.sampler(Role.POLICY), self.models.policy)
        else:
            self.step, self.good, progress = kept
            self.tokens, self.baseline, self.curves = (progress[name] for name in ("tokens", "baseline", "curves"))
            self.measured, self.memory.bytes = progress["measured"], progress["row_memory"]
            if self.guard is not None:
                self.good = self.guard.restore(self.good, progress["guard"])
