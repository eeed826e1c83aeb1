"""What every job of a study asks for, as the rules state it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modecollapse.cells import Model, ReferenceScores
from modecollapse.errors import StudyError
from modecollapse.methods.dpo import OVER_THE_BATCH, DpoSettings
from modecollapse.methods.layout import Layout
from modecollapse.methods.pretrain_settings import PretrainSettings
from modecollapse.methods.settings import FineTuningSettings
from modecollapse.resources import inference
from modecollapse.resources.extents import Extent, extent_of
from modecollapse.resources.machine import Limits, Machine
from modecollapse.resources.shapes import Shape, shape_of
from modecollapse.resources.training import (
    GB,
    Adapter,
    Training,
    choose_layout,
    divisors,
    process_bytes,
    state_on_disk,
    training_seconds,
)

if TYPE_CHECKING:
    from modecollapse.study import Study

PROCESS = 1.2 * GB
"""Resident memory of a process that has imported torch, transformers and TRL."""
CUDA_PROCESS = 3.0 * GB
"""The same with CUDA's libraries and pinned buffers."""
ANALYSIS = 0.5 * GB
"""Resident memory of a process of the analysis."""

START = 30.0
"""Seconds from the submission's beginning to the work's: two starts of Snakemake, and imports."""
PROCESS_START = 30.0
"""Seconds until several processes have found each other."""

_EMBEDDER = 4.0 * GB
"""Memory of a GPU for an embedder and a batch of long texts."""

_TEXT = 12
"""Bytes of memory per byte of text that is read, tokenized and held as lists of numbers."""

Wildcards = Any


@dataclass(frozen=True)
class Demand:
    """What one job needs: upper bounds of memory, expected values of the rest."""

    memory: float
    """Main memory of all its processes, in bytes."""
    seconds: float
    disk: float = 0.0
    """Bytes that it writes and that stay: its outputs and what the store keeps of them, hard links counted once."""
    temporary: float = 0.0
    """Bytes that exist until it has ended: the trainer's state."""
    gpus: int = 0
    device: float = 0.0
    """Memory of each GPU, in bytes."""
    layout: Layout | None = None
    cores: int = 1
    resumes: bool = False
    """Whether a job that ran into its time limit goes on from there, so that a limit may be shorter than it."""

    def mem_mb(self, attempt: int, machine: Machine) -> int:
        """Main memory to ask for, half as much again with each further attempt, at most that of a node."""
        asked = math.ceil(self.memory / 1e8) * 100 * (1 + attempt) // 2
        return asked if machine.node_memory_gb is None else min(asked, int(machine.node_memory_gb * 1000))

    def minutes(self, attempt: int) -> int:
        """Time to ask for: twice what is expected and ten minutes, and as much again with each further attempt."""
        return math.ceil((2 * self.seconds + 600) / 60) * attempt

    def disk_mb(self) -> int:
        """Disk to have free, trainer state included."""
        return math.ceil((self.disk + self.temporary) / 1e6) + 100


