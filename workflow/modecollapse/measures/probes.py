"""Single prompts looked at closely: how sure a model is of every token, and how it spreads its choice over answers.

Appendices A.2 (figures 3 and 4) and A.4 of O'Mahony et al. (2024), "Attributing Mode Collapse in the Fine-Tuning of
Large Language Models".
"""

from typing import Annotated

import pyarrow as pa
from pydantic import Field, model_validator

from modecollapse.schema import Name, Strict
from modecollapse.temperatures import Temperature

CONTINUATION_TOKENS = pa.schema(
    [
        *(("question", pa.string()), ("position", pa.int32()), ("token", pa.string())),
        *(("log_prob", pa.float64()), ("top_prob", pa.float64())),
    ]
)
"""One row per token of a continuation: its text, its log-probability in nats, and the probability of the most probable
token in its place."""

NEXT_TOKENS = pa.schema(
    [("question", pa.string()), ("rank", pa.int32()), ("token", pa.string()), ("probability", pa.float64())]
)
"""The most probable next tokens, at most `MOST_RANKS`, the first with rank 1."""

CHOICES = pa.schema([("question", pa.string()), ("choice", pa.string()), ("probability", pa.float64())])
"""The probability that an answer begins with a choice, however it is split into tokens. What is missing to 1 is the
probability of anything else."""

RESPONSES = pa.schema(
    [("question", pa.string()), ("format", pa.string()), ("sample", pa.int32()), ("text", pa.string())]
)

MOST_RANKS = 1000


class ChoiceSettings(Strict):
    """A question with a known set of answers. One of `integers`, `phrases` and `rule` says which."""

    text: str = Field(min_length=1)
    """The prompt; answers follow it, after a space or at once."""
    integers: Annotated[tuple[int, int], Field(strict=False)] | None = None
    """The first and the last of the integers to choose from."""
    phrases: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=2, strict=False)] | None = None
    """Words to choose from."""
    rule: Name | None = None
    """In a study with a world: the phrases of this rule of its grammar, whose true probabilities are known."""

    @model_validator(mode="after")
    def _one(self) -> "ChoiceSettings":
        if sum(each is not None for each in (self.integers, self.phrases, self.rule)) != 1:
            raise ValueError("state one of integers, phrases and rule")
        if self.integers and not 0 <= self.integers[0] < self.integers[1] <= 9999:
            raise ValueError(f"integers: found {list(self.integers)}; allowed: two numbers of 0 to 9999, rising")
        for phrase in self.phrases or ():
            others = [other for other in self.phrases or () if other != phrase and other.startswith(phrase)]
            if any(not other[len(phrase)].isalnum() for other in others):
                raise ValueError(f"phrases: another one goes on from {phrase!r}, so which one is meant is never known")
        return self


_CONTINUATIONS = {"bugs": "are bugs real?"}
_CHOICES = {
    "integer": ChoiceSettings(
        text="Q: Tell me a random integer between 0 and 100. A: Ok, the integer is:", integers=(0, 100)
    )
}
_RESPONSES = {"new-word": "Invent a new word and define it."}


class ProbeSettings(Strict):
    """Probes of single prompts (the MC paper's figures 3 and 4, and its appendix A.4)."""

    continuations: dict[Name, str] = _CONTINUATIONS
    """Prompts whose continuation is coloured by the model's confidence."""
    choices: dict[Name, ChoiceSettings] = _CHOICES
    """Prompts whose next tokens, and the answers that they begin, are looked at."""
    responses: dict[Name, str] = _RESPONSES
    """Prompts whose answers are shown side by side, each stage's in its own first prompt format."""
    format: Name = "plain"
    """The prompt format of `continuations` and `choices`, for all stages."""
    max_new_tokens: int = Field(100, ge=1)
    """Tokens of a continuation or response at most."""
    temperature: Temperature = "1.0"
    """Sampling temperature of continuations and responses; next-token probabilities are those at 1."""
    samples: int = Field(2, ge=1)
    """Responses to each prompt."""
    seed: int = Field(0, ge=0)
    """Seed of the sampling streams."""
