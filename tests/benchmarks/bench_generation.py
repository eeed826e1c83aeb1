"""Tokens per second of the sampling engine against `model.generate`, on one cell of the nano study's largest shape.

Both sides sample 20 prompts × 25 completions × at most 70 tokens at temperature 1 from the same random weights, on one
thread in one process: `generate` with all 500 rows in one batch, and in batches of 5 (as O'Mahony et al. did).
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from modecollapse.data.nano.world import World
from modecollapse.data.tokenizer import train_tokenizer
from modecollapse.generation.models import load_causal_model
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from modecollapse.methods.architecture import ArchitectureSettings, neox_config, new_model

SHAPE = ArchitectureSettings(hidden_size=128, layers=4, heads=4, context=128)
COMPLETIONS, NEW = 25, 70


def make_model(directory: Path, world: World) -> None:
    """A model with random weights, and a tokenizer of the world's text."""
    train_tokenizer(world.pretraining(3000, 0).column("text").to_pylist(), 1024, directory)
    new_model(neox_config(SHAPE, 1024, 0, 0), 0).save_pretrained(directory)


def tokens_per_second(sample: Callable[[], int]) -> float:
    """The best of three runs."""
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        tokens = sample()
        rates.append(tokens / (time.perf_counter() - started))
    return max(rates)


def main() -> None:
    torch.set_num_threads(1)
    world = World()
    prompts = [(prompt.id, f"Human: {prompt.text} Assistant:") for prompt in world.prompts("creative")]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_model(directory, world)
        settings = SamplingSettings(completions=COMPLETIONS, max_new_tokens=NEW)
        engine = TransformersEngine(directory, settings, 1)
        model = load_causal_model(directory, "float32", 1, "cpu")
        model.tokenizer.padding_side = "left"

        def ours() -> int:
            table = engine.sample(engine.prepare(prompts), 1.0, "benchmark")
            return int(sum(table.column("n_tokens").to_pylist()))

        def library(rows: int) -> int:
            texts = [text for _, text in prompts for _ in range(COMPLETIONS)]
            made = 0
            for start in range(0, len(texts), rows):
                batch = model.tokenizer(texts[start : start + rows], return_tensors="pt", padding=True)
                batch.pop("token_type_ids", None)
                output = model.network.generate(
                    **batch, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=NEW, pad_token_id=1
                )
                made += int((output[:, batch["input_ids"].shape[1] :] != 1).sum())
            return made

        mine = tokens_per_second(ours)
        print(f"this engine: {mine:,.0f} tokens/s")
        for rows in (len(prompts) * COMPLETIONS, 5):
            theirs = tokens_per_second(lambda rows=rows: library(rows))
            print(f"generate, batches of {rows}: {theirs:,.0f} tokens/s; ratio {mine / theirs:.1f}")


if __name__ == "__main__":
    main()
