"""The toy bandit: the paper's example by hand, and where its update leads."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from modecollapse.figures.context import FigureContext
from modecollapse.figures.registry import Drawing
from modecollapse.jobs.toy_bandit import simulate_toy_bandit
from modecollapse.measures.toy_bandit import SCHEMA, ToyBanditSettings, limit, run, toy_bandit
from modecollapse.sealed import read_sealed
from tests.figure_tables import texts


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_the_worked_example_is_that_of_the_paper_but_for_its_misprint():
    rows = [row for row in toy_bandit(ToyBanditSettings()).to_pylist() if row["part"] == "example"]
    favoured = [row for row in rows if row["answer"] == "Jeepiti"]
    assert [row["advantage"] for row in favoured[1:]] == pytest.approx([1.0, -0.6, 0.0, 0.6])
    assert [row["baseline"] for row in favoured] == [0.0, 1.0, 0.4, 0.4, 1.0]
    assert [row["value"] for row in favoured] == pytest.approx([sigmoid(x) for x in (0, 1, 1.6, 1.6, 2.2)])
    assert [round(row["value"], 2) for row in favoured] == [0.50, 0.73, 0.83, 0.83, 0.90]
    assert [row["printed"] for row in favoured] == [0.50, 0.73, 0.83, 0.83, 0.93]
    for one, other in zip(favoured, (row for row in rows if row["answer"] != "Jeepiti"), strict=True):
        assert one["value"] + other["value"] == pytest.approx(1)


def test_without_a_penalty_the_best_answer_takes_everything_and_with_one_the_tilted_reference_stays():
    rows = toy_bandit(ToyBanditSettings(kl_weights=(0.5,), runs=200)).to_pandas().query("part == 'simulation'")
    ends = rows[rows["update"] == 400].set_index(["kl_weight", "answer"])
    assert ends.loc[(0.0, "Jeepiti"), "low"] > 0.98
    assert ends.loc[(0.5, "Jeepiti"), "value"] == pytest.approx(sigmoid(0.6 / 0.5), abs=1e-6)
    assert ends["value"].to_numpy() == pytest.approx(ends["limit"].to_numpy(), abs=0.02)
    assert rows["n_runs"].eq(200).all()


def test_three_answers_come_to_rest_at_the_reference_tilted_by_their_rewards():
    rewards = np.array([0.2, 1.0, 0.5])
    draws = np.random.default_rng(1).random((2000, 50))
    *_, last = run(rewards, 1.0, draws)
    expected = np.exp(rewards) / np.exp(rewards).sum()
    assert last == pytest.approx(np.tile(expected, (50, 1)), abs=1e-3)
    assert limit(rewards, 1.0) == pytest.approx(expected)
    assert list(limit(rewards, 0.0)) == [0, 1, 0]
    assert np.isnan(limit(np.array([1.0, 1.0, 0.5]), 0.0)).all(), "chance decides"


def test_a_sampled_answer_is_that_whose_share_holds_the_random_number():
    draws = np.array([[0.0, 0.49, 0.5, 0.99]])
    first, after = run(np.array([1.0, 0.4]), 0.0, draws)
    assert (first == 0.5).all()
    assert after[:, 0] == pytest.approx([sigmoid(1), sigmoid(1), sigmoid(-0.4), sigmoid(-0.4)])


def test_the_same_seed_gives_the_same_table_and_other_settings_no_printed_numbers(tmp_path: Path):
    settings = {"rewards": {"a": 2.0, "b": 1.0, "c": 0.0}, "updates": ["c", "a"], "runs": 10, "simulated_updates": 5}
    for name in ("one", "two"):
        outputs = {"toy_bandit": tmp_path / f"{name}.parquet", "toy_bandit_csv": tmp_path / f"{name}.csv"}
        simulate_toy_bandit({"settings": settings}, outputs)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    table = read_sealed(tmp_path / "one.parquet")
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 3 * 3 + 4 * 6 * 3
    assert table.column("printed").null_count == table.num_rows


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rewards": {"a": 1.0}}, "at least 2"),
        ({"rewards": {"a": 1.0, "b": float("nan")}}, "finite"),
        ({"updates": ["Jeepity"]}, "`updates` names Jeepity. Allowed: Jeepiti, Chats and Giggles"),
        ({"kl_weights": [0.0]}, "greater than 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(ValidationError, match=message):
        ToyBanditSettings.model_validate(settings, strict=False)


def test_the_figure_shows_the_example_beside_the_simulation_and_what_the_paper_prints(context: FigureContext):
    table = toy_bandit(ToyBanditSettings(runs=20)).to_pandas()
    figure = Drawing("toy_bandit").draw({"toy_bandit": table}, context)
    worked, simulated = figure.axes[:2]
    assert list(worked.lines[0].get_ydata()) == pytest.approx([0.5, 0.731, 0.832, 0.832, 0.900], abs=1e-3)
    assert list(worked.lines[1].get_ydata()) == [0.93]
    assert len(simulated.collections) == 4
    assert any("the paper prints 0.93 after update 4" in text for text in texts(figure))
