"""What every way of making a stage has in common. One module per method; heavy imports stay inside functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modecollapse.methods.architecture import ArchitectureSettings
from modecollapse.methods.layout import Layout
from modecollapse.prompts import PromptFormat
from modecollapse.schema import Strict

if TYPE_CHECKING:  # its world needs numpy, which who only reads a study can do without
    from modecollapse.data.nano.world import WorldSettings
    from modecollapse.methods.guard_settings import GuardSource


Capability = Literal[
    "copies_source",
    "decodes",
    "keeps_adapter",
    "merges_adapter",
    "needs_parent",
    "needs_reference",
    "scores",
    "starts_from_nothing",
    "trains",
]
"""What a method can do or needs, of which a study asks its stages: attributes of `Method` that are true or false."""


@dataclass(frozen=True)
class RewardSource:
    """What scores answers: a reward model, or a function of their text."""

    name: str
    """The stage, or one of `methods.reward_functions.FUNCTIONS`."""
    weights: Path | None = None
    """Directory of the reward model and its tokenizer; None for a function."""
    shares_base: bool = False
    """Whether the model is an adapter, kept beside its merged weights, of the weights in `TrainingJob.parent`."""


@dataclass(frozen=True)
class AdaptedBase:
    """The weights that an adapter was trained on, and how they were held meanwhile."""

    weights: Path
    """Model directory."""
    quantization: Literal["nf4"] | None
    dtype: str | None
    """Number format in which quantized weights were computed with; None if they were not quantized."""


@dataclass(frozen=True)
class TrainingJob:
    """Everything a method may use. All paths exist and have been verified before the method is called."""

    settings: Strict
    """The method's own validated settings (an instance of `Method.settings`)."""
    seed: int
    threads: int
    output: Path
    """An empty directory to fill with a Hugging Face model directory (safetensors) and its tokenizer."""
    state: Path
    """A directory that outlives a killed job, for whatever is needed to resume; empty the first time."""
    epoch_outputs: tuple[Path, ...] = ()
    """Directories like `output` for the models after each epoch of a run that keeps them all; the last one is `output`,
    which is the only one of other runs."""
    parent: Path | None = None
    """Model directory of the parent stage (weights and tokenizer)."""
    adapted: AdaptedBase | None = None
    """What the adapter of the parent was trained on, of a method that keeps it apart."""
    reference_scores: Path | None = None
    """Sealed Parquet file of the log-probabilities that the parent gives to the data (`methods.reference_file`)."""
    source: Path | None = None
    """What a method that takes weights from elsewhere takes over: a directory, or a GGUF file."""
    architecture: ArchitectureSettings | None = None
    """Shape of a GPT-NeoX model to be trained from nothing."""
    tokenizer: Path | None = None
    """Directory of the tokenizer of such a model."""
    data: Path | None = None
    """Sealed Parquet file: `text` for pretraining; `prompt`, `completion` for SFT; `prompt`, `chosen`, `rejected`."""
    reward: RewardSource | None = None
    """What scores the answers of a method that needs it."""
    world: "WorldSettings | None" = None
    """The study's world, whose annotators know the true utility of an answer; None if it has none."""
    format: PromptFormat | None = None
    """The prompt format of fine-tuning."""
    guard: "GuardSource | None" = None
    """The benchmarks that the model is put to while it is tuned; None where its settings ask for none."""
    layout: Layout = field(default_factory=Layout)
    """How it is spread over processes and devices."""


@dataclass(frozen=True)
class TrainingRecord:
    """What a method reports beside the weights."""

    steps: int
    tokens: int
    """Tokens seen (padding not counted) over the whole run, whatever the number of resumes."""
    curves: list[dict[str, float]] = field(default_factory=list)
    """One entry per logged step: `step` and the method's own quantities (`loss`, `learning_rate`, …)."""
    epochs: "list[TrainingRecord]" = field(default_factory=list)
    """Of a run that keeps the model of every epoch, one record each: steps and tokens from the run's beginning to the
    epoch's end, and the epoch's own part of the curves."""


