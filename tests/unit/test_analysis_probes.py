"""Choices: what a distribution is like by hand, stages beside each other and beside the truth, and no mass at all."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.probes import choice_summary_parts, choices_part, summary
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.data.nano.world import World
from modecollapse.identities import identity_metadata
from modecollapse.jobs.probe_tables import tabulate_probes
from modecollapse.measures.probes import CHOICES, NEXT_TOKENS, RESPONSES
from modecollapse.sealed import read_sealed, write_sealed

BOOTSTRAP = Bootstrap(resamples=500, seed=0)
LINEAGE = {"plm": [], "sft": ["plm"], "dpo": ["sft"]}
TRUTH = {"animal": {"fox": 0.5, "hare": 0.25, "ox": 0.25}}


def asked(probabilities: dict[str, float], stage: str, seed: int = 0, question: str = "animal") -> pd.DataFrame:
    rows = [{"question": question, "choice": choice, "probability": each} for choice, each in probabilities.items()]
    return pd.DataFrame(rows).assign(size="S", seed=seed, stage=stage)


def table(*choices: pd.DataFrame) -> pd.DataFrame:
    found = pd.concat(choice_summary_parts(choices, LINEAGE, BOOTSTRAP, TRUTH), ignore_index=True)
    assert list(found.columns) == SCHEMAS["choice_summary"].names
    return found.set_index(["question", "stage", "quantity"])


def test_a_distribution_is_summarised_after_division_by_its_mass() -> None:
    found = summary(np.array([0.4, 0.2, 0.1, 0.1]))
    # Shares 1/2, 1/4, 1/8, 1/8: 0.5 + 0.5 + 0.375 + 0.375 bits.
    assert found == pytest.approx(
        {
            "mass": 0.8,
            "entropy": 1.75,
            "effective_number": 2**1.75,
            "total_variation": 0.25,
            "kl": 0.25,
            "most_probable": 0.5,
        }
    )
    uniform = summary(np.full(101, 0.005))
    assert uniform["entropy"] == pytest.approx(math.log2(101))
    assert uniform["total_variation"] == pytest.approx(0.0, abs=1e-12)
    assert summary(np.array([0.3, 0.0]))["effective_number"] == 1.0


@pytest.mark.filterwarnings("error")
def test_without_mass_only_the_mass_is_defined_and_every_quantity_has_its_row() -> None:
    found = summary(np.zeros(3))
    assert found.pop("mass") == 0.0
    assert all(math.isnan(value) for value in found.values())
    rows = table(asked({"fox": 0.3, "hare": 0.3, "ox": 0.3}, "plm"), asked(dict.fromkeys(TRUTH["animal"], 0.0), "sft"))
    entropy = rows.loc[("animal", "sft", "entropy")]
    assert math.isnan(entropy["value"])
    assert math.isnan(entropy["difference"])
    assert entropy["n_seeds"] == 0
    mass = rows.loc[("animal", "sft", "mass")]
    assert (mass["value"], mass["before"], mass["difference"]) == pytest.approx((0.0, 0.9, -0.9))


def test_a_stage_stands_beside_the_one_before_and_beside_the_truth() -> None:
    even = dict.fromkeys(TRUTH["animal"], 0.2)
    found = table(asked(even, "plm"), asked({"fox": 0.4, "hare": 0.2, "ox": 0.2}, "dpo"))
    plm, dpo = found.loc[("animal", "plm", "entropy")], found.loc[("animal", "dpo", "entropy")]
    assert plm["value"] == pytest.approx(math.log2(3))
    assert (dpo["value"], dpo["truth"], dpo["parent"]) == (pytest.approx(1.5), 1.5, "plm")
    assert dpo["difference"] == pytest.approx(1.5 - math.log2(3))
    assert math.isnan(dpo["low"]), "one seed says nothing of others"
    assert found.loc[("animal", "dpo", "mass"), "truth"] == 1.0
    assert table(asked(even, "plm", question="integer"))["truth"].isna().all()


def test_several_seeds_have_an_interval_that_ends_where_shares_do() -> None:
    choices = [asked({"fox": each, "hare": 0.0, "ox": 0.0}, "plm", seed) for seed, each in enumerate((0.5, 0.9))]
    row = table(*choices).loc[("animal", "plm", "mass")]
    assert (row["value"], row["n_seeds"]) == (pytest.approx(0.7), 2)
    assert (row["low"], row["high"]) == (0.0, 1.0)


def test_choices_stand_beside_their_true_probabilities_where_these_are_known() -> None:
    found = choices_part(pd.concat([asked({"fox": 0.1}, "plm"), asked({"7": 0.2}, "plm", question="integer")]), TRUTH)
    assert list(found.columns) == SCHEMAS["choices"].names
    assert found["true_probability"].iloc[0] == 0.5
    assert math.isnan(found["true_probability"].iloc[1])


def sealed(rows: list[dict[str, object]], schema: pa.Schema, path: Path, stage: str) -> Path:
    write_sealed(pa.Table.from_pylist(rows, schema), path, identity_metadata(Model("S", 0, stage)))
    return path


def test_the_job_knows_the_phrases_of_the_worlds_rules_and_keeps_texts_as_they_are(tmp_path: Path) -> None:
    true = World().phrases("colour")
    rows = [{"question": "colour", "choice": choice, "probability": share / 2} for choice, share in true.items()]
    choices = sealed(rows, CHOICES, tmp_path / "choices", "plm")
    tokens = [{"question": "colour", "rank": 1, "token": " \U0001f600\n", "probability": 0.4}]
    following = sealed(tokens, NEXT_TOKENS, tmp_path / "next", "plm")
    texts = ["", "日本語 \U0001f600", '=HYPERLINK("x")']
    answers = [{"question": "w", "format": "human", "sample": n, "text": text} for n, text in enumerate(texts)]
    responses = sealed(answers, RESPONSES, tmp_path / "said", "plm")
    names = ("choices", "choice_summary", "next_tokens", "responses")
    outputs = {f"{name}{end}": tmp_path / f"{name}{end}.out" for name in names for end in ("", "_csv")}
    spec = {"analysis": {"resamples": 200, "seed": 0}, "lineage": LINEAGE, "rules": {"colour": "colour"}}
    spec["world"] = {"revision": 1, "settings": {"seed": 0}}
    tabulate_probes(spec, [choices], [following], [responses], outputs)
    found = read_sealed(outputs["choices"]).to_pylist()
    assert {row["choice"]: row["true_probability"] for row in found} == pytest.approx(true)
    of_summary = {row["quantity"]: row for row in read_sealed(outputs["choice_summary"]).to_pylist()}
    assert of_summary["mass"]["value"] == pytest.approx(0.5)
    assert of_summary["entropy"]["value"] == pytest.approx(of_summary["entropy"]["truth"])
    assert read_sealed(outputs["next_tokens"]).column("token").to_pylist() == [" \U0001f600\n"]
    assert read_sealed(outputs["responses"]).column("text").to_pylist() == texts
    only = {name: path for name, path in outputs.items() if name.startswith("responses")}
    tabulate_probes({**spec, "rules": {}, "world": None}, [], [], [responses], only)
    assert read_sealed(outputs["responses"]).num_rows == 3
