"""Examples in few rows: the same numbers and gradients as from a row each, and never more positions."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.utils import add_fused_lm_head

from modecollapse.generation.models import load_causal_model
from modecollapse.methods import answer_head
from modecollapse.methods.answer_head import LAID_OUT, add_answer_head
from modecollapse.methods.rows import first_fit, laid_out
from tests.tiny_models import save_llama, save_neox
from tests.unit.test_architectures import SUPPORTED, save

FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")
FAMILIES = ["gpt-neox", "llama", *SUPPORTED]
SHAPES = {
    "pairs": [(9, 4, 2), (3, 6, 7), (1, 2, 9), (12, 3, 3)],
    "pairs without a prompt": [(0, 8, 3), (6, 2, 2), (7, 2, 3)],
    "examples": [(3, 4), (20, 8), (2, 2), (1, 3), (0, 5)],
}
"""Tokens of prompts and of their answers."""

Batch = dict[str, torch.Tensor]


def batch_of(sizes: list[tuple[int, ...]], vocabulary: int = 97) -> Batch:
    """Rows padded on the right, all first answers before all second ones."""
    chance = torch.Generator().manual_seed(0)
    rows = []
    prompts = [torch.randint(1, vocabulary, (prompt,), generator=chance) for prompt, *_ in sizes]
    for answer in range(1, len(sizes[0])):
        for prompt, size in zip(prompts, sizes, strict=True):
            rows.append((prompt, torch.randint(1, vocabulary, (size[answer],), generator=chance)))
    ids = [torch.cat(row) for row in rows]
    labels = [torch.cat([torch.full_like(prompt, -100), answer]) for prompt, answer in rows]
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(ids, True, 0),
        "attention_mask": pad([torch.ones_like(row) for row in ids], True, 0),
        "labels": pad(labels, True, -100),
    }


def network_of(family: str, directory: Path) -> Any:
    if family == "gpt-neox":
        save_neox(directory)
    elif family == "llama":
        save_llama(directory)
    else:
        save(*SUPPORTED[family], directory)
    return load_causal_model(directory, "float32", 1, "cpu").network.requires_grad_(True)


def scores(network: Any, batch: Batch) -> tuple[Any, dict[str, torch.Tensor]]:
    """What the head gives, and the gradients of a sum that weighs every token differently."""
    output = network(**batch, fused_lm_head=True)
    (output.log_probs * torch.linspace(0.5, 1.5, output.log_probs.numel()).view_as(output.log_probs)).sum().backward()
    return output, {name: each.grad for name, each in network.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("tiled", [False, True], ids=["at once", "in tiles"])
@pytest.mark.parametrize("shape", SHAPES)
def test_few_rows_give_the_librarys_numbers_and_gradients(
    shape: str, tiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tiled:
        monkeypatch.setattr(answer_head, "_LARGEST_VOCABULARY", 0)
    check_equal(network_of("gpt-neox", tmp_path), batch_of(SHAPES[shape]), pairs=shape != "examples")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_architecture_that_is_laid_out_goes_by_positions_and_mask(family: str, tmp_path: Path) -> None:
    network = network_of(family, tmp_path)
    assert network.config.model_type in LAID_OUT
    check_equal(network, batch_of(SHAPES["pairs"]), pairs=True)


def check_equal(network: Any, batch: Batch, pairs: bool) -> None:
    rows = laid_out(**batch, pairs=pairs)
    assert rows is not None
    assert rows.input_ids.numel() <= 0.9 * batch["input_ids"].numel()
    found = []
    for own in (False, True):
        model = copy.deepcopy(network)
        add_fused_lm_head(model, outputs=FIELDS)
        if own:
            add_answer_head(model, statistics=True, pairs=pairs)
        found.append(scores(model, batch))
    (library, library_gradients), (ours, gradients) = found
    for field in ("loss", "label_mask", *FIELDS):
        torch.testing.assert_close(ours[field], library[field], rtol=1e-5, atol=1e-5, msg=field)
    assert gradients.keys() == library_gradients.keys()
    for name, gradient in library_gradients.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=2e-6 * max(1.0, scale), msg=name)


def test_rows_that_save_little_stay_as_they_are() -> None:
    assert laid_out(**batch_of([(4, 20), (5, 19), (3, 20)]), pairs=False) is None
    assert laid_out(**batch_of([(1, 20, 19), (1, 19, 20)]), pairs=True) is None


def test_halves_that_follow_different_prompts_are_refused() -> None:
    batch = batch_of(SHAPES["pairs"])
    batch["input_ids"] = batch["input_ids"].roll(1, 0)
    with pytest.raises(ValueError, match="must follow one prompt"):
        laid_out(**batch, pairs=True)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(30, 50))
def test_every_size_is_in_one_bin_and_no_bin_overflows(sizes: list[int], room: int) -> None:
    bins = first_fit(sizes, room)
    assert sorted(place for held in bins for place in held) == list(range(len(sizes)))
    assert all(sum(sizes[place] for place in held) <= room for held in bins)
    if len(bins) > 1:
        assert sum(sizes) > room * len(bins) / 2, "at most twice as many as there must be"


def test_rows_in_which_nothing_is_predicted_stay_as_they_are() -> None:
    batch = batch_of([(0, 1, 1), (0, 1, 1)])
    assert laid_out(**batch, pairs=True) is None
