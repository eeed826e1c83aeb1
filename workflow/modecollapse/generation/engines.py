"""The engines that completions can be sampled with. Importing this module is cheap, so that checks can."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from modecollapse.generation.progress import Progress
from modecollapse.generation.settings import EngineName, SamplingSettings
from modecollapse.resources.machine import Machine
from modecollapse.unfinished import Unfinished


class Engine(Protocol):
    """What makes cells."""

    def prepare(self, prompts: Sequence[tuple[str, str]]) -> Any:
        """What all cells of these prompts, pairs of (id, rendered text), share."""

    def sample(
        self,
        prepared: Any,
        temperature: float,
        stream: str,
        progress: Progress = ...,
        unfinished: Unfinished | None = None,
    ) -> pa.Table:
        """One cell: `settings.completions` completions of each prompt, ordered by prompt, then sample.

        Args:
            prepared: from `prepare` of this engine.
            temperature: > 0.
            stream: names the cell's random numbers; cells with different streams are independent.
            progress: called with (completions finished, completions asked for).
            unfinished: where finished rows are kept; what is there is gone on from if it was made with the same
                versions, device and settings.

        Returns:
            A table of `CELL_SCHEMA`. Its metadata (`cell_record`) says what it was made with.

        Raises:
            StudyError: a temperature that the engine does not sample at, or a model that predicts something that is
                not a number.
            Stopped: the process was asked to stop; finished rows are kept.
        """


@dataclass(frozen=True)
class EngineJob:
    """What an engine is opened for."""

    weights: Path
    settings: SamplingSettings
    threads: int
    texts: tuple[str, ...]
    """Every rendered prompt that it will be asked."""
    machine: Machine
    root: Path
    """The workflow's root, to which paths of the machine's configuration are relative."""


@dataclass(frozen=True)
class EngineKind:
    """How an engine is loaded and opened."""

    libraries: tuple[str, ...]
    """What has to be imported before the work starts (see `Job.load`)."""
    open: Callable[[EngineJob], AbstractContextManager[Engine]]


@contextmanager
def _transformers(job: EngineJob) -> Iterator[Engine]:
    from modecollapse.generation.transformers_engine import TransformersEngine
    from modecollapse.jobs.running import device

    yield TransformersEngine(job.weights, job.settings, job.threads, device())


@contextmanager
def _vllm(job: EngineJob) -> Iterator[Engine]:
    from modecollapse.serving.engine import vllm_engine
    from modecollapse.serving.installation import find_vllm

    installation = find_vllm(job.machine, job.root)
    on_gpu = job.machine.computes_on_gpus
    with vllm_engine(installation, job.weights, job.settings, job.threads, on_gpu, job.texts) as engine:
        yield engine


ENGINES: Mapping[EngineName, EngineKind] = {
    "transformers": EngineKind(
        (
            "modecollapse.generation.transformers_engine",
            "transformers:AutoModelForCausalLM",
            "transformers.modeling_utils",
        ),
        _transformers,
    ),
    "vllm": EngineKind(("modecollapse.serving.engine", "transformers:AutoTokenizer"), _vllm),
}
