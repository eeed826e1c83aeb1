"""The configuration model of a study: every key, its type, its default and what it means.

`workflow/schemas/study.schema.json` and `docs/configuration.md` are written from this module by `python -m
modecollapse.config_docs`; a test fails when they differ.
"""

import string
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    create_model,
    model_validator,
)

from modecollapse.data.columns import LabelColumn, TextColumn
from modecollapse.data.nano.world import WorldSettings
from modecollapse.data.transformations.balance import BalanceSettings
from modecollapse.data.transformations.base import Transformation
from modecollapse.data.transformations.classify import ClassifySettings
from modecollapse.data.transformations.decontaminate import DecontaminateSettings
from modecollapse.data.transformations.deduplicate import DeduplicateSettings
from modecollapse.data.transformations.perplexity import PerplexitySettings
from modecollapse.data.transformations.registry import TRANSFORMATIONS
from modecollapse.data_lineage import stages_of
from modecollapse.generation.settings import EngineName, SamplingSettings
from modecollapse.judging.settings import JudgementSettings
from modecollapse.labelling.settings import PairSettings
from modecollapse.measures.benchmarks import BenchmarkSettings
from modecollapse.measures.divergence import DivergenceSettings
from modecollapse.measures.embedder import EmbedderSettings
from modecollapse.measures.guard_rails import GuardRailSettings
from modecollapse.measures.repetition import RepetitionSettings
from modecollapse.measures.tokens import TokenSettings
from modecollapse.methods import METHODS
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.base import Capability, Method
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.metrics.registry import METRICS
from modecollapse.resources.settings import Expected, ShapeSettings
from modecollapse.schema import Strict
from modecollapse.sources import DataSource, HubSource
from modecollapse.temperatures import Temperature

