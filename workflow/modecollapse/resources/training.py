"""Memory, work and layout of a training job.

The memory of one process, in bytes, with N parameters of which n are trained (all, or those of an adapter), on G
processes:

| part | unsharded | ZeRO-2 | ZeRO-3 |
| --- | --- | --- | --- |
| weights, always float32 | 4N | 4N | 4N/G, and what is gathered: 4 min(N, 10⁹) |
| gradients | 4n, and as much for the buckets of G > 1 | 4n/G + 8 min(n, 5·10⁸) | as ZeRO-2 |
| moments: AdamW 8n, RMSprop 4n | 8n or 4n | 8n/G or 4n/G | as ZeRO-2 |
| DeepSpeed's copy of what it updates | – | 4n/G | 4n/G |
| bfloat16 copies, which autocast keeps for the backward pass | 2N | 2N | in what is gathered |

A base that is quantised to nf4 takes 0.6 bytes per parameter, its embeddings 4. Activations of each token and layer,
with a hidden state of h and feed-forward layers of i, are 40h + 8i bytes in float32 (two feed-forward matrices; three:
40h + 16i) and 22h + 4i (34h + 8i) in bfloat16: what autograd keeps, counted with its hooks on GPT-NeoX and Llama; there
is no recomputation. The head scores positions in tiles of 4,096 × 32,768 logits (TRL's), on processors with a
vocabulary of at most 8,192 all at once (`modecollapse.methods.answer_head`). The constants are
measured: `python -m tests.benchmarks.bench_memory`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from modecollapse.methods.layout import Layout, ZeroStage
from modecollapse.resources.machine import Machine
from modecollapse.resources.shapes import Shape

GB = 1e9

DEVICE_CONTEXT = 1.5 * GB
"""What CUDA, its libraries and NCCL take of a GPU before anything is computed."""
DEVICE_SHARE = 0.93
"""Share of a GPU's memory that a plan fills: the allocator leaves gaps."""

_TILE_ROWS, _TILE_COLUMNS = 4096, 32_768
_SMALL_VOCABULARY = 8192
_BUCKET, _LIVE = 5e8, 1e9
_NF4 = 0.6
_KEPT, _FIRST_USE = 1.1, 0.06 * GB
_CPU_TILES, _CPU_LOGITS, _LOOP_LOGITS = 8, 6, 4
"""Copies in float32 of a tile (or of all logits) that exist at a time on a processor: TRL's head, ours, pretraining."""


@dataclass(frozen=True)
class Adapter:
    """A low-rank adapter that is trained in place of the weights."""

    rank: int
    quantized: bool


@dataclass(frozen=True)
class Training:
    """What is trained, as far as memory and work depend on it."""

    shape: Shape
    kind: Literal["texts", "answers", "pairs", "scored pairs"]
    """What an example is: a sequence of which every token is learned, a prompt with an answer, or with two of them,
    whose tokens are predicted or which get a score each."""
    batch: int
    """Examples per update: sequences, examples, or pairs of two answers."""
    length: int
    """Tokens of the longest row."""
    examples: int
    """Examples of the whole run, all epochs."""
    tokens: float
    """Tokens of an example on average, both rows of a pair counted."""
    dtype: str = "float32"
    moments: int = 2
    """Numbers that the optimizer keeps for each parameter."""
    adapter: Adapter | None = None
    save_every: int = 500
    text_tokens: float = 0.0
    """Tokens of the texts that are read and tokenized before training begins."""
    whole: bool = False
    """Whether one process has to take a batch in one pass: pretraining is a plain loop, and some losses compare what a
    batch holds."""
    forward_passes: int = 0
    """How often an example goes through the model without a gradient, beside the pass that is learned from."""
    others: float = 0.0
    """Bytes of what stands beside the model that is trained: other models, and what answers are sampled with."""
    seconds_beside: float = 0.0
    """Seconds of what is no training, such as sampling answers."""

    @property
    def rows(self) -> int:
        """Rows of a micro-batch per example."""
        return 2 if self.kind in ("pairs", "scored pairs") else 1

    @property
    def trained(self) -> int:
        """Parameters that are trained. Of an adapter: both matrices beside each matrix of every layer."""
        if self.adapter is None:
            return self.shape.parameters
        h, i = self.shape.hidden_size, self.shape.intermediate_size
        widths = 4 * h + 2 * h + (3 if self.shape.gated else 2) * (h + i)
        return self.adapter.rank * widths * self.shape.layers

    @property
    def updates(self) -> int:
        """Updates of the run."""
        return math.ceil(self.examples / self.batch)


