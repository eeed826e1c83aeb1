"""Which prompts a file's keys hold is decided from numbers, in both directions, and left open where nothing fits."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.comparison.effects import CORRECTED, consequence_table, published_table
from modecollapse.comparison.residuals import Assignment, Verdict, comparison_table, our_values, verdict
from modecollapse.comparison.stored_results import STORED, Kind

PLM, DPO = Model("S", 0, "plm"), Model("S", 0, "dpo")
TEMPERATURES = ["0.5", "1.0"]
PROMPTS = {name: [f"{name[0]}{i}" for i in range(4)] for name in ("creative", "factual")}

Values = dict[str, dict[str, np.ndarray]]


def values(seed: int) -> Values:
    """Values of every metric, for both prompt sets, that float32 can hold."""
    generator = np.random.default_rng(seed)
    return {
        name: {
            entry.metric: generator.uniform(0.1, 0.9, (2, 4)).astype(np.float32).astype(np.float64)
            for entry in STORED.values()
        }
        for name in PROMPTS
    }


def swapped(of: Values) -> Values:
    return {"creative": of["factual"], "factual": of["creative"]}


def copied(of: Values) -> Values:
    return {name: {metric: array.copy() for metric, array in metrics.items()} for name, metrics in of.items()}


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(lambda ours: ours, Verdict.LABELLED), (swapped, Verdict.SWAPPED), (lambda ours: values(9), Verdict.NEITHER)],
    ids=["as labelled", "swapped", "other completions"],
)
def test_the_assignment_with_the_smaller_residuals_is_found(
    stored: Callable[[Values], Values], expected: Verdict
) -> None:
    table = comparison_table({PLM: values(0)}, {PLM: stored(values(0))})
    assert verdict(table) is expected
    exact = table[table["kind"] == Kind.EXACT]
    chosen = exact[exact["chosen"]]
    if expected.assignment:
        assert set(chosen["assignment"]) == {expected.value}
        assert len(chosen) == exact["metric"].nunique()
        assert (chosen["max_difference"] == 0).all()
        assert (chosen["margin"] > 0.1).all()
        assert (exact.loc[~exact["chosen"], "margin"] < -0.1).all()
    assert exact["within"].sum() == (len(chosen) if expected.assignment else 0)


def test_values_that_are_alike_do_not_tell_the_keys_apart() -> None:
    same = {"creative": values(0)["creative"], "factual": values(0)["creative"]}
    table = comparison_table({PLM: same}, {PLM: same})
    assert verdict(table) is Verdict.BOTH
    assert not table["chosen"].any()


def test_one_value_beyond_the_tolerance_leaves_the_keys_open() -> None:
    stored = copied(values(0))
    stored["creative"]["ncd"][1, 2] += 2e-6
    table = comparison_table({PLM: values(0)}, {PLM: stored})
    assert verdict(table) is Verdict.NEITHER
    row = table[(table["metric"] == "ncd") & (table["assignment"] == "as labelled")].iloc[0]
    assert row["max_difference"] == pytest.approx(2e-6)
    assert not row["within"]
    assert row["chosen"], "it is the nearer one all the same"


def test_values_that_are_undefined_in_other_places_are_not_within_tolerance() -> None:
    ours, stored = copied(values(0)), copied(values(0))
    ours["creative"]["ncd"][0, 0] = stored["creative"]["ncd"][0, 0] = math.nan
    assert verdict(comparison_table({PLM: ours}, {PLM: stored})) is Verdict.LABELLED
    stored["factual"]["ncd"][0, 0] = math.nan
    table = comparison_table({PLM: ours}, {PLM: stored})
    row = table[(table["metric"] == "ncd") & (table["assignment"] == "as labelled")].iloc[0]
    assert (row["n_undefined"], row["n_undefined_stored"], row["n_undefined_mismatch"]) == (1, 2, 1)
    assert verdict(table) is Verdict.NEITHER


def test_one_model_whose_keys_lie_the_other_way_leaves_the_size_open() -> None:
    ours = {PLM: values(0), DPO: values(1)}
    table = comparison_table(ours, {PLM: values(0), DPO: swapped(values(1))})
    assert verdict(table) is Verdict.NEITHER
    assert verdict(table[table["stage"] == "dpo"]) is Verdict.SWAPPED


def test_residuals_have_the_values_worked_by_hand() -> None:
    ours, stored = values(0), copied(values(0))
    for name in PROMPTS:
        ours[name]["self_bleu"] = np.array([[0.1, 0.2, 0.3, 0.4]] * 2)
        stored[name]["self_bleu"] = np.array([[0.1, 0.3, 0.3, 0.2]] * 2)
    table = comparison_table({PLM: ours}, {PLM: stored})
    row = table[table["metric"] == "self_bleu"].iloc[0]
    assert row["n"] == 16
    assert row["max_difference"] == pytest.approx(0.2)
    assert row["mean_difference"] == pytest.approx(0.075)
    assert row["bias"] == pytest.approx(-0.025)
    assert row["correlation"] == pytest.approx(0.015 / math.sqrt(0.05 * 0.0275))


def test_cosines_of_another_embedder_have_no_tolerance_and_decide_nothing() -> None:
    stored = copied(values(0))
    for metric in ("cosine", "vendi_cosine"):
        stored["creative"][metric] += 0.1
    table = comparison_table({PLM: values(0)}, {PLM: stored})
    assert verdict(table) is Verdict.LABELLED
    cosine = table[table["metric"] == "cosine"]
    assert cosine["tolerance"].isna().all()
    assert cosine["within"].isna().all()
    assert set(cosine["kind"]) == {Kind.EMBEDDER.value}
    assert verdict(cosine) is Verdict.NEITHER, "without an exact metric nothing is established"


def test_metrics_that_are_not_measured_have_no_rows() -> None:
    ours = {name: {"self_bleu": of["self_bleu"]} for name, of in values(0).items()}
    table = comparison_table({PLM: ours}, {PLM: values(0)})
    assert set(table["metric"]) == {"self_bleu"}
    assert list(table.columns) == SCHEMAS["comparison"].names


def test_our_values_are_the_replica_where_it_differs_in_the_study_s_order() -> None:
    rows = [
        (name, temperature, prompt, words, metric, definition, words + shift + place)
        for name, ids in PROMPTS.items()
        for place, prompt in enumerate(ids)
        for temperature in TEMPERATURES
        for words in (5, 20, 0)
        for metric, definition, shift in (
            ("self_bleu", "corrected", 0.0),
            ("jaccard_2", "corrected", 0.25),
            ("jaccard_2", "replica", 0.5),
            ("mean_length", "corrected", 0.75),
        )
    ]
    columns = ["prompts", "temperature", "prompt", "words", "metric", "definition", "value"]
    scores = pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=0)
    ours = our_values(scores, 20, TEMPERATURES, {name: ids[::-1] for name, ids in PROMPTS.items()})
    assert {name: set(of) for name, of in ours.items()} == {name: {"self_bleu", "jaccard_2"} for name in PROMPTS}
    assert ours["factual"]["self_bleu"].tolist() == [[23.0, 22.0, 21.0, 20.0]] * 2
    assert ours["creative"]["jaccard_2"].tolist() == [[23.5, 22.5, 21.5, 20.5]] * 2


BOOTSTRAP = Bootstrap(resamples=500, seed=0)


def stored_change(creative: float, factual: float) -> Mapping[Model, Values]:
    """Stored results whose keys change by these amounts from PLM to DPO, by a little more for later prompts."""
    spread = np.linspace(-0.01, 0.01, 4)
    before = values(0)
    after = copied(before)
    for key, change in (("creative", creative), ("factual", factual)):
        for array in after[key].values():
            array += change + spread
    return {PLM: before, DPO: after}


def test_the_consequence_is_told_by_key_and_by_what_the_keys_hold() -> None:
    table = consequence_table(
        stored_change(creative=0.2, factual=0.05), [["plm", "dpo"]], {"S": Assignment.SWAPPED}, BOOTSTRAP
    )
    rows = table[(table["metric"] == "self_bleu") & (table["step"] == "total")].set_index(["labels", "prompts"])
    assert rows.loc[("as labelled", "creative"), "value"] == pytest.approx(0.2)
    assert rows.loc[(CORRECTED, "factual"), "value"] == pytest.approx(0.2)
    assert rows.loc[("as labelled", "factual − creative"), "value"] == pytest.approx(-0.15)
    assert rows.loc[(CORRECTED, "factual − creative"), "value"] == pytest.approx(0.15)
    difference = rows.loc[(CORRECTED, "factual − creative")]
    assert 0.13 < difference["low"] < 0.15 < difference["high"] < 0.17, "prompts are paired over the stages"
    labelled, corrected = rows.loc[("as labelled", "creative")], rows.loc[(CORRECTED, "factual")]
    assert labelled["low"] == corrected["low"], "the same numbers under another name"


def test_nothing_is_corrected_where_nothing_is_established() -> None:
    stored = stored_change(0.2, 0.05)
    assert set(consequence_table(stored, [["plm", "dpo"]], {}, BOOTSTRAP)["labels"]) == {"as labelled"}
    published = published_table(stored, {"plm": "f", "dpo": "f"}, TEMPERATURES, {}, BOOTSTRAP)
    assert set(published["prompts"]) == {""}


def test_published_means_stand_under_their_key_and_under_the_prompts_that_it_holds() -> None:
    stored = {PLM: values(0)}
    table = published_table(stored, {"plm": "f"}, TEMPERATURES, {"S": Assignment.SWAPPED}, BOOTSTRAP)
    row = table[(table["key"] == "creative") & (table["metric"] == "ncd") & (table["temperature"] == "1.0")].iloc[0]
    assert row["prompts"] == "factual"
    assert row["value"] == pytest.approx(stored[PLM]["creative"]["ncd"][1].mean())
    assert row["low"] < row["value"] < row["high"]
    assert row["n_prompts"] == 4
