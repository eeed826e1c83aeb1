"""The measures of creativity: each is a job of its own."""

from tests.projects import Project


def test_the_toy_bandit_needs_no_model(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  toy_bandit: {}\n")
    assert finished.plan() == ["plot_toy_bandit", "simulate_toy_bandit"]
    finished.run()
    assert finished.plan() == []
    finished.edit_study("toy_bandit: {}", "toy_bandit: {kl_weights: [0.5]}")
    assert finished.plan() == ["plot_toy_bandit", "simulate_toy_bandit"]
    finished.edit_study("  toy_bandit: {kl_weights: [0.5]}\n", "")
    assert finished.plan() == []
