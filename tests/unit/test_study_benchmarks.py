"""Benchmarks of a study: found, decided and refused."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.hub import Lock
from modecollapse.specs import (
    benchmarks_spec,
)
from modecollapse.study import Study
from modecollapse.targets import Targets
from tests.studies import parse


def with_benchmarks(content: dict[str, Any], **keys: Any) -> Study:
    content["data"]["asked"] = {"world": "choices", "n": 40}
    content["measures"]["benchmarks"] = {"tasks": {"nano_facts": {"data": "asked"}}, "include": "tasks/nano", **keys}
    return parse(content)


def test_benchmarks_of_a_study_are_found_with_what_each_does_differently(content: dict[str, Any]) -> None:
    tasks = {"nano_facts": {"data": "asked", "shots": [0, 2], "limit": 5}, "piqa": None}
    study = with_benchmarks(content, tasks=tasks, limit=7)
    spec = json.loads(benchmarks_spec(study, Model("tiny", 0, "sft")))
    assert [(task["name"], task["shots"], task["limit"]) for task in spec["tasks"]] == [
        ("nano_facts", [0, 2], 5),
        ("piqa", [0, 5], 7),
    ]
    assert spec["tasks"][1]["hub"] == "baber/piqa@main"
    assert {"benchmarks", "benchmarks_pooled", "benchmark_tests"} <= set(Targets(study).table_names())


def test_the_commit_of_a_benchmarks_data_set_is_part_of_what_decides_it(
    content: dict[str, Any], tmp_path: Path
) -> None:
    study = with_benchmarks(content, tasks=["piqa"])
    model = Model("tiny", 0, "sft")
    before = benchmarks_spec(study, model)
    (revision,) = study.revisions()
    locked = replace(study, lock=Lock(tmp_path / "smoke.lock.yaml", {revision: "abc"}))
    assert json.loads(benchmarks_spec(locked, model))["tasks"][0]["commit"] == "abc"
    assert benchmarks_spec(locked, model) != before


def test_the_chat_template_belongs_to_the_stages_that_ask_for_it(content: dict[str, Any]) -> None:
    study = with_benchmarks(content, chat_template=["sft"])
    chat = {stage: json.loads(benchmarks_spec(study, Model("tiny", 0, stage)))["chat"] for stage in study.stages}
    assert chat == {"plm": False, "sft": True, "dpo": False}


def test_benchmarks_that_are_not_asked_for_leave_no_trace(content: dict[str, Any]) -> None:
    targets = Targets(parse(content))
    assert not [path for path in targets.everything() if "benchmark" in path]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tasks": {"nano_facts": {"data": "nothing"}}}, "tasks.nano_facts.data: no data set is called 'nothing'"),
        ({"chat_template": ["chat"]}, "chat_template: no stage is called 'chat'"),
        ({"tasks": ["nano_fact"]}, "'nano_fact' is no task"),
        ({"tasks": {"nano_facts": {"data": "asked", "shots": [2, 2]}}}, "shots: given twice: 2"),
        ({"tasks": {"nano_facts": {"shot": [0]}}}, "no such key. Allowed: data, limit, revision, shots"),
        ({"shots": [-1]}, "greater than or equal to 0"),
    ],
)
def test_benchmarks_that_cannot_be_run_are_refused(content: dict[str, Any], keys: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        with_benchmarks(content, **keys)


def test_a_task_on_data_that_is_read_from_a_source_is_refused(content: dict[str, Any]) -> None:
    content["data"]["rows"] = {"source": {"path": "rows.jsonl"}, "columns": {"text": "question"}}
    message = r"tasks.nano_facts.data: rows is read from a source.* Allowed: .*asked.*`dataset_path: json`"
    with pytest.raises(StudyError, match=message):
        with_benchmarks(content, tasks={"nano_facts": {"data": "rows"}})


def test_more_questions_than_the_world_has_facts_are_refused(content: dict[str, Any]) -> None:
    content["data"]["asked"] = {"world": "choices", "n": 97}
    with pytest.raises(StudyError, match=r"data.asked.n: 97 questions.* at most 96"):
        parse(content)