PublishedModel = Literal["pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b", "pythia-2.8b"]
PublishedStage = Literal["plm", "sft", "dpo"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that is part of paths: letters, digits, '.', '_' and '-'."""


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({str(value) for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"given twice: {', '.join(twice)}; name each once")
    return values


def _listed(value: Any) -> Any:
    # A tuple: what comes from here is no JSON any more, in which alone a list counts as one.
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _not_one(value: int | None) -> int | None:
    if value == 1:
        raise ValueError("1 completion has no diversity; allowed: 2 or more, 0 or null")
    return value


def _template(value: str) -> str:
    try:
        fields = [field for field in string.Formatter().parse(value) if field[1] is not None]
    except ValueError:
        fields = [("", "", "", None)]
    if any(name not in ("prompt", "start") or form or conversion for _, name, form, conversion in fields):
        raise ValueError("only {prompt} and {start} may stand in braces")
    if [name for _, name, _, _ in fields].count("prompt") != 1:
        raise ValueError("{prompt} must occur once")
    return value


def _jinja(value: str) -> str:
    from jinja2 import Environment, TemplateError  # few studies need it

    try:
        Environment(extensions=["jinja2.ext.loopcontrols"]).parse(value)
    except TemplateError as error:
        raise ValueError(f"the chat template is no Jinja template: {error}") from None
    if "messages" not in value:
        raise ValueError("the chat template never reads `messages`, so it cannot contain the prompt")
    return value


class ChatFormat(Strict):
    """A prompt format that is a chat: the prompt is the user's message, and the model answers as the assistant.

    A study's own format is either a text, in which `{prompt}` and `{start}` stand for the prompt and the start of its
    answer, or has these keys; `{}` is the built-in format `chat`.
    """

    system: Annotated[str, Field(min_length=1)] | None = None
    """System message before the prompt; null for none (a template may put one of its own)."""
    template: Annotated[str, AfterValidator(_jinja)] | None = None
    """Jinja chat template; null for the one in the model's tokenizer. Where one asks for the date, it is 26 July 2024.
    """


FORMATS: Mapping[str, str | ChatFormat] = {
    "human": "Human: {prompt} Assistant: {start}",
    "okay": "{prompt} Okay, here goes: {start}",
    "qa": "Question: {prompt} Answer: {start}",
    "plain": "{prompt} {start}",
    "dialogue": "{prompt}",
    "chat": ChatFormat(),
}
"""Prompt formats that every study can name; the first two are those of O'Mahony et al. (2024), section 2.3, `dialogue`
is for training on prompts that hold their turns already, as those of `Dahoas/static-hh` do, and `chat` is the chat
template in each model's tokenizer."""


def _kind_of_format(value: Any) -> str:
    if value is None:
        return "null"
    return "ChatFormat" if isinstance(value, dict | ChatFormat) else "text"


OwnFormat = Annotated[
    Annotated[str, AfterValidator(_template), Tag("text")]
    | Annotated[ChatFormat, Tag("ChatFormat")]
    | Annotated[None, Tag("null")],
    Discriminator(_kind_of_format),
]
"""A study's own prompt format; faults are told of the kind that it is."""


def _metric(value: str) -> str:
    if value not in METRICS:
        raise ValueError(f"no such metric; allowed: {', '.join(METRICS)}")
    return value


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


class Data(Strict):
    """A data set: a part of the nano world (`world`), rows of text from the hub or from files (`source`), pairs that a
    stage writes (`sampled`), or rows of other sets (`from`), one set after another, that a transformation keeps: one of
    `perplexity`, `balance`, `deduplicate`, `decontaminate`, `classify`, or none. See docs/data.md.

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
        tuple[Name, ...], BeforeValidator(_listed, json_schema_input_type=Name | list[Name]), AfterValidator(_distinct)
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
    split: str | None = None
    """Split of a hub data set; null is `train`."""
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
        if self.files is not None and (self.split or self.subset):
            raise ValueError("`files` takes the place of `split` and `subset`. Give one or the other")
        if self.columns and self.columns.get("chosen", 1) == self.columns.get("rejected", 2):
            raise ValueError(f"chosen and rejected answers are both {self.columns['chosen']!r} in `columns`. Name two")
        return self

    @property
    def transformation(self) -> tuple[Transformation, Any] | None:
        """What makes it from its parents, with its settings; None if it has them all, or none."""
        found = ((each, getattr(self, name)) for name, each in TRANSFORMATIONS.items())
        return next(((each, settings) for each, settings in found if settings is not None), None)

    def _check_derived(self) -> None:
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

    data: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)]
    """Data sets that it is trained on: documents and answers."""
    vocabulary: int = Field(1024, ge=64)
    """Vocabulary size, special tokens included."""


class ModelSize(Strict):
    """One column of the grid. Its name is the size in every path, table and figure."""

    architecture: ArchitectureSettings | None = None
    """GPT-NeoX shape of a model that is pretrained here."""
    shape: ShapeSettings | None = None
    """Shape of a model that is taken over, for plans made before it is on this machine."""
    stages: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """What this size does differently: stage name → keys of that stage."""
    published_as: PublishedModel | None = None
    """The model of O'Mahony et al. (2024) that this is, whose published token statistics are then shown beside ours;
    its stages have the key as well. A name alone is no claim: without the key nothing is compared."""


class StageBase(Strict):
    """What all stages have in common; each method adds its own keys."""

    method: str
    """How the stage comes to be."""
    like: Name | None = None
    """Another stage whose keys it takes over, as far as its own method has them too, but for its `label`: state what is
    different. What single sizes do differently in that stage, they do in this one."""
    parent: Name | None = Field(None, alias="from")
    """The stage that this one descends from: whose weights it continues, or, where its own are taken over from
    elsewhere, whose descendant it is said to be. The change from there is a step of the attribution."""
    data: Name | None = None
    """The data set it is trained on."""
    reward: Name | None = None
    """What scores answers for it: a stage of the method `reward`, or a function: `utility` (the true one, in a world)
    or `words` (their number)."""
    train_format: Name = "human"
    """Prompt format of its training text."""
    formats: Annotated[tuple[Name, ...], AfterValidator(_distinct)] | None = None
    """Prompt formats it is measured under, if not those of `generation`."""
    sizes: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)] | None = None
    """The sizes that have the stage; null: all. Stages that descend from it need be no more."""
    label: str | None = None
    """Its name in figures; default: the stage's name in capitals."""
    published_as: PublishedStage | None = None
    """The stage of O'Mahony et al. (2024) that this is, in sizes that have the key as well."""

    @property
    def writes(self) -> bool:
        """Whether it can be asked for answers."""
        return self.method in METHODS and not self.has("scores") and not self.has("decodes")

    def has(self, capability: Capability) -> bool:
        """Whether its method has a capability; finished completions have no method, and so none."""
        method = METHODS.get(self.method)
        return method is not None and bool(getattr(method, capability))


class CompletionsStage(StageBase):
    """Finished completions, written by a model that is not here: everything after generation works."""

    method: Literal["completions"]
    layout: Literal["analyse-llms", "table"]
    """`analyse-llms`: the .npy files of O'Mahony et al. `table`: our JSONL or Parquet (see docs/configuration.md)."""
    files: dict[Name, str]
    """Prompt set → file, relative to the directory given by `--config completions=DIR`; `{size}` and
    `{seed}` are filled in. A study of several seeds needs `{seed}`, so that no file counts twice."""


def _stage_model(method: Method) -> type[StageBase]:
    fields: dict[str, Any] = {"method": (Literal[method.name], ...)}
    bases: Any = (StageBase, method.settings)
    name = f"{method.name.capitalize()}Stage"
    model: Any = create_model(name, __base__=bases, __doc__=method.settings.__doc__, **fields)
    return cast(type[StageBase], model)


STAGE_MODELS: dict[str, type[StageBase]] = {
    **{name: _stage_model(method) for name, method in METHODS.items()},
    "completions": CompletionsStage,
}
if TYPE_CHECKING:
    Stage = StageBase
else:
    Stage = Annotated[Union[tuple(STAGE_MODELS.values())], Field(discriminator="method")]  # noqa: UP007


class Generation(SamplingSettings):
    """What is sampled from every model: temperatures × prompts × completions."""

    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1), AfterValidator(_distinct)]
    """Sampling temperatures, above 0; strings or numbers."""
    formats: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_distinct)] = ("human",)
    """Prompt formats every stage is measured under unless it says otherwise."""
    seed: int = Field(0, ge=0)
    """Seed of the sampling streams."""
    engine: EngineName = "transformers"
    """What samples: `transformers` in the job itself, or `vllm` in a server that the job starts; that has to be
    installed (see docs/studies.md), and cells that it makes again agree statistically only."""
    starts: bool = True
    """Whether the starts of answers in prompt files are put into the model's mouth, where a format has {start}."""


