"""The models of PPO: policy, reference, critic and, if it can be, the reward model, over one copy of the parent.

The RL paper (section 3.1) holds the parent's weights once; the other models are adapters and heads of it:

| role | adapter | head |
| --- | --- | --- |
| policy | trained | the parent's output layer |
| reference | none | the parent's output layer |
| critic | trained; begins as the reward's, or without effect | trained; begins as the reward's, or at zero |
| reward | that of the reward stage | that of the reward stage |

Without adapters (`SeparateModels`, for small models) policy and critic are copies that are trained in full. Slow to
import (torch, transformers).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.methods import processes
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.methods.lora import DIRECTORY, LoraSettings, adapter_configuration, write_merged
from modecollapse.methods.model_files import copy_tokenizer
from modecollapse.methods.ppo_losses import entropies
from modecollapse.methods.scoring import Ids, Scorer, finite, open_scorer
from modecollapse.methods.start import load_start


class Role(StrEnum):
    """What a model is for; also the name of its adapter, of which PEFT calls the first "default"."""

    POLICY = "default"
    REFERENCE = "reference"
    CRITIC = "critic"
    REWARD = "reward"


@dataclass(frozen=True)
class Answers:
    """Prompts, each followed by an answer; quantities per answer token are (rows, steps), from the left."""

    input_ids: Tensor
    """(rows, length), padded on the right, which causal attention never looks at."""
    lengths: Tensor
    """(rows,) tokens of prompt and answer."""
    places: Tensor
    """(rows, steps): the position whose state predicts the token; 0 beyond an answer's end."""
    tokens: Tensor
    """(rows, steps): the answers' tokens."""
    mask: Tensor
    """(rows, steps): whether the answer has that many tokens."""

    @classmethod
    def of(cls, prompts: Sequence[Ids], answers: Sequence[Ids], device: torch.device) -> "Answers":
        """Prompts and answers of at least one token each, on `device`."""
        rows = [torch.tensor([*prompt, *answer]) for prompt, answer in zip(prompts, answers, strict=True)]
        tokens = pad_sequence([torch.tensor(answer) for answer in answers], batch_first=True)
        steps = torch.arange(tokens.shape[1])
        mask = steps < torch.tensor([[len(answer)] for answer in answers])
        places = torch.tensor([[len(prompt) - 1] for prompt in prompts]) + steps
        parts = (pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows]))
        return cls(*(part.to(device) for part in (*parts, torch.where(mask, places, 0), tokens, mask)))

    def __len__(self) -> int:
        return len(self.input_ids)

    def rows(self, chosen: Tensor) -> "Answers":
        """Some of the rows, without the padding that none of them needs on the input."""
        lengths = self.lengths[chosen]
        return Answers(
            self.input_ids[chosen, : int(lengths.max())], lengths, self.places[chosen], self.tokens[chosen],
            self.mask[chosen],
        )  # fmt: skip

    def parts(self, rows: int) -> Iterator["Answers"]:
        """All rows, so many at a time."""
        for start in range(0, len(self), rows):
            yield self.rows(torch.arange(start, min(start + rows, len(self)), device=self.mask.device))


@dataclass(frozen=True)
class Experience:
    """The answers of one iteration and all that its updates need of them; tensors are (rows, steps)."""

    answers: Answers
    log_probs: Tensor
    """Of the policy that answered."""
    values: Tensor
    """Of the critic before the updates."""
    advantages: Tensor
    returns: Tensor
    measured: dict[str, float]
    """The iteration's point on the curves, as far as it is known before the updates."""


