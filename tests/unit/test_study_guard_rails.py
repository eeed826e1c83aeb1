"""Guard rails of a study: resolved, decided by what they should be, and refused before any job where they cannot be."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from modecollapse import specs
from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.figures.registry import Drawing
from modecollapse.guard_rails.specs import candidates_spec
from modecollapse.jobs.models import describe
from modecollapse.jobs.summary import failing_in_words
from modecollapse.measures.benchmarks import BenchmarkSettings, find_tasks
from modecollapse.measures.guard_rails import GuardRailSettings, Rail, resolve_rails
from modecollapse.measures.task_files import DEFAULT_METRICS, METRICS
from modecollapse.study import Study
from modecollapse.targets import Targets
from tests.studies import parse
from tests.tasks import CHOICE, write_tasks

RAILS: dict[str, Any] = {"reference": "sft", "tasks": {"nano_facts": {"margin": 0.1, "shots": 0}}}
SHORT: dict[str, Any] = {"max_length": 128}
PAIRS: dict[str, Any] = {**SHORT, "max_prompt_length": 64}
PPO: dict[str, Any] = {
    "method": "ppo",
    "from": "sft",
    "reward": "words",
    "data": "preferences",
    "steps": 4,
    **SHORT,
    "max_new_tokens": 24,
}
FILTERS = "filter_list: [{name: first, filter: [{function: take_first}]}, {name: other, filter: []}]\n"


def with_rails(content: dict[str, Any], stages: dict[str, Any] | None = None, **changes: Any) -> Study:
    content["data"]["asked"] = {"world": "choices", "n": 40}
    content["measures"]["benchmarks"] = {"tasks": {"nano_facts": {"data": "asked"}}, "include": "tasks/nano"}
    content["measures"]["guard_rails"] = {**RAILS, **changes}
    content["stages"] |= stages or {}
    return parse(content)


def test_rails_are_of_the_first_metric_that_is_a_mean_unless_they_say_otherwise(content: dict[str, Any]) -> None:
    study = with_rails(content)
    assert study.rails == (Rail("nano_facts", 0, "none", "acc", 0.1, True),)
    assert study.rails[0].definition == "mean acc, candidate − reference"
    tasks = {"nano_facts": {"margin": 0.1, "shots": 5, "metric": "acc_norm"}}
    assert with_rails(content, tasks=tasks).rails[0] == Rail("nano_facts", 5, "none", "acc_norm", 0.1, True)


def test_stages_below_the_reference_that_can_be_put_to_tasks_are_judged(content: dict[str, Any]) -> None:
    stages = {
        "rm": {"method": "reward", "from": "sft", "data": "preferences", **PAIRS},
        "bon": {"method": "best_of_n", "from": "sft", "reward": "rm"},
        "dpo2": {"method": "dpo", "from": "dpo", "data": "preferences", **PAIRS},
        "ppo": {**PPO, "reward": "rm"},
    }
    study = with_rails(content, stages)
    assert study.judged_stages() == ["dpo", "dpo2", "ppo"]
    assert with_rails(content, stages, candidates=["plm", "dpo2"]).judged_stages() == ["plm", "dpo2"]


def test_a_candidate_that_is_a_run_stands_for_each_of_its_epochs(content: dict[str, Any]) -> None:
    content["stages"]["long"] = {
        "method": "sft",
        "from": "sft",
        "data": "answers",
        "epochs": 2,
        "each_epoch": True,
        **SHORT,
    }
    assert with_rails(content, candidates=["long"]).judged_stages() == ["long-1", "long-2"]


def test_rails_lead_to_a_table_a_figure_and_marks_in_all_others(content: dict[str, Any]) -> None:
    study = with_rails(content)
    targets = Targets(study)
    assert "candidates" in targets.table_names()
    assert "candidate_merits" not in targets.table_names(), "the study measures nothing else of candidates"
    assert "candidates" in targets.drawings()
    assert all("candidates" in targets.figure_inputs(drawing) for drawing in targets.drawings().values())
    assert targets.marks() == ["results/smoke/tables/candidates.parquet"]
    content["measures"]["divergence"] = {"reference": "sft"}
    targets = Targets(parse(content))
    assert "candidate_merits" in targets.table_names()
    assert targets.merits_inputs()["costs"] == ["results/smoke/tables/costs.parquet"]


def test_without_rails_nothing_depends_on_candidates_and_no_spec_knows_of_them(content: dict[str, Any]) -> None:
    content["stages"]["ppo"] = PPO
    study = parse(content)
    targets = Targets(study)
    assert not [path for path in targets.everything() if "candidate" in path]
    assert targets.marks() == []
    assert all("candidates" not in targets.figure_inputs(drawing) for drawing in targets.drawings().values())
    assert "guard" not in specs.model_spec(study, Model("tiny", 0, "ppo"))
    assert failing_in_words(study) == []


def test_a_margin_decides_the_table_alone(content: dict[str, Any]) -> None:
    before = with_rails(content)
    after = with_rails(content, tasks={"nano_facts": {"margin": 0.2, "shots": 0}})
    model = Model("tiny", 0, "dpo")
    assert candidates_spec(before) != candidates_spec(after)
    assert specs.benchmarks_spec(before, model) == specs.benchmarks_spec(after, model)
    drawing = Drawing("lineage")
    assert specs.figure_spec(before, drawing) == specs.figure_spec(after, drawing)
    assert json.loads(candidates_spec(before))["candidates"] == ["dpo"]


def test_what_a_run_is_watched_by_decides_it_and_reaches_its_job(content: dict[str, Any]) -> None:
    watched = {"ppo": {**PPO, "guard_rails": {"every": 2, "limit": 10}}}
    study, model = with_rails(content, watched), Model("tiny", 0, "ppo")
    spec = json.loads(specs.model_spec(study, model))
    assert spec["guard_rails"]["rails"][0]["margin"] == 0.1
    assert spec["settings"]["guard_rails"] == {"every": 2, "limit": 10, "tasks": None}
    stricter = with_rails(content, watched, tasks={"nano_facts": {"margin": 0.05, "shots": 0}})
    assert specs.model_spec(stricter, model) != specs.model_spec(study, model)
    assert Targets(study).training_inputs(model)["guard_data"] == ["results/smoke/data/asked.parquet"]
    assert "guard_data" not in Targets(study).training_inputs(Model("tiny", 0, "dpo"))


def test_a_run_is_given_its_tasks_with_the_lower_of_both_limits(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modecollapse.jobs.benchmarks.read_sealed", lambda *_: None)
    study = with_rails(content, {"ppo": {**PPO, "guard_rails": {"limit": 10}}})
    guard = describe(study, Model("tiny", 0, "ppo"))["guard"]
    assert [(task.name, path, rail) for task, path, rail in guard.tasks] == [
        ("nano_facts", Path("results/smoke/data/asked.parquet"), study.rails[0].spec)
    ]
    assert (guard.settings.limit_of("nano_facts"), guard.confidence, guard.chat) == (10, 0.95, False)
    assert study.config.measures.benchmarks is not None
    assert study.config.measures.benchmarks.limit_of("nano_facts") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "sfd"}, "reference: no stage is called 'sfd'. Allowed: plm, sft, dpo"),
        ({"reference": "dpo"}, "reference: nothing that can be put to tasks descends from dpo"),
        ({"reference": "rm"}, "reference: rm cannot be put to tasks: a reward model scores answers"),
        ({"candidates": ["bon"]}, "candidates: bon cannot be put to tasks: it only chooses among answers of sft"),
        (
            {"candidates": ["found"]},
            "candidates: found cannot be put to tasks: only its finished completions are known",
        ),
        ({"candidates": ["sft", "dpo"]}, "candidates: sft is the reference itself"),
        ({"candidates": []}, "candidates"),
        ({"confidence": 0.5}, "greater than 0.5"),
        ({"confidence": 95}, "less than 1"),
        ({"tasks": {}}, "guard_rails.tasks"),
        ({"tasks": {"nano_fact": {"margin": 0.1}}}, "nano_fact: the study does not run this task. Allowed: nano_facts"),
        ({"tasks": {"nano_facts": {"shots": 0}}}, "nano_facts.margin: this key is missing"),
        ({"tasks": {"nano_facts": {"margin": 0, "shots": 0}}}, "0.0 is no margin: it is by how much"),
        ({"tasks": {"nano_facts": {"margin": -0.1, "shots": 0}}}, "-0.1 is no margin"),
        ({"tasks": {"nano_facts": {"margin": 0.1}}}, "shots: the task has several numbers of shots. Allowed: 0, 5"),
        (
            {"tasks": {"nano_facts": {"margin": 0.1, "shots": 3}}},
            "3 is none of the task's numbers of shots. Allowed: 0, 5",
        ),
        (
            {"tasks": {"nano_facts": {"margin": 0.1, "shots": 0, "metric": "f1"}}},
            "metric: 'f1' is no metric of the task that is a mean over documents, so no two models can be compared "
            "document by document. Allowed: acc, acc_norm. Name one of these.",
        ),
        (
            {"tasks": {"nano_facts": {"margin": 0.1, "shots": 0, "filter": "strict"}}},
            "filter: strict is none of the task's filters. Allowed: none",
        ),
    ],
)
def test_rails_that_cannot_hold_are_refused(content: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    stages = {
        "rm": {"method": "reward", "from": "sft", "data": "preferences", **PAIRS},
        "bon": {"method": "best_of_n", "from": "sft", "reward": "rm"},
        "found": {
            "method": "completions",
            "from": "sft",
            "layout": "table",
            "files": dict.fromkeys(content["prompts"], "f"),
        },
    }
    with pytest.raises(StudyError, match=re.escape(message)):
        with_rails(content, stages, **changes)


def test_rails_without_benchmarks_are_refused(content: dict[str, Any]) -> None:
    content["measures"]["guard_rails"] = RAILS
    with pytest.raises(
        StudyError, match=r"measures.guard_rails: they compare stages on benchmarks, but the study runs"
    ):
        parse(content)


def test_a_candidate_of_a_size_that_the_reference_lacks_is_refused(content: dict[str, Any]) -> None:
    content["models"]["small"] = content["models"]["tiny"]
    content["stages"]["other"] = {"method": "sft", "from": "plm", "data": "answers", "sizes": ["tiny"], **SHORT}
    with pytest.raises(StudyError, match=r"candidates: dpo has the size small, but the reference other does not"):
        with_rails(content, reference="other", candidates=["dpo"])


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"guard_rails": {"tasks": ["piqa"]}}, "ppo.guard_rails.tasks: no task of the guard rails is called 'piqa'"),
        ({"guard_rails": {"evry": 5}}, "evry: no such key. Allowed: every, limit, tasks"),
        (
            {"from": "plm", "guard_rails": {}},
            "the stage that it starts from, plm, but the guard rails are those of sft",
        ),
    ],
)
def test_guards_of_a_run_that_cannot_hold_are_refused(
    content: dict[str, Any], stage: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        with_rails(content, {"ppo": {**PPO, **stage}})


def test_guards_of_a_run_need_rails_of_the_study_in_every_size(content: dict[str, Any]) -> None:
    content["stages"]["ppo"] = PPO
    content["models"]["tiny"]["stages"] = {"ppo": {"guard_rails": {"every": 5}}}
    with pytest.raises(
        StudyError, match=r"ppo.guard_rails: margins and confidence are those of the study's guard rails"
    ):
        parse(content)


def rails_of(directory: Path, task: str, **rail: Any) -> Rail:
    write_tasks(directory / "tasks", sums=task)
    known = {"tasks": {"sums": {"shots": [0]}}, "include": "tasks"}
    settings = BenchmarkSettings.model_validate(known, strict=False)
    tasks = find_tasks(settings, directory / "own.yaml", directory)
    rails = {"reference": "sft", "tasks": {"sums": {"margin": 0.1, **rail}}}
    (found,) = resolve_rails(GuardRailSettings.model_validate(rails, strict=False), settings, tasks)
    return found


def test_of_several_filters_one_has_to_be_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"filter: the task has several filters. Allowed: first, other. Name the one"):
        rails_of(tmp_path / "a", CHOICE + FILTERS)
    assert rails_of(tmp_path / "b", CHOICE + FILTERS, filter="other").filter == "other"


def test_a_perplexity_is_compared_by_its_log_likelihoods_of_which_more_is_better(tmp_path: Path) -> None:
    task = CHOICE.replace("multiple_choice", "loglikelihood").partition("metric_list")[0] + "metadata: {version: 1}\n"
    rail = rails_of(tmp_path, task)
    assert (rail.metric, rail.sampled, rail.higher_is_better, rail.sign) == ("perplexity", "log_likelihood", False, 1)
    assert rail.definition.startswith("mean log-likelihood (nats), candidate − reference")


def test_where_lower_is_better_the_difference_is_turned_round(tmp_path: Path) -> None:
    task = CHOICE.replace("higher_is_better: true", "higher_is_better: false")
    rail = rails_of(tmp_path, task)
    assert (rail.sign, rail.definition) == (-1, "mean acc, reference − candidate (lower is better)")


@pytest.mark.parametrize(
    "metrics",
    ["[{metric: f1, aggregation: f1}]", "[{metric: acc, aggregation: median}]", "[{metric: byte_perplexity}]"],
)
def test_a_task_without_a_metric_that_is_a_mean_is_refused(tmp_path: Path, metrics: str) -> None:
    task = CHOICE.replace("[{metric: acc, aggregation: mean, higher_is_better: true}]", metrics)
    with pytest.raises(StudyError, match=r"metric: it has no metric of the task that is a mean .* none of this task"):
        rails_of(tmp_path, task)


def test_the_metrics_of_tasks_that_name_none_are_those_of_the_installed_harness() -> None:
    from lm_eval.api import registry
    from lm_eval.api.task import ConfigurableTask  # registers them

    assert ConfigurableTask
    assert {name: tuple(found) for name, found in registry.DEFAULT_METRIC_REGISTRY.items()} == dict(DEFAULT_METRICS)
    known = registry.aggregation_registry
    for name, (aggregation, higher) in METRICS.items():
        assert registry.get_metric_aggregation(name) == known.get(aggregation), name
        assert registry.is_higher_better(name) == higher, name


def test_win_rates_are_merits_where_answers_are_judged(content: dict[str, Any]) -> None:
    content["measures"]["judgements"] = {"reference": "sft", "judges": {"words": {"reward": "words"}}}
    targets = Targets(with_rails(content))
    assert targets.merits_inputs()["win_rates"] == ["results/smoke/tables/win_rates.parquet"]
    assert targets.merits_inputs()["costs"] == []
