"""Tables of text features: both definitions by hand, against scipy, and where little or nothing is defined."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, kstest, pearsonr, spearmanr, wilcoxon

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.feature_contrasts import NEEDED
from modecollapse.analysis.stage_tests import signed_rank
from modecollapse.analysis.table_files import SCHEMAS, write_table
from modecollapse.analysis.text_features import TABLES, text_feature_parts, text_feature_tables

FEW = Bootstrap(resamples=400)
NAN = math.nan
CATEGORIES = {"length": "descriptive statistics", "ease": "readability", "nouns": "parts of speech"}
MISSING = {"nouns": "needs a tagger, which the pipeline 'blank' does not have"}
CONTRAST = [("dpo", "sft")]


def answers(values: Mapping[str, Sequence[float]], **keys: Any) -> pd.DataFrame:
    """One sample of each item, in the order of the lists."""
    n = len(next(iter(values.values())))
    frame = pd.DataFrame({"kind": "pairs", "item": [str(item) for item in range(n)], "sample": 0, "words": 10, **keys})
    features = {name: np.asarray(values.get(name, [NAN] * n), dtype=float) for name in CATEGORIES}
    return frame.assign(reason=None, **features)


def pair(chosen: Mapping[str, Sequence[float]], rejected: Mapping[str, Sequence[float]], name: str) -> pd.DataFrame:
    roles = {"chosen": chosen, "rejected": rejected}
    return pd.concat([answers(values, set=name, role=role) for role, values in roles.items()], ignore_index=True)


def model(stage: str, values: Mapping[str, Sequence[float]], seed: int = 0, **keys: Any) -> pd.DataFrame:
    return answers(values, **{"set": "orca", "role": "answer", "size": "7b", "seed": seed, "stage": stage, **keys})


def tables(
    pairs: Mapping[str, pd.DataFrame], models: Sequence[pd.DataFrame] = (), bootstrap: Bootstrap = FEW
) -> dict[str, pd.DataFrame]:
    return text_feature_tables(text_feature_parts(pairs, models, MISSING, CATEGORIES, CONTRAST, bootstrap))


def row(frame: pd.DataFrame, **keys: Any) -> Mapping[str, Any]:
    for name, value in keys.items():
        frame = frame[frame[name].isna() if value is None else frame[name] == value]
    assert len(frame) == 1, frame
    return frame.iloc[0].to_dict()


@pytest.fixture
def normal() -> tuple[dict[str, pd.DataFrame], list[pd.DataFrame]]:
    """60 train and 30 validation pairs: chosen answers are longer and harder, tuned ones longer and easier."""
    source = np.random.default_rng(0)

    def drawn(n: int, length: float, ease: float) -> dict[str, np.ndarray]:
        return {"length": source.normal(length, 1.0, n), "ease": source.normal(ease, 2.0, n)}

    pairs = {
        name: pair(drawn(n, 1.0, -1.0), drawn(n, 0.0, 0.0), data)
        for name, n, data in (("train", 60, "orca"), ("validation", 30, "held"))
    }
    shifts = {"dpo": (0.8, 0.9), "sft": (0.0, 0.0)}
    models = [
        model(stage, drawn(n, *shift), set=data)
        for stage, shift in shifts.items()
        for n, data in ((60, "orca"), (30, "held"))
    ]
    return pairs, models


CHOSEN = {"length": [3.0, 5, 9, 100, 7, 6, 8, 9], "ease": [1.0, 2, 3, 4, 5, 6, 7, 8]}
REJECTED = {"length": [1.0, 2, 3, 4, 5, 6, 7, 1], "ease": [0.0, 0, 0, NAN, 0, 0, 0, 0]}
TUNED = {"length": [2.0, 3, 4, 5, 6, NAN, 8, 9], "ease": [1.0] * 8}
BASE = {"length": [1.0, 1, 1, 1, 1, 1, 1, 1], "ease": [2.0, 3, 4, 5, 6, 7, 8, 9]}


def with_gaps() -> dict[str, pd.DataFrame]:
    """The tables of eight pairs: one rejected and one tuned answer lack a feature each."""
    return tables({"train": pair(CHOSEN, REJECTED, "orca")}, [model("dpo", TUNED), model("sft", BASE)])


def test_the_replica_leaves_out_whole_rows_and_scales_by_the_rest_of_the_training_split() -> None:
    found = with_gaps()
    kept = [0, 1, 2, 4, 6, 7]
    data = np.subtract(CHOSEN["length"], REJECTED["length"])[kept]
    moved = np.subtract(TUNED["length"], BASE["length"])[kept]
    of = row(found["text_features"], definition="replica", stage="dpo", feature="length")
    assert (of["data_n"], of["answer_n"]) == (6, 6)
    assert of["scale"] == pytest.approx(pd.Series(data).std())
    assert of["data_normalised"] == pytest.approx(data.mean() / pd.Series(data).std())
    assert of["answer_difference"] == pytest.approx(moved.mean())
    assert of["answer_normalised"] == pytest.approx(moved.mean() / pd.Series(data).std())
    assert of["answer_p"] == wilcoxon(moved).pvalue
    assert (of["agreement"], of["scaled_by"]) == (1.0, "chosen − rejected")
    assert pd.isna(of["reason"])
    assert math.isnan(of["answer_q"])
    assert math.isnan(of["answer_low"])
    assert row(found["text_features"], definition="replica", stage="dpo", feature="ease")["agreement"] == -1.0
    alone = row(found["text_features"], definition="replica", stage=None, feature="length")
    assert alone["data_n"] == 7, "without answers of stages the row that lacks one of them counts"
    assert alone["answer_n"] == 0


def test_the_corrected_definition_leaves_out_pairs_of_one_feature_and_one_side() -> None:
    found = with_gaps()
    data = np.subtract(CHOSEN["length"], REJECTED["length"])
    of = row(found["text_features"], definition="corrected", stage="dpo", feature="length")
    assert (of["data_n"], of["answer_n"]) == (8, 7)
    assert of["scale"] == pytest.approx(data.std(ddof=1))
    assert of["scale_mad"] == pytest.approx(1.4826 * np.median(np.abs(data - np.median(data))))
    assert of["data_normalised_mad"] == pytest.approx(data.mean() / of["scale_mad"])
    moved = np.array([1.0, 2, 3, 4, 5, 7, 8])
    assert of["answer_normalised"] == pytest.approx(moved.mean() / data.std(ddof=1))
    assert of["answer_p"] == pytest.approx(2 / 2**7)
    assert (of["answer_effect"], of["answer_effect_high"]) == (1.0, 1.0)
    assert of["data_effect"] == pytest.approx(signed_rank(data)[5])
    assert of["data_low"] < of["data_normalised"] < of["data_high"]
    alone = row(found["text_features"], definition="corrected", stage=None, feature="length")
    names = [name for name in alone if name.startswith("data_")]
    assert [alone[name] for name in names] == [of[name] for name in names]


def test_p_values_are_adjusted_over_the_features_of_one_contrast_split_and_side(
    normal: tuple[dict[str, pd.DataFrame], list[pd.DataFrame]],
) -> None:
    found = tables(*normal)["text_features"]
    of_features = found[~found["feature"].isin(MISSING) & (found["definition"] == "corrected")]
    for _, family in of_features.groupby(["stage", "split"], dropna=False):
        for side in ("data", "answer"):
            if family[f"{side}_p"].notna().all():
                assert list(family[f"{side}_q"]) == list(false_discovery_control(family[f"{side}_p"]))


def test_planted_shifts_are_found_in_both_splits_with_the_right_sign(
    normal: tuple[dict[str, pd.DataFrame], list[pd.DataFrame]],
) -> None:
    found = tables(*normal)["text_features"]
    for split in ("train", "validation"):
        length = row(found, definition="corrected", stage="dpo", split=split, feature="length")
        ease = row(found, definition="corrected", stage="dpo", split=split, feature="ease")
        assert 0 < length["data_low"] < length["data_high"]
        assert 0 < length["answer_low"] < length["answer_high"]
        assert length["answer_q"] < 0.05
        assert (length["agreement"], ease["agreement"]) == (1.0, -1.0)
        assert ease["data_effect"] < 0 < ease["answer_effect"]


def test_the_intervals_of_normalised_means_are_students_of_the_pairs(
    normal: tuple[dict[str, pd.DataFrame], list[pd.DataFrame]],
) -> None:
    pairs, models = normal
    of = row(tables(pairs, models)["text_features"], definition="corrected", stage="dpo", split="train", feature="ease")
    d = (models[0]["ease"].to_numpy() - models[2]["ease"].to_numpy()) / of["scale"]
    width = 2 * 2.000995 * d.std(ddof=1) / math.sqrt(60)
    assert of["answer_high"] - of["answer_low"] == pytest.approx(width, rel=1e-5)


def test_shuffled_sides_give_uniform_p_values() -> None:
    categories, pairs, _ = of_many_features(30, 150, (0.0, 0.0))
    found = text_feature_tables(text_feature_parts({"train": pairs}, [], {}, categories, [], Bootstrap(resamples=20)))
    corrected = found["text_features"][found["text_features"]["definition"] == "corrected"]
    assert kstest(corrected["data_p"], "uniform").pvalue > 0.01
    assert (corrected["data_q"] >= corrected["data_p"]).all()


def test_samples_of_an_item_are_averaged_and_seeds_are_averaged_for_tests_where_the_replica_takes_the_first() -> None:
    base = {"length": [1.0, 2, 3, 4, 5, 6]}
    pairs = {"train": pair({"length": [2.0, 4, 6, 8, 10, 13]}, base, "orca")}
    first = [model("dpo", {"length": [length] * 6}, sample=n) for n, length in enumerate((9.0, 11.0, NAN))]
    models = [pd.concat(first), model("dpo", {"length": [20.0] * 5 + [NAN]}, seed=1)]
    models += [model("sft", base), model("sft", base, seed=1), model("sft", base, seed=2)]
    found = tables(pairs, models)["text_features"]
    replica = row(found, definition="replica", stage="dpo", feature="length")
    corrected = row(found, definition="corrected", stage="dpo", feature="length")
    assert replica["answer_n"] == 0, "no feature called ease was defined, which drops every row"
    assert corrected["answer_n"] == 6
    assert corrected["answer_difference"] == pytest.approx((9 + 8 + 7 + 6 + 5 + 4 + 19 + 18 + 17 + 16 + 15) / 11)
    whole = [frame.assign(ease=1.0) for frame in (*pairs.values(), *models)]
    replica = row(
        tables({"train": whole[0]}, whole[1:])["text_features"], definition="replica", stage="dpo", feature="length"
    )
    assert (replica["answer_n"], replica["answer_difference"]) == (6, pytest.approx(6.5))
    means = tables(pairs, models)["text_feature_means"]
    of = row(means, stage="dpo", feature="length")
    assert (of["n"], of["undefined"], of["median"]) == (11, 1, 10.0)
    assert of["mean"] == pytest.approx((6 * 10 + 5 * 20) / 11)
    assert of["sd"] == pytest.approx(np.std([10.0] * 6 + [20.0] * 5, ddof=1))


def test_features_that_the_pipeline_cannot_give_have_a_row_that_says_why_and_drop_nothing() -> None:
    found = tables(
        {"train": pair({"length": range(8), "ease": range(8)}, {"length": [9] * 8, "ease": [9] * 8}, "orca")}
    )
    of = row(found["text_features"], definition="replica", feature="nouns")
    assert (of["reason"], of["category"], of["data_n"]) == (MISSING["nouns"], "parts of speech", 0)
    assert math.isnan(of["data_difference"])
    assert row(found["text_features"], definition="replica", feature="length")["data_n"] == 8
    assert "nouns" not in set(found["text_feature_means"]["feature"]) | set(found["text_feature_rows"]["feature"])


def test_fewer_than_six_pairs_that_differ_have_a_mean_but_no_test_and_say_so() -> None:
    chosen, rejected = (
        {"length": [2.0, 3, 4, 5, 6, 7], "ease": [1.0] * 6},
        {"length": [1.0] * 5 + [7], "ease": [1.0] * 6},
    )
    found = tables({"train": pair(chosen, rejected, "orca")})["text_features"]
    for definition in ("replica", "corrected"):
        of = row(found, definition=definition, feature="length")
        assert of["data_difference"] == pytest.approx(15 / 6)
        assert math.isnan(of["data_p"])
        assert of["reason"] == f"chosen − rejected: 5 of 6 pairs differ, fewer than the {NEEDED} that a test needs"
        constant = row(found, definition=definition, feature="ease")
        assert (constant["data_difference"], constant["scale"]) == (0.0, 0.0)
        assert math.isnan(constant["data_normalised"])
        assert constant["reason"].startswith("chosen − rejected does not vary; ")


def test_one_pair_has_a_difference_and_nothing_else() -> None:
    found = tables({"train": pair({"length": [3.0], "ease": [1.0]}, {"length": [1.0], "ease": [2.0]}, "orca")})
    of = row(found["text_features"], definition="corrected", feature="length")
    assert (of["data_n"], of["data_difference"]) == (1, 2.0)
    assert all(math.isnan(of[f"data_{name}"]) for name in ("normalised", "low", "high", "effect", "p", "q"))
    assert "fewer than two pairs of chosen − rejected" in of["reason"]


def test_a_constant_shift_has_a_difference_and_a_test_but_no_normalised_mean() -> None:
    base = np.linspace(0.1, 0.9, 9)
    found = tables({"train": pair({"length": base + 0.3}, {"length": base}, "orca")})["text_features"]
    of = row(found, definition="corrected", feature="length")
    assert (of["scale"], of["reason"]) == (0.0, "chosen − rejected does not vary")
    assert (of["data_difference"], of["data_p"]) == (pytest.approx(0.3), pytest.approx(2 / 2**9))


def test_nothing_defined_is_a_row_with_its_reason(tmp_path: Any) -> None:
    nothing = pair({"length": [NAN] * 7}, {"length": [1.0] * 7}, "orca")
    models = [model("dpo", {"length": [NAN] * 7}), model("sft", {"length": [1.0] * 7})]
    found = tables({"train": nothing}, models)
    of = row(found["text_features"], definition="corrected", stage="dpo", feature="length")
    assert (of["data_n"], of["answer_n"]) == (0, 0)
    assert "chosen − rejected: no pair has it; stage − reference: no pair has it" in of["reason"]
    assert row(found["text_feature_alignment"], definition="corrected")["features"] == 0
    for name in TABLES:
        write_table(name, [found[name]], tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv")


def test_empty_frames_give_empty_tables() -> None:
    empty = pair({"length": []}, {"length": []}, "orca")
    for found in (tables({}), tables({"train": empty}), tables({"train": empty}, [empty])):
        assert {name: list(found[name].columns) for name in TABLES} == {name: SCHEMAS[name].names for name in TABLES}
        assert not any(len(frame) for frame in found.values())


def test_without_pairs_differences_are_scaled_by_themselves() -> None:
    moved = np.array([1.0, 2, 4, 8, -1, 3, 5])
    models = [
        model("dpo", {"length": moved + 1}, kind="prompts", set="creative"),
        model("sft", {"length": [1.0] * 7}, kind="prompts", set="creative"),
    ]
    found = tables({}, models)
    of = row(found["text_features"], definition="corrected", feature="length")
    assert (of["kind"], of["split"], of["scaled_by"]) == ("prompts", "creative", "stage − reference")
    assert of["answer_normalised"] == pytest.approx(moved.mean() / moved.std(ddof=1))
    assert math.isnan(of["agreement"])
    assert of["data_n"] == 0
    assert found["text_feature_alignment"].empty
    pairs = {"train": pair({"length": [1.0, 4]}, {"length": [0.0, 1]}, "orca")}
    of = row(tables(pairs, models)["text_features"], definition="corrected", kind="prompts", feature="length")
    assert (of["scale"], of["scaled_by"]) == (pytest.approx(math.sqrt(2)), "chosen − rejected")


def test_the_table_of_rows_says_who_drops_how_many_and_how_long_those_answers_are() -> None:
    chosen = answers({"length": [1.0] * 8, "ease": [1.0] * 8}, set="orca", role="chosen").assign(
        words=range(10, 90, 10)
    )
    rejected = answers({"length": [0.0] * 8, "ease": [NAN, NAN, *[0.0] * 6]}, set="orca", role="rejected")
    rejected = rejected.assign(words=[2, 4, 30, 30, 30, 30, 30, 30])
    tuned = model("dpo", {"length": [0.0] * 8, "ease": [0.0, NAN, NAN, *[0.0] * 5]}).assign(words=[9, 1, 3, *[9] * 5])
    base = model("sft", {"length": [0.0] * 7, "ease": [0.0] * 7})
    found = tables({"train": pd.concat([chosen, rejected])}, [tuned, base])["text_feature_rows"]
    replica = found[(found["definition"] == "replica") & (found["stage"] == "dpo")].set_index("whose")
    assert list(replica["n"]) == [7] * 5, "the base model did not answer the last"
    assert dict(replica["dropped"]) == {"chosen": 0, "rejected": 2, "stage": 2, "reference": 0, "any": 3}
    assert dict(replica["words_dropped"].dropna()) == {
        "rejected": 3.0,
        "stage": 2.0,
        "any": pytest.approx((31 + 35 + 73) / 12),
    }
    assert replica.loc["rejected", "words_kept"] == 30.0
    assert replica["feature"].isna().all()
    alone = found[(found["definition"] == "replica") & found["stage"].isna()].set_index("whose")
    assert dict(alone["dropped"]) == {"chosen": 0, "rejected": 2, "any": 2}
    corrected = found[found["definition"] == "corrected"]
    assert row(corrected, feature="ease", whose="rejected")["dropped"] == 2
    assert row(corrected, feature="ease", whose="stage")["n"] == 8
    assert row(corrected, feature="length", whose="stage")["dropped"] == 0


def of_many_features(
    n: int, features: int, ends: tuple[float, float] = (-1.0, 1.0)
) -> tuple[dict[str, str], pd.DataFrame, list[pd.DataFrame]]:
    """Pairs and answers whose features move together, each by its own amount."""
    source = np.random.default_rng(2)
    names = [f"f{place}" for place in range(features)]
    shift = np.linspace(*ends, features)

    def frame(moved: np.ndarray, **keys: Any) -> pd.DataFrame:
        made = answers({"length": np.zeros(n)}, set="orca", **keys)[
            ["kind", "set", "item", "role", "sample", "words", *keys]
        ]
        made = made.loc[:, ~made.columns.duplicated()]
        return made.assign(**dict(zip(names, (source.normal(moved, 1.0, (n, features))).T, strict=True)))

    pairs = pd.concat([frame(shift, role="chosen"), frame(0 * shift, role="rejected")])
    models = [
        frame(moved, role="answer", size="7b", seed=0, stage=stage)
        for stage, moved in (("dpo", shift / 2), ("sft", 0 * shift))
    ]
    return dict.fromkeys(names, "readability"), pairs, models


def test_alignment_is_the_correlation_over_features_and_its_interval_holds_it() -> None:
    categories, pairs, models = of_many_features(100, 12)
    parts = text_feature_parts({"train": pairs}, models, {}, categories, CONTRAST, FEW)
    found = text_feature_tables(parts)
    for definition in ("replica", "corrected"):
        rows = found["text_features"]
        rows = rows[(rows["definition"] == definition) & (rows["stage"] == "dpo")]
        of = row(found["text_feature_alignment"], definition=definition)
        assert of["pearson"] == pytest.approx(pearsonr(rows["data_normalised"], rows["answer_normalised"]).statistic)
        assert of["spearman"] == pytest.approx(spearmanr(rows["data_normalised"], rows["answer_normalised"]).statistic)
        assert (of["features"], of["agreeing"]) == (12, int((rows["agreement"] > 0).sum()))
    assert of["pearson_low"] < of["pearson"] < of["pearson_high"]
    assert of["spearman_low"] < of["spearman"] < of["spearman_high"]
    replica = row(found["text_feature_alignment"], definition="replica")
    assert math.isnan(replica["pearson_low"])


def test_fewer_than_three_features_have_no_correlation(
    normal: tuple[dict[str, pd.DataFrame], list[pd.DataFrame]],
) -> None:
    of = row(tables(*normal)["text_feature_alignment"], definition="corrected", split="train")
    assert (of["features"], of["agreeing"]) == (2, 1)
    assert math.isnan(of["pearson"])
    assert math.isnan(of["spearman_low"])


def test_the_order_of_rows_and_models_changes_nothing(
    normal: tuple[dict[str, pd.DataFrame], list[pd.DataFrame]],
) -> None:
    pairs, models = normal
    turned = tables({name: frame[::-1] for name, frame in pairs.items()}, [frame[::-1] for frame in models])
    for name, frame in tables(pairs, models).items():
        pd.testing.assert_frame_equal(frame, turned[name])


def test_what_the_job_must_not_do_is_an_error() -> None:
    one = pair({"length": [1.0]}, {"length": [2.0]}, "orca")
    with pytest.raises(ValueError, match="must be a data set of its own"):
        tables({"train": one, "validation": one})
    with pytest.raises(ValueError, match="of which there are no features"):
        tables({}, [model("dpo", {"length": [1.0]})])
    with pytest.raises(ValueError, match="come in two places"):
        tables({"train": one}, [model("dpo", {"length": [1.0]}, size=size) for size in ("a", "b", "a")])