def state_bytes(job: Training, layout: Layout) -> float:
    """Bytes of one process that do not depend on the micro-batch: weights, gradients, moments."""
    size, trained, processes = float(job.shape.parameters), float(job.trained), layout.processes
    low = job.dtype == "bfloat16"
    base = 4 * size
    if job.adapter is not None and job.adapter.quantized:
        base = _NF4 * size + 4 * 2 * job.shape.embedding + 4 * job.shape.layer
        low = False  # a layer is unpacked when it is used
    if job.adapter is not None:
        base += 4 * trained
    if layout.zero_stage == 0:
        buckets = 4 * trained if processes > 1 else 0
        return base + 4 * trained + buckets + 4 * job.moments * trained + (2 * size if low else 0)
    sharded = (4 + 4 * job.moments + 4) * trained / processes + 8 * min(trained, _BUCKET)
    if layout.zero_stage == 2:
        return base + sharded + (2 * size if low else 0)
    return base / processes + sharded + (6 if low else 4) * min(size, _LIVE)


def activation_bytes(shape: Shape, tokens: float, dtype: str) -> float:
    """Bytes that autograd keeps of so many tokens, and what one layer's backward pass adds."""
    h, i = shape.hidden_size, shape.intermediate_size
    if dtype == "bfloat16":
        layer = (34 * h + 8 * i) if shape.gated else (22 * h + 4 * i)
    else:
        layer = 40 * h + (16 if shape.gated else 8) * i
    return tokens * (layer * (shape.layers + 1) + 8 * h)


def head_bytes(job: Training, tokens: float, on_gpu: bool) -> float:
    """Bytes of logits and of what is made of them, for so many scored tokens."""
    shape = job.shape
    if job.kind == "scored pairs":
        return 0.0
    if job.kind == "texts":
        return _LOOP_LOGITS * 4 * tokens * shape.vocabulary
    logits = logit_bytes(shape, tokens, job.dtype, on_gpu)
    if not on_gpu and shape.vocabulary <= _SMALL_VOCABULARY:
        return logits
    return logits + 8 * tokens * shape.hidden_size + (0 if job.adapter else 4 * shape.embedding)


def logit_bytes(shape: Shape, tokens: float, dtype: str, on_gpu: bool) -> float:
    """Bytes of the logits of answers, and of what is computed from them, that exist at a time."""
    if not on_gpu and shape.vocabulary <= _SMALL_VOCABULARY:
        return _CPU_LOGITS * 4 * tokens * shape.vocabulary
    tile = min(tokens, _TILE_ROWS) * _TILE_COLUMNS
    return tile * ((2 if dtype == "bfloat16" else 4) if on_gpu else 4 * _CPU_TILES)


def process_bytes(job: Training, layout: Layout, on_gpu: bool) -> float:
    """Bytes that one process computes in: of its GPU's memory, or of main memory beside the interpreter."""
    micro = layout.micro_batch or math.ceil(job.batch / layout.processes)
    tokens = micro * job.rows * job.length
    activations = activation_bytes(job.shape, tokens, job.dtype)
    # Rows that hold several examples or answers have a mask of their own (`modecollapse.methods.rows`).
    masks = 0.0 if job.kind in ("texts", "scored pairs") else 5.0 * micro * job.rows * job.length**2
    total = state_bytes(job, layout) + job.others + activations + masks + head_bytes(job, tokens, on_gpu)
    return total + DEVICE_CONTEXT if on_gpu else resident(total)


def resident(computed: float) -> float:
    """Bytes of main memory that a process takes on top of its imports to compute in so many.

    The allocator keeps some of what is freed, and libraries set things up when they are first used.
    """
    return _KEPT * computed + _FIRST_USE


def divisors(number: int, most: int | None = None) -> Iterator[int]:
    """The divisors of `number` up to `most`, in ascending order."""
    return (each for each in range(1, min(number, most or number) + 1) if number % each == 0)


