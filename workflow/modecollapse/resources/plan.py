"""The plan of a study: jobs, time on devices and processors, memory and disk, before anything is submitted."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from modecollapse.data_lineage import family
from modecollapse.errors import StudyError
from modecollapse.methods.layout import Layout
from modecollapse.resources.demand import Demand
from modecollapse.resources.demands import Demands
from modecollapse.resources.training import GB

TARGET = "plan"
"""The rule that asks for the plan."""


@dataclass
class Line:
    """What the jobs of one kind need together."""

    jobs: int = 0
    gpu_hours: float = 0.0
    core_hours: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    """Main memory of the largest job."""
    device: float = 0.0
    """Memory of a GPU of the largest job."""
    gpus: set[int] = field(default_factory=set)

    def add(self, demand: Demand) -> None:
        """Count one job."""
        self.jobs += 1
        self.gpu_hours += demand.gpus * demand.seconds / 3600
        self.core_hours += demand.cores * demand.seconds / 3600
        self.disk += demand.disk
        self.memory = max(self.memory, demand.memory)
        self.device = max(self.device, demand.device)
        self.gpus |= {demand.gpus} - {0}


@dataclass(frozen=True)
class Planned:
    """One job."""

    rule: str
    demand: Demand
    stale: bool
    chain: str
    """Jobs of one chain run one after another: a size with its seed."""
    name: str


def planned(demands: Demands, dag: Any) -> list[Planned]:
    """The jobs of Snakemake's graph that this study's rules describe."""
    stale = set(dag.needrun_jobs())
    found = []
    for job in dag.jobs:
        demand = demands.of(job.rule.name, job.wildcards)
        if demand is not None:
            values = [str(value) for value in job.wildcards]
            chain, name = "/".join(values[:2]), "/".join(values)
            found.append(Planned(job.rule.name, demand, job in stale, chain, name))
    return found


def print_plan_and_exit(demands: Demands, dag: Any) -> None:
    """Print the plan if the target `plan` was asked for, and end the run before its first job."""
    if not any(job.rule.name == TARGET for job in dag.jobs):
        return
    try:
        lines = list(page(demands, planned(demands, dag)))
    except StudyError as error:
        print(f"\n{error}\n\nNothing was started and nothing was changed.", file=sys.stderr)
        sys.exit(1)
    print("\n".join(lines), flush=True)
    sys.exit(0)


def page(demands: Demands, jobs: Iterable[Planned]) -> Iterator[str]:
    """The lines of the plan."""
    jobs = list(jobs)
    study, machine = demands.study, demands.machine
    where = (
        f"nodes of {machine.gpus_per_node} GPUs with {machine.gpu_memory_gb:g} GB"
        if machine.on_gpus
        else "processors, without GPUs"
    )
    yield ""
    yield f"Plan of the study {study.name} on {where}. Nothing was started."
    yield ""
    yield "            whole study                                  still to be done"
    yield (
        f"{'rule':34}{'jobs':>6}{'GPU-h':>9}{'core-h':>9}{'disk GB':>9}  |{'jobs':>6}{'GPU-h':>9}{'core-h':>9}"
        f"{'disk GB':>9}  |{'GPUs':>6}{'GPU GB':>8}{'mem GB':>8}"
    )
    groups: dict[str, tuple[Line, Line]] = {}
    whole, left = Line(), Line()
    for job in jobs:
        pair = groups.setdefault(_group(job.rule), (Line(), Line()))
        for line in (pair[0], whole):
            line.add(job.demand)
        if job.stale:
            for line in (pair[1], left):
                line.add(job.demand)
    for name, pair in groups.items():
        yield _row(name, *pair)
    yield _row("all", whole, left)
    layouts = list(_layouts(jobs))
    if layouts:
        yield ""
        heads = f"{'GPUs':>6}{'ZeRO':>6}{'micro-batch':>13}{'GPU GB':>8}{'mem GB':>8}{'hours':>8}{'state GB':>10}"
        yield f"{'training':34}{heads}"
        yield from layouts
    yield ""
    state, unwritten = _state(jobs), left.disk + _state([job for job in jobs if job.stale])
    yield (
        f"Disk at its peak: {(whole.disk + state) / GB:,.1f} GB for the whole study: {whole.disk / GB:,.1f} GB stay "
        f"(outputs, and what the store keeps of them), and at most {state / GB:,.1f} GB are trainer state, which is "
        f"removed when a model is finished. Still to be written: {unwritten / GB:,.1f} GB."
    )
    yield ""
    yield from assumptions(demands)


def _group(rule: str) -> str:
    """Rules that are written once per figure, choice of formats or number of epochs are one line."""
    for verb in ("plot", "generate", "choose", "import_completions"):
        if rule.startswith(f"{verb}_"):
            return verb
    return "train" if rule.startswith("train_") and rule.endswith("_epochs") else rule


def _row(name: str, whole: Line, left: Line) -> str:
    gpus = "-".join(dict.fromkeys(map(str, (min(whole.gpus), max(whole.gpus))))) if whole.gpus else ""
    numbers = [
        f"{line.jobs:6}{line.gpu_hours:9,.2f}{line.core_hours:9,.2f}{line.disk / GB:9,.2f}" for line in (whole, left)
    ]
    device = f"{whole.device / GB:8.1f}" if whole.gpus else " " * 8
    return f"{name:34}{numbers[0]}  |{numbers[1]}  |{gpus:>6}{device}{whole.memory / GB:8.1f}"


def _layouts(jobs: Iterable[Planned]) -> Iterator[str]:
    """One line per training job; seeds are alike."""
    seen: dict[tuple[str, ...], None] = {}
    for job in jobs:
        layout = job.demand.layout
        if layout is None:
            continue
        size, _, stage = job.name.split("/")
        if (size, stage) in seen:
            continue
        seen[size, stage] = None
        yield _layout(f"{size}/{stage}", job.demand, layout)


def _layout(name: str, demand: Demand, layout: Layout) -> str:
    gpus = str(demand.gpus or "")
    device = f"{demand.device / GB:8.1f}" if demand.gpus else " " * 8
    return (
        f"{name:34}{gpus:>6}{layout.zero_stage or '':>6}{layout.micro_batch or '':>13}{device}"
        f"{demand.memory / GB:8.1f}{demand.seconds / 3600:8.1f}{demand.temporary / GB:10.1f}"
    )


def _state(jobs: Iterable[Planned]) -> float:
    """Trainer state that exists at a time, if all sizes and seeds train at once, each stage after its parent."""
    chains: dict[str, float] = {}
    for job in jobs:
        chains[job.chain] = max(chains.get(job.chain, 0.0), job.demand.temporary)
    return sum(chains.values())


def assumptions(demands: Demands) -> Iterator[str]:
    """What the numbers rest on."""
    study, machine = demands.study, demands.machine
    yield "Assumptions:"
    if machine.computes_on_gpus:
        yield (
            f"- A GPU does {machine.gpu_tflops:g} TFLOP/s in bfloat16 and {machine.gpu_tflops_float32:g} in float32, "
            f"and reads {machine.gpu_bandwidth_gb_s:g} GB/s (machine.gpu_tflops, …); these are rates that are reached."
        )
    else:
        yield (
            f"- A core does {machine.cpu_gflops:g} GFLOP/s and a job reads {machine.cpu_bandwidth_gb_s:g} GB/s "
            "(machine.cpu_gflops, …)."
        )
    yield (
        "- Hours are expected ones, waiting in queues left out; jobs ask for twice their time and ten minutes. Memory "
        "is an upper bound: rows as long as max_length allows."
    )
    for size in study.config.models:
        for model in study.trained():
            if model.size == size and demands.shape(model).assumed:
                yield (
                    f"- {size}: nothing is known of the model; it is taken to have "
                    f"{demands.shape(model).parameters / 1e9:.1f} billion parameters (models.{size}.shape)."
                )
                break
    tokens = study.config.measures.tokens
    used = {study.stage(model).data for model in study.trained()} | ({tokens.data} if tokens else set())
    used = {each for name in used if name is not None for each in family(study.config, name)}
    for name in study.config.data:
        if name in used:
            extent = demands.extent(name)
            amount = (
                "as many tokens as settings allow" if extent.tokens is None else f"{extent.tokens:,.0f} tokens each"
            )
            guess = "" if extent.known else f", which is a guess (data.{name}.expected)"
            yield f"- {name}: {extent.rows:,} rows, {amount}{guess}."
    if study.runs_benchmarks() and any(task.settings.data is None for task in study.benchmarks):
        yield "- A benchmark of the hub has 3,000 documents of 3 requests with 120 tokens, and as many for each shot."
