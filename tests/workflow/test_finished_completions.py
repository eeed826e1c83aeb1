"""Studies of finished completions: no model is run, and everything after generation works."""

import json
from pathlib import Path

import numpy as np
import pytest

from modecollapse.sealed import read_sealed
from tests.projects import PUBLISHED, Project, make_project

OWN = """
title: Completions of my own
models: {mine: {}}
stages:
  base: {method: completions, layout: table, files: {questions: "base.jsonl"}}
  tuned: {method: completions, from: base, layout: table, files: {questions: "{size}-tuned.jsonl"}}
prompts: {questions: questions.yaml}
generation: {temperatures: [0.5, 1.0]}
measures: {diversity: {metrics: [self_bleu, distinct_1, mean_length], words: [20]}}
analysis: {resamples: 200}
"""
QUESTIONS = """
name: questions
prompts:
  - {id: sky, text: "What colour is the sky?", answers: [blue]}
  - {id: sea, text: "What is in the sea?"}
"""


@pytest.fixture
def own(tmp_path: Path) -> Project:
    """A study file outside the project, with completions beside it: the tuned stage says the same thing every time."""
    directory = tmp_path / "own"
    directory.mkdir()
    (directory / "study.yaml").write_text(OWN)
    (directory / "questions.yaml").write_text(QUESTIONS)
    varied = ["it is blue today", "a grey thing <b>above</b>", "ask the birds", "blue and then black"]
    for file, texts in (("base.jsonl", varied), ("mine-tuned.jsonl", [varied[0]] * 4)):
        rows = [
            {"prompt": prompt, "sample": sample, "temperature": temperature, "text": text}
            for prompt in ("sky", "sea")
            for temperature in (0.5, 1.0)
            for sample, text in enumerate(texts)
        ]
        (directory / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return make_project(tmp_path / "project", str(directory / "study.yaml"), (f"completions={directory}",))


@pytest.mark.slow
def test_a_study_of_own_completions_ends_with_tables_and_figures(own: Project) -> None:
    own.run()
    results = own.root / "results" / "study"
    curves = read_sealed(results / "tables/curves.parquet").to_pandas()
    curves = curves[curves["definition"] == "corrected"]
    self_bleu = curves[curves["metric"] == "self_bleu"].set_index(["stage", "temperature"])["value"]
    assert self_bleu["tuned", "1.0"] == 1.0
    assert self_bleu["base", "1.0"] < 0.3
    attribution = read_sealed(results / "tables/attribution.parquet").to_pandas()
    attribution = attribution[attribution["definition"] == "corrected"]
    total = attribution[(attribution["metric"] == "self_bleu") & (attribution["step"] == "total")]
    assert (total["delta"] > 0.7).all()
    correct = curves[curves["metric"] == "correct"].set_index(["stage", "temperature"])["value"]
    assert (correct["base", "1.0"], correct["tuned", "1.0"]) == (0.5, 1.0)
    assert (results / "figures/attribution.svg").is_file()
    assert own.plan() == []


def test_repetition_is_told_before_and_after_a_stage_and_anew_with_other_thresholds(own: Project) -> None:
    study = Path(own.study)
    study.write_text(study.read_text().replace("measures: {", "measures: {repetition: {}, "))
    loop, fine = "again and again, " * 20, "it is blue today"
    for file, repetitive in (("base.jsonl", 3), ("mine-tuned.jsonl", 1)):
        rows = [
            {"prompt": prompt, "sample": sample, "temperature": temperature, "finish_reason": "length"}
            | {"text": loop if sample < repetitive else fine}
            for prompt in ("sky", "sea")
            for temperature in (0.5, 1.0)
            for sample in range(4)
        ]
        (study.parent / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    table, figure = "results/study/tables/repetition.parquet", "results/study/figures/repetition_mine.svg"
    own.run(figure)
    rows = read_sealed(own.root / table).to_pylist()
    [after] = [row for row in rows if (row["stage"], row["kind"], row["temperature"]) == ("tuned", "cycle", "mean")]
    assert (after["value"], after["before"], after["difference"]) == (0.25, 0.75, -0.5)
    assert after["ratio"] == pytest.approx(1 / 3)
    study.write_text(study.read_text().replace("repetition: {}", "repetition: {cycle_longer_than: 500}"))
    jobs = [f"measure_repetition mine/s0/{stage}" for stage in ("base", "tuned")]
    assert own.plan(figure) == sorted([*jobs, "tabulate_repetition", "plot_repetition_mine"])


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("base.jsonl", None, ["base.jsonl"]),
        ("base.jsonl", "not json\n", ["base.jsonl", "line 1"]),
        ("base.jsonl", '{"prompt": "sky", "sample": 0, "temperature": 0.5, "text": 5}\n', ["base.jsonl", "text"]),
    ],
)
def test_bad_completions_are_refused_before_any_job(
    own: Project, file: str, content: str | None, expected: list[str]
) -> None:
    path = Path(own.study).parent / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    output = own.run(succeeds=False)
    for part in expected:
        assert part in output
    assert "Nothing was started and nothing was changed" in output
    assert not (own.root / "results").exists()