class TokenMeasure(TokenSettings):
    """Token-level diversity on held-out text."""

    data: Name
    """Data set of documents that no stage was trained on."""


class Diversity(Strict):
    """Output-level diversity of the completions to each prompt."""

    words: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_distinct)] = (20, 5)
    """Completions are cut to their first so many whitespace-separated words."""
    metrics: Annotated[
        tuple[Annotated[str, AfterValidator(_metric)], ...], Field(min_length=1), AfterValidator(_distinct)
    ] = tuple(METRICS)
    """Metrics to compute."""
    controlled_completions: Annotated[int | None, Field(ge=0), AfterValidator(_not_one)] = 10
    """Completions per prompt of the definition "controlled": the first so many that have all words of the cut. At most
    as many as there are; 0 or null leaves the definition out."""
    embedder: EmbedderSettings = EmbedderSettings()
    """Sentence embedder of the cosine metrics."""


class RewardMeasure(Strict):
    """How well reward models judge pairs of answers, beside the pairs that they were trained on."""

    data: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Data sets of preferences that no reward model was trained on."""


class Measures(Strict):
    """What is measured."""

    tokens: TokenMeasure | None = None
    """Token-level statistics on held-out text; null leaves them out."""
    diversity: Diversity = Diversity()
    """Diversity of the completions to each prompt."""
    divergence: DivergenceSettings | None = None
    """KL divergence from a reference stage, and what diversity a stage costs per quality gained; null leaves them
    out."""
    benchmarks: BenchmarkSettings | None = None
    """Tasks of LM Evaluation Harness; null leaves them out."""
    guard_rails: GuardRailSettings | None = None
    """Which of these tasks tuned stages must not get worse at; null: none."""
    rewards: RewardMeasure | None = None
    """Accuracy of the stages of the method `reward`; null leaves it out."""
    repetition: RepetitionSettings | None = None
    """Rates of repetitive completions, before and after each stage; `{}` takes the paper's thresholds, null leaves them
    out."""
    judgements: JudgementSettings | None = None
    """Side-by-side comparisons with a reference stage, judged by rewards, by language models or by people; null leaves
    them out."""
    truth: bool = False
    """In the nano world: the true values beside the measured ones."""


class Analysis(Strict):
    """Intervals and attribution."""

    resamples: int = Field(10_000, ge=100)
    """Bootstrap resamples."""
    seed: int = Field(0, ge=0)
    """Seed of the bootstrap and of the choice of sample completions."""
    temperature: Temperature = "1.0"
    """Temperature at which the attribution figure and the sample completions are drawn."""
    across_formats: dict[Name, Annotated[dict[Name, Name], Field(min_length=1)]] = Field(default_factory=dict)
    """Comparisons of stages under different prompt formats, which are made only on request: name → stage → format, e.g.
    `paper: {plm: okay, sft: human, dpo: human}`. It counts for every path whose stages are all named."""


class Reference(Strict):
    """Results that others computed from the same finished completions, to be compared with ours."""

    layout: Literal["analyse-llms"]
    """`analyse-llms`: the .npy files of O'Mahony et al. (see docs/configuration.md)."""
    words: int = Field(20, gt=0)
    """How many first words of the completions they were computed from."""
    files: Annotated[dict[Name, str], Field(min_length=1)]
    """Stage → file, relative to the directory given by `--config reference=DIR`; `{size}` and `{seed}` are filled
    in."""


