"""Which answers of a stage make a pair, and who says which is better: the keys of a study."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from modecollapse.methods.reward_functions import LABELLERS, PEOPLE
from modecollapse.schema import Strict, distinct

DistanceName = Literal["edit", "jaccard_1", "jaccard_2", "jaccard_3", "jaccard_4", "cosine"]
COSINE = "cosine"
"""The distance that needs sentence vectors."""


class PairSettings(Strict):
    """Two answers to a prompt, and which of them is better."""

    reward: str | None = None
    """What says which answer is better: a stage of the method `reward`, or a function (see `stages.NAME.reward`), by
    its score; `annotators`, the simulated ones of a world, with their noise; or `people`, who fill in a labelling sheet
    (docs/data.md). Only `choose: repetition` needs none."""
    choose: Literal["extremes", "most_different", "repetition"] = "extremes"
    """Which two of the answers to a prompt. `extremes`: the one that scores highest and the one that scores lowest, of
    equal scores the first; where annotators or people label, the first two different ones. `most_different`: the two
    that are farthest apart, of equal distances the first. `repetition`: the first clean answer is chosen and the first
    that repeats itself rejected (docs/metrics.md says what counts as repetition), which may also be one that did not
    end."""
    distance: DistanceName = "edit"
    """How far apart answers are, with `choose: most_different`. `edit`: Levenshtein distance over words, divided by the
    number of words of the longer answer; it needs no model, knows the order of words, and seldom ties. `jaccard_1` to
    `jaccard_4`: 1 − the Jaccard similarity of the sets of n-grams of words. `cosine`: 1 − the cosine of sentence
    vectors (`measures.diversity.embedder`)."""
    overlap: int = Field(1, ge=1)
    """Annotators, or people, who label each pair. Of several, only pairs are kept of which all prefer the same answer;
    the log counts the others, and the table `label_agreement` says how far they agree."""
    labels: Annotated[tuple[str, ...], AfterValidator(distinct)] = ()
    """Files of people's labels (CSV), relative to the study file; `{size}` and `{seed}` are filled in. Without them,
    `snakemake labelling_sheets` makes what people label."""

    @model_validator(mode="after")
    def _fits(self) -> "PairSettings":
        repetition = self.choose == "repetition"
        if repetition and self.reward is not None:
            raise ValueError(
                f"`reward: {self.reward}` has no effect with `choose: repetition`, which tells the better answer "
                "itself. Remove one of them"
            )
        if not repetition and self.reward is None:
            raise ValueError(
                "`reward` is missing. Name what says which answer is better: a stage of the method reward, a function, "
                f"{' or '.join(LABELLERS)}"
            )
        if "distance" in self.model_fields_set and self.choose != "most_different":
            raise ValueError("`distance` has no effect without `choose: most_different`. Add that, or remove it")
        if self.overlap > 1 and self.reward not in LABELLERS:
            raise ValueError(f"`overlap` is for {' and '.join(LABELLERS)}; a score has no second opinion. Remove it")
        if self.labels and self.reward != PEOPLE:
            raise ValueError("`labels` has no effect without `reward: people`. Add that, or remove it")
        return self

    @property
    def labelled_apart(self) -> bool:
        """Whether pairs are published first, and labelled by a job of its own."""
        return self.reward == PEOPLE or (self.reward in LABELLERS and self.overlap > 1)
