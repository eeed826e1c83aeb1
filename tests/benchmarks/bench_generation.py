"""Completions per second of the sampling engine: against the authors' way, the library's, and with temperatures mixed.

    python -m tests.benchmarks generation

All sides sample the same prompts from the same random weights, up to 70 tokens each. The authors' way is that of
O'Mahony et al. (2024): `model.generate` in float32, 5 completions of one prompt at one temperature at a time. The
library's is `model.generate` with all rows of a cell in one batch, in our number format. Mixing is what a batch of
three cells of different temperatures would gain at most: one cell with three times the completions, which costs the
same. Some tokens end a text, so that rows end early as those of a trained model do.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from modecollapse.data.nano.world import World
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from tests.benchmarks.comparing import Comparison, seconds
from tests.benchmarks.shapes import SHAPES, Shape, make_model

COMPLETIONS, NEW = 25, 70
AUTHORS_BATCH = 5
ENDS = 4
"""Tokens of the nano vocabulary that end a text: of 1,024, so that a row has some 60 tokens on average."""


def compare(device: str) -> list[Comparison]:
    """Our engine beside the other ways, shape by shape."""
    torch.set_num_threads(1)
    return [comparison for shape in SHAPES[device] for comparison in _compare(shape, device)]


def _compare(shape: Shape, device: str) -> list[Comparison]:
    dtype, sets = ("float32", ("creative",)) if device == "cpu" else ("bfloat16", ("creative", "factual"))
    prompts = [(prompt.id, f"Human: {prompt.text} Assistant:") for name in sets for prompt in World().prompts(name)]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        make_model(shape, directory)
        _let_texts_end(directory, shape)
        engine = partial(_engine, directory, dtype, device)
        cell, mixed = engine(COMPLETIONS), engine(3 * COMPLETIONS)
        theirs = load_causal_model(directory, "float32", 1, device)
        library = theirs if dtype == "float32" else load_causal_model(directory, dtype, 1, device)
        rows = len(prompts) * COMPLETIONS
        sides: dict[str, Callable[[], int]] = {
            "ours": partial(_sample, cell, prompts),
            "mixed": partial(_sample, mixed, prompts),
            "library": partial(_generate, library, prompts, rows),
            "authors": partial(_generate, theirs, prompts[: len(prompts) // 4], AUTHORS_BATCH),
        }
        per_token = _seconds_per_token(sides, device)
    case = f"{shape.name}, {len(prompts)} prompts × {COMPLETIONS} × {NEW} tokens"
    against = {
        "library": (f"`model.generate`, {rows} rows, {dtype}", ""),
        "authors": (f"`model.generate`, {AUTHORS_BATCH} rows, float32", "≥ 5" if device == "cpu" else "≥ 50"),
    }
    found = [
        Comparison(case, "this engine", other, per_token["ours"], per_token[name], aim, work=1, unit="tokens")
        for name, (other, aim) in against.items()
    ]
    mixing = Comparison(
        f"{case}, three temperatures",
        "batches of three cells",
        "batches of one cell",
        per_token["mixed"],
        per_token["ours"],
        "≤ 1.1, else an option",
        work=1,
        unit="tokens",
    )
    return [*found, mixing]


def _let_texts_end(directory: Path, shape: Shape) -> None:
    """Have more tokens end a text: random weights would write to the limit."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    step = 1024 // ENDS * shape.vocabulary // 1024
    path.write_text(json.dumps({**config, "eos_token_id": list(range(0, shape.vocabulary, step))[:ENDS]}))


def _engine(directory: Path, dtype: str, device: str, completions: int) -> TransformersEngine:
    settings = SamplingSettings.model_validate(
        {"completions": completions, "max_new_tokens": NEW, "dtype": dtype, "rows_per_batch": 10**6}
    )
    return TransformersEngine(directory, settings, 1, device)


def _sample(engine: TransformersEngine, prompts: Sequence[tuple[str, str]]) -> int:
    """Tokens of a cell, its prompts' pass through the model included."""
    table = engine.sample(engine.prepare(prompts), 1.0, "benchmark")
    return int(sum(table.column("n_tokens").to_pylist()))


def _generate(model: CausalModel, prompts: Sequence[tuple[str, str]], rows: int) -> int:
    """Tokens that the library samples, so many completions at a time."""
    texts = [text for _, text in prompts for _ in range(COMPLETIONS)]
    model.tokenizer.padding_side = "left"
    padding, made = model.vocabulary_size - 1, 0
    for start in range(0, len(texts), rows):
        batch = model.tokenizer(texts[start : start + rows], return_tensors="pt", padding=True).to(model.device)
        batch.pop("token_type_ids", None)
        output = model.network.generate(
            **batch,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=NEW,
            eos_token_id=list(model.end_tokens),
            pad_token_id=padding,
        )
        made += int((output[:, batch["input_ids"].shape[1] :] != padding).sum())
    return made


def _seconds_per_token(sides: dict[str, Callable[[], int]], device: str, rounds: int = 2) -> dict[str, float]:
    """The better of the rounds; sides differ in what they draw, so each is timed by the token."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            made: list[int] = []
            taken = seconds(lambda side=side, made=made: made.append(side()), device)
            if number:  # the first time sets up what is needed
                found[name].append(taken / made[0])
    return {name: min(times) for name, times in found.items()}
