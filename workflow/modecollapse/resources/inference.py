"""Memory and work of what is done to a finished model: generation, token statistics, benchmarks, sentence vectors.

Weights take 4 bytes per parameter in float32, 2 in bfloat16, twice where a reference is loaded as well. What comes on
top follows the engines' own rules: generation fills half of a GPU, or 2 GiB without one
(`modecollapse.generation.transformers_engine`); token statistics hold a chunk of logits
(`modecollapse.measures.token_sums`); the harness holds the logits of a batch of whole texts, once as they are and once
as log-probabilities.

Work is 2 operations per parameter and token; a step of decoding also reads every weight once, and every layer costs the
launch of its kernels.
"""

import math
from dataclasses import dataclass

from modecollapse.resources.machine import Machine
from modecollapse.resources.shapes import Shape
from modecollapse.resources.training import GB, logit_bytes, resident

_CPU_CACHE = 2 * 2**30
SERVED_ROWS = 512
"""Completions that a vLLM server works on at once, if the study does not say."""
SERVED_SHARE = 0.9
"""Of a GPU's memory, what a vLLM server takes."""
SERVER_START = 180.0
"""Seconds until a vLLM server is ready: imports, compiling, graphs; it reads the weights beside."""
_LAUNCH = 4e-4
"""Seconds of a layer's forward pass on a GPU at least."""
_CPU_ENTRIES, _DEVICE_ENTRIES = 2**23, 2**26
"""Logits that token statistics hold at a time."""
_CPU_SUMMARY = 2**19
_CHECKSUM = 0.5 * GB
"""Bytes per second that are read and hashed before a model is loaded."""


def width(dtype: str) -> int:
    """Bytes of a number."""
    return 2 if dtype == "bfloat16" else 4