class Demands:
    """The demands of one study's jobs on one machine; each is computed once."""

    def __init__(self, study: "Study", machine: Machine, limits: Limits | None = None) -> None:
        self.study, self.machine, self.limits = study, machine, limits or Limits()
        self._kept: dict[tuple[Any, ...], Any] = {}
        self._rules: dict[str, Callable[[Wildcards], Demand]] = {}

    def _once(self, key: tuple[Any, ...], compute: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]

    def of(self, rule: str, wildcards: Wildcards) -> Demand | None:
        """What a job of this rule needs; None if the rule does no work."""
        return self._rules[rule](wildcards) if rule in self._rules else None

    def _of_model(self, compute: Callable[[Model], Demand], model: Model) -> Demand:
        """The demand that `compute` finds for a model; one for all seeds."""
        found: Demand = self._once((compute.__name__, model.size, model.stage), lambda: compute(model))
        return found

    def resources(self, rule: str, demand: Callable[[Wildcards], Demand]) -> dict[str, Callable[..., Any]]:
        """The resources of a rule, as functions of a job's wildcards and of the attempt.

        `gpu`, `zero_stage` and `micro_batch` are left out (None) where a job has none.
        """
        self._rules[rule] = demand
        layout = {
            "zero_stage": lambda wildcards: _of(demand(wildcards).layout, "zero_stage"),
            "micro_batch": lambda wildcards: _of(demand(wildcards).layout, "micro_batch"),
        }
        return {
            "mem_mb": lambda wildcards, attempt: self._mem_mb(demand(wildcards), attempt),
            "runtime": lambda wildcards, attempt: self._minutes(demand(wildcards), attempt),
            "disk_mb": lambda wildcards: demand(wildcards).disk_mb(),
            "gpu": lambda wildcards: demand(wildcards).gpus or None,
            # Slurm's plugin would give the job's threads to all of its processes together.
            "cpus_per_gpu": lambda wildcards: self.threads if demand(wildcards).gpus else None,
            "gpu_model": lambda wildcards: self.machine.gpu_type if demand(wildcards).gpus else None,
            **layout,
        }

    def _mem_mb(self, demand: Demand, attempt: int) -> int:
        first, asked = (demand.mem_mb(number, self.machine) for number in (1, attempt))
        return self.limits.cap("mem_mb", first, asked, demand.gpus)

    def _minutes(self, demand: Demand, attempt: int) -> int:
        first = 1 if demand.resumes else demand.minutes(1)
        return self.limits.cap("runtime", first, demand.minutes(attempt), demand.gpus)

    # What is known of models and data

    def shape(self, model: Model) -> Shape:
        """The model's shape; one for all seeds and all stages that go back to the same weights."""
        origin = self.study.origin(model)
        shape: Shape = self._once(("shape", origin.size, origin.stage), lambda: shape_of(self.study, origin))
        return shape

    def extent(self, data: str) -> Extent:
        """The data set's extent."""
        extent: Extent = self._once(("extent", data), lambda: extent_of(self.study, data))
        return extent

    @property
    def threads(self) -> int:
        return self.study.config.threads

    # Models

    def model(self, model: Model) -> Demand:
        """Training one model or one run of epochs, or taking weights over."""
        found: Demand = self._once(("model", model.size, self.study.run(model)[0].stage), lambda: self._model(model))
        return found

    def training(self, model: Model) -> Training:
        """What a training job trains.

        A row is as long as the settings allow; the work follows the tokens that the data has, if that is known.
        """
        stage, settings, shape = self.study.stage(model), self.study.settings(model), self.shape(model)
        assert stage.data is not None
        extent = self.extent(stage.data)
        if isinstance(settings, PretrainSettings):
            sequences = math.ceil(settings.tokens / (settings.batch_size * settings.sequence_length))
            return Training(
                shape=shape,
                kind="pretrain",
                batch=settings.batch_size,
                length=settings.sequence_length,
                examples=sequences * settings.batch_size,
                tokens=settings.sequence_length,
                save_every=settings.save_every,
                text_tokens=settings.tokens,
                whole=True,
            )
        assert isinstance(settings, FineTuningSettings)
        pairs = isinstance(settings, DpoSettings)
        row = extent.tokens_of_a_row(settings.max_length)
        lora = settings.lora
        return Training(
            shape=shape,
            kind="dpo" if pairs else "sft",
            batch=settings.batch_size,
            length=settings.max_length,
            examples=extent.rows * settings.epochs,
            # Rows are padded to the longest of their batch.
            tokens=min(settings.max_length, 1.5 * row) * (2 if pairs else 1),
            dtype=settings.dtype,
            moments=2 if settings.optimizer == "adamw" else 1,
            adapter=None if lora is None else Adapter(lora.rank, lora.quantization is not None),
            save_every=settings.save_every,
            text_tokens=extent.rows * row * (2 if pairs else 1),
            whole=isinstance(settings, DpoSettings) and settings.loss_type in OVER_THE_BATCH,
        )

    def layout(self, model: Model) -> Layout:
        """How a training job is spread.

        Raises:
            StudyError: it fits on no number of GPUs of a node.
        """
        found: Layout = self._once(("layout", model.size, model.stage), lambda: self._layout(model))
        return found

    def _layout(self, model: Model) -> Layout:
        job, machine = self.training(model), self.machine
        key, asked = machine.gpus_asked(model.size)
        gpus = 1 if job.whole else asked
        layout = choose_layout(job, machine, gpus)
        if layout is not None:
            return layout
        stage = self.study.runs.run_of(model.stage) or model.stage
        most = gpus or max(divisors(job.batch, machine.gpus_per_node))
        best = Layout(most, 3 if most > 1 and not job.whole and not job.adapter else 0, job.batch if job.whole else 1)
        needed = process_bytes(job, best, on_gpu=True) / GB
        shape = self.shape(model)
        guess = (
            f" Nothing is known of the model yet: state models.{model.size}.shape, or download it."
            if shape.assumed
            else ""
        )
        more = f"raise {key}, " if gpus and gpus < machine.gpus_per_node and not job.whole else ""
        raise StudyError(
            f"{self.study.file}: stages.{stage} ({model}): {shape.parameters / 1e9:.2f} billion parameters, "
            f"{job.batch} {'pairs' if job.kind == 'dpo' else 'examples'} per update and {job.length} tokens need "
            f"{needed:.0f} GB on each of {most} GPUs{' with ZeRO-3' if best.zero_stage == 3 else ''} even one at a "
            f"time, but machine.gpu_memory_gb is {machine.gpu_memory_gb:g} (gpus_per_node {machine.gpus_per_node}). "
            f"Train an adapter (stages.{stage}.lora, with quantization: nf4 if need be), {more}use larger GPUs or "
            f"nodes with more of them, or lower stages.{stage}.max_length.{guess}"
        )

    def _model(self, model: Model) -> Demand:
        method = self.study.method(model)
        assert method is not None
        shape = self.shape(model)
        if not method.trains:
            return self._taken_over(model, shape)
        job, layout, machine = self.training(model), self.layout(model), self.machine
        count = layout.processes
        peak = process_bytes(job, layout, machine.computes_on_gpus)
        text = _TEXT * 3 * job.text_tokens
        if machine.computes_on_gpus:
            # Every process loads its model in main memory first; the first one also writes it.
            loading = 4.0 * shape.parameters * (count + 1)
            memory = count * (CUDA_PROCESS + text) + loading
        else:
            memory = count * (PROCESS + text + peak)
        kept = len(self.study.run(model))
        seconds = training_seconds(job, layout, machine, self.threads) + inference.loading_seconds(shape)
        return Demand(
            memory=memory,
            seconds=seconds + START + (PROCESS_START if count > 1 else 0),
            disk=4.0 * shape.parameters * kept,
            # While it is published, the new model lies beside the state.
            temporary=state_on_disk(job),
            gpus=count if machine.on_gpus else 0,
            device=peak if machine.on_gpus else 0,
            layout=layout,
            cores=self.threads * count,
            resumes=True,
        )

    def reference_scores(self, scores: ReferenceScores) -> Demand:
        """What a model gives to preference pairs; one for all seeds."""
        key = ("reference_scores", scores.model.size, scores.model.stage, scores.pairs)
        found: Demand = self._once(key, lambda: self._reference_scores(scores))
        return found

    def _reference_scores(self, scores: ReferenceScores) -> Demand:
        from modecollapse.methods.reference_file import POSITIONS

        shape, extent, settings = self.shape(scores.model), self.extent(scores.data), scores.settings
        row = extent.tokens_of_a_row(settings.max_length)
        job = inference.PairScoring(
            shape=shape,
            pairs=extent.rows,
            tokens=2.0 * extent.rows * row,
            positions=max(POSITIONS["cuda" if self.machine.computes_on_gpus else "cpu"], 2 * settings.max_length),
            length=settings.max_length,
            dtype=settings.dtype,
        )
        seconds = inference.pair_scoring_seconds(job, self.machine, self.threads)
        peak = inference.pair_scoring_bytes(job, self.machine.computes_on_gpus)
        # Token ids of both rows, and the texts that they come from.
        text = _TEXT * 3 * job.tokens
        demand = self._inference(peak, shape, seconds, 2 * 20.0 * job.pairs, "float32")
        return replace(demand, memory=demand.memory + text)

    def _taken_over(self, model: Model, shape: Shape) -> Demand:
        """Linked, copied, converted, or merged with an adapter, which is done in float32 on a processor."""
        method = self.study.method(model)
        merges = method is not None and method.merges_adapter
        memory = PROCESS + (2 * 4 * shape.parameters if merges else 2 * shape.stored_bytes * shape.parameters)
        size = shape.stored_bytes * float(shape.parameters)
        return Demand(memory=memory, seconds=START + 6 * size / (0.3 * GB), disk=size, cores=self.threads)

    # Measures

    def _inference(
        self, device: float, shape: Shape, seconds: float, disk: float, dtype: str, models: int = 1
    ) -> Demand:
        weights = models * shape.parameters * inference.width(dtype)
        memory = inference.mapped_bytes(shape) + (
            CUDA_PROCESS + weights if self.machine.computes_on_gpus else PROCESS + device
        )
        gpus = 1 if self.machine.on_gpus else 0
        return Demand(
            memory=memory,
            seconds=START + seconds,
            disk=disk,
            gpus=gpus,
            device=device if gpus else 0,
            cores=self.threads,
            resumes=True,
        )

    def generation(self, model: Model) -> Demand:
        """All cells of a model."""
        return self._of_model(self._generation, model)

    def _generation(self, model: Model) -> Demand:
        settings, shape = self.study.config.generation, self.shape(model)
        served = settings.engine == "vllm"
        prompts = max(len(each.prompts) for each in self.study.prompts.values())
        texts = (f"{each.text or ''}{each.start}" for every in self.study.prompts.values() for each in every.prompts)
        job = inference.Generating(
            shape=shape,
            cells=len(self.study.cells(model)),
            rows=prompts * settings.completions,
            prompts=prompts,
            # A token is a byte at least; a format adds its own words.
            prompt_length=max((len(text.encode()) for text in texts), default=0) // 2 + 64,
            new_tokens=settings.max_new_tokens,
            rows_per_batch=settings.rows_per_batch or (inference.SERVED_ROWS if served else None),
            dtype=settings.dtype,
        )
        seconds = inference.generation_seconds(job, self.machine, self.threads)
        # Text and log-probabilities, once as an output and once in the store.
        disk = 2.0 * job.cells * (job.rows * (job.new_tokens * 8 + 20) + 10_000)
        if not served:
            return self._inference(inference.generation_bytes(job, self.machine), shape, seconds, disk, job.dtype)
        peak = inference.served_bytes(job, self.machine)
        demand = self._inference(peak, shape, seconds + inference.SERVER_START, disk, job.dtype)
        # The job itself and the server's front hold no weights.
        return replace(demand, memory=demand.memory + 2 * PROCESS)

    def tokens(self, model: Model) -> Demand:
        """Token statistics of a model."""
        return self._of_model(self._tokens, model)

    def _tokens(self, model: Model) -> Demand:
        from modecollapse.measures.tokens import batch_positions

        settings, shape = self.study.config.measures.tokens, self.shape(model)
        assert settings is not None
        extent = self.extent(settings.data)
        documents = min(extent.rows, settings.documents)
        device = "cuda" if self.machine.computes_on_gpus else "cpu"
        job = inference.Scoring(
            shape=shape,
            tokens=documents * (extent.tokens or 2 * settings.context),
            documents=documents,
            batch=max(settings.context, batch_positions(settings, device)),
            groups=settings.groups,
            dtype=settings.dtype,
            reference=self.study.first(model) != model,
        )
        seconds = inference.scoring_seconds(job, self.machine, self.threads)
        peak = inference.scoring_bytes(job, self.machine.computes_on_gpus)
        models, disk = 2 if job.reference else 1, 2.0 * (job.groups + 1) * shape.vocabulary * 8 + 200.0 * documents
        return self._inference(peak, shape, seconds, disk, job.dtype, models)

    def benchmarks(self, model: Model) -> Demand:
        """All benchmarks of a model."""
        return self._of_model(self._benchmarks, model)

    def _benchmarks(self, model: Model) -> Demand:
        settings, shape = self.study.config.measures.benchmarks, self.shape(model)
        assert settings is not None
        documents = tokens = pairs = 0.0
        context = shape.context or 2048
        for task in self.study.benchmarks:
            count = float(_DOCUMENTS)
            if task.settings.data is not None:
                count = self.extent(task.settings.data).rows
            count = min(count, settings.limit_of(task.name) or count)
            for shots in settings.shots_of(task.name):
                documents += count
                tokens += count * _REQUESTS * min(context, _QUESTION * (1 + shots))
                pairs += 1
        job = inference.Benchmarking(
            shape=shape,
            requests=documents * _REQUESTS,
            tokens=tokens,
            batch=settings.batch_size,
            length=context,
            dtype=settings.dtype,
            tasks=int(pairs),
        )
        seconds = inference.benchmark_seconds(job, self.machine, self.threads)
        return self._inference(inference.benchmark_bytes(job), shape, seconds, 2 * 200 * documents, job.dtype)

    @cached_property
    def _completions(self) -> int:
        """Completions of a cell, at most."""
        prompts = max(len(each.prompts) for each in self.study.prompts.values())
        return prompts * self.study.config.generation.completions

    def _cells(self) -> int:
        """Cells of one size and seed."""
        stages = self.study.stages
        count = sum(len(self.study.formats(stage)) for stage in stages) * len(self.study.prompts)
        return count * len(self.study.config.generation.temperatures)

    def embedding(self) -> Demand:
        """Sentence vectors of one size and seed: distinct texts, cut to each number of words."""
        texts = self._cells() * self._completions * len(self.study.config.measures.diversity.words)
        process, seconds = (CUDA_PROCESS, 1e-4) if self.machine.computes_on_gpus else (PROCESS, 4e-3)
        gpus = 1 if self.machine.on_gpus else 0
        return Demand(
            memory=process + texts * 4000,
            seconds=START + texts * seconds,
            disk=texts * 2 * 1700.0,
            gpus=gpus,
            device=_EMBEDDER if gpus else 0.0,
            cores=self.threads,
            resumes=True,
        )

    def scoring(self, model: Model) -> Demand:
        """Scores of one model."""
        cells = len(self.study.formats(model.stage)) * len(self.study.prompts)
        sets = cells * len(self.study.config.generation.temperatures) * self._completions
        texts = self._cells() * self._completions * len(self.study.config.measures.diversity.words)
        return Demand(ANALYSIS + texts * 4000, START + sets * 4e-3, sets * 200.0)

    def data(self, name: str) -> Demand:
        """Reading or sampling a data set."""
        extent = self.extent(name)
        return Demand(PROCESS + 3 * extent.bytes, START + 60 + extent.bytes / 2e6, extent.bytes)

    def tokenizer(self) -> Demand:
        """Training the tokenizer."""
        assert self.study.config.tokenizer is not None
        size = sum(self.extent(name).bytes for name in self.study.config.tokenizer.data)
        return Demand(PROCESS + 8 * size, START + size / 1e6, 2e6)

    def analysis(self) -> Demand:
        """A table or a comparison: scores of one size are held at a time, and the table itself."""
        cells = self._cells() * len(self.study.config.models) * len(self.study.config.seeds)
        return Demand(2 * ANALYSIS + cells * 0.3e6, START + cells * 0.15, cells * 0.1e6)

    def figure(self) -> Demand:
        """A figure, drawn from tables that hold a few rows per cell."""
        cells = self._cells() * len(self.study.config.models) * len(self.study.config.seeds)
        return Demand(2 * ANALYSIS + cells * 0.3e6, START + 10 + cells * 0.01, 2e6)


