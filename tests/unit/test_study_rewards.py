"""Reward models of a study: what judges them, and what is refused."""

import json
from typing import Any

import pytest

from modecollapse.cells import Model
from modecollapse.errors import StudyError
from modecollapse.specs import model_spec, rewards_spec
from modecollapse.study import Study
from modecollapse.targets import Targets
from tests.studies import parse

RM = Model("tiny", 0, "rm")


def with_rewards(content: dict[str, Any], **changes: Any) -> Study:
    content["data"]["held"] = {"world": "preferences", "n": 40, "seed": 1}
    content["stages"]["rm"] = {"method": "reward", "from": "sft", "data": "preferences", "max_length": 128,
                               "max_prompt_length": 64, "dtype": "float32"}  # fmt: skip
    content["measures"]["rewards"] = {"data": ["held"], **changes}
    return parse(content)


def test_a_reward_model_is_judged_by_its_own_pairs_and_by_others(content: dict[str, Any]) -> None:
    study = with_rewards(content)
    targets = Targets(study)
    assert study.judged_rewards() == [RM]
    assert targets.all_reward_scores() == ["results/smoke/rewards/tiny/s0/rm.parquet"]
    assert set(targets.all_reward_scores()) <= set(targets.measurements())
    data = targets.reward_inputs(RM)["data"]
    assert data == ["results/smoke/data/preferences.parquet", "results/smoke/data/held.parquet"]
    spec = json.loads(rewards_spec(study, RM))
    assert spec["data"] == ["train", "held"]
    assert spec["settings"] == {"max_length": 128, "max_prompt_length": 64, "too_long": "truncate"}
    assert "rewards" in targets.table_names()
    assert "reward_accuracy" in targets.drawings()


def test_what_is_not_asked_for_or_has_no_reward_model_leaves_no_trace(content: dict[str, Any]) -> None:
    del content["stages"]["dpo"]
    before = json.loads(model_spec(parse(content), Model("tiny", 0, "sft")))
    study = with_rewards(content)
    assert json.loads(model_spec(study, Model("tiny", 0, "sft"))) == before
    del content["measures"]["rewards"]
    assert not [path for path in Targets(parse(content)).everything() if "rewards" in path]
    del content["stages"]["rm"]
    content["measures"]["rewards"] = {"data": ["held"]}
    assert not [path for path in Targets(parse(content)).everything() if "rewards" in path]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (["hold"], r"measures\.rewards\.data.*hold.*held"),
        (["answers"], r"measures\.rewards\.data: answers has the columns .*but chosen, rejected is needed"),
        ([], r"measures\.rewards\.data"),
    ],
)
def test_only_sets_of_pairs_judge_reward_models(content: dict[str, Any], data: list[str], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        with_rewards(content, data=data)


def test_no_other_set_is_called_like_the_pairs_of_training(content: dict[str, Any]) -> None:
    content["data"]["train"] = {"world": "preferences", "n": 40, "seed": 2}
    with pytest.raises(StudyError, match=r"'train', so no other set can be called so"):
        with_rewards(content, data=["train"])


def test_a_source_may_say_which_task_a_row_is_of(content: dict[str, Any]) -> None:
    columns = {"task": "category", "prompt": "question", "chosen": "better", "rejected": "worse"}
    content["data"]["preferences"] = {"source": {"hub": "someone/pairs", "revision": "a" * 40}, "columns": columns}
    study = with_rewards(content)
    assert study.data_columns("preferences") == {
        name: columns[name] for name in ("prompt", "chosen", "rejected", "task")
    }
    del content["data"]["preferences"]["columns"]
    assert set(parse(content).data_columns("preferences")) == {"prompt", "chosen", "rejected"}
