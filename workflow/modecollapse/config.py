"""The configuration model of a study: every key, its type, its default and what it means.

`workflow/schemas/study.schema.json` and `docs/configuration.md` are written from this module by `python -m
modecollapse.config_docs`; a test fails when they differ.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from modecollapse.data.nano.world import WorldSettings
from modecollapse.data_config import Data, Tokenizer
from modecollapse.data_lineage import stages_of
from modecollapse.format_config import OwnFormat
from modecollapse.generation.settings import EngineName, SamplingSettings
from modecollapse.judging.settings import JudgementSettings
from modecollapse.measures.attractor import AttractorSettings
from modecollapse.measures.benchmarks import BenchmarkSettings
from modecollapse.measures.divergence import DivergenceSettings
from modecollapse.measures.embedder import EmbedderSettings
from modecollapse.measures.guard_rails import GuardRailSettings
from modecollapse.measures.personas import PersonaSettings
from modecollapse.measures.probes import ProbeSettings
from modecollapse.measures.repetition import RepetitionSettings
from modecollapse.measures.semantic import SemanticSettings
from modecollapse.measures.text_features import TextFeatureSettings
from modecollapse.measures.tokens import TokenSettings
from modecollapse.measures.top_entropy import TopEntropySettings
from modecollapse.measures.toy_bandit import ToyBanditSettings
from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.reward_functions import FUNCTIONS
from modecollapse.metrics.registry import METRICS
from modecollapse.resources.settings import ShapeSettings
from modecollapse.schema import Name, Strict, distinct
from modecollapse.stage_config import Stage, StageBase
from modecollapse.temperatures import Temperature

PublishedModel = Literal["pythia-70m", "pythia-160m", "pythia-410m", "pythia-1b", "pythia-1.4b", "pythia-2.8b"]


def _not_one(value: int | None) -> int | None:
    if value == 1:
        raise ValueError("1 completion has no diversity; allowed: 2 or more, 0 or null")
    return value


def _metric(value: str) -> str:
    if value not in METRICS:
        raise ValueError(f"no such metric; allowed: {', '.join(METRICS)}")
    return value


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


class Generation(SamplingSettings):
    """What is sampled from every model: temperatures × prompts × completions."""

    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1), AfterValidator(distinct)]
    """Sampling temperatures, above 0; strings or numbers."""
    formats: Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(distinct)] = ("human",)
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

    words: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1), AfterValidator(distinct)] = (20, 5)
    """Completions are cut to their first so many whitespace-separated words."""
    metrics: Annotated[
        tuple[Annotated[str, AfterValidator(_metric)], ...], Field(min_length=1), AfterValidator(distinct)
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
    semantic: SemanticSettings | None = None
    """Similarities and clusters of the outputs of single prompts; null leaves them out."""
    personas: PersonaSettings | None = None
    """Customer personas and their reviews; `{}` takes the paper's, null leaves them out."""
    top_entropy: TopEntropySettings | None = None
    """Entropy over the most probable tokens along outputs; `{}` takes the paper's prompt, null leaves it out."""
    attractor: AttractorSettings | None = None
    """Whether models that are pushed off a mode go back to it; needs `semantic.asked`; null leaves it out."""
    probes: ProbeSettings | None = None
    """Confidence along continuations, next-token choices and sample responses; `{}` takes the paper's prompts, null
    leaves them out."""
    text_features: TextFeatureSettings | None = None
    """Features of chosen and rejected answers and of each stage's answers; null leaves them out."""
    toy_bandit: ToyBanditSettings | None = None
    """The CR paper's worked example of mode collapse, and a simulation; `{}` takes the paper's numbers, null leaves it
    out."""
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
    models: dict[Name, ModelSize] = Field(default_factory=dict)
    """The sizes."""
    stages: dict[Name, Stage] = Field(default_factory=dict)
    """The lineage; order of writing is the order in figures. A study without stages, models, prompts and generation
    compares the answers of preference pairs alone (`measures.text_features`)."""
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=2**32 - 1)], ...], Field(min_length=1), AfterValidator(distinct)
    ] = (0,)
    """Training seeds; each is a dimension of the grid."""
    formats: dict[Name, OwnFormat] = Field(default_factory=dict)
    """Further prompt formats beside the built-in ones: a text with `{prompt}` and perhaps `{start}`, a chat (see
    ChatFormat), or null where the words around finished completions differ."""
    prompts: dict[Name, str] = Field(default_factory=dict)
    """Prompt sets: name → YAML file, relative to the study file or to `config/`."""
    generation: Generation = Field(default_factory=lambda: Generation(temperatures=("1.0",)))
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
