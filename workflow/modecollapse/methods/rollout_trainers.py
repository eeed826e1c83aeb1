"""TRL's trainers on sampled answers, held to what this project promises (`modecollapse.methods.resumable`).

Answers are sampled by our own engine (`modecollapse.generation.rollouts`), whose random numbers have no state, and are
scored by token ids (`modecollapse.methods.answer_judge`). Slow to import (TRL): only `run` functions import this
module.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from modecollapse import stopping
from modecollapse.errors import BrokenWeights, StudyError
from modecollapse.generation.models import CausalModel
from modecollapse.generation.prefill import RowMemory
from modecollapse.generation.rollouts import Rollout, sample_rollouts
from modecollapse.methods.answer_head import add_answer_head
from modecollapse.methods.examples import Ids
from modecollapse.methods.resumable import ResumableTrainer
from modecollapse.methods.resume import checkpoint_path, told_kept
from modecollapse.methods.rollout_settings import RolloutSettings
from modecollapse.methods.sampling_check import check_sampling

CURVES = {
    "score": "score",
    "kl per answer": "kl",
    "completions/mean_length": "response_length",
    "share_ended": "share_ended",
    "utility": "utility",
    "frac_reward_zero_std": "share_tied",
    "clip_ratio/region_mean": "clip_share",
}
"""Quantities that TRL, the judge or these trainers measure → their names on the curves."""

_DIFFERENCE = {"float32": 1e-4, "bfloat16": 0.05}
"""Nats per token that two ways of computing one log-probability may differ by on average."""


_MEMORY = "row_memory.json"


class RolloutTrainer(ResumableTrainer, ABC):
    """What trainers on sampled answers change in the library's; to be inherited before a TRL trainer.

    The data set has one row for every prompt of every step: `prompt`, as it stands in the data, and `prompt_ids`.
    """

    recipe: RolloutSettings
    processing_class: Any
    ref_model: Any
    num_generations: int
    _step: int

    def __init__(self, *args: Any, parent: CausalModel, stream: str, baseline: float, **kwargs: Any) -> None:
        """`parent`: the model that is tuned, for what is known of it beside its weights. `stream`: of random numbers.
        `baseline`: the mean score of the parent's answers, which the curves repeat."""
        super().__init__(*args, **kwargs)
        self.parent, self.stream, self.baseline = parent, stream, baseline
        self.memory = RowMemory()
        self.given: list[Ids] = []
        self.rollouts: list[Rollout] = []
        self._log_probs, self._entropies = torch.empty(0), torch.empty(0)
        if self.ref_model is not None:
            add_answer_head(self.ref_model, statistics=False)

    def _generate_and_score_completions(self, inputs: list[Mapping[str, Any]]) -> dict[str, Any]:
        self.given = [row["prompt_ids"] for row in inputs]
        found: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return found

    def _tokenize_prompts(self, prompts: Sequence[str]) -> tuple[list[Ids], None, dict[str, Any]]:
        # Rendered and tokenized already: the library would put special tokens before a prompt once more.
        return self.given, None, {}

    def _sampled(self, prompt_ids: Sequence[Ids]) -> list[Ids]:
        """Token ids of an answer to each prompt, the equal ones of a group one after the other."""
        model = replace(self.parent, network=self.model, device=self.accelerator.device)
        try:
            with self.accelerator.autocast():
                named = f"{self.stream} step {self.state.global_step // self.recipe.updates_per_step}"
                # Before the first update there are no moments yet, and there is nothing to go on from.
                memory = self.memory if self.state.global_step else None
                self.rollouts = answers(model, prompt_ids, self.num_generations, self.recipe, named, memory)
        except BrokenWeights as error:
            if not self.state.global_step:
                raise
            raise self._diverged(str(error)) from error
        except stopping.Stopped:
            # Between two steps, as after the last update: it is saved as the callback would have done.
            if self.state.global_step and not self._checkpoint.exists():
                self._save_checkpoint(self.model, trial=None)
            raise
        return [rollout.tokens for rollout in self.rollouts]

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        (Path(output_dir) / _MEMORY).write_text(json.dumps(self.memory.bytes))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is not None:
            self.memory.bytes = json.loads((Path(checkpoint) / _MEMORY).read_text())

    @property
    def _checkpoint(self) -> Path:
        """Where the present state is kept, if it is."""
        return checkpoint_path(Path(self.args.output_dir), self.state.global_step)

    def _diverged(self, what: str) -> StudyError:
        recipe = self.recipe
        where = told_kept(Path(self.args.output_dir), self.state.global_step)  # the present weights are of no use
        return StudyError(
            f"Training diverged in step {self.state.global_step // recipe.updates_per_step + 1} of {recipe.steps}: "
            f"{what} {where} Lower learning_rate or raise kl_weight."
        )

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """Log-probabilities and entropies of the last `logits_to_keep` tokens of rows that are padded on both sides.

        The library leaves the padding between position 0 and the prompt, which models with learned positions do not
        bear, and which keeps several rows from being laid out in one. Here rows are padded on the right.
        """
        rows = _aligned(input_ids, attention_mask, logits_to_keep)
        fields: dict[str, list[torch.Tensor]] = {"log_probs": [], "entropy": []}
        for start in range(0, len(input_ids), batch_size or len(input_ids)):
            part = slice(start, start + (batch_size or len(input_ids)))
            with self.accelerator.autocast():
                scored = model(
                    input_ids=rows.input_ids[part],
                    attention_mask=rows.attention_mask[part],
                    labels=rows.labels[part],
                    fused_lm_head=True,
                )
            for name in ("log_probs", "entropy") if compute_entropy else ("log_probs",):
                fields[name].append(scored[name].gather(1, rows.places[part]).masked_fill(~rows.answers[part], 0.0))
        self._log_probs = torch.cat(fields["log_probs"])
        if self.state.global_step == 0 and self.rollouts:
            parent, most = self.parent.tokenizer.name_or_path, _DIFFERENCE[self.recipe.dtype]
            check_sampling(parent, self.rollouts, self._log_probs, most)
            self.rollouts = []
        if compute_entropy:
            self._entropies = torch.cat(fields["entropy"])
        return self._log_probs, self._entropies if compute_entropy else None, None

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        self._metrics["train"]["entropy per answer"].append(self._entropies.sum(1).mean().item())
        return loss

    def _check_start(self, kl: float) -> None:
        """Raises StudyError unless policy and reference are equal before the first update; `kl` in nats per token."""
        if self.state.global_step == 0 and not abs(kl) <= _DIFFERENCE[self.recipe.dtype]:
            raise StudyError(
                f"Before the first update policy and reference differ by {kl:.3g} nats per token, but both are the "
                "parent. Its files were changed while they were read: run the same command again."
            )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As the library's, under our names, and with what follows from them; without what we do not show."""
        metrics = self._metrics["train"]
        points = {ours: metrics[theirs] for theirs, ours in CURVES.items() if metrics.get(theirs)}
        entropy = fmean(metrics["entropy per answer"] or [0.0])
        metrics.clear()
        if points:
            kl, length = fmean(points["kl"]), fmean(points["response_length"])
            points["score_minus_kl"] = [fmean(points["score"]) - self.recipe.kl_weight * kl]
            points["baseline_score"] = [self.baseline]
            # Over tokens: the library's own are means of means over passes, whose numbers of tokens differ.
            points["kl_per_token"] = [kl / length]
            points["entropy"] = [entropy / length]
        metrics.update(points)
        super().log(logs, start_time)

    @abstractmethod
    def _generate_single_turn(self, prompt_ids: Sequence[Ids], *_: Any) -> Any:
        """What the library's trainer takes for the answers of its own engine."""


