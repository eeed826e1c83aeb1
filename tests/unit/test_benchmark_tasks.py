"""Which benchmarks a study names: found without running code, and refused with what to do instead."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modecollapse.errors import StudyError
from modecollapse.hub import Kind, Revision
from modecollapse.measures import task_files
from modecollapse.measures.benchmarks import (
    BenchmarkSettings,
    Task,
    find_tasks,
    hub_revisions,
    leak_free,
)

PYTHIA = ["lambada_openai", "piqa", "winogrande", "arc_easy", "arc_challenge", "sciq", "logiqa", "wsc273"]

OWN = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: mine.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""


FILES = "dataset_kwargs: {data_files: {test: mine.jsonl}}"
METRIC = "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]"


def settings(**keys: Any) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate(keys, strict=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/mine.yaml").write_text(OWN)
    (tmp_path / "tasks/mine.jsonl").write_text('{"question": "?", "choices": ["a", "b"], "answer": 0}\n')
    return tmp_path / "own.yaml"


def find(study: Path, **keys: Any) -> tuple[Task, ...]:
    return find_tasks(settings(**keys), study, study.parent / "config")


def edited(study: Path, old: str, new: str) -> Path:
    file = study.parent / "tasks/mine.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    return study


def test_the_tasks_of_the_pythia_study_exist_under_these_names(study: Path) -> None:
    tasks = find(study, tasks=PYTHIA)
    assert [task.name for task in tasks] == PYTHIA
    assert hub_revisions(tasks)[0] == Revision(Kind.DATASET, "EleutherAI/lambada_openai", "main")
    assert len(hub_revisions(tasks)) == 7, "arc_easy and arc_challenge are parts of one repository"


def test_a_list_of_tasks_is_a_mapping_without_differences() -> None:
    assert settings(tasks=["a", "b"]) == settings(tasks={"a": None, "b": {}})
    assert settings(tasks={"a": {"shots": [1], "limit": 3}, "b": {}}).shots_of("a") == (1,)
    assert settings(tasks={"a": {"shots": [1], "limit": 3}, "b": {}}).shots_of("b") == (0, 5)


@pytest.mark.parametrize(
    "keys",
    [
        {"tasks": []},
        {"tasks": ["a", "a"]},
        {"tasks": ["a"], "shots": [-1]},
        {"tasks": ["a"], "shots": [0, 0]},
        {"tasks": ["a"], "shots": []},
        {"tasks": ["a"], "limit": 0},
        {"tasks": {"a": {"shot": [0]}}},
    ],
)
def test_settings_that_make_no_sense_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**keys)


def test_an_unknown_task_is_refused_with_names_like_it(study: Path) -> None:
    with pytest.raises(StudyError, match=r"'lambda_openai' is no task .* Did you mean lambada_openai"):
        find(study, tasks=["lambda_openai"])


def test_a_group_is_refused_with_what_to_do(study: Path) -> None:
    expected = (
        r"'mmlu' is no task .* It is a group: name its tasks one by one, "
        r"e.g. mmlu_abstract_algebra, mmlu_anatomy, mmlu_astronomy, mmlu_business_ethics\."
    )
    with pytest.raises(StudyError, match=expected):
        find(study, tasks=["mmlu"])


def test_a_task_of_the_harness_whose_file_has_quoted_keys_is_found(study: Path) -> None:
    (task,) = find(study, tasks=["mmlu_anatomy"])
    assert (task.hub, task.config["dataset_name"]) == (Revision(Kind.DATASET, "cais/mmlu", "main"), "anatomy")


@pytest.mark.parametrize("quoted", ['"task": mine', "'task': \"mine\"", "task : mine"])
def test_a_task_of_ones_own_is_found_however_its_key_is_written(study: Path, quoted: str) -> None:
    (task,) = find(edited(study, "task: mine", quoted), tasks=["mine"], include="tasks")
    assert task.own


def test_a_group_of_ones_own_with_quoted_keys_is_no_task(study: Path) -> None:
    (study.parent / "tasks/group.yaml").write_text('"group": all\n"task": mine\n')
    assert find(study, tasks=["mine"], include="tasks")[0].path.name == "mine.yaml"


def test_a_task_of_the_studys_own_directory_is_found_before_the_harnesss(study: Path) -> None:
    edited(study, "task: mine", "task: piqa")
    (task,) = find(study, tasks=["piqa"], include="tasks")
    assert task.own
    assert task.hub is None
    assert task.data_files["test"] == (study.parent.resolve() / "tasks/mine.jsonl",)


def test_a_directory_that_does_not_exist_is_refused(study: Path) -> None:
    with pytest.raises(StudyError, match=r"include: there is no directory elsewhere"):
        find(study, tasks=["mine"], include="elsewhere")


def test_two_files_that_define_one_task_are_refused(study: Path) -> None:
    (study.parent / "tasks/again.yaml").write_text(OWN)
    with pytest.raises(StudyError, match=r"both .*again.yaml and .*mine.yaml define the task 'mine'"):
        find(study, tasks=["mine"], include="tasks")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('doc_to_text: "{{question}}"', "doc_to_text: !function code.text", "names the Python function code.text"),
        ("test_split: test", "class: !function code.Task", "names the Python function code.Task"),
        ("test_split: test", "", "neither test_split nor validation_split"),
        ("test_split: test", "test_split: test\nunsafe_code: true", "runs code that a model wrote"),
        ("metric: acc", "metric: bleurt, hf_evaluate: true", "would be downloaded as code"),
        ("output_type: multiple_choice", "output_type: choices", "output_type is 'choices'. Allowed: loglikelihood"),
        ("mine.jsonl", "other.jsonl", "there is no file .*other.jsonl"),
        ("mine.jsonl", "https://example.org/mine.jsonl", "there is no file"),
        (
            "test_split: test",
            "test_split: test\nnum_fewshot: 0",
            r"defined without solved examples.*mine: {shots: \[0\]}",
        ),
        ("dataset_path: json", "", "names no `dataset_path`"),
        ("test_split: test", "test_split: [", "is no task file"),
        ("test_split: test", "include: mine.yaml", "includes itself"),
        (FILES, "dataset_kwargs: [a]", r"its dataset_kwargs is \['a'\]. Make it a mapping, e.g."),
        (FILES, "", r"its data is local \(`dataset_path: json`\), but it names no files"),
        (FILES, "dataset_kwargs: {data_files: {test: /no/such.jsonl}}", "there is no file /no/such.jsonl"),
        (
            METRIC,
            "metric_list: [acc]",
            "metric_list has the entry 'acc', but each is a mapping that names its `metric`",
        ),
        (METRIC, "metric_list: {metric: acc}", r"its metric_list is {'metric': 'acc'}. Make it a list, e.g."),
        (METRIC, "metric_list: [{aggregation: mean}]", "but each is a mapping that names its `metric`"),
        ("metric: acc", "metric: accc", "the harness has no metric 'accc'. Allowed: acc, acc_all"),
        ("aggregation: mean", "aggregation: meen", "metric acc: the harness has no aggregation 'meen'. Allowed: bits_"),
        (METRIC, f"{METRIC}\nfewshot_config: first", "its fewshot_config is 'first'. Make it a mapping"),
        (METRIC, f"{METRIC}\nfewshot_config: {{sample: a}}", "fewshot_config: 'sample' is no key of a task file"),
        ("test_split: test", "test_split: [test]", r"its test_split is \['test'\]. Make it a text"),
        ("doc_to_text", "doc_to_tex", "'doc_to_tex' is no key of a task file. Allowed: .*doc_to_text"),
        ('doc_to_text: "{{question}}"', "", "its file has no `doc_to_text`"),
        ("doc_to_choice: choices", "", "its file has no `doc_to_choice`"),
        ("{{question}}", "{{question", "doc_to_text: '{{question' is no template: unexpected end"),
        ("{{question}}", "{{question|strp}}", "is no template: No filter named 'strp'"),
        ("dataset_path: json", "dataset_path: ../../etc", "its dataset_path is '../../etc'. Allowed: .* OWNER/NAME"),
        ("dataset_path: json", "dataset_path: ../etc", "its dataset_path is '../etc'"),
        ("dataset_path: json", "dataset_path: /etc/passwd", "its dataset_path is '/etc/passwd'"),
        ("dataset_path: json", "dataset_path: https://x/y", "its dataset_path is 'https://x/y'"),
    ],
)
def test_a_task_file_of_ones_own_that_cannot_be_used_is_refused(study: Path, old: str, new: str, message: str) -> None:
    (study.parent / "tasks/code.py").write_text("raise SystemExit('this code must not run')")
    with pytest.raises(StudyError, match=message):
        find(edited(study, old, new), tasks=["mine"], include="tasks")


def test_files_of_a_task_may_lie_anywhere_on_this_machine(study: Path, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    elsewhere = (study.parent / "tasks/mine.jsonl").rename(tmp_path / "else/mine.jsonl")
    (task,) = find(edited(study, "mine.jsonl", str(elsewhere)), tasks=["mine"], include="tasks")
    assert task.data_files == {"test": (elsewhere,)}


def test_what_a_task_file_may_hold_is_what_the_installed_harness_takes() -> None:
    from dataclasses import fields

    from lm_eval.api.registry import aggregation_registry, metric_registry
    from lm_eval.api.task import ConfigurableTask  # registers them
    from lm_eval.config.task import FewshotConfig, TaskConfig

    assert ConfigurableTask
    assert set(task_files.KEYS) == {field.name for field in fields(TaskConfig)}
    assert set(task_files.FEWSHOT_KEYS) == {field.name for field in fields(FewshotConfig)}
    assert set(task_files.METRICS) == set(metric_registry.keys())
    assert set(task_files.AGGREGATIONS) == set(aggregation_registry.keys())


def test_examples_before_texts_that_are_scored_whole_are_refused(study: Path) -> None:
    message = (
        r"tasks.wikitext: the task scores whole texts .* shots are 0, 5. Say `tasks: {…, wikitext: {shots: \[0\]}}`"
    )
    with pytest.raises(StudyError, match=message):
        find(study, tasks=["piqa", "wikitext"])
    assert find(study, tasks={"piqa": {}, "wikitext": {"shots": [0]}})
    assert find(study, tasks=["piqa", "wikitext"], shots=[0])


def test_a_task_on_the_studys_data_uses_one_split(study: Path) -> None:
    keys: dict[str, Any] = {"tasks": {"mine": {"data": "facts"}}, "include": "tasks"}
    assert find(study, **keys)[0].hub is None
    with pytest.raises(StudyError, match=r"is one split, but the task uses test, train"):
        find(edited(study, "test_split: test", "test_split: test\ntraining_split: train"), **keys)


def test_the_identity_of_a_task_follows_its_files_and_its_data(study: Path) -> None:
    def identity() -> dict[str, Any]:
        return find(study, tasks=["mine"], include="tasks")[0].identity

    first = identity()
    assert identity() == first
    edited(study, "{{question}}", "Q: {{question}}")
    second = identity()
    assert second != first
    (study.parent / "tasks/mine.jsonl").write_text('{"question": "!", "choices": ["a", "b"], "answer": 0}\n')
    assert identity() != second


def test_the_identity_of_a_packaged_task_holds_what_it_includes_and_the_python_it_names(study: Path) -> None:
    challenge, winogrande = find(study, tasks=["arc_challenge", "winogrande"])
    assert set(challenge.files) == {"arc_challenge.yaml", "arc_easy.yaml"}
    assert set(winogrande.files) == {"default.yaml", "preprocess_winogrande.py"}


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({"test_split": "test"}, {"test_split": "test", "fewshot_split": "test"}),
        ({"validation_split": "dev"}, {"test_split": "dev", "fewshot_split": "dev"}),
        ({"test_split": "test", "training_split": "train"}, {}),
        ({"test_split": "test", "validation_split": "dev"}, {}),
        ({"validation_split": "dev", "fewshot_split": "dev"}, {"test_split": "dev", "fewshot_split": "dev"}),
        ({"test_split": "test", "fewshot_config": {"samples": []}}, {}),
    ],
)
def test_examples_from_the_evaluated_split_leave_the_evaluated_document_out(
    config: dict[str, Any], changes: dict[str, str]
) -> None:
    assert leak_free(config) == changes


def test_a_plan_with_benchmarks_loads_neither_the_harness_nor_a_framework(study: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from modecollapse.measures.benchmarks import *;"
        f"find_tasks(BenchmarkSettings.model_validate({{'tasks': {PYTHIA}}}, strict=False), Path('x'), Path('y'));"
        "print({'lm_eval', 'torch', 'datasets'} & set(sys.modules))"
    )
    path = str(Path(__file__).parents[2] / "workflow")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path})
    assert done.stdout.strip() == "set()", done.stderr
