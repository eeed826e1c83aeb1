"""Memory, work and layout of training jobs."""

from dataclasses import replace

import pytest

from modecollapse.methods.layout import Layout
from modecollapse.resources.machine import Machine
from modecollapse.resources.shapes import Shape
from modecollapse.resources.training import (
    GB,
    Adapter,
    Training,
    activation_bytes,
    checkpoint_bytes,
    choose_layout,
    process_bytes,
    state_bytes,
    training_flops,
    training_seconds,
)

BILLION = Shape(
    parameters=10**9,
    layers=16,
    hidden_size=2048,
    vocabulary=50_304,
    intermediate_size=8192,
    gated=False,
    key_value_size=2048,
)
SFT = Training(shape=BILLION, kind="answers", batch=64, length=1024, examples=6400, tokens=300)
DPO = replace(SFT, kind="pairs", length=512, tokens=600)
H100 = Machine(gpus_per_node=4)


@pytest.mark.parametrize(
    ("job", "layout", "expected"),
    [
        # Weights 4, gradients 4, two moments of 4 bytes.
        (SFT, Layout(), 16),
        (replace(SFT, dtype="bfloat16"), Layout(), 18),
        (replace(SFT, moments=1), Layout(), 12),
        # What a reference gives is read, so it takes nothing; with two processes the buckets of data parallelism.
        (DPO, Layout(), 16),
        (DPO, Layout(processes=2), 20),
        # Gradients, moments and DeepSpeed's copy, 16 bytes, over four; two buckets of half a billion in float32.
        (SFT, Layout(processes=4, zero_stage=2), 4 + 4 + 4),
        # Weights over four as well, and up to a billion gathered.
        (DPO, Layout(processes=4, zero_stage=3), 1 + 4 + 4 + 4),
    ],
)
def test_a_billion_parameters_take_as_many_gigabytes_as_the_formula_has_bytes(
    job: Training, layout: Layout, expected: float
) -> None:
    assert state_bytes(job, layout) / GB == pytest.approx(expected)


def test_an_adapter_trains_few_parameters() -> None:
    job = replace(DPO, adapter=Adapter(rank=16, quantized=False))
    # Rank times (in + out) of four attention and two feed-forward matrices, in 16 layers.
    assert job.trained == 16 * 16 * (4 * 2048 + 2 * 2048 + 2 * (2048 + 8192))
    assert state_bytes(job, Layout()) == 4 * 10**9 + (4 + 4 + 8) * job.trained
    quantized = replace(job, adapter=Adapter(rank=16, quantized=True))
    assert state_bytes(quantized, Layout()) < 0.5 * state_bytes(job, Layout())


def test_activations_are_those_that_autograd_keeps() -> None:
    # (40 · 2048 + 8 · 8192) bytes for 16 layers and one in the making, and both ends.
    assert activation_bytes(BILLION, 1, "float32") == 17 * (40 * 2048 + 8 * 8192) + 8 * 2048
    assert activation_bytes(BILLION, 1, "bfloat16") < 0.6 * activation_bytes(BILLION, 1, "float32")


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize(
    "larger",
    [
        {"shape": replace(BILLION, parameters=2 * 10**9)},
        {"shape": replace(BILLION, layers=32)},
        {"shape": replace(BILLION, vocabulary=100_000)},
        {"length": 2048},
        {"kind": "pairs"},
        {"kind": "texts"},
    ],
)
def test_more_of_anything_takes_more_memory(larger: dict[str, object], on_gpu: bool) -> None:
    layout = Layout(micro_batch=8)
    more = replace(SFT, **larger)  # type: ignore[arg-type]
    assert process_bytes(more, layout, on_gpu) > process_bytes(SFT, layout, on_gpu)
    assert process_bytes(SFT, replace(layout, micro_batch=16), on_gpu) > process_bytes(SFT, layout, on_gpu)


def test_work_is_six_operations_per_parameter_and_token() -> None:
    weights = 10**9 - 50_304 * 2048
    assert training_flops(SFT) == pytest.approx(6400 * 300 * (6 * weights + 2 * 6 * 16 * 2048 * 300))
    assert training_flops(DPO) == pytest.approx(2 * 6400 * 300 * (6 * weights + 2 * 6 * 16 * 2048 * 300))


def test_two_gpus_take_about_half_the_time() -> None:
    large = replace(SFT, shape=replace(BILLION, parameters=10**10))
    one, two = (training_seconds(large, Layout(n, micro_batch=8), H100, 1) for n in (1, 2))
    # What they exchange and write is not halved.
    assert 0.5 < two / one < 0.65


def test_the_fewest_gpus_then_the_least_sharding_then_the_largest_micro_batch_are_chosen() -> None:
    sizes = {
        memory: choose_layout(SFT, Machine(gpus_per_node=8, gpu_memory_gb=memory), None) for memory in (80, 22, 17)
    }
    assert sizes[80] == Layout(1, 0, 16)
    # Unsharded it is 16 GB; two GPUs hold its optimizer's state by halves, which is no less with the buckets.
    assert sizes[22] == Layout(4, 2, 2)
    assert sizes[17] == Layout(8, 2, 1)
    assert choose_layout(SFT, Machine(gpus_per_node=8, gpu_memory_gb=8), None) is None


def test_a_model_of_billions_is_sharded_over_all_gpus_of_a_node_and_one_of_many_more_does_not_fit() -> None:
    job = replace(
        DPO, shape=replace(BILLION, parameters=7 * 10**9, layers=32, hidden_size=4096, intermediate_size=11008)
    )
    layout = choose_layout(job, Machine(gpus_per_node=8, gpu_memory_gb=48), None)
    assert layout is not None
    assert (layout.processes, layout.zero_stage) == (8, 3)
    assert choose_layout(replace(job, shape=replace(job.shape, parameters=10**11)), H100, None) is None
    adapter = replace(job, adapter=Adapter(16, quantized=True))
    assert choose_layout(adapter, Machine(gpus_per_node=1, gpu_memory_gb=24), None) == Layout(1, 0, 1)


def test_as_many_gpus_as_are_asked_for_are_used_and_the_batch_is_divided() -> None:
    layout = choose_layout(SFT, H100, 4)
    assert layout is not None
    assert (layout.processes, layout.zero_stage) == (4, 0)
    assert layout.micro_batch is not None
    assert 64 % (4 * layout.micro_batch) == 0


def test_without_gpus_the_whole_batch_goes_through_the_model_at_once_unless_memory_is_known_to_be_short() -> None:
    assert choose_layout(SFT, Machine(), None) == Layout(micro_batch=64)
    small = choose_layout(SFT, Machine(node_memory_gb=40), None)
    assert small is not None
    assert small.micro_batch is not None
    assert 1 <= small.micro_batch < 64
    # There is nowhere else to go: it is tried.
    assert choose_layout(SFT, Machine(node_memory_gb=1), None) == Layout(micro_batch=1)


def test_a_checkpoint_holds_weights_and_moments_in_float32() -> None:
    assert checkpoint_bytes(SFT) == 12 * 10**9
    assert checkpoint_bytes(replace(SFT, moments=1)) == 8 * 10**9
