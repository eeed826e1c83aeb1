"""The tidy tables: what is averaged over what, and what is in every row."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modecollapse.analysis import table_files, tables
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.token_replica import replica_statistics
from modecollapse.analysis.tokens import token_statistics
from modecollapse.cells import Cell, Model
from modecollapse.errors import StudyError
from modecollapse.sealed import read_sealed

BOOTSTRAP = Bootstrap(resamples=200, seed=0)


def scores(model: Model, values: dict[str, list[float]], metric: str = "self_bleu", n: int = 25) -> pd.DataFrame:
    """Values of the prompts p0, p1, … by temperature."""
    rows = [
        ("creative", "human", temperature, f"p{i}", 20, metric, "corrected", value, n)
        for temperature, of_prompts in values.items()
        for i, value in enumerate(of_prompts)
    ]
    columns = ["prompts", "format", "temperature", "prompt", "words", "metric", "definition", "value", "n"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(size=model.size, seed=model.seed, stage=model.stage)


def test_diversity_is_the_mean_over_prompts_of_each_seed() -> None:
    frames = [scores(Model("S", seed, "plm"), {"1.0": [0.1 + seed, 0.3 + seed]}) for seed in (0, 1)]
    table = tables.diversity_table(frames, BOOTSTRAP)
    assert list(table.columns) == table_files.SCHEMAS["diversity"].names
    assert table["value"].tolist() == pytest.approx([0.2, 1.2])
    assert table["n_prompts"].tolist() == [2, 2]
    assert table["n_completions"].tolist() == [50, 50]


def test_curves_are_the_mean_over_seeds_and_prompts() -> None:
    frames = [scores(Model("S", seed, "plm"), {"1.0": [0.1 + seed, 0.3 + seed]}) for seed in (0, 1)]
    [row] = tables.curves_table(frames, BOOTSTRAP).to_dict("records")
    assert row["value"] == pytest.approx(0.7)
    assert (row["n_seeds"], row["n_prompts"], row["n_completions"]) == (2, 2, 100)
    assert row["low"] <= row["value"] <= row["high"]


def test_cells_are_sorted_by_temperature_as_a_number() -> None:
    frame = scores(Model("S", 0, "plm"), {"10.0": [0.1], "9.5": [0.2], "0.7": [0.3]})
    assert tables.curves_table([frame], BOOTSTRAP)["temperature"].tolist() == ["0.7", "9.5", "10.0"]


def test_undefined_values_leave_their_completions_out_of_the_count() -> None:
    [row] = tables.diversity_table([scores(Model("S", 0, "plm"), {"1.0": [0.1, np.nan, 0.3]})], BOOTSTRAP).to_dict(
        "records"
    )
    assert row["value"] == pytest.approx(0.2)
    assert (row["n_prompts"], row["n_completions"]) == (2, 50)


def test_the_completions_share_of_the_error_is_that_of_a_mean_of_independent_values() -> None:
    frame = scores(Model("S", 0, "plm"), {"1.0": [0.1, np.nan, 0.3]}).assign(se=[0.3, 9.0, 0.4])
    [row] = tables.curves_table([frame], BOOTSTRAP).to_dict("records")
    assert row["completion_se"] == pytest.approx(0.5 / 2)
    for unknown in (frame.assign(se=[0.3, 9.0, np.nan]), frame.drop(columns="se")):
        assert tables.curves_table([unknown], BOOTSTRAP)["completion_se"].isna().all()


def test_one_prompt_of_one_seed_has_an_interval_over_completions_if_their_error_is_known() -> None:
    frame = scores(Model("S", 0, "plm"), {"1.0": [0.4]}).assign(se=0.1)
    [row] = tables.curves_table([frame], Bootstrap()).to_dict("records")
    assert (row["low"], row["high"]) == pytest.approx((0.4 - 0.196, 0.4 + 0.196), abs=0.01)
    assert np.isnan(tables.curves_table([frame.drop(columns="se")], BOOTSTRAP)["low"][0])


def test_models_of_a_size_that_do_not_stand_together_are_refused() -> None:
    frames = [scores(Model(size, 0, stage), {"1.0": [0.1]}) for size, stage in (("S", "a"), ("M", "a"), ("S", "b"))]
    with pytest.raises(ValueError, match="scores of S come in two places"):
        tables.curves_table(frames, BOOTSTRAP)


def test_a_value_that_is_undefined_everywhere_still_has_its_row() -> None:
    [row] = tables.diversity_table([scores(Model("S", 0, "plm"), {"1.0": [np.nan, np.nan]})], BOOTSTRAP).to_dict(
        "records"
    )
    assert np.isnan(row["value"])
    assert row["n_prompts"] == 0


def test_a_seed_that_a_stage_does_not_have_gets_no_row() -> None:
    frames = [
        scores(Model("S", 0, "plm"), {"1.0": [0.1, 0.2]}),
        scores(Model("S", 0, "sft"), {"1.0": [0.1, 0.2]}),
        scores(Model("S", 1, "sft"), {"1.0": [0.1, 0.2]}),
    ]
    table = tables.diversity_table(frames, BOOTSTRAP)
    assert list(zip(table["stage"], table["seed"], strict=True)) == [("plm", 0), ("sft", 0), ("sft", 1)]


def test_the_order_of_prompts_in_a_file_changes_nothing() -> None:
    frame = scores(Model("S", 0, "plm"), {"1.0": [0.1, 0.5, 0.9, 0.2]})
    shuffled = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        tables.diversity_table([frame], BOOTSTRAP), tables.diversity_table([shuffled], BOOTSTRAP)
    )


def test_a_value_measured_twice_is_refused_by_name() -> None:
    frame = scores(Model("S", 0, "plm"), {"1.0": [0.1, 0.2]})
    with pytest.raises(StudyError, match="S/s0/plm has two values of self_bleu for prompt 'p0'"):
        tables.diversity_table([frame, frame], BOOTSTRAP)


def test_no_scores_make_an_empty_table_with_all_columns() -> None:
    assert list(tables.curves_table([], BOOTSTRAP).columns) == table_files.SCHEMAS["curves"].names


@pytest.fixture
def statistics() -> list[tuple[Model, tables.TokenStatistics]]:
    documents = pd.DataFrame(
        {
            "document": range(4),
            "n_tokens": 2,
            "n_bytes": 8,
            "nll": [1.0, 2.0, 3.0, 2.0],
            "entropy": 1.0,
            "confidence": 1.0,
            "kl": 0.0,
            "n_positions": 2,
            "window_entropy": [3.0, 1.0, 1.0, 1.0],
            "window_confidence": [0.5, 1.0, 1.0, 1.5],
            "group": range(4),
        }
    )
    vocabulary = pd.DataFrame(
        {
            "definition": [*["corrected"] * 4, "replica"],
            "group": [*range(4), None],
            "n_distributions": [2, 2, 2, 2, 1],
            "probability_sum": [[1.0, 0.5]] * 5,
        }
    )
    return [
        (Model("S", seed, "plm"), define(documents, vocabulary, BOOTSTRAP))
        for seed in (0, 1)
        for define in (token_statistics, replica_statistics)
    ]


def test_token_tables_keep_the_definitions_apart(statistics: list[tuple[Model, tables.TokenStatistics]]) -> None:
    for table in (tables.tokens_table(statistics, BOOTSTRAP), tables.tokens_pooled_table(statistics, BOOTSTRAP)):
        entropy = table[table["metric"] == "entropy"].groupby("definition")["value"].first()
        assert entropy.to_dict() == {"corrected": 0.5, "replica": 1.5}
        replica = table[table["definition"] == "replica"].set_index("metric")
        assert replica["low"].notna().groupby(level=0).all().to_dict() == {
            "perplexity": True,
            "entropy": False,
            "confidence": True,
            "vocabulary_share_70": False,
            "vocabulary_share_90": False,
        }


def test_token_tables_have_a_row_per_model_and_per_stage(
    statistics: list[tuple[Model, tables.TokenStatistics]],
) -> None:
    single, pooled = (make(statistics, BOOTSTRAP) for make in (tables.tokens_table, tables.tokens_pooled_table))
    assert len(single) == 2 * len(pooled)
    assert set(pooled["n_seeds"]) == {2}
    perplexity = pooled[pooled["metric"] == "perplexity"].iloc[0]
    assert perplexity["value"] == pytest.approx(np.e)
    assert perplexity["low"] < np.e < perplexity["high"]


def test_samples_show_the_same_prompts_of_every_model_and_no_others() -> None:
    table = pa.table(
        {
            "prompt": [f"p{i}" for i in range(10) for _ in range(3)],
            "sample": pa.array([0, 1, 2] * 10, pa.int32()),
            "text": [f"text {i}" for i in range(30)],
            "finish_reason": ["eos"] * 30,
        }
    )
    cells = [(Cell(Model("S", 0, stage), "creative", "human", "1.0"), table) for stage in ("plm", "sft")]
    frame = tables.samples_table(cells, prompts_per_set=4, samples_per_prompt=2, seed=0)
    assert len(frame) == 2 * 4 * 2
    by_stage = [set(frame.loc[frame["stage"] == stage, "prompt"]) for stage in ("plm", "sft")]
    assert by_stage[0] == by_stage[1]
    assert set(frame["sample"]) == {0, 1}
    assert by_stage[0] != set(tables.samples_table(cells, 4, 2, seed=1)["prompt"])


def test_training_curves_leave_out_what_was_not_logged_at_a_step() -> None:
    curves = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0], "margin": [np.nan, 0.5]})
    frame = tables.training_table({Model("S", 0, "dpo"): curves})
    assert list(zip(frame["step"], frame["quantity"], frame["value"], strict=True)) == [
        (1, "loss", 2.0),
        (2, "loss", 1.0),
        (2, "margin", 0.5),
    ]


def test_a_written_table_is_sealed_and_its_csv_holds_the_same_numbers(tmp_path: Path) -> None:
    frame = tables.curves_table([scores(Model("S", 0, "plm"), {"0.7": [0.1, 1 / 3]})], BOOTSTRAP)
    parquet, csv = tmp_path / "curves.parquet", tmp_path / "curves.csv"
    table_files.write_table("curves", [frame], parquet, csv)
    assert read_sealed(parquet).schema.names == table_files.SCHEMAS["curves"].names
    again = pd.read_csv(csv, dtype={"temperature": str})
    assert again["value"][0] == frame["value"][0]
    assert again["temperature"][0] == "0.7"


def test_tables_of_two_runs_have_the_same_bytes(tmp_path: Path) -> None:
    written = []
    for run in ("a", "b"):
        frame = tables.diversity_table([scores(Model("S", 0, "plm"), {"0.7": [0.1, 0.2, 0.7]})], BOOTSTRAP)
        table_files.write_table("diversity", [frame], tmp_path / f"{run}.parquet", tmp_path / f"{run}.csv")
        written.append((tmp_path / f"{run}.parquet").read_bytes() + (tmp_path / f"{run}.csv").read_bytes())
    assert written[0] == written[1]
