"""Text features: what a study of models and one of data alone schedules, and what makes which part of it stale."""

from pathlib import Path

import pytest

from modecollapse.sealed import read_sealed
from tests.projects import Project, make_project

MEASURED = """\
measures:
  text_features: {train: preferences, count: 12, max_new_tokens: 16, vocabulary: lexemes}
"""
STAGES = ("dpo", "plm", "sft")
FIGURES = ("feature_agreement", "feature_alignment", "feature_differences", "feature_p_values")
PLOTS = [f"plot_{figure}_tiny" for figure in FIGURES]
TABLE = "results/nano-smoke/tables/text_features.parquet"

PAIRS_ALONE = """\
title: Preferences alone
data:
  pairs: {source: {path: pairs.jsonl}}
  unseen: {source: {path: unseen.jsonl}}
measures:
  text_features: {train: pairs, validation: unseen}
analysis: {resamples: 200}
"""


def of_models(rule: str) -> list[str]:
    return [f"{rule} tiny/s0/{stage}" for stage in STAGES]


def test_each_stage_answers_the_prompts_of_the_pairs(finished: Project) -> None:
    finished.edit_study("measures:\n", MEASURED)
    of_each = of_models("answer_pairs") + of_models("measure_answer_features")
    of_all = ["measure_pair_features preferences", "tabulate_text_features"]
    assert finished.plan() == sorted([*of_each, *of_all, *PLOTS])


def test_completions_of_prompt_sets_need_no_answers_of_their_own(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  text_features: {prompts: [creative]}\n")
    plots = ["plot_feature_differences_tiny", "plot_feature_p_values_tiny"]
    assert finished.plan() == sorted([*of_models("measure_answer_features"), "tabulate_text_features", *plots])


@pytest.mark.slow
def test_only_what_an_edit_decides_is_stale(finished: Project) -> None:
    finished.edit_study("measures:\n", MEASURED)
    finished.run()
    assert finished.plan() == []
    rows = read_sealed(finished.root / TABLE).to_pylist()
    pairs_alone = (None, None)
    assert {(row["stage"], row["reference"]) for row in rows} == {pairs_alone, ("sft", "plm"), ("dpo", "sft")}
    assert {row["definition"] for row in rows} == {"replica", "corrected"}
    # Another pair of stages is a matter of the tables; more tokens are one of the answers, and not of the pairs.
    finished.edit_study("vocabulary: lexemes", "vocabulary: lexemes, contrasts: [[dpo, plm]]")
    assert finished.plan() == sorted(["tabulate_text_features", *PLOTS])
    finished.edit_study("max_new_tokens: 16", "max_new_tokens: 12")
    of_each = of_models("answer_pairs") + of_models("measure_answer_features")
    assert finished.plan() == sorted([*of_each, "tabulate_text_features", *PLOTS])
    finished.edit_study("vocabulary: lexemes, ", "")
    assert "measure_pair_features preferences" in finished.plan()


def write_pairs(directory: Path, name: str, first: int) -> None:
    lines = [
        f'{{"prompt": "What is {number}?", "chosen": "It is {"very " * (number % 4)}odd. I think so.", '
        f'"rejected": "{"No " * (number % 3 + 1)}idea."}}'
        for number in range(first, first + 30)
    ]
    (directory / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_a_study_of_preference_pairs_alone(tmp_path: Path) -> None:
    project = make_project(tmp_path / "alone", "pairs.yaml")
    (project.root / "pairs.yaml").write_text(PAIRS_ALONE)
    for name, first in (("pairs", 0), ("unseen", 30)):
        write_pairs(project.root, name, first)
    planned = project.plan()
    assert [job for job in planned if "plot" in job] == ["plot_feature_differences", "plot_feature_p_values"]
    assert [job for job in planned if "plot" not in job] == [
        *("measure_pair_features pairs", "measure_pair_features unseen", "read_data pairs", "read_data unseen"),
        "tabulate_text_features",
    ]
    project.run()
    assert project.plan() == []
    rows = read_sealed(project.root / "results/pairs/tables/text_features.parquet").to_pandas()
    longer = rows[(rows["feature"] == "n_tokens") & (rows["definition"] == "corrected")].set_index("split")
    assert (longer["data_difference"] > 0).all()
    assert set(longer.index) == {"train", "validation"}
    assert longer["answer_difference"].isna().all()
    write_pairs(project.root, "unseen", 40)
    stale = ["measure_pair_features unseen", "read_data unseen", "tabulate_text_features"]
    assert [job for job in project.plan() if "plot" not in job] == stale


def test_what_cannot_be_compared_is_said_before_any_job_starts(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  text_features: {train: answers}\n")
    assert "measures.text_features.train: answers has the columns prompt, completion" in finished.run(succeeds=False)
    finished.edit_study("{train: answers}", "{train: preferences, pipeline: no_such_pipeline}")
    message = finished.run(succeeds=False)
    assert "measures.text_features.pipeline" in message
    assert "no_such_pipeline" in message