def npy(path: Path, texts: list[list[str]]) -> None:
    """A file in the authors' layout: (temperatures, prompts, 1) lists of strings, two completions of each."""
    array = np.empty((len(texts), len(texts[0]), 1), dtype=object)
    for index, row in enumerate(texts):
        for prompt, text in enumerate(row):
            array[index, prompt, 0] = [text, text]
    np.save(path, array, allow_pickle=True)


@pytest.mark.slow
def test_the_order_of_temperatures_decides_what_a_file_of_the_authors_means(own: Project) -> None:
    directory = Path(own.study).parent
    for file in ("base.npy", "mine-tuned.npy"):
        npy(directory / file, [["cold sky", "cold sea"], ["hot sky", "hot sea"]])
    study = Path(own.study)
    study.write_text(study.read_text().replace("layout: table", "layout: analyse-llms").replace(".jsonl", ".npy"))
    cell = own.root / "results/study/generations/mine/s0/base/questions/human/T0.5.parquet"
    own.run("generations")
    assert read_sealed(cell).column("text")[0].as_py() == "cold sky"
    study.write_text(study.read_text().replace("[0.5, 1.0]", "[1.0, 0.5]"))
    own.run("generations")
    assert read_sealed(cell).column("text")[0].as_py() == "hot sky"
    cell.unlink()
    for kept in (own.root / "store" / "cells").rglob("*"):
        if kept.is_file():
            kept.unlink()
    own.run("generations")
    assert read_sealed(cell).column("text")[0].as_py() == "hot sky", "made again alone, without the store"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the authors' published completions are not at {PUBLISHED}")
@pytest.mark.slow
def test_the_published_completions_end_with_attribution_and_a_comparison_that_finds_the_keys_exchanged(
    tmp_path: Path,
) -> None:
    settings = (f"completions={PUBLISHED / 'completions'}", f"reference={PUBLISHED / 'results'}")
    project = make_project(tmp_path / "project", "published", settings)
    project.edit_study(
        "generation:\n", "measures: {diversity: {metrics: [self_bleu, ncd], words: [20]}}\n\ngeneration:\n"
    )
    project.run()
    attribution = read_sealed(project.result("tables/attribution.parquet")).to_pandas()
    attribution = attribution[(attribution["metric"] == "self_bleu") & (attribution["temperature"] == "mean")]
    assert set(attribution["definition"]) == {"corrected", "controlled"}
    rows = attribution[attribution["definition"] == "corrected"]
    assert set(rows["step"]) == {"plm>sft", "sft>dpo", "total"}
    for _, of_set in rows.groupby("prompts"):
        delta = of_set.set_index("step")["delta"]
        assert np.isclose(delta["plm>sft"] + delta["sft>dpo"], delta["total"])
        assert of_set.set_index("step")["low"]["total"] > 0, "completions become more alike from PLM to DPO"
    assert project.result("figures/self_bleu_cosine_pythia-2.8b.svg").is_file()
    comparison = read_sealed(project.result("tables/comparison.parquet")).to_pandas()
    assert len(comparison) == 3 * 2 * 2, "models, metrics, assignments"
    assert (comparison["within"] == (comparison["assignment"] == "swapped")).all()
    assert "The keys are exchanged" in project.result("tables/finding.html").read_text()
    assert project.result("figures/published_panels_pythia-2.8b.svg").is_file()
