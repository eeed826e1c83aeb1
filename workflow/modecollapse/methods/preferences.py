"""What all methods that learn from preference pairs have in common: limits of length, and the pairs of a job."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from modecollapse.data.columns import PAIR_COLUMNS
from modecollapse.methods.base import TrainingJob
from modecollapse.methods.settings import FINE_TUNING_MODULES, Betas, FineTuningSettings

if TYPE_CHECKING:
    from modecollapse.methods.pair_losses import PairLoss

PREFERENCE_MODULES = ("methods.preferences", "methods.reference_file", *FINE_TUNING_MODULES)
"""Modules whose code decides the weights of every stage that is tuned on pairs."""

PAIR_LOSS_MODULES = ("methods.pair_trainer", "methods.pair_losses", *PREFERENCE_MODULES)
"""Modules whose code decides the weights of every stage that is tuned with a loss of ours."""


class PreferenceSettings(FineTuningSettings):
    """Fine-tuning on preference pairs.

    Truncation is that of Rafailov et al. (2023): where a pair does not fit, the prompt keeps its last
    `max_prompt_length` tokens, and then answers their first `max_length - max_prompt_length`.
    """

    max_length: int = Field(512, ge=2)
    """Longest prompt with answer, in tokens, end-of-text token included."""
    max_prompt_length: int = Field(256, ge=1)
    """Longest prompt, in tokens, of a pair that has to be truncated."""

    @model_validator(mode="after")
    def _room_for_answers(self) -> "PreferenceSettings":
        if self.too_long == "truncate" and self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} leaves no room for an answer in max_length "
                f"{self.max_length}; lower it, or set too_long: error"
            )
        return self


class PairLossSettings(PreferenceSettings, ABC):
    """Preference tuning with a loss of ours (`methods.pair_losses`); the optimizer is AdamW by default."""

    betas: Betas | None = (0.9, 0.999)
    """Decay rates of AdamW's moments; null with rmsprop, which has none."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled weight decay of matrices (not of biases and norms); 0 with rmsprop."""

    @abstractmethod
    def loss(self) -> "PairLoss":
        """The loss of pairs."""

    @property
    @abstractmethod
    def scale(self) -> float:
        """What the rewards on the curves are multiples of."""

    @property
    def likelihood(self) -> float:
        """Weight of the chosen answers' mean negative log-likelihood per token in the loss."""
        return 0.0


@dataclass(frozen=True)
class Pairs:
    """The pairs that a job trains on, tokenized."""

    columns: Mapping[str, Any]
    """`prompt_ids`, `chosen_ids`, `rejected_ids`; with a reference `ref_chosen_logps` and `ref_rejected_logps`."""
    lengths: Sequence[int]
    """What each is padded to. Grouped by this and not by its sum: that leaves 14 % padding instead of 37 % on the nano
    study."""
    tokens: Sequence[int]
    """How many tokens each shows the model: its prompt twice, and both answers."""


def read(job: TrainingJob, settings: PreferenceSettings, tokenizer: Any) -> Pairs:
    """The pairs in `job.data`, with what their reference gives to them if the job has one.

    Raises:
        StudyError: missing columns, no data, a pair that does not fit, only pairs of equal answers.
        CorruptFile: the log-probabilities of the reference are of other pairs.
    """
    from modecollapse.methods.examples import read_pairs
    from modecollapse.methods.reference_file import read_reference

    assert job.data is not None
    assert job.format is not None
    limits = (settings.max_length, settings.max_prompt_length, settings.too_long)
    pairs = read_pairs(job.data, tokenizer, job.format, *limits)
    reference = {} if job.reference_scores is None else read_reference(job.reference_scores, pairs)
    sizes = [[len(ids) for ids in pairs[f"{part}_ids"]] for part in PAIR_COLUMNS]
    return Pairs(
        columns={**pairs, **reference},
        lengths=[prompt + max(chosen, rejected) for prompt, chosen, rejected in zip(*sizes, strict=True)],
        tokens=[2 * prompt + chosen + rejected for prompt, chosen, rejected in zip(*sizes, strict=True)],
    )
