"""Agreement of annotators, against values that are published or worked by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.label_agreement import (
    agreement_table,
    cohen_kappa,
    cohen_terms,
    first_shown_terms,
    fleiss_kappa,
    fleiss_terms,
    krippendorff_alpha,
    krippendorff_terms,
    pairwise_terms,
    ratings,
    unanimous_terms,
)
from modecollapse.analysis.table_files import SCHEMAS

BOOTSTRAP = Bootstrap(resamples=500)


def labels(*rows: str, task: str | None = None, shown: str | None = None) -> pd.DataFrame:
    """Labels of pairs, a text for each: the letter at an annotator's place is a, b, = (tie) or . (skip)."""
    names = {"a": "a", "b": "b", "=": "tie", ".": "skip"}
    found = [
        {
            "pair": f"p{row:03}",
            "row": row,
            "annotator": f"x{place}",
            "label": names[letter],
            "shown_first": shown,
            "task": task,
        }
        for row, text in enumerate(rows)
        for place, letter in enumerate(text)
    ]
    return pd.DataFrame(found)


def one_hot(units: list[str], categories: str) -> np.ndarray:
    """[units, raters, categories] of texts with a rater's category at its place."""
    return np.array([[[float(letter == each) for each in categories] for letter in unit] for unit in units])


def test_krippendorffs_alpha_has_the_value_of_his_own_example_with_missing_labels():
    by_observer = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    given = one_hot(["".join(unit) for unit in zip(*by_observer, strict=True)], "12345")
    assert krippendorff_alpha(krippendorff_terms(given).sum(axis=0)) == pytest.approx(0.743, abs=5e-4)


def test_fleiss_kappa_has_the_value_of_the_known_example_of_fourteen_raters():
    counts = ["E" * 14, "BBCCCCCCDDDDEE", "CCCDDDDDEEEEEE", "BBBCCCCCCCCCDD", "AABBCCCCCCCCDE"]
    counts += ["AAAAAAABBBBBBB", "AAABBCCCCCCDDD", "AABBBBBCCCDDEE", "AAAAAABBBBBCCD", "BBCCDDDEEEEEEE"]
    assert fleiss_kappa(fleiss_terms(one_hot(counts, "ABCDE")).sum(axis=0)) == pytest.approx(0.210, abs=5e-4)


def test_cohens_kappa_is_that_of_a_worked_table():
    given = ratings(labels(*["aa"] * 20, *["ab"] * 5, *["ba"] * 10, *["bb"] * 15))
    assert cohen_kappa(cohen_terms(given).sum(axis=0)) == pytest.approx(0.4)


def test_cohens_kappa_of_several_is_the_mean_of_the_librarys_over_every_two():
    source = np.random.default_rng(0)
    rows = ["".join(source.choice(list("aab="), 3)) for _ in range(60)]
    expected = np.mean(
        [cohen_kappa_score([row[i] for row in rows], [row[j] for row in rows]) for i, j in ((0, 1), (0, 2), (1, 2))]
    )
    assert cohen_kappa(cohen_terms(ratings(labels(*rows))).sum(axis=0)) == pytest.approx(expected)


def test_shares_are_counted_by_hand():
    given = ratings(labels("aaa", "aab", "===", "aa.", "ab="))
    assert unanimous_terms(given).tolist() == [[1, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    assert pairwise_terms(given)[:, 0].tolist() == pytest.approx([1, 1 / 3, 1, 1, 0])
    assert pairwise_terms(ratings(labels("a..")))[0].tolist() == [0, 0], "one label agrees with nothing"


def test_agreement_beyond_chance_is_not_defined_where_one_label_is_all_there_is():
    given = ratings(labels("aaa", "aaa"))
    for terms, ratio in ((cohen_terms, cohen_kappa), (fleiss_terms, fleiss_kappa)):
        assert np.isnan(ratio(terms(given).sum(axis=0)))
    assert np.isnan(krippendorff_alpha(krippendorff_terms(given).sum(axis=0)))


def test_whether_the_answer_that_stands_first_is_preferred_is_counted_where_it_is_known():
    frame = labels("ab", "a=", shown="a")
    assert first_shown_terms(frame).tolist() == [[1, 2], [1, 1]]
    assert first_shown_terms(labels("ab")).tolist() == [[0, 0]]


def test_the_table_has_a_row_for_each_task_and_quantity_with_intervals():
    source = np.random.default_rng(1)
    frames = []
    for _ in range(2):
        parts = [
            labels(*("".join(source.choice(list("aaab"), 3)) for _ in range(40)), task=task) for task in ("x", "y")
        ]
        parts[1] = parts[1].assign(pair="q" + parts[1]["pair"], row=parts[1]["row"] + 40)
        frames.append(pd.concat(parts))
    table = agreement_table({("tiny", "own", "people"): frames}, BOOTSTRAP)
    assert list(table) == SCHEMAS["label_agreement"].names
    assert set(table["task"]) == {"all", "x", "y"}
    assert len(table) == 3 * 5, "which answer stood first is not known"
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    whole = table[table["task"] == "all"].iloc[0]
    assert (whole["n_pairs"], whole["n_annotators"], whole["n_labels"], whole["n_seeds"]) == (80, 3, 240, 2)


def test_seeds_may_have_different_numbers_of_annotators_and_one_annotator_has_no_agreement():
    frames = [labels("aab", "abb", "bbb", "aba"), labels("ab", "bb", "aa", "bb")]
    kappas = [cohen_kappa(cohen_terms(ratings(frame)).sum(axis=0)) for frame in frames]
    table = agreement_table({("tiny", "own", "people"): frames}, BOOTSTRAP).set_index("quantity")
    assert table.loc["cohen_kappa", "value"] == pytest.approx(np.mean(kappas))
    assert agreement_table({("tiny", "own", "people"): [labels("a", "b", shown="a")]}, BOOTSTRAP)[
        "quantity"
    ].tolist() == ["first_shown"]


def test_annotators_who_always_agree_have_an_interval_below_one():
    table = agreement_table({("tiny", "own", "people"): [labels(*["aaa", "bbb"] * 10)]}, BOOTSTRAP)
    shares = table.set_index("quantity").loc[["unanimous", "pairwise_agreement"]]
    assert shares["value"].tolist() == [1.0, 1.0]
    assert (shares["low"] < 1).all()
