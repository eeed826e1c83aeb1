"""Cards of preference sets are made by one job, again when a set changes, and train nothing."""

import pytest

from modecollapse.sealed import read_sealed
from tests.projects import Project

TABLE = "results/nano-smoke/tables/data_cards.parquet"


@pytest.mark.slow
def test_cards_follow_their_sets_and_nothing_else_follows_cards(finished: Project) -> None:
    finished.run(TABLE)
    assert finished.plan(TABLE) == []
    rows = read_sealed(finished.result("tables/data_cards.parquet")).to_pylist()
    assert {row["data"] for row in rows} == {"preferences"}
    assert {row["types"] for row in rows} == {"column"}
    assert any(row["quantity"] == "perplexity_chosen" for row in rows)
    page = finished.result("tables/data_cards_page.html").read_text(encoding="utf-8")
    assert "64 rows of the world" in page
    finished.result("tables/data_cards_page.html").unlink()
    assert finished.plan(TABLE, "models") == ["tabulate_data_cards"]
    finished.run(TABLE)
    finished.edit_study("preferences: {world: preferences, n: 64}", "preferences: {world: preferences, n: 65}")
    planned = finished.plan(TABLE)
    assert {"sample_data preferences", "tabulate_data_cards"} <= set(planned)
    assert not any(job.startswith(("train tiny/s0/sft", "train tiny/s0/plm")) for job in planned)
