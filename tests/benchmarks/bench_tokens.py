"""Seconds of the token statistics beside the authors' way and beside the model alone.

    python -m tests.benchmarks tokens

All sides score the same documents with the same random weights. The authors' way is that of O'Mahony et al. (2024): a
model call per window, the softmax of all its positions copied to NumPy, entropy, confidence and mean probabilities
taken there. The model alone is the logits of every position in our batches and nothing else, which no way of measuring
can go below. Differences are those of the documents' sums, relative to the authors'; tests compare with float64.
"""

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from modecollapse.data.nano.world import World
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.measures.token_sums import float_logits, last_hidden, logit_rows
from modecollapse.measures.tokens import TokenSettings, batch_positions, score_documents
from modecollapse.measures.windows import batches, windows
from tests.benchmarks.comparing import Comparison, in_turn
from tests.benchmarks.shapes import NANO_L, ON_A_GPU, PYTHIA_70M, Shape, make_model

CASES: dict[str, list[tuple[Shape, int, int]]] = {
    "cpu": [(NANO_L, 300, 1), (PYTHIA_70M, 12, 1), (PYTHIA_70M, 1, 20)],
    "cuda": [(shape, documents, texts) for shape in ON_A_GPU for documents, texts in ((1_000, 1), (100, 20))],
}
"""By device: shape, documents, and texts of the nano world that are joined to one document."""


def compare(device: str) -> list[Comparison]:
    """Our statistics beside the other ways, case by case; in float32 on a processor, in bfloat16 on a GPU."""
    torch.set_num_threads(1)
    texts = World().pretraining(2_100, 1).column("text").to_pylist()
    found = []
    for shape, documents, joined in CASES[device]:
        joint = ["\n".join(texts[start : start + joined]) for start in range(0, documents * joined, joined)]
        with tempfile.TemporaryDirectory() as name:
            make_model(shape, Path(name))
            dtype = "float32" if device == "cpu" else "bfloat16"
            model = load_causal_model(Path(name), dtype, 1, device)
            found += _compare(shape, model, joint, TokenSettings(context=1024 if joined > 1 else 128, dtype=dtype))
    return found


@torch.inference_mode()
def _compare(shape: Shape, model: CausalModel, texts: Sequence[str], settings: TokenSettings) -> list[Comparison]:
    sides: dict[str, Callable[[], object]] = {
        "theirs": partial(window_at_a_time, model, texts, settings.context),
        "ours": partial(score_documents, model, None, texts, settings),
        "alone": partial(model_alone, model, texts, settings),
    }
    expected = window_at_a_time(model, texts, settings.context)
    table, _ = score_documents(model, None, texts, settings)
    mean = table["window_confidence"].to_numpy() / table["n_positions"].to_numpy()
    sums = (table["nll"].to_numpy().sum(), table["window_entropy"].to_numpy().sum(), mean.sum())
    difference = max(abs(one / two - 1) for one, two in zip(sums, expected, strict=True))
    times = in_turn(sides, model.device.type)
    tokens = float(table["n_tokens"].to_numpy().sum())
    case = f"{shape.name} (vocabulary {shape.vocabulary:,}), {tokens / len(texts):.0f} tokens per document"
    ours = {"work": tokens, "unit": "tokens"}
    return [
        Comparison(
            case, "token statistics", "authors' way", times["ours"], times["theirs"], difference=difference, **ours
        ),
        Comparison(
            case,
            "token statistics",
            "the model alone",
            times["ours"],
            times["alone"],
            "≤ 2" if model.device.type == "cpu" else "≤ 1.3",
            lower=True,
            **ours,
        ),
    ]


def window_at_a_time(model: CausalModel, texts: Sequence[str], context: int) -> tuple[float, float, float]:
    """The sums over documents of nll, entropy and mean confidence, each window in a call of its own."""
    totals = np.zeros(3)
    means = []
    for document, text in enumerate(texts):
        entropies, confidences = [], []
        for window in windows(document, model.tokenizer(text)["input_ids"], model.prefix_token, context):
            logits = model.network(torch.from_numpy(window.inputs)[None].to(model.device, torch.int64)).logits
            probabilities = logits.float().softmax(-1)
            means.append(probabilities.mean(1).cpu().numpy())
            table = probabilities[0].cpu().numpy()
            table = np.where(table == 0, np.float32(1e-9), table)
            entropies.append(-(table * np.log(table)).sum(axis=1))
            best = np.argmax(probabilities.cpu().numpy(), axis=2)[0]
            confidences.append(table[np.arange(len(best)), best])
            scored = torch.from_numpy(window.targets[window.first :]).to(model.device, torch.int64)
            loss = torch.nn.functional.cross_entropy(logits[0, window.first :].float(), scored, reduction="none")
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