def choose_layout(job: Training, machine: Machine, gpus: int | None) -> Layout | None:
    """The fewest GPUs, the least sharding and then the largest micro-batch that fit; None if nothing does.

    Args:
        job: what is trained.
        machine: where.
        gpus: how many GPUs it has to be; None for the fewest. Ignored on a machine without any.

    On a machine without GPUs the micro-batch is the whole batch, or the largest divisor of it that fits in the memory
    of a node where that is known; then something always "fits".
    """
    if not machine.on_gpus:
        return _on_processors(job, machine)
    room = DEVICE_SHARE * machine.gpu_memory_gb * GB
    for processes in [gpus] if gpus else divisors(job.batch, machine.gpus_per_node):
        for stage in _stages(job, processes):
            layout = _largest(job, Layout(processes, stage), room, on_gpu=True)
            if layout is not None:
                return layout
    return None


def _on_processors(job: Training, machine: Machine) -> Layout:
    whole = Layout(micro_batch=job.batch)
    if machine.node_memory_gb is None:
        return whole
    room = 0.8 * machine.node_memory_gb * GB
    return _largest(job, whole, room, on_gpu=False) or replace(whole, micro_batch=1)


def _stages(job: Training, processes: int) -> tuple[ZeroStage, ...]:
    """The ways of sharding that there are: an adapter is not sharded, as its gradients are small."""
    return (0,) if processes == 1 or job.adapter or job.whole else (0, 2, 3)


def _largest(job: Training, layout: Layout, room: float, on_gpu: bool) -> Layout | None:
    share = job.batch // layout.processes
    for micro in [share] if job.whole else reversed(list(divisors(share))):
        found = replace(layout, micro_batch=micro)
        if process_bytes(job, found, on_gpu) <= room:
            return found
    return None


def training_flops(job: Training) -> float:
    """Operations of the whole run: 6 per parameter and token, and the attention's products.

    An adapter saves the gradients of the weights, which are 2 of the 6. What a reference gives is computed elsewhere.
    """
    shape, rows = job.shape, job.examples * job.rows
    weights = shape.parameters - shape.embedding  # looking up an embedding is no product
    per_token = (4 if job.adapter else 6) + 2 * job.forward_passes
    attention = 2 * per_token * shape.layers * shape.hidden_size * (job.tokens / job.rows)
    return rows * (job.tokens / job.rows) * (per_token * weights + attention)


_LAUNCH = 1.5e-3
"""Seconds of a layer's forward and backward pass on a GPU at least: what launching its kernels takes."""
_DISK = 0.3 * GB
"""Bytes per second written to and read from the file system, checksums included."""


def training_seconds(job: Training, layout: Layout, machine: Machine, threads: int) -> float:
    """Expected seconds of the run, without the start of its processes."""
    processes = layout.processes
    per_process = machine.flops(job.dtype, threads) * (1.0 if machine.computes_on_gpus else 1 / processes)
    share = math.ceil(job.batch / processes)
    steps = job.updates * math.ceil(share / (layout.micro_batch or share))
    launches = steps * job.shape.layers * _LAUNCH if machine.computes_on_gpus else 0
    compute = max(training_flops(job) / (per_process * processes), launches)
    update = job.updates * (4 * (2 + 2 * job.moments) + 12) * job.trained / machine.bandwidth()
    # Gradients travel between GPUs once per update, weights too where they are sharded.
    exchange = job.updates * (8 if layout.zero_stage < 3 else 24) * job.shape.parameters / 50e9 if processes > 1 else 0
    saves = (job.updates // job.save_every + 1) * checkpoint_bytes(job) / _DISK
    return compute + update + exchange + saves + job.text_tokens / 300_000 + job.seconds_beside


def checkpoint_bytes(job: Training) -> float:
    """Bytes of one checkpoint of the trainer: what is trained, and the optimizer's moments, in float32."""
    return 4 * (1 + job.moments) * float(job.trained)


def state_on_disk(job: Training) -> float:
    """Bytes of trainer state that exist at a time while a job runs: two checkpoints."""
    return 2 * checkpoint_bytes(job)
