"""The machine that a study runs on: a matter of profiles, which no study file and no spec knows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from modecollapse.config_errors import explain
from modecollapse.errors import StudyError
from modecollapse.schema import Strict

Gpus = int | Literal["auto"]


def _training_gpus(value: Any) -> Any:
    counts = list(value.values()) if isinstance(value, Mapping) else [value]
    for count in counts:
        if count != "auto" and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ValueError(
                f"found {value!r}. Allowed: auto, a number of 1 or more, or a mapping of the study's sizes to these, "
                "e.g. {pythia-2.8b: 4}. Choose one of these"
            )
    return dict(value) if isinstance(value, Mapping) else value


class Machine(Strict):
    """One node of the machine that jobs run on. Rates are what is reached in practice, not a data sheet's peaks.

    The defaults are a computer without GPUs; the figures of GPUs, which only count where there are some, suit an H100
    with 80 GB and half of its rates.
    """

    gpus_per_node: int = Field(0, ge=0)
    """GPUs of a node; a job never uses more. 0 computes on processors."""
    gpu_memory_gb: float = Field(80, gt=0)
    """Memory of one GPU in GB (10^9 bytes)."""
    gpu_tflops: float = Field(300, gt=0)
    """Matrix products of one GPU in bfloat16: 10^12 operations per second."""
    gpu_tflops_float32: float = Field(40, gt=0)
    """The same in float32; TF32 is off here."""
    gpu_bandwidth_gb_s: float = Field(1500, gt=0)
    """Memory bandwidth of one GPU in GB per second: what bounds the decoding of few rows."""
    gpu_type: str | None = Field(None, min_length=1)
    """Name of the GPUs to ask for where a cluster has several kinds (in Slurm, what `sinfo -o %G` shows); null: any."""
    training_gpus: Annotated[Gpus | dict[str, Gpus], BeforeValidator(_training_gpus)] = "auto"
    """GPUs of a training job: a number, `auto` for the fewest on which it fits, or a mapping of the study's sizes to
    these. A number has to divide the batch size of every stage that is trained."""
    accelerator: Literal["cuda", "cpu"] = "cuda"
    """`cpu`: jobs that are given GPUs compute on processors all the same, a process for each, e.g. in tests of a
    cluster with pretended GPUs."""
    save_minutes: float = Field(30, gt=0)
    """Minutes after which a training job saves its state beside the saves that a study's `save_every` asks for: a kill
    costs at most so much work. No result depends on it."""
    vllm: str = Field(".venv-vllm/bin/vllm", min_length=1)
    """The executable of vLLM, for studies that set `generation.engine: vllm`: a path, relative to the workflow's root,
    or a program on PATH."""
    node_memory_gb: float | None = Field(None, gt=0)
    """Main memory of a node in GB; no job asks for more. Null: unknown."""
    feature_processes: int = Field(1, ge=1)
    """Processes of a job that computes text features. No result depends on it."""
    cpu_gflops: float = Field(15, gt=0)
    """Matrix products of one processor core in float32: 10^9 operations per second."""
    cpu_bandwidth_gb_s: float = Field(10, gt=0)
    """Memory bandwidth of one job on processors in GB per second."""

    def gpus_asked(self, size: str) -> tuple[str, int | None]:
        """The key that says how many GPUs a training job of this size uses, and the number; None for the fewest."""
        asked, key = self.training_gpus, "machine.training_gpus"
        if isinstance(asked, dict):
            asked, key = asked.get(size, "auto"), f"{key}.{size}"
        return key, asked if isinstance(asked, int) else None

    @property
    def on_gpus(self) -> bool:
        """Whether jobs ask for GPUs."""
        return self.gpus_per_node > 0

    @property
    def computes_on_gpus(self) -> bool:
        """Whether jobs also compute on them."""
        return self.on_gpus and self.accelerator == "cuda"

    def flops(self, dtype: str, threads: int) -> float:
        """Operations per second of one process in this number format."""
        if not self.computes_on_gpus:
            return self.cpu_gflops * 1e9 * threads
        return (self.gpu_tflops if dtype == "bfloat16" else self.gpu_tflops_float32) * 1e12

    def bandwidth(self) -> float:
        """Bytes per second that one process reads from the memory that its weights are in."""
        return (self.gpu_bandwidth_gb_s if self.computes_on_gpus else self.cpu_bandwidth_gb_s) * 1e9

    def processes(self, gpus: int) -> int:
        """Processes of a job with so many GPUs."""
        return max(1, gpus)


@dataclass(frozen=True)
class Limits:
    """What jobs may ask for: the largest values of the partitions that take them, in minutes and MB."""

    partitions: tuple[Mapping[str, Any], ...] = ()

    def cap(self, key: str, first: int, asked: int, gpus: int) -> int:
        """`asked` of a later attempt, no more than `max_KEY` of some partition allows, nor less than the first asked.

        A first attempt that is too much for every partition is left as it is, for an error that says so.
        """
        most = [each.get(f"max_{key}", math.inf) for each in self.partitions if each.get("max_gpu", 0) >= gpus]
        return max(first, min(asked, int(max(most)))) if most and max(most) < math.inf else asked


def read_limits(settings: Mapping[str, Any]) -> Limits:
    """The limits in the key `partitions` of the workflow's configuration, if there are any.

    What is wrong with them is said where they are used, before anything is submitted (`modecollapse.resources.slurm`).
    """
    found = settings.get("partitions")
    entries = found.values() if isinstance(found, Mapping) else ()
    return Limits(tuple(each for each in entries if isinstance(each, Mapping)))


def read_machine(settings: Mapping[str, Any]) -> Machine:
    """The key `machine` of the workflow's configuration.

    Raises:
        StudyError: a key that does not exist, or a value that is not allowed.
    """
    found = settings.get("machine")
    if found is None:
        return Machine()
    if not isinstance(found, Mapping):
        raise StudyError(
            f"machine: found {found!r}. Allowed: a mapping with the keys {', '.join(Machine.model_fields)}. "
            "Write e.g. --config 'machine={gpus_per_node: 4, gpu_memory_gb: 80}', or put it into the profile's "
            "configuration file."
        )
    try:
        return Machine.model_validate({key: _number(value) for key, value in found.items()})
    except ValidationError as error:
        raise explain(error, Path("the workflow's configuration"), Machine, "machine") from error


def _number(value: Any) -> Any:
    """Numbers as such: what stands in braces on the command line comes as text."""
    if isinstance(value, Mapping):
        return {key: _number(each) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    try:
        return int(value)
    except ValueError:
        pass
    try:
        return float(value)
    except ValueError:
        return None if value == "null" else value