class LeaveOneOutTrainer(RolloutTrainer, RLOOTrainer):
    """RLOO."""

    configuration = RLOOConfig

    def _generate_single_turn(self, prompt_ids: Sequence[Ids], *_: Any) -> Any:
        return self._sampled(prompt_ids)

    def _generate_and_score_completions(self, inputs: list[Mapping[str, Any]]) -> dict[str, Any]:
        found = super()._generate_and_score_completions(inputs)
        metrics = self._metrics["train"]
        # The library's is a mean over all tokens of the batch.
        metrics["kl per answer"].append(metrics["kl"][-1] * metrics["completions/mean_length"][-1])
        self._check_start(metrics["kl"][-1])
        return found


class GroupRelativeTrainer(RolloutTrainer, GRPOTrainer):
    """GRPO."""

    configuration = GRPOConfig

    def _generate_single_turn(self, prompt_ids: Sequence[Ids], *_: Any) -> Any:
        return self._sampled(prompt_ids), None

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        loss = super()._compute_loss(model, inputs)
        # Of the policy that answered, by the estimate log(policy / reference), as for other methods: the library's own,
        # which stays in the loss, is never negative, and another.
        policy = inputs.get("old_per_token_logps", self._log_probs)
        ratios = (policy - inputs["ref_per_token_logps"]).detach() * inputs["completion_mask"]
        self._metrics["train"]["kl per answer"].append(ratios.sum(1).mean().item())
        self._check_start((ratios.sum() / inputs["completion_mask"].sum()).item())
        return loss


def answers(
    model: CausalModel,
    prompt_ids: Sequence[Ids],
    samples: int,
    recipe: RolloutSettings,
    stream: str,
    memory: RowMemory | None = None,
) -> list[Rollout]:
    """An answer to each prompt, of which `samples` equal ones follow each other: random numbers are told by places."""
    prompts = {str(place): prompt_ids[place] for place in range(0, len(prompt_ids), samples)}
    rows = [(str(place // samples * samples), place % samples) for place in range(len(prompt_ids))]
    return sample_rollouts(model, prompts, rows, 1.0, recipe.max_new_tokens, stream, memory=memory)


@dataclass(frozen=True)
class _Rows:
    """Rows that are padded on the right, each (rows, length) unless said otherwise."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    """-100 but on answers."""
    places: torch.Tensor
    """(rows, answer tokens): where among the predictions of a row those of its answer are."""
    answers: torch.Tensor
    """(rows, answer tokens): true where there is one."""


def _aligned(input_ids: torch.Tensor, attention_mask: torch.Tensor, answer: int) -> _Rows:
    """Rows of a prompt, padded on the left, and `answer` tokens, padded on the right, with all padding on the right."""
    width = input_ids.shape[1] - answer
    prompts, lengths = attention_mask[:, :width].sum(1, keepdim=True), attention_mask.sum(1, keepdim=True)
    columns = torch.arange(int(lengths.max()), device=input_ids.device)
    shifted = (columns + width - prompts).clamp(max=input_ids.shape[1] - 1)
    real = columns < lengths
    ids = input_ids.gather(1, shifted).masked_fill(~real, 0)
    labels = ids.masked_fill(~real | (columns < prompts), -100)
    places = prompts - 1 + torch.arange(answer, device=input_ids.device)
    return _Rows(ids, real.long(), labels, places.clamp(max=len(columns) - 2), attention_mask[:, width:].bool())
