"""The published token statistics: the reference data agree with the authors' files, and the comparison with ours."""

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis import published_tokens
from modecollapse.analysis.published_tokens import published_tokens_table, read_published_tokens
from modecollapse.analysis.table_files import SCHEMAS, write_table
from modecollapse.analysis.tokens import UNITS
from modecollapse.config import PublishedModel
from modecollapse.sealed import read_sealed
from modecollapse.stage_config import PublishedStage
from tests.projects import PUBLISHED

REFERENCE = Path(published_tokens.__file__).with_suffix(".csv")
KEY = ["model", "stage", "metric"]


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return read_published_tokens(REFERENCE)


def pooled(**values: float) -> pd.DataFrame:
    """A table of pooled token statistics: one size, one stage, both definitions."""
    rows = [
        ("S", "first", metric, definition, "", value, value - 1, value + 1, 1, 300, 9_000)
        for metric, value in values.items()
        for definition in ("corrected", "replica")
    ]
    return pd.DataFrame(rows, columns=SCHEMAS["tokens_pooled"].names)


def test_both_tables_are_complete(reference: pd.DataFrame) -> None:
    assert not reference.duplicated(["source", *KEY]).any()
    assert set(reference["model"]) == set(get_args(PublishedModel))
    assert set(reference["stage"]) == set(get_args(PublishedStage))
    assert set(reference["metric"]) <= set(UNITS)
    assert reference.groupby("source").size()[["table 1", "table 2"]].to_dict() == {"table 1": 36, "table 2": 54}
    printed = reference[reference["source"].str.startswith("table")]
    assert (printed["value"].round(4) == printed["value"]).all()
    assert printed["decimals"].notna().all()


def test_a_published_value_can_be_found_by_eye(reference: pd.DataFrame) -> None:
    def value(*key: str) -> float:
        return float(reference.set_index(["source", *KEY]).loc[key, "value"])

    assert value("table 1", "pythia-2.8b", "dpo", "perplexity") == 7.35
    assert value("table 1", "pythia-70m", "sft", "entropy") == 1.89
    assert value("table 2", "pythia-1b", "dpo", "vocabulary_share_70") == 0.0358
    assert value("table 2", "pythia-1.4b", "sft", "vocabulary_share_90") == 0.2364
    assert value("table 2", "pythia-410m", "plm", "confidence") == 0.5266


def test_the_fine_digits_are_those_of_the_authors_files(reference: pd.DataFrame) -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"the published results are not at {PUBLISHED}; set MODECOLLAPSE_PUBLISHED to their directory")
    numbers = {
        *(json.loads(path.read_text())["perplexity"] for path in PUBLISHED.glob("perplexity/*.json")),
        *(float(x) for path in PUBLISHED.glob("probs/*.txt") for x in re.findall(r"\d\.\d{5,}", path.read_text())),
    }
    fine = reference[reference["decimals"].isna()]
    assert len(fine) == 78
    assert set(fine["value"]) <= numbers


def test_the_entropy_of_the_perplexity_files_is_a_cross_entropy_and_not_that_of_table_1(
    reference: pd.DataFrame,
) -> None:
    if not PUBLISHED.is_dir():
        pytest.skip(f"the published results are not at {PUBLISHED}; set MODECOLLAPSE_PUBLISHED to their directory")
    files = [json.loads(path.read_text()) for path in PUBLISHED.glob("perplexity/*.json")]
    assert len(files) == 18
    for file in files:
        assert file["entropy"] == pytest.approx(np.log(file["perplexity"]), abs=1e-6)
        assert file["entropy"] not in set(reference["value"])


def test_where_printed_and_fine_digits_disagree_is_known(reference: pd.DataFrame) -> None:
    fine = reference[reference["decimals"].isna()].set_index(KEY)["value"]
    other, cut = [], []
    for row in reference[reference["decimals"].notna()].itertuples():
        key = (row.model, row.stage, row.metric)
        if key not in fine.index:
            continue
        exact, unit = float(fine[key]), 10.0**-row.decimals
        if abs(exact - row.value) > unit / 2 + 1e-12:
            # Cut off where it should be rounded, or another number altogether.
            (cut if abs(np.floor(exact / unit) * unit - row.value) < 1e-9 else other).append(key)
    assert len(cut) == 6
    assert {(model, metric) for model, _, metric in other} == {
        ("pythia-70m", "vocabulary_share_70"),
        ("pythia-70m", "vocabulary_share_90"),
        ("pythia-70m", "confidence"),
    }
    assert len(other) == 7


def test_every_share_is_a_whole_number_of_the_models_50304_tokens(reference: pd.DataFrame) -> None:
    fine = reference[reference["decimals"].isna() & reference["metric"].str.startswith("vocabulary_share")]
    tokens = fine["value"] * 50_304
    assert np.allclose(tokens, tokens.round(), rtol=0, atol=1e-6)


def test_the_comparison_shows_both_definitions_beside_every_source(reference: pd.DataFrame, tmp_path: Path) -> None:
    ours = pooled(perplexity=8.0, kl=0.1)
    table = published_tokens_table(ours, [("S", "first", "pythia-2.8b", "dpo")], reference)
    found = {(row.definition, row.source): row for row in table.itertuples()}
    assert set(found) == {(d, s) for d in ("corrected", "replica") for s in ("table 1", "perplexity file")}
    row = found["replica", "table 1"]
    assert (row.value, row.low, row.high, row.n_documents) == (8.0, 7.0, 9.0, 300)
    assert (row.published, row.decimals) == (7.35, 2)
    assert row.difference == pytest.approx(0.65)
    assert row.relative_difference == pytest.approx(0.65 / 7.35)
    write_table("published_tokens", [table], tmp_path / "t.parquet", tmp_path / "t.csv")
    assert read_sealed(tmp_path / "t.parquet").column("decimals").to_pylist().count(None) == 2


def test_a_model_that_was_not_measured_has_no_row(reference: pd.DataFrame) -> None:
    assert published_tokens_table(pooled(perplexity=8.0), [("S", "other", "pythia-1b", "sft")], reference).empty