@dataclass(frozen=True)
class Method:
    """A way in which a stage comes to be, and its capabilities."""

    name: str
    revision: int
    """Raised when a change of code changes results; part of every spec."""
    settings: type[Strict]
    run: Callable[[TrainingJob], TrainingRecord]
    """Makes the weights; of a method that `decodes` there are none, and it is never called."""
    needs_parent: bool
    """Whether it continues the weights of its parent stage."""
    data_columns: tuple[str, ...]
    """Columns that its data must have whatever the settings; empty if it needs no data."""
    modules: tuple[str, ...]
    """Modules (without the package's name) whose code decides the result; the revision guard watches them."""
    libraries: tuple[str, ...] = ()
    """Slow imports of `run` (``module`` or ``module:name``), so that a caller can count them as start-up."""
    trains: bool = True
    """Whether it depends on the seed and, with a parent, on the prompt format; otherwise it takes weights over."""
    several_processes: bool = False
    """Whether its training can be shared by several processes (`TrainingJob.layout`)."""
    needs_reference: bool = False
    """Whether it compares the model with its parent, whose log-probabilities of its pairs a job of their own computes.
    Its settings then have `max_length`, `max_prompt_length`, `too_long`, `dtype` and `lora`."""
    pairs: bool = False
    """Whether an example of its training is a pair of answers, whose two rows go through the model together."""
    takes_pairs_apart: bool = False
    """Whether each pair of its data makes two examples of its training, one of every answer."""
    forward_passes: int = 0
    """How often an example goes through the model beside the pass that is learned from, without a gradient."""
    needs_whole_batch: Callable[[Strict], bool] | None = None
    """Whether, under such settings, its loss needs all of a batch in one pass of one process; None if it never does."""
    needs_reward: bool = False
    """Whether a reward stage or function scores answers for it (`TrainingJob.reward`)."""
    scores: bool = False
    """Whether its result is a reward model: it gives a number to an answer, and cannot be sampled from."""
    decodes: bool = False
    """Whether it only chooses among the answers of its parent stage, and makes no weights of its own."""
    keeps_adapter: bool = False
    """Whether it is the adapter of its parent stage beside what that was trained on, so that nothing continues it."""
    reward_setting: str | None = None
    """The setting that rewards on its curves are multiples of, if they are log-ratios to the reference."""
    column_setting: str | None = None
    """The setting that names one further column of its data."""
    check_source: Callable[[Path], None] | None = None
    """Raises StudyError unless a directory has what the method takes over; of weights only the headers are read. None
    if it trains."""
    files_taken_over: Callable[[Path], list[Path]] | None = None
    """The files of such a directory that decide the stage. None if it trains."""

    @property
    def starts_from_nothing(self) -> bool:
        """Whether it trains new weights of the size's architecture, for the tokenizer that is trained here."""
        return self.trains and not self.needs_parent

    @property
    def copies_source(self) -> bool:
        """Whether its weights are those of its source, unchanged."""
        return not self.trains and not self.needs_parent

    @property
    def merges_adapter(self) -> bool:
        """Whether its source is an adapter, which it merges into the weights of its parent stage."""
        return not self.trains and self.needs_parent and not self.decodes and not self.keeps_adapter

    def change_of_chosen(self, settings: Strict, point: Mapping[str, float]) -> float | None:
        """By how many nats an answer that was chosen has become more likely than it was before training, on average.

        Falling with growing margins it is likelihood displacement. Per token: divided by the mean number of tokens of
        chosen answers, which the file of reference log-probabilities holds.

        Args:
            settings: the method's own.
            point: a point of its curves.

        Returns:
            None if the curves do not say: there is no reference, or nothing chosen was in the point's batches.
        """
        if self.reward_setting is None or point.get("rewards/chosen") is None:
            return None
        return point["rewards/chosen"] / float(getattr(settings, self.reward_setting))

    def columns(self, settings: Strict) -> tuple[str, ...]:
        """Columns that its data must have under these settings."""
        if self.column_setting is None:
            return self.data_columns
        return (*self.data_columns, getattr(settings, self.column_setting))
