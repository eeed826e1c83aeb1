"""The finding says what the tables say, whichever way they turn out, and no more."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.cells import Model
from modecollapse.comparison.effects import consequence_table
from modecollapse.comparison.finding import Context, finding
from modecollapse.comparison.page import render
from modecollapse.comparison.residuals import comparison_table, verdict
from tests.unit.test_comparison_residuals import Values, copied, swapped, values

CONTEXT = Context("A study", "Asked <b>politely</b> & twice.", 20, "all-MiniLM-L6-v2", {"plm": "PLM", "dpo": "DPO"})
MODELS = [Model("S", 0, stage) for stage in ("plm", "dpo")]


def tables(ours: dict[Model, Values], stored: dict[Model, Values]) -> dict[str, pd.DataFrame]:
    comparison = comparison_table(ours, stored)
    assignment = verdict(comparison).assignment
    assignments = {"S": assignment} if assignment else {}
    consequence = consequence_table(stored, [["plm", "dpo"]], assignments, Bootstrap(resamples=300))
    order_q = SCHEMAS["order_q"].empty_table().to_pandas()
    return {"comparison": comparison, "consequence": consequence, "order_q": order_q}


def told(ours: dict[Model, Values], stored: dict[Model, Values], context: Context = CONTEXT) -> str:
    sections = finding(tables(ours, stored), context)
    return "\n".join(paragraph for section in sections for paragraph in section.paragraphs)


def measured(creative: float, factual: float) -> dict[Model, Values]:
    """Our values, changing by these amounts from PLM to DPO."""
    before, after = values(0), copied(values(0))
    spread = np.linspace(-0.01, 0.01, 4)
    for name, change in (("creative", creative), ("factual", factual)):
        for array in after[name].values():
            array += change + spread
    return dict(zip(MODELS, (before, after), strict=True))


def test_exchanged_keys_are_told_with_their_consequence() -> None:
    ours = measured(creative=0.05, factual=0.2)
    text = told(ours, {model: swapped(one) for model, one in ours.items()})
    assert "The keys are exchanged: the key “creative” holds the values of the factual prompts" in text
    assert "0 of 8 metrics agree" in text
    labelled = re.search(r"Self-BLEU from PLM to DPO\. As the keys say, which the comparison contradicts.*", text)
    corrected = re.search(r"Self-BLEU from PLM to DPO\. By the prompts that the keys were found to hold.*", text)
    assert labelled is not None
    assert corrected is not None
    assert "+0.050 [" in labelled[0].split(" and ")[0]
    assert labelled[0].endswith("it rises more for creative prompts.")
    assert "+0.200 [" in corrected[0].split(" and ")[0]
    assert corrected[0].endswith("it rises more for factual prompts.")


def test_all_measures_are_counted_by_the_prompts_that_lose_more_whichever_way_they_point() -> None:
    ours = measured(creative=0.05, factual=0.2)
    text = told(ours, {model: swapped(one) for model, one in ours.items()})
    (sentence,) = [line for line in text.splitlines() if line.startswith("All stored measures of diversity")]
    # Every value rises by more for factual prompts: a larger loss for measures of likeness, a smaller one for others.
    factual, creative = (
        re.search(rf"\(([^)]*)\) show a larger loss for {name}", sentence) for name in ("factual", "creative")
    )
    assert factual is not None
    assert creative is not None
    assert "Self-BLEU" in factual[1]
    assert "Normalised compression distance" in creative[1]
    assert "Compression ratio, full" not in sentence, "no measure of diversity"


def test_keys_that_hold_what_they_say_are_told_without_a_contradiction() -> None:
    ours = measured(creative=0.05, factual=0.2)
    text = told(ours, ours)
    assert "The keys hold what they say." in text
    assert "exchanged:" not in text
    assert "contradicts" not in text
    assert text.count("it rises more for factual prompts") == 4, "two metrics, by key and by prompts"


def test_a_difference_whose_interval_includes_0_is_not_called_larger() -> None:
    ours = measured(creative=0.1, factual=0.1)
    text = told(ours, {model: swapped(one) for model, one in ours.items()})
    assert "an interval that includes 0: for neither prompt type is it shown to rise more." in text
    assert "rises more for" not in text


def test_where_neither_assignment_fits_nothing_is_corrected() -> None:
    text = told(measured(0.05, 0.2), {model: values(7 + place) for place, model in enumerate(MODELS)})
    assert "Neither assignment explains the stored values" in text
    assert "Nothing is corrected." in text
    assert "found to hold" not in text


def test_values_that_cannot_be_told_apart_are_said_to_be() -> None:
    same = {model: {name: values(0)["creative"] for name in ("creative", "factual")} for model in MODELS}
    assert "do not tell the two keys apart" in told(same, same)


def test_the_embedder_is_named_with_its_distance() -> None:
    ours = measured(0.05, 0.2)
    stored = {model: copied(one) for model, one in ours.items()}
    for of_model in stored.values():
        for metrics in of_model.values():
            metrics["cosine"] += 0.0625
    (section,) = [one for one in finding(tables(ours, stored), CONTEXT) if "embedder" in one.heading]
    assert "of all-MiniLM-L12-v2; ours are of all-MiniLM-L6-v2" in section.paragraphs[0]
    assert section.rows[0] == ("Mean pairwise cosine", "PLM", "1.000", "+0.0625", "0.0625")
    without = finding(tables(ours, stored), replace(CONTEXT, embedder=None))
    assert any("computes none" in paragraph for one in without for paragraph in one.paragraphs)


def test_what_does_not_follow_is_always_said() -> None:
    ours = measured(0.05, 0.2)
    text = told(ours, ours)
    assert "Which panel of a printed figure was drawn from which key is not in these files" in text
    assert "Asked <b>politely</b> & twice." in text


def test_the_page_escapes_every_text() -> None:
    ours = measured(0.05, 0.2)
    context = replace(CONTEXT, labels={"plm": "<script>alert(1)</script>", "dpo": "D&O"})
    page = render(finding(tables(ours, ours), context), "<i>Title</i>")
    assert "<script>" not in page
    assert "<b>politely" not in page
    assert "&lt;i&gt;Title&lt;/i&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Asked &lt;b&gt;politely&lt;/b&gt; &amp; twice." in page


@pytest.mark.parametrize("metric", ["self_bleu", "cosine"])
def test_every_step_has_a_row_for_each_prompt_set_and_their_difference(metric: str) -> None:
    ours = measured(0.05, 0.2)
    frames = tables(ours, {model: swapped(one) for model, one in ours.items()})
    (section,) = [one for one in finding(frames, CONTEXT) if "what follows" in one.heading]
    assert section.columns == ("change", "step", "prompts", "as labelled", "corrected")
    label = {"self_bleu": "Self-BLEU", "cosine": "Mean pairwise cosine"}[metric]
    rows = [row for row in section.rows if row[0] == label]
    assert [row[2] for row in rows] == ["creative", "factual", "factual − creative"] * 2
    assert {row[1] for row in rows} == {"PLM → DPO"}
