"""Text features of chosen and rejected answers and of what stages answer. Importing this module is cheap."""

from collections.abc import Sequence
from typing import Annotated

import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from modecollapse.measures.asking import AskingSettings
from modecollapse.measures.feature_pipeline import PipelineSettings
from modecollapse.metrics.text_features import FEATURES
from modecollapse.schema import Name, distinct

PAIRS, PROMPTS = "pairs", "prompts"
"""Kinds of what is compared: answers to the prompts of preference pairs, and completions of the study's prompt sets."""

ANSWERS = pa.schema(
    [("set", pa.string()), ("item", pa.string()), ("sample", pa.int32()), ("text", pa.string()), ("ended", pa.bool_())]
)
"""One row per sampled answer: the data set and the row in it of its prompt; its number; what it says; whether the model
ended it."""

COLUMNS = pa.schema(
    [
        *(("kind", pa.string()), ("set", pa.string()), ("item", pa.string()), ("role", pa.string())),
        *(("sample", pa.int32()), ("words", pa.int32()), ("reason", pa.string())),
        *((name, pa.float64()) for name in FEATURES),
    ]
)
"""One row per text: the kind of its set (`PAIRS` or `PROMPTS`), the set, the row or the prompt in it, whose text it is
("chosen", "rejected" or "answer"), the number of an answer, its words, why some feature of it is undefined (null: none
is), and its features (NaN: undefined)."""

MISSING = "missing"
"""Entry of a file's metadata: features that the pipeline cannot give, and why, as JSON."""


class TextFeatureSettings(PipelineSettings, AskingSettings):
    """Features of texts by TextDescriptives: chosen against rejected answers of preference pairs, and each stage's
    answers against those of the stage before. See docs/features.md."""

    train: Name | None = None
    """Preference pairs that stages were tuned on: differences are measured in the standard deviation of chosen −
    rejected here, and its prompts are answered by all stages. Null: completions of `prompts` alone are compared."""
    validation: Name | None = None
    """Preference pairs that no stage was tuned on."""
    count: int | None = Field(None, ge=1)
    """Pairs of each of these sets, drawn with all alike probable; null takes all."""
    prompts: Annotated[tuple[Name, ...], AfterValidator(distinct)] = ()
    """Prompt sets of the study whose completions at `temperature` are compared as well."""
    format: Name = "human"
    """The prompt format that all stages are asked in."""
    contrasts: Annotated[tuple[tuple[Name, Name], ...], AfterValidator(distinct)] = ()
    """Further pairs of stages, `[stage, reference]`, beside each stage and the one before it."""
    completions: int = Field(1, ge=1)
    """Answers to each prompt of the pairs."""
    max_new_tokens: int = Field(256, ge=1)
    """Tokens of such an answer at most, the end-of-text token included. Prompts that leave no room for them in the
    model's context are left out."""

    @model_validator(mode="after")
    def _compares(self) -> "TextFeatureSettings":
        if self.train is None and not self.prompts:
            raise ValueError("nothing is compared. Give `train: SET` of preference pairs, `prompts: [SET]`, or both")
        if self.validation is not None and self.train is None:
            raise ValueError("`validation` is measured in the spread of `train`. Give `train: SET` as well")
        if self.validation is not None and self.validation == self.train:
            raise ValueError(f"`train` and `validation` are both {self.train!r}. Name two sets")
        return self

    @property
    def pair_sets(self) -> Sequence[Name]:
        """The data sets of preference pairs, training first."""
        return [name for name in (self.train, self.validation) if name is not None]