_DOCUMENTS, _REQUESTS, _QUESTION = 3000, 3, 120
"""Of a task of the hub, about: documents, requests of a document, and tokens of a question."""


def _of(layout: Layout | None, name: str) -> int | None:
    value: int | None = None if layout is None else getattr(layout, name)
    return value


def check_machine(study: "Study", machine: Machine) -> None:
    """Check that the study's training jobs can be spread over this machine's GPUs as it is asked to.

    Raises:
        StudyError: more GPUs are asked for than a node has, a number does not divide a batch, a size is unknown, or a
            model does not fit.
    """
    asked = machine.training_gpus
    if isinstance(asked, dict):
        unknown = [size for size in asked if size not in study.config.models]
        if unknown:
            raise StudyError(
                f"machine.training_gpus.{unknown[0]}: the study {study.name} has no such size. Allowed: "
                f"{', '.join(study.config.models)}. Correct the name, or remove it."
            )
    for size in study.config.models:
        key, gpus = machine.gpus_asked(size)
        if gpus is not None and gpus > max(1, machine.gpus_per_node):
            raise StudyError(
                f"{key}: found {gpus}, but machine.gpus_per_node is {machine.gpus_per_node}, and a training job runs "
                f"on one node. Allowed: auto, or 1 to {max(1, machine.gpus_per_node)}. Ask for fewer, or correct "
                "machine.gpus_per_node."
            )
    if not machine.on_gpus:
        return
    demands = Demands(study, machine)
    for model in study.trained():
        method, settings = study.method(model), study.settings(model)
        if method is None or not method.trains or model.seed != study.config.seeds[0]:
            continue
        key, gpus = machine.gpus_asked(model.size)
        if isinstance(settings, FineTuningSettings) and gpus is not None and settings.batch_size % gpus:
            stage = study.runs.run_of(model.stage) or model.stage
            allowed = ", ".join(map(str, divisors(settings.batch_size, machine.gpus_per_node)))
            raise StudyError(
                f"{key}: found {gpus}, which does not divide stages.{stage}.batch_size {settings.batch_size} "
                f"({model}). Allowed: {allowed}, or auto. Choose one of these: the batch belongs to the science, its "
                "split does not."
            )
        demands.layout(model)