class PpoModels(ABC):
    """The models by role, their trained parameters by name, and what they say of answers.

    All of them stay in evaluation mode: dropout would make policy and reference differ.
    """

    policy: dict[str, torch.nn.Parameter]
    critic: dict[str, torch.nn.Parameter]
    """Those of its head included."""

    def __init__(self, parent: CausalModel, dtype: str) -> None:
        self._parent, self._dtype = parent, dtype
        self.device = parent.device
        self.value_head = torch.nn.Linear(parent.network.config.get_text_config().hidden_size, 1).to(parent.device)
        for parameter in self.value_head.parameters():
            torch.nn.init.zeros_(parameter)

    @property
    def trained(self) -> dict[str, torch.nn.Parameter]:
        """All that is trained, by role and name."""
        groups = {"policy": self.policy, "critic": self.critic}
        return {f"{role}.{name}": weight for role, named in groups.items() for name, weight in named.items()}

    @abstractmethod
    def network(self, role: Role) -> Any:
        """The causal network (of the critic the body alone counts), which computes as `role` until the next call."""

    @abstractmethod
    def write(self, job: TrainingJob) -> None:
        """Write the policy in float32 and the parent's tokenizer to the job's output."""

    def scorer(self, job: TrainingJob) -> Scorer:
        """What scores answers by the job's reward. Raises as `open_scorer`."""
        assert job.reward is not None
        return open_scorer(job.reward, job.world, self._parent.tokenizer, job.threads, str(self.device))

    def sampler(self, role: Role) -> CausalModel:
        """What answers of the policy or the reference are sampled from, until the next call of any method."""
        return replace(self._parent, network=self.network(role))

    def casting(self) -> AbstractContextManager[Any]:
        """The number format of passes through the networks; heads of one number are computed in float32."""
        low = self._dtype == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16) if low else nullcontext()

    def log_probabilities(self, role: Role, answers: Answers, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answers' tokens, and entropies where they are chosen, in nats; each (rows, steps).

        Of the policy or the reference at `temperature`; 0 beyond an answer's end.
        """
        network = self.network(role)
        with self.casting():
            logits = network.get_output_embeddings()(self._states(network, answers)[answers.mask])
        every = (logits.float() / temperature).log_softmax(-1)
        chosen = every.gather(-1, answers.tokens[answers.mask][:, None]).squeeze(-1)
        return self._placed(chosen, answers), self._placed(entropies(every), answers)

    def values(self, answers: Answers) -> Tensor:
        """(rows, steps): the critic's value of what stands before each token; 0 beyond an answer's end."""
        with self.casting():
            states = self._states(self.network(Role.CRITIC), answers)[answers.mask]
        return self._placed(self.value_head(states.float()).squeeze(-1), answers)

    @staticmethod
    def _states(network: Any, answers: Answers) -> Tensor:
        """(rows, steps, hidden size): the last hidden states that predict the answers' tokens."""
        hidden: Tensor = network.base_model(answers.input_ids, use_cache=False).last_hidden_state
        return hidden[torch.arange(len(answers), device=hidden.device)[:, None], answers.places]

    @staticmethod
    def _placed(of_tokens: Tensor, answers: Answers) -> Tensor:
        return of_tokens.new_zeros(answers.mask.shape).masked_scatter(answers.mask, of_tokens)


class SharedBase(PpoModels):
    """All models as adapters and heads of the parent, whose weights are in memory once and never change."""

    def __init__(
        self, parent: CausalModel, dtype: str, lora: LoraSettings, reward: RewardSource | None, rows: int
    ) -> None:
        """`lora`: settings of the policy's adapter, and of the critic's unless there is a `reward`, a model whose
        adapter is one of the parent; `rows`: how many are scored by it at a time.

        Raises:
            StudyError: the adapter does not fit, or the reward's is not one of this model.
        """
        from peft import get_peft_model
        from peft.tuners.tuners_utils import BaseTunerLayer

        super().__init__(parent, dtype)
        self._rows = rows
        own = adapter_configuration(lora, parent.network)
        self._wrapped: Any = get_peft_model(parent.network, own, adapter_name=Role.POLICY.value)
        if reward is None:
            self._wrapped.add_adapter(Role.CRITIC.value, own)
        else:
            assert reward.weights is not None
            self.reward_head, self._reward_name = self._add_reward(reward.weights / DIRECTORY), reward.name
        parent.network.eval()
        self._layers = [layer for layer in self._wrapped.modules() if isinstance(layer, BaseTunerLayer)]
        self.policy, self.critic, self._fixed = (
            self._adapter(role) for role in (Role.POLICY, Role.CRITIC, Role.REWARD)
        )
        self.critic |= {f"head.{name}": parameter for name, parameter in self.value_head.named_parameters()}
        self.network(Role.POLICY)

    def scorer(self, job: TrainingJob) -> Scorer:
        assert job.reward is not None
        return self if job.reward.shares_base else super().scorer(job)

    def network(self, role: Role) -> Any:
        for layer in self._layers:
            layer.enable_adapters(role is not Role.REFERENCE)
            if role is not Role.REFERENCE:
                layer.set_adapter(role.value)
        # PEFT freezes what is not active, and a frozen parameter would lose the gradients of a pass before.
        for parameter in (*self.policy.values(), *self.critic.values()):
            parameter.requires_grad_(True)
        for parameter in self._fixed.values():
            parameter.requires_grad_(False)
        return self._parent.network

    def write(self, job: TrainingJob) -> None:
        assert job.parent is not None
        base = load_causal_model(job.parent, "float32", job.threads, "cpu").network
        write_merged(self._wrapped, base, job.output)
        copy_tokenizer(job.parent, job.output)

    @torch.no_grad()
    def score(
        self, prompts: Sequence[str], prompt_ids: Sequence[Ids], answer_ids: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """The reward model's scores, as `modecollapse.methods.scoring.Scorer.score` gives them."""
        scores = []
        for part in Answers.of(prompt_ids, answer_ids, self.device).parts(self._rows):
            hidden = self.network(Role.REWARD).base_model(part.input_ids, use_cache=False).last_hidden_state
            last = hidden[torch.arange(len(part), device=self.device), part.lengths - 1]
            scores.append(self.reward_head(last.float()).squeeze(-1))
        return finite(torch.cat(scores).cpu().numpy(), self._reward_name)

    def _adapter(self, role: Role) -> dict[str, torch.nn.Parameter]:
        """Its matrices, which are held in float32: beside quantized weights, PEFT may make them less."""
        named = self._parent.network.named_parameters()
        matrices = {name: parameter for name, parameter in named if f".{role.value}." in name}
        for parameter in matrices.values():
            parameter.data = parameter.data.float()
        return matrices

    def _add_reward(self, directory: Path) -> torch.nn.Linear:
        """Add the reward's adapter, and the critic's as a copy of it; returns the reward's head."""
        from peft import LoraConfig
        from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
        from safetensors.torch import load_file

        configuration = LoraConfig.from_pretrained(str(directory))
        configuration.task_type, configuration.modules_to_save = "CAUSAL_LM", None
        weights = load_file(directory / "adapter_model.safetensors")
        heads = [weights.pop(name) for name in sorted(weights) if name.endswith("score.weight")]
        for role in (Role.REWARD, Role.CRITIC):
            self._wrapped.add_adapter(role.value, configuration)
            here = get_peft_model_state_dict(self._wrapped, adapter_name=role.value)
            fits = {name: tuple(tensor.shape) for name, tensor in here.items()}
            if len(heads) != 1 or fits != {name: tuple(tensor.shape) for name, tensor in weights.items()}:
                raise StudyError(
                    f"The adapter in {directory} has {len(heads)} heads and {len(weights)} matrices, which are not "
                    f"those of one score and of an adapter of the parent ({len(fits)}). Train the reward stage from "
                    "the stage that is tuned, with lora."
                )
            set_peft_model_state_dict(self._wrapped, weights, adapter_name=role.value)
        head = torch.nn.Linear(heads[0].shape[1], 1, bias=False).to(self.device).requires_grad_(False)
        for weight in (head.weight, self.value_head.weight):
            weight.data.copy_(heads[0])
        return head


class SeparateModels(PpoModels):
    """Policy and critic as copies of the parent that are trained in full, beside the parent as the reference."""

    def __init__(self, parent: CausalModel, dtype: str) -> None:
        super().__init__(parent, dtype)
        policy, critic = (copy.deepcopy(parent.network).requires_grad_(True) for _ in range(2))
        self._networks = {Role.POLICY: policy, Role.REFERENCE: parent.network, Role.CRITIC: critic}
        self.policy = dict(policy.named_parameters())
        self.critic = {f"body.{name}": parameter for name, parameter in critic.base_model.named_parameters()}
        self.critic |= {f"head.{name}": parameter for name, parameter in self.value_head.named_parameters()}

    def network(self, role: Role) -> Any:
        return self._networks[role]

    def write(self, job: TrainingJob) -> None:
        assert job.parent is not None
        self._networks[Role.POLICY].save_pretrained(job.output)
        copy_tokenizer(job.parent, job.output)


def load_models(job: TrainingJob, lora: LoraSettings | None, max_length: int, dtype: str, rows: int) -> PpoModels:
    """The models of a job: over one base with `lora`, else separate; `rows`: how many are scored at a time.

    Raises:
        StudyError: the parent cannot be trained from (`load_start`), or an adapter does not fit.
    """
    assert job.parent is not None
    assert job.reward is not None
    device = processes.own_device(job.layout)
    quantized = None if lora is None else lora.quantization
    parent = load_start(job.parent, job.format, max_length, dtype, quantized, job.threads, device)
    if lora is None:
        return SeparateModels(parent, dtype)
    torch.manual_seed(job.seed)  # of the adapters' first matrices
    return SharedBase(parent, dtype, lora, job.reward if job.reward.shares_base else None, rows)
