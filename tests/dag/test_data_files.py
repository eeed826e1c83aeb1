"""A study on data of its own: it runs to its end, and an edited data set makes exactly its descendants stale."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from modecollapse.sealed import read_sealed
from tests.projects import Project, make_project
from tests.sharing import made_by_one_worker, shared_directory
from tests.tiny_models import save_neox

STUDY = """
title: Data from files
data:
  dialogues: {source: {path: "answers/*.jsonl"}, columns: {prompt: question, completion: answer}, broken_rows: 0.1}
  pairs: {source: {path: pairs.parquet}}
  corpus: {source: {path: corpus.jsonl.zst}, columns: {text: body}, sample: 20, seed: 3}
models: {tiny: {}}
stages:
  plm: {method: checkpoint, source: {path: tiny}}
  sft: {method: sft, from: plm, data: dialogues, train_format: dialogue, max_length: 128, dtype: float32, batch_size: 8,
    log_every: 1, save_every: 1}
  dpo: {method: dpo, from: sft, data: pairs, train_format: dialogue, max_length: 128, max_prompt_length: 64,
    dtype: float32, batch_size: 8, log_every: 1, save_every: 1}
prompts: {asked: asked.yaml}
generation: {temperatures: [1.0], completions: 2, max_new_tokens: 4}
measures:
  tokens: {data: corpus, context: 64}
  diversity: {controlled_completions: 0, metrics: [self_bleu], words: [5]}
analysis: {resamples: 100}
"""
REFERENCE = "score_reference tiny/s0/sft/pairs/dialogue/128-64-truncate-float32"
TARGETS = ("models", "results/study/tokens/tiny/s0/dpo/documents.parquet")
"""One measurement on the corpus; those of other stages would show the same."""


def write_corpus(path: Path, first: str = "document 0") -> None:
    rows = [first, *[f"document {i} " * (1 + i % 9) for i in range(1, 60)]]
    path.write_bytes(zstandard.compress("".join(json.dumps({"body": row}) + "\n" for row in rows).encode()))


def make(directory: Path) -> None:
    """The study from its files to its end."""
    root = directory / "project"
    make_project(root)
    (root / "study.yaml").write_text(STUDY)
    (root / "asked.yaml").write_text("name: asked\nprompts: [{id: a, text: Say yes.}, {id: b, text: Say no.}]\n")
    save_neox(root / "tiny")
    (root / "answers").mkdir()
    for part in ("a", "b"):
        rows = [{"question": f"\n\nHuman: {part}{i}?\n\nAssistant:", "answer": f" It is {i}. "} for i in range(10)]
        (root / "answers" / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (root / "answers" / "b.jsonl").open("a") as file:
        file.write("{broken\n")
    prompts = [f"\n\nHuman: {i}?\n\nAssistant:" for i in range(16)]
    pairs = {"prompt": prompts, "chosen": [" Yes."] * 16, "rejected": [" No, no."] * 16, "rest": range(16)}
    pq.write_table(pa.table(pairs), root / "pairs.parquet")
    write_corpus(root / "corpus.jsonl.zst")
    Project(root, study="study.yaml").run(*TARGETS)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Project:
    made = made_by_one_worker(shared_directory(tmp_path_factory, worker_id) / "data_files", make)
    return Project(made / "project", study="study.yaml")


@pytest.fixture
def project(done: Project, tmp_path: Path) -> Project:
    copy = done.copy(tmp_path / "project")
    yield copy  # type: ignore[misc]
    shutil.rmtree(copy.root, ignore_errors=True)


def result(project: Project, name: str) -> Path:
    return project.root / "results" / "study" / name


MEASURED = "measure_tokens tiny/s0/dpo"


def check(project: Project, *jobs: str) -> None:
    assert project.plan(*TARGETS) == sorted(jobs)


def test_the_study_trains_on_its_files_and_scores_a_sample_of_its_corpus(project: Project) -> None:
    dialogues = read_sealed(result(project, "data/dialogues.parquet"))
    assert dialogues.column_names == ["completion", "prompt"]
    assert dialogues["prompt"].to_pylist()[10] == "\n\nHuman: b0?\n\nAssistant:"
    assert dialogues["completion"].to_pylist()[:2] == ["It is 0.", "It is 1."]
    assert dialogues.num_rows == 20
    assert "b.jsonl, line 11" in (project.root / "logs/study/read_data/dialogues.log").read_text()
    documents = read_sealed(result(project, "tokens/tiny/s0/dpo/documents.parquet"))
    assert documents.num_rows == 20
    manifest = json.loads(result(project, "models/tiny/s0/sft/manifest.json").read_text())
    assert manifest["steps"] == 3


def test_nothing_changed_or_touched_schedules_nothing(project: Project) -> None:
    check(project)
    for file in ("corpus.jsonl.zst", "pairs.parquet", "answers/a.jsonl"):
        os.utime(project.root / file)
    check(project)


def test_an_edited_corpus_schedules_its_measurement_and_no_training(project: Project) -> None:
    write_corpus(project.root / "corpus.jsonl.zst", first="another document")
    check(project, "read_data corpus", MEASURED)


def test_another_sample_of_the_corpus_schedules_its_measurement_and_no_training(project: Project) -> None:
    project.edit("study.yaml", "sample: 20", "sample: 30")
    check(project, "read_data corpus", MEASURED)


def test_edited_pairs_schedule_their_stage_only(project: Project) -> None:
    table = pq.read_table(project.root / "pairs.parquet")
    pq.write_table(table.slice(1), project.root / "pairs.parquet")
    check(project, "read_data pairs", REFERENCE, "train tiny/s0/dpo", MEASURED)


def test_a_file_more_in_a_pattern_schedules_the_stages_after_it(project: Project) -> None:
    shutil.copy(project.root / "answers/a.jsonl", project.root / "answers/c.jsonl")
    check(project, "read_data dialogues", REFERENCE, "train tiny/s0/sft", "train tiny/s0/dpo", MEASURED)


def test_too_many_broken_rows_stop_the_study_with_one_message(project: Project) -> None:
    with (project.root / "answers" / "b.jsonl").open("a") as file:
        file.write("{broken\n" * 10)
    output = project.run(*TARGETS, succeeds=False)
    assert "11 of 31 rows are broken, more than the share 0.1 that `broken_rows` allows" in output
    assert "b.jsonl, line 11" in output
    assert "Traceback" not in output