class StudyConfig(Strict):
    """One study: the science. Nothing here names a machine."""

    extends: str | None = None
    """Another study, whose file this one states the differences to: a name in `config/studies`, or a path relative to
    this file. Mappings are merged key by key, everything else is replaced; a stage that names another `method` replaces
    the whole stage, and null removes a key."""
    title: str
    """One line, shown in figures and reports."""
    description: str = ""
    """What it can show and what it cannot; printed on the report's front page."""
    world: WorldSettings | None = None
    """The seeded world that `data` samples from."""
    data: dict[Name, Data] = Field(default_factory=dict)
    """Data sets by name: parts of the world, hub data sets, local files."""
    tokenizer: Tokenizer | None = None
    """Tokenizer of the models that are pretrained here."""
    models: Annotated[dict[Name, ModelSize], Field(min_length=1)]
    """The sizes."""
    stages: Annotated[dict[Name, Stage], Field(min_length=1)]
    """The lineage; order of writing is the order in figures."""
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(min_length=1), AfterValidator(_distinct)
    ] = (0,)
    """Training seeds; each is a dimension of the grid."""
    formats: dict[Name, OwnFormat] = Field(default_factory=dict)
    """Further prompt formats beside the built-in ones: a text with `{prompt}` and perhaps `{start}`, a chat (see
    ChatFormat), or null where the words around finished completions differ."""
    prompts: Annotated[dict[Name, str], Field(min_length=1)]
    """Prompt sets: name → YAML file, relative to the study file or to `config/`."""
    generation: Generation
    """What is sampled."""
    measures: Measures = Measures()
    """Which measures are taken of every model."""
    reference: Reference | None = None
    """Stored results of others; without `--config reference=DIR` the study runs without the comparison."""
    analysis: Analysis = Analysis()
    """How intervals and attribution are made."""
    threads: int = Field(1, ge=1)
    """Threads of every computing job. The last bits of a sum depend on it, so it is part of the science."""

    def parents(self) -> dict[str, list[str]]:
        """Each stage's parents by role, in the order of the file, each once: the stage it continues, the one that
        scores, and those that wrote its data, scored them or decided what of them is left."""
        return {name: list(dict.fromkeys(self._parents(stage))) for name, stage in self.stages.items()}

    def _parents(self, stage: StageBase) -> Iterator[str]:
        if stage.parent:
            yield stage.parent
        if stage.reward and stage.reward not in FUNCTIONS:
            yield stage.reward
        if stage.data:
            yield from stages_of(self, stage.data)
