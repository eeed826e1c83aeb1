"""The authors' own completions and results: our replica is what they stored, once the keys are exchanged."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from modecollapse.cells import Model
from modecollapse.comparison.order_q import order_table
from modecollapse.comparison.residuals import Assignment, Verdict, comparison_table, our_values, verdict
from modecollapse.comparison.stored_results import STORED, Kind, Values, read_results
from modecollapse.completions import read_completions
from modecollapse.measures.diversity import score_cell
from modecollapse.metrics.lexical import first_words, jaccard_kernel
from tests.projects import PUBLISHED

pytestmark = pytest.mark.skipif(
    not PUBLISHED.is_dir(),
    reason=f"the authors' published data is not at {PUBLISHED}; set MODECOLLAPSE_PUBLISHED to its directory",
)

STAGES = ("plm", "sft", "dpo")
TEMPERATURES = [f"{tenth / 10:.1f}" for tenth in range(1, 16)]
PROMPTS = {name: [f"{name}-{i:02d}" for i in range(1, 21)] for name in ("creative", "factual")}
TOKENS = {"creative": 70, "factual": 25}
EXACT = [entry.metric for entry in STORED.values() if entry.kind is Kind.EXACT]


def suffix(stage: str) -> str:
    return "" if stage == "plm" else f"-{stage}"


def texts(stage: str, prompts: str) -> dict[str, dict[str, list[str]]]:
    """Temperature → prompt → completions."""
    path = PUBLISHED / f"completions/pythia-2.8b{suffix(stage)}_completions_{prompts}_max_length{TOKENS[prompts]}.npy"
    tables = read_completions(path, layout="analyse-llms", prompts=PROMPTS[prompts], temperatures=TEMPERATURES)
    return {
        temperature: {prompt: of["text"].tolist() for prompt, of in table.to_pandas().groupby("prompt", sort=False)}
        for temperature, table in tables.items()
    }


def results(stage: str) -> Path:
    return PUBLISHED / f"results/pythia-2.8b{suffix(stage)}_results_20_words.npy"


@cache
def measured(stage: str) -> Values:
    parts = []
    for prompts in PROMPTS:
        for temperature, by_prompt in texts(stage, prompts).items():
            scores = score_cell(by_prompt, words=[20], metrics=EXACT).to_pandas()
            parts.append(scores.assign(prompts=prompts, temperature=temperature))
    return our_values(pd.concat(parts), 20, TEMPERATURES, PROMPTS)


@pytest.mark.parametrize(
    "stage", [stage if stage == "sft" else pytest.param(stage, marks=pytest.mark.slow) for stage in STAGES]
)
def test_every_exact_metric_of_every_cell_is_what_the_authors_stored_with_the_keys_exchanged(stage: str) -> None:
    model = Model("pythia-2.8b", 0, stage)
    table = comparison_table({model: measured(stage)}, {model: read_results(results(stage), TEMPERATURES, PROMPTS)})
    assert set(table["metric"]) == set(EXACT)
    assert len(EXACT) == 8
    assert (table["n"] == 2 * 15 * 20).all()
    assert verdict(table) is Verdict.SWAPPED
    swapped, labelled = (table[table["assignment"] == name] for name in ("swapped", "as labelled"))
    assert (swapped["max_difference"] <= 1e-6).all()
    assert (swapped["n_undefined_mismatch"] == 0).all()
    assert swapped["chosen"].all()
    assert not labelled["within"].astype(bool).any()
    assert (labelled["max_difference"] > 1e-3).all()


def test_stored_diversities_of_order_q_scatter_around_the_exact_value_as_fifty_draws_do() -> None:
    kernels, stored = {}, {}
    for stage in STAGES:
        model = Model("pythia-2.8b", 0, stage)
        stored[model] = read_results(results(stage), TEMPERATURES, PROMPTS)
        kernels[model] = {
            prompts: [
                jaccard_kernel([first_words(text, 20) for text in of_prompt], 2, replica=True)
                for by_prompt in texts(stage, prompts).values()
                for of_prompt in by_prompt.values()
            ]
            for prompts in PROMPTS
        }
    table = order_table(kernels, stored, {"pythia-2.8b": Assignment.SWAPPED})
    pooled = table[table["stage"] == "all"].set_index("order")
    assert pooled.loc[0, "n"] == 5 * 3 * 15 * 20 * 2
    assert pooled.loc[0, "draws_zeros_low"] < 50 < pooled.loc[0, "draws_zeros_high"]
    assert pooled.loc[0, "draws_scatter"] == pytest.approx(50, rel=0.05)
    assert (pooled["mean_z"].abs() < 3 * pooled["se_z"]).all()
    assert (pooled["mean_z_distinct"] > 5).all(), "a text may be compared with itself"
    assert np.allclose(pooled["n_undefined"], pooled["expected_undefined"], rtol=0.1, atol=3)
    labelled = order_table(kernels, stored, {"pythia-2.8b": Assignment.LABELLED})
    pooled = labelled[labelled["stage"] == "all"].set_index("order")
    assert pooled.loc[0, "draws_scatter"] < 10, "as labelled, errors are far too large for fifty draws"
    assert (pooled["mean_z"].abs() > 3 * pooled["se_z"]).any()
