"""Data sets in study files: where they come from, and what is made of them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from modecollapse.data.columns import LabelColumn, TextColumn
from modecollapse.data.transformations.balance import BalanceSettings
from modecollapse.data.transformations.base import Transformation
from modecollapse.data.transformations.classify import ClassifySettings
from modecollapse.data.transformations.decontaminate import DecontaminateSettings
from modecollapse.data.transformations.deduplicate import DeduplicateSettings
from modecollapse.data.transformations.perplexity import PerplexitySettings
from modecollapse.data.transformations.registry import TRANSFORMATIONS
from modecollapse.data.transformations.split import SplitSettings
from modecollapse.labelling.settings import PairSettings
from modecollapse.resources.settings import Expected
from modecollapse.schema import Name, Strict, distinct, listed
from modecollapse.sources import DataSource, HubSource


class Sampled(PairSettings):
    """Preference pairs that a stage of the study writes itself, so that lineages can be iterated: one file per size and
    seed, of that size and seed's own model.

    Of n answers to each prompt two make a pair. Answers that did not end or say nothing are left out, and prompts whose
    answers say or score all the same; the log counts them. Prompts are asked in the `train_format` of the stage.
    """

    stage: Name = Field(alias="from")
    """The stage that answers."""
    prompts: Name
    """The data set whose prompts it answers."""
    n: int = Field(4, ge=2)
    """Answers to each prompt."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(70, ge=1)
    """Tokens sampled at most, the end-of-text token included. Prompts that leave no room for them in the model's
    context are left out."""
    count: int | None = Field(None, ge=1)
    """Prompts that are answered, drawn from the set with all alike probable; null takes all. Pairs are rather fewer."""


def _kind_of_split(value: Any) -> str:
    if value is None:
        return "null"
    return "SplitSettings" if isinstance(value, dict | SplitSettings) else "text"


Split = Annotated[
    Annotated[str, Tag("text")] | Annotated[SplitSettings, Tag("SplitSettings")] | Annotated[None, Tag("null")],
    Discriminator(_kind_of_split),
]
"""The split of a hub data set, or how a set is split here; faults are told of the kind that it is."""


