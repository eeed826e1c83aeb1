"""How far a model's answers are from those of another, measured on tiny models."""

import math
from pathlib import Path

import numpy as np
import pytest

from modecollapse.errors import StudyError
from modecollapse.measures.divergence import divergence_table
from tests.tiny_models import save_llama, save_neox

PROMPTS = [("a", "Human: Who?"), ("b", "Human: What is it?")]


def test_a_model_does_not_diverge_from_itself(tmp_path: Path) -> None:
    model = save_neox(tmp_path / "model")
    table = divergence_table(model, model, PROMPTS, 3, 8, "x", 1)
    assert table.num_rows == 6
    assert max(map(abs, table["kl"].to_pylist())) < 1e-5
    assert table["log_ratio"].to_pylist() == [0.0] * 6


def test_both_sums_have_the_divergence_as_their_mean(tmp_path: Path) -> None:
    """Of one-token answers it is also the divergence of the two next-token distributions, computed by hand."""
    import torch

    from modecollapse.generation.models import load_causal_model

    model, reference = save_neox(tmp_path / "model"), save_neox(tmp_path / "reference", seed=1)
    table = divergence_table(model, reference, PROMPTS[:1], 2_000, 1, "x", 1)
    logs = []
    for directory in (model, reference):
        loaded = load_causal_model(directory, "float32", 1, "cpu")
        ids = torch.tensor([loaded.tokenizer(PROMPTS[0][1])["input_ids"]])
        logs.append(loaded.network(ids).logits[0, -1].double().log_softmax(-1).numpy())
    exact = float((np.exp(logs[0]) * (logs[0] - logs[1])).sum())
    assert table["kl"].to_numpy() == pytest.approx(exact, abs=1e-5)
    ratios = table["log_ratio"].to_numpy()
    assert ratios.mean() == pytest.approx(exact, abs=4 * ratios.std() / math.sqrt(len(ratios)))


def test_an_answer_is_measured_alike_among_others(tmp_path: Path) -> None:
    model, reference = save_neox(tmp_path / "model"), save_neox(tmp_path / "reference", seed=1)
    alone, among = (divergence_table(model, reference, PROMPTS[:n], 4, 12, "x", 1) for n in (1, 2))
    assert among["kl"].to_numpy()[:4] == pytest.approx(alone["kl"].to_numpy(), rel=1e-5)


def test_a_reference_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    model, reference = save_neox(tmp_path / "model"), save_llama(tmp_path / "reference")
    with pytest.raises(StudyError, match="so their predictions cannot be compared"):
        divergence_table(model, reference, PROMPTS, 2, 4, "x", 1)
