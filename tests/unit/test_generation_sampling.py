"""Drawing tokens, random streams, settings and progress: what needs no model."""

import io
import logging

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chisquare

from modecollapse.generation.progress import reporter
from modecollapse.generation.sampling import draw
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.streams import uniforms

LOGITS = torch.tensor([1.0, -0.5, 0.3, 2.0, -torch.inf, 0.0])


def draw_many(
    n: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, logits: torch.Tensor = LOGITS
) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.from_numpy(np.random.default_rng(5).random(n))
    return draw(logits.expand(n, -1), temperature, top_k, top_p, numbers)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_tokens_are_drawn_with_the_probabilities_of_the_tempered_softmax(temperature: float) -> None:
    tokens, log_probs = draw_many(20_000, temperature)
    expected = (LOGITS.double() / temperature).softmax(0)
    counts = torch.bincount(tokens, minlength=6).numpy()
    assert counts[4] == 0
    possible = expected.numpy() > 0
    assert chisquare(counts[possible], 20_000 * expected.numpy()[possible]).pvalue > 1e-3
    assert torch.allclose(log_probs.double(), expected[tokens].log(), atol=1e-6)


def test_top_k_renormalises_over_the_k_best() -> None:
    tokens, log_probs = draw_many(5_000, top_k=2)
    expected = torch.full((6,), -torch.inf)
    expected[[0, 3]] = LOGITS[[0, 3]].log_softmax(0)
    assert set(tokens.tolist()) == {0, 3}
    assert torch.allclose(log_probs, expected[tokens], atol=1e-6)


def test_top_k_of_one_and_a_tiny_temperature_are_greedy() -> None:
    for options in ({"top_k": 1}, {"temperature": 1e-4}, {"temperature": 1e-30}, {"top_p": 1e-9}):
        tokens, log_probs = draw_many(200, **options)
        assert set(tokens.tolist()) == {3}
        assert log_probs.abs().max() == 0


def test_top_k_beyond_the_vocabulary_changes_nothing() -> None:
    assert torch.equal(draw_many(500, top_k=6)[0], draw_many(500)[0])
    assert torch.equal(draw_many(500, top_k=100)[1], draw_many(500)[1])


def test_top_p_keeps_the_smallest_set_that_holds_the_mass() -> None:
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125]).log()
    for top_p, kept in ((0.4, {0}), (0.5, {0}), (0.51, {0, 1}), (0.76, {0, 1, 2}), (0.99, {0, 1, 2, 3})):
        tokens, _ = draw_many(2_000, top_p=top_p, logits=logits)
        assert set(tokens.tolist()) == kept, top_p
    _, log_probs = draw_many(2_000, top_p=0.51, logits=logits)
    assert set(log_probs.exp().numpy().round(5)) == {np.float32(0.66667), np.float32(0.33333)}


def test_top_p_applies_to_what_top_k_left() -> None:
    logits = torch.tensor([0.4, 0.3, 0.3]).log()
    # Of the two kept by top-k the first holds 0.57: enough for top_p = 0.5, though it holds only 0.4 of everything.
    tokens, _ = draw(
        logits.expand(99, -1) - torch.tensor([0, 0, 0.1]), 1.0, 2, 0.5, torch.linspace(0, 0.999, 99).double()
    )
    assert set(tokens.tolist()) == {0}


def test_extreme_uniforms_reach_the_first_and_last_possible_token_and_no_impossible_one() -> None:
    logits = torch.tensor([-torch.inf, 0.0, -36.0, -torch.inf]).expand(2, -1)
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    tokens, log_probs = draw(logits, 1.0, 0, 1.0, ends)
    assert tokens.tolist() == [1, 2]
    assert log_probs[1] == pytest.approx(-36, abs=1e-4)


def test_a_logit_that_is_not_a_number_shows_in_the_log_probability() -> None:
    _, log_probs = draw(torch.tensor([[0.0, torch.nan]]), 1.0, 0, 1.0, torch.tensor([0.5]).double())
    assert log_probs.isnan().all()


def test_the_numbers_of_a_completion_do_not_depend_on_the_other_completions() -> None:
    alone = uniforms("cell", [("bugs", 7)], 70)
    among = uniforms("cell", [("bugs", 6), ("bugs", 7), ("cats", 7)], 70)
    assert np.array_equal(alone[0], among[1])
    assert np.array_equal(uniforms("cell", [("bugs", 7)], 9)[0], alone[0, :9])
    assert alone.dtype == np.float64


def test_streams_prompts_and_samples_have_different_numbers() -> None:
    names = [("a", "p", 0), ("b", "p", 0), ("a", "q", 0), ("a", "p", 1), ('a","p', "", 0)]
    first = {uniforms(stream, [(prompt, sample)], 1)[0, 0] for stream, prompt, sample in names}
    assert len(first) == len(names)
    many = uniforms("cell", [("p", i) for i in range(400)], 70)
    assert abs(many.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(many[:-1].ravel(), many[1:].ravel())[0, 1]) < 0.02


def test_settings_take_lists_of_stop_strings_and_refuse_nonsense() -> None:
    assert SamplingSettings(stop=["Human:"]).stop == ("Human:",)
    for wrong in ({"stop": [""]}, {"stop": "Human:"}, {"top_p": 0.0}, {"completions": 0}, {"topk": 5}, {"top_k": "5"}):
        with pytest.raises(ValidationError):
            SamplingSettings(**wrong)


def test_progress_is_a_bar_on_a_terminal_and_lines_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    show = reporter("cells", terminal)
    show(5, 10)
    show(10, 10)
    assert terminal.getvalue().count("\r") == 2
    assert "5/10" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
    with caplog.at_level(logging.INFO):
        show = reporter("cells", io.StringIO(), seconds=1000)
        show(5, 10)
        show(10, 10)
    assert [record.getMessage()[:12] for record in caplog.records] == ["cells: 10/10"]