class Data(Strict):
    """A data set: a part of the nano world (`world`), rows of text from the hub or from files (`source`), pairs that a
    stage writes (`sampled`), or rows of other sets (`from`), one set after another, that a transformation keeps: one of
    `perplexity`, `balance`, `deduplicate`, `decontaminate`, `classify`, `split`, or none. See docs/data.md.

    Of a source, only its named columns are kept, as text. The white space around answers (`completion`, `chosen`,
    `rejected`) is removed, since training puts exactly one space between prompt and answer; prompts keep theirs, and a
    prompt format drops what stands at its end. A row is broken if it cannot be read, or if a named column is missing,
    null or not text; rows with an empty prompt or answer are left out and counted apart; an empty `text` stays.
    """

    world: Literal["pretraining", "heldout", "answers", "preferences", "choices", "contrasts"] | None = None
    """Which part of the world is sampled."""
    n: int | None = Field(None, gt=0)
    """Number of documents or examples of the world."""
    seed: int = Field(0, ge=0)
    """Seed of this sample; the world has a seed of its own."""
    sampled: Sampled | None = None
    """The stage that writes it."""
    parents: Annotated[
        tuple[Name, ...], BeforeValidator(listed, json_schema_input_type=Name | list[Name]), AfterValidator(distinct)
    ] = Field((), alias="from")
    """The data sets whose rows it has: one, or several with the same columns. Pairs of equal answers are left out."""
    perplexity: PerplexitySettings | None = None
    """Keeps the pairs that a stage could have written itself."""
    balance: BalanceSettings | None = None
    """Makes tasks, or longer and shorter better answers, alike frequent."""
    deduplicate: DeduplicateSettings | None = None
    """Leaves out what was there before."""
    decontaminate: DecontaminateSettings | None = None
    """Leaves out what the study's evaluation prompts ask."""
    classify: ClassifySettings | None = None
    """Tells the kind of task of every row from its prompt."""
    source: DataSource | None = None
    """Where the rows come from."""
    subset: str | None = None
    """Configuration of a hub data set that has several; null is its default one."""
    split: Split = None
    """Split of a hub data set by its name; null is `train`. Of a set that is made from others: a random part."""
    files: str | None = None
    """Files of a hub data set instead of a split: a pattern such as `val.jsonl.zst` or `data/*.parquet`. `*` stays
    within one directory, `**` stands for any number of them."""
    columns: Annotated[dict[TextColumn | LabelColumn, str], Field(min_length=1)] | None = None
    """Our column → the source's: `text`, or `prompt` with `completion`, or with `chosen` and `rejected`; and
    if there is one, `task`: the kind of task that a row is of. Null: what the study uses, under the same names."""
    sample: int | None = Field(None, gt=0)
    """Rows drawn from the source, all alike probable, kept in its order; a smaller sample is part of a larger one of
    the same seed. Null takes all; of a set that only token statistics read, as many as these score."""
    broken_rows: float = Field(0.01, ge=0, lt=1)
    """Largest share of broken rows that is passed over, with a warning in the log; more is an error."""
    expected: Expected | None = None
    """How much text it holds, for plans made before it is on this machine."""

    @model_validator(mode="after")
    def _one_origin(self) -> "Data":
        if [self.world, self.source, self.sampled, self.parents or None].count(None) != 3:
            raise ValueError(
                "a data set is either a part of the world, or read from a source, or sampled from a stage, or made "
                "from others. Give one of `world` (with `n`), `source: {hub: …}` or `source: {path: …}`, `sampled: "
                "{from: …}`, and `from: SET`"
            )
        if self.parents:
            self._check_derived()
            return self
        if self.sampled is not None:
            if extra := sorted(self.model_fields_set - {"sampled", "seed"}):
                raise ValueError(f"`{extra[0]}` is no key of a sampled data set. Allowed: sampled, seed. Remove it")
            return self
        hub = isinstance(self.source, HubSource)
        allowed = {"world", "n", "seed"} if self.source is None else {"source", "seed", "columns", "sample", "expected"}
        allowed |= {"broken_rows"} if self.source else set()
        allowed |= {"subset", "split", "files"} if hub else set()
        if extra := sorted(self.model_fields_set - allowed):
            kind = "part of the world" if self.source is None else "hub data set" if hub else "set of local files"
            raise ValueError(f"`{extra[0]}` is no key of a {kind}. Allowed: {', '.join(sorted(allowed))}. Remove it")
        if self.world is not None and self.n is None:
            raise ValueError("`n` is missing. Say how many rows of the world to sample")
        if self.source is not None and "seed" in self.model_fields_set and self.sample is None:
            raise ValueError("`seed` has no effect without `sample`. Add `sample: N`, or remove it")
        if isinstance(self.split, SplitSettings):
            raise ValueError(
                "`split` names a split of a hub data set. To draw a part of a set, make another one from it, "
                "`{from: SET, split: {share: 0.9}}`"
            )
        if self.files is not None and (self.split or self.subset):
            raise ValueError("`files` takes the place of `split` and `subset`. Give one or the other")
        if self.columns and self.columns.get("chosen", 1) == self.columns.get("rejected", 2):
            raise ValueError(f"chosen and rejected answers are both {self.columns['chosen']!r} in `columns`. Name two")
        return self

    @property
    def hub_split(self) -> str | None:
        """The split that is read of a hub data set, if it is named."""
        return self.split if isinstance(self.split, str) else None

    @property
    def transformation(self) -> tuple[Transformation, Any] | None:
        """What makes it from its parents, with its settings; None if it has them all, or none."""
        if not self.parents:
            return None
        found = ((each, getattr(self, name)) for name, each in TRANSFORMATIONS.items())
        return next(((each, settings) for each, settings in found if settings is not None), None)

    def _check_derived(self) -> None:
        if self.hub_split is not None:
            raise ValueError(
                f"`split` says which part of the rows is drawn: found {self.hub_split!r}. Allowed: a mapping such as "
                "{share: 0.9} or {share: 0.9, part: rest}. Write one, or remove it"
            )
        given = [name for name in TRANSFORMATIONS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"a data set is made by one transformation, not by {' and '.join(given)}. Give each a set of its own, "
                "one made `from` the other"
            )
        allowed = {"parents", *TRANSFORMATIONS}
        if extra := sorted(self.model_fields_set - allowed - {"seed"}):
            keys = ", ".join(["from", "seed", *TRANSFORMATIONS])
            raise ValueError(f"`{extra[0]}` is no key of a set that is made from others. Allowed: {keys}. Remove it")
        if "seed" in self.model_fields_set and not (self.transformation and self.transformation[0].draws):
            raise ValueError("`seed` has no effect here: nothing is drawn. Remove it")


class Tokenizer(Strict):
    """A tokenizer trained for models that are pretrained here."""

    data: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)]
    """Data sets that it is trained on: documents and answers."""
    vocabulary: int = Field(1024, ge=64)
    """Vocabulary size, special tokens included."""
