"""Documents per second of the token statistics against computing them one window at a time, both in one process.

    python -m tests.benchmarks.bench_tokens [--rounds 3]

Both sides score the same documents with the same random weights: at the shape of `nano-l`, and at that of Pythia-70M
with its vocabulary of 50,304, there with short documents and with such as nearly fill a window. The other way is that
of O'Mahony et al. (2024): a model call per window, the softmax of all its positions copied to NumPy, entropy,
confidence and mean probabilities taken there. A third side is the model alone, in our batches: logits of every position
and nothing else, which no way of measuring can go below. Sides alternate; medians of the rounds. One thread and
processor time on CPU; CUDA is measured where there is one.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from modecollapse.data.nano.world import World
from modecollapse.data.tokenizer import train_tokenizer
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.measures.token_sums import float_logits, last_hidden, logit_rows
from modecollapse.measures.tokens import TokenSettings, batch_positions, score_documents
from modecollapse.measures.windows import batches, windows
from modecollapse.methods.architecture import ArchitectureSettings, neox_config, new_model

NANO_L = ArchitectureSettings(hidden_size=128, layers=4, heads=4, context=128)
PYTHIA_70M = ArchitectureSettings(hidden_size=512, layers=6, heads=8, context=1024)

CASES = (
    ("nano-l", NANO_L, 1024, 300, 1),
    ("pythia-70m", PYTHIA_70M, 50_304, 24, 1),
    ("pythia-70m", PYTHIA_70M, 50_304, 2, 20),
)
"""Shape by name, vocabulary, documents, and texts of the nano world that are joined to one document."""


def window_at_a_time(model: CausalModel, texts: Sequence[str], context: int) -> tuple[float, float, float]:
    """The sums over documents of nll, entropy and mean confidence, each window in a call of its own."""
    totals = np.zeros(3)
    means = []
    for document, text in enumerate(texts):
        entropies, confidences = [], []
        for window in windows(document, model.tokenizer(text)["input_ids"], model.prefix_token, context):
            logits = model.network(torch.tensor([window.inputs], device=model.device)).logits
            probabilities = logits.softmax(-1)
            means.append(probabilities.mean(1).cpu().numpy())
            table = probabilities[0].cpu().numpy()
            table = np.where(table == 0, np.float32(1e-9), table)
            entropies.append(-(table * np.log(table)).sum(axis=1))
            best = np.argmax(probabilities.cpu().numpy(), axis=2)[0]
            confidences.append(table[np.arange(len(best)), best])
            scored = torch.tensor(window.targets[window.first :], device=model.device)
            loss = torch.nn.functional.cross_entropy(logits[0, window.first :], scored, reduction="none")
            totals[0] += float(loss.cpu().numpy().sum())
        totals[1] += float(np.concatenate(entropies).sum())
        totals[2] += float(np.concatenate(confidences).mean())
    np.concatenate(means).mean(axis=0)
    return float(totals[0]), float(totals[1]), float(totals[2])


def model_alone(model: CausalModel, texts: Sequence[str], settings: TokenSettings) -> None:
    """Logits of every position, in the batches and pieces in which they are scored."""
    encoded = model.tokenizer(list(texts))["input_ids"]
    pieces = [
        window
        for document, ids in enumerate(encoded)
        for window in windows(document, ids, model.prefix_token, settings.context)
    ]
    for batch in batches(pieces, batch_positions(settings, model.device.type)):
        inputs = torch.zeros((len(batch), max(len(window.inputs) for window in batch)), dtype=torch.int64)
        for row, window in enumerate(batch):
            inputs[row, : len(window.inputs)] = torch.tensor(window.inputs)
        hidden = last_hidden(model, inputs.to(model.device)).flatten(0, 1)
        for rows in logit_rows(model, len(hidden)):
            float_logits(model, hidden[rows])
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str) -> float:
    """Processor time on CPU, which other processes do not lengthen; wall time where a device works as well."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    work()
    return clock() - start


def measure(name: str, texts: Sequence[str], model: CausalModel, context: int, device: str, rounds: int) -> None:
    """Print the line of one case on one device."""
    settings, n = TokenSettings(context=context), len(texts)
    sides: dict[str, Callable[[], object]] = {
        "theirs": lambda: window_at_a_time(model, texts, settings.context),
        "ours": lambda: score_documents(model, None, texts, settings),
        "alone": lambda: model_alone(model, texts, settings),
    }
    with torch.inference_mode():
        found = window_at_a_time(model, texts, settings.context)
        table, _ = score_documents(model, None, texts, settings)
        model_alone(model, texts, settings)
        mean = table["window_confidence"].to_numpy() / table["n_positions"].to_numpy()
        ours = (table["nll"].to_numpy().sum(), table["window_entropy"].to_numpy().sum(), mean.sum())
        difference = max(abs(one / two - 1) for one, two in zip(ours, found, strict=True))
        times: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(rounds):
            for side, work in sides.items():
                times[side].append(seconds(work, device))
    theirs, mine, alone = (statistics.median(times[side]) for side in sides)
    length = int(np.mean(table["n_tokens"].to_numpy()))
    print(
        f"{name:12}{device:6}{length:8}{n / theirs:10.2f}{n / mine:10.2f}{theirs / mine:8.2f}{n / alone:12.2f}"
        f"{mine / alone:12.2f}{difference:12.0e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    texts = World().pretraining(2_000, 1).column("text").to_pylist()
    print("documents per second; the last column is the largest relative difference of their values and ours")
    print(
        f"{'shape':12}{'device':6}{'tokens':>8}{'theirs':>10}{'ours':>10}{'ratio':>8}{'model alone':>12}"
        f"{'ours/alone':>12}{'difference':>12}"
    )
    for name, shape, vocabulary, n, joined in CASES:
        documents = ["\n".join(texts[start : start + joined]) for start in range(0, n * joined, joined)]
        with tempfile.TemporaryDirectory() as directory:
            train_tokenizer(texts, 1024, Path(directory))
            new_model(neox_config(shape, vocabulary, 0, 0), 0).save_pretrained(directory)
            for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
                model = load_causal_model(Path(directory), "float32", 1, device)
                measure(name, documents, model, shape.context, device, rounds)


if __name__ == "__main__":
    main()
