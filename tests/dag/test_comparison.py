"""What a changed file of stored results makes stale, and what it does not."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modecollapse.comparison.stored_results import KEYS, STORED
from modecollapse.sealed import read_sealed
from tests.projects import Project, make_project

STUDY = """
title: Completions with stored results
models: {mine: {}}
stages:
  base: {method: completions, layout: analyse-llms, files: {creative: base-creative.npy, factual: base-factual.npy}}
  tuned: {method: completions, from: base, layout: analyse-llms, files: {creative: tuned-c.npy, factual: tuned-f.npy}}
prompts: {creative: creative.yaml, factual: factual.yaml}
generation: {temperatures: [0.5, 1.0]}
measures: {diversity: {metrics: [self_bleu, jaccard_2], words: [20, 5]}}
analysis: {resamples: 200}
reference: {layout: analyse-llms, words: 5, files: {base: base.npy, tuned: "{size}-tuned.npy"}}
"""
TABLES = ("tables", "results/study/figures/published_panels_mine.svg")
WORDS = ["sea", "sky", "rain", "stone", "bird", "house", "tree", "night"]


def completions(path: Path, seed: int) -> None:
    """Two temperatures × two prompts × four completions of a few words."""
    generator = np.random.default_rng(seed)
    array = np.empty((2, 2, 1), dtype=object)
    for index in np.ndindex(2, 2, 1):
        array[index] = [" ".join(generator.choice(WORDS, 6)) for _ in range(4)]
    np.save(path, array, allow_pickle=True)


def results(path: Path, values: dict[str, Any]) -> None:
    array = np.empty((), dtype=object)
    array[()] = values
    np.save(path, array, allow_pickle=True)


def some_results(shift: float = 0.0) -> dict[str, dict[str, np.ndarray]]:
    return {key: {name: np.full((2, 2, 1), 0.5 + shift, np.float32) for name in STORED} for key in KEYS}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    own, stored = tmp_path / "own", tmp_path / "stored"
    own.mkdir()
    stored.mkdir()
    (own / "study.yaml").write_text(STUDY)
    for name in KEYS:
        (own / f"{name}.yaml").write_text(f"name: {name}\nprompts: [{{id: a, text: null}}, {{id: b, text: null}}]\n")
    for seed, file in enumerate(("base-creative", "base-factual", "tuned-c", "tuned-f")):
        completions(own / f"{file}.npy", seed)
    for file in ("base", "mine-tuned"):
        results(stored / f"{file}.npy", some_results())
    settings = (f"completions={own}", f"reference={stored}")
    return make_project(tmp_path / "project", str(own / "study.yaml"), settings)


def test_a_changed_file_of_stored_results_schedules_the_comparison_and_its_figure_only(
    project: Project, tmp_path: Path
) -> None:
    project.run(*TABLES)
    study, stored = tmp_path / "own" / "study.yaml", tmp_path / "stored" / "mine-tuned.npy"
    tables = project.root / "results/study/tables"
    comparison = read_sealed(tables / "comparison.parquet").to_pandas()
    assert set(comparison["stage"]) == {"base", "tuned"}
    assert set(comparison["metric"]) == {"self_bleu", "jaccard_2"}
    page = (tables / "finding.html").read_text()
    assert "on the first 5 words" in page
    assert "Neither assignment explains" in page
    os.utime(stored)
    assert project.plan(*TABLES) == [], "touched, but the same values"

    results(stored, some_results(0.25))
    assert project.plan(*TABLES) == ["compare", "plot_published_panels_mine"]

    without = Project(project.root, project.study, project.settings[:1])
    assert without.plan("tables") == []

    results(stored, some_results())
    study.write_text(study.read_text().replace("resamples: 200", "resamples: 300"))
    assert project.plan(*TABLES) == ["attribute", "compare", "compare_steps", "plot_published_panels_mine", "tabulate"]
    study.write_text(study.read_text().replace("resamples: 300", 'resamples: 200, temperature: "0.5"'))
    assert "compare" not in project.plan(*TABLES), "the temperature of some figures is not compared"

    study.write_text(STUDY)
    completions(tmp_path / "own" / "tuned-f.npy", 9)
    planned = project.plan(*TABLES)
    assert {"import_completions mine/s0/tuned", "score mine/s0/tuned", "compare"} <= set(planned)
    assert not {"import_completions mine/s0/base", "score mine/s0/base"} & set(planned)

    (tables / "finding.html").write_text("something else")
    assert "finding.html is corrupt" in project.run("verify", succeeds=False)


REFUSED = {
    "a missing directory": (
        lambda stored: [f.unlink() for f in stored.iterdir()] and stored.rmdir(),
        "no such directory",
    ),
    "a missing file": (lambda stored: (stored / "base.npy").unlink(), "base.npy is no file"),
    "a truncated file": (
        lambda stored: (stored / "base.npy").write_bytes((stored / "base.npy").read_bytes()[:-40]),
        "base.npy holds a damaged or incomplete pickle",
    ),
    "a wrong shape": (
        lambda stored: results(
            stored / "base.npy", {key: {name: np.ones((3, 2, 1), np.float32) for name in STORED} for key in KEYS}
        ),
        "shape (3, 2, 1)",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_stored_results_that_are_damaged_or_missing_are_refused_before_any_job(
    project: Project, tmp_path: Path, case: str
) -> None:
    damage, message = REFUSED[case]
    damage(tmp_path / "stored")
    output = project.run("tables", succeeds=False)
    assert message in output
    assert "Nothing was started and nothing was changed" in output
    assert not (project.root / "results").exists()


def test_results_for_a_study_without_a_section_for_them_are_refused(project: Project, tmp_path: Path) -> None:
    study = tmp_path / "own" / "study.yaml"
    study.write_text("\n".join(line for line in STUDY.splitlines() if not line.startswith("reference:")))
    output = project.run("tables", succeeds=False)
    assert "names no stored results. Add the section `reference` to it, or leave the setting out" in output