@dataclass(frozen=True)
class Generating:
    """The cells of one model."""

    shape: Shape
    cells: int
    rows: int
    """Completions of a cell."""
    prompts: int
    prompt_length: int
    """Tokens of the longest prompt, at most."""
    new_tokens: int
    rows_per_batch: int | None
    dtype: str

    @property
    def row_bytes(self) -> float:
        """What the engine counts for one row: keys and values of every position, and 48 bytes per token known."""
        positions = self.prompt_length + self.new_tokens
        keys = 2 * self.shape.key_value_size * self.shape.layers * width(self.dtype)
        return positions * keys + 48 * self.shape.vocabulary

    def batch(self, machine: Machine) -> int:
        """Rows that are sampled side by side."""
        weights = self.shape.parameters * width(self.dtype)
        room = 0.5 * machine.gpu_memory_gb * GB - weights if machine.computes_on_gpus else _CPU_CACHE
        return min(self.rows, self.rows_per_batch or max(1, int(room // self.row_bytes)))


def generation_bytes(job: Generating, machine: Machine) -> float:
    """Bytes of weights, prompts and rows."""
    keys = 2 * job.shape.key_value_size * job.shape.layers * width(job.dtype)
    prompts = job.prompts * (job.prompt_length * keys + 4 * job.shape.vocabulary)
    # The rows' share is the engine's own bound; a retired row's layer is copied, and prompts are run 64 at a time.
    total = job.shape.parameters * width(job.dtype) + 2 * prompts + 1.1 * job.batch(machine) * job.row_bytes
    return total if machine.computes_on_gpus else resident(total)


def served_bytes(job: Generating, machine: Machine) -> float:
    """Bytes that a vLLM server takes: a share of the GPU, or, without one, weights and the cache that it is given."""
    if machine.computes_on_gpus:
        return SERVED_SHARE * machine.gpu_memory_gb * GB
    return resident(
        job.shape.parameters * width(job.dtype) + _CPU_CACHE + 48 * job.batch(machine) * job.shape.vocabulary
    )


def generation_seconds(job: Generating, machine: Machine, threads: int) -> float:
    """Expected seconds of all cells."""
    rows, shape = job.batch(machine), job.shape
    positions = job.prompt_length + job.new_tokens / 2
    keys = 2 * shape.key_value_size * shape.layers * width(job.dtype) * positions
    read = (shape.parameters * width(job.dtype) + rows * keys) / machine.bandwidth()
    compute = rows * 2 * (shape.parameters - shape.embedding) / machine.flops(job.dtype, threads)
    sample = rows * shape.vocabulary * 40 / (machine.bandwidth() / 2)
    launch = shape.layers * _LAUNCH if machine.computes_on_gpus else 0
    steps = job.cells * math.ceil(job.rows / rows) * job.new_tokens
    return steps * (max(read + compute, launch) + sample) + loading_seconds(shape)


def mapped_bytes(shape: Shape) -> float:
    """Bytes of a file of weights that is mapped while it is read: a page that was read counts as the process's."""
    return 4.0 * shape.parameters


def loading_seconds(shape: Shape, models: int = 1) -> float:
    """Seconds until models are verified and loaded."""
    return models * 2 * shape.parameters * 4 / _CHECKSUM


@dataclass(frozen=True)
class Scoring:
    """Token statistics of one model."""

    shape: Shape
    tokens: float
    """Tokens of all documents."""
    documents: int
    batch: int
    """Positions that go through the model together."""
    groups: int
    dtype: str
    reference: bool
    """Whether a second model is read."""


def scoring_bytes(job: Scoring, on_gpu: bool) -> float:
    """Bytes of weights, activations of one layer, logits, and sums per block of documents."""
    shape, models = job.shape, 2 if job.reference else 1
    weights = models * shape.parameters * width(job.dtype)
    layer = (10 * shape.hidden_size + (3 if shape.gated else 2) * shape.intermediate_size) * width(job.dtype)
    hidden = job.batch * (layer + 2 * models * 4 * shape.hidden_size)
    entries = _DEVICE_ENTRIES if on_gpu else _CPU_ENTRIES
    summary = _DEVICE_ENTRIES if on_gpu else _CPU_SUMMARY
    logits = 4 * (models * min(entries, job.batch * shape.vocabulary) + 3 * summary)
    if job.dtype == "bfloat16":
        logits += 2 * min(entries, job.batch * shape.vocabulary)
    sums = 2 * (job.groups + 2) * shape.vocabulary * 8
    total = weights + hidden + logits + sums + 200 * job.documents
    return total if on_gpu else resident(total)


def scoring_seconds(job: Scoring, machine: Machine, threads: int) -> float:
    """Expected seconds."""
    models = 2 if job.reference else 1
    weights = job.shape.parameters - job.shape.embedding
    compute = models * job.tokens * 2 * weights / machine.flops(job.dtype, threads)
    summary = job.tokens * job.shape.vocabulary * 4 * 8 / machine.bandwidth()
    batches = job.tokens / job.batch
    launch = models * batches * job.shape.layers * _LAUNCH if machine.computes_on_gpus else 0
    return max(compute, launch) + summary + loading_seconds(job.shape, models) + job.tokens / 300_000


@dataclass(frozen=True)
class PairScoring:
    """Log-probabilities of preference pairs in one model."""

    shape: Shape
    pairs: int
    tokens: float
    """Tokens of both rows of all pairs."""
    positions: int
    """Positions that go through the model together."""
    length: int
    """Tokens of the longest row, at most."""
    dtype: str


def pair_scoring_bytes(job: PairScoring, on_gpu: bool) -> float:
    """Bytes of weights, always float32, of activations of one layer, masks and tiles of logits."""
    shape, number = job.shape, width(job.dtype)
    # Autocast casts a layer's weights when they are used, and the output layer's once more.
    weights = 4 * shape.parameters + (2 * (shape.layer + shape.embedding) if number == 2 else 0)
    layer = 12 * shape.hidden_size * 4 + (3 if shape.gated else 2) * shape.intermediate_size * number
    total = weights + job.positions * (layer + 5 * job.length) + logit_bytes(shape, job.positions, job.dtype, on_gpu)
    return total if on_gpu else resident(total)


def pair_scoring_seconds(job: PairScoring, machine: Machine, threads: int) -> float:
    """Expected seconds, texts read and tokenized included."""
    shape, batches = job.shape, job.tokens / job.positions
    compute = 2 * job.tokens * (shape.parameters - shape.embedding) / machine.flops(job.dtype, threads)
    launch = batches * shape.layers * _LAUNCH if machine.computes_on_gpus else 0
    return max(compute, launch) + loading_seconds(shape) + job.tokens / 300_000


@dataclass(frozen=True)
class Benchmarking:
    """The tasks of one model."""

    shape: Shape
    documents: float
    requests: float
    """Texts that are scored, all tasks and numbers of shots."""
    tokens: float
    """Tokens of these texts."""
    batch: int
    length: int
    """Tokens of the longest text, at most."""
    dtype: str
    tasks: int


def benchmark_bytes(job: Benchmarking) -> float:
    """Bytes of weights and of a batch's logits, and log-probabilities in float32."""
    shape, tokens = job.shape, job.batch * job.length
    logits = tokens * shape.vocabulary * 2 * width(job.dtype)
    layer = (10 * shape.hidden_size + (3 if shape.gated else 2) * shape.intermediate_size) * width(job.dtype)
    return shape.parameters * width(job.dtype) + logits + tokens * layer


def benchmark_seconds(job: Benchmarking, machine: Machine, threads: int) -> float:
    """Expected seconds: the model, and the harness itself, which builds every text."""
    weights = job.shape.parameters - job.shape.embedding
    compute = 1.5 * job.tokens * 2 * weights / machine.flops(job.dtype, threads)
    launch = job.requests / job.batch * job.shape.layers * _LAUNCH if machine.computes_on_gpus else 0
    return max(compute, launch) + job.requests * 2e-3 + job.tasks * 15 + loading_seconds(job.shape)
