"""The entropy of sampled tokens: what it estimates, and how surely."""

import math

import numpy as np
import pytest
import torch

from modecollapse.generation.sampling import draw
from modecollapse.measures.token_entropy import entropy_scores, mean_entropy


def test_every_token_counts_once() -> None:
    value, _ = mean_entropy([np.array([-1.0, -2.0, -3.0]), np.array([-6.0])])
    assert value == pytest.approx(12 / 4)


def test_the_standard_error_is_the_jackknifes_by_hand() -> None:
    value, error = mean_entropy([np.array([-1.0]), np.array([-2.0]), np.array([-6.0])])
    assert value == pytest.approx(3.0)
    # With tokens alike in number it is that of a mean.
    assert error == pytest.approx(np.std([1, 2, 6], ddof=1) / math.sqrt(3))


def test_it_estimates_the_entropy_of_the_distribution_sampled_from_whatever_temperature_and_cuts() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0]).expand(20_000, 5)
    uniforms = torch.from_numpy(np.random.default_rng(0).random(20_000))
    for temperature, top_k, top_p in ((1.0, 0, 1.0), (0.5, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.8)):
        tokens, log_probs = draw(logits, temperature, top_k, top_p, uniforms)
        p = np.exp([float(log_probs[tokens == token][0]) for token in tokens.unique()])
        value, error = mean_entropy([row.numpy() for row in log_probs.split(1)])
        assert p.sum() == pytest.approx(1.0, abs=1e-5)
        assert value == pytest.approx(-(p * np.log(p)).sum(), abs=4 * error)


def test_completions_without_log_probabilities_have_no_score() -> None:
    assert entropy_scores({"p": [None, None]}).num_rows == 0


def test_a_cell_has_one_row_per_prompt_with_the_number_of_completions_known() -> None:
    table = entropy_scores({"p": [[-1.0, -1.0], None, [-4.0]], "q": [[-0.5]]}).to_pylist()
    assert [(row["prompt"], row["words"], row["metric"], row["value"], row["n"]) for row in table] == [
        ("p", 0, "token_entropy", 2.0, 2),
        ("q", 0, "token_entropy", 0.5, 1),
    ]
    assert math.isnan(table[1]["se"])


def test_no_token_has_no_entropy() -> None:
    assert all(math.isnan(number) for number in mean_entropy([np.array([]), np.array([])]))
    value, error = mean_entropy([np.array([]), np.array([-1.0])])
    assert value == 1.0
    assert math.isnan(error)
