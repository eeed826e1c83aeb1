"""Which prompts are used at which step of reinforcement learning."""

from collections import Counter

import pytest

from modecollapse.methods.prompt_order import prompt_order

TASKS = ["creative"] * 30 + ["factual"] * 6 + ["poem"] * 3


def test_every_prompt_comes_once_before_one_comes_again():
    order = prompt_order(10, 4, 10, seed=3)
    for start in range(0, 40, 10):
        assert sorted(order[start : start + 10]) == list(range(10))
    assert order[:10] != order[10:20]


def test_every_step_has_as_many_prompts_of_each_task_as_possible():
    order = prompt_order(len(TASKS), 8, 12, seed=0, tasks=TASKS)
    whole: Counter[str] = Counter()
    for step in range(12):
        counts = Counter(TASKS[place] for place in order[step * 8 : (step + 1) * 8])
        assert sorted(counts.values()) == [2, 3, 3]
        whole += counts
        assert max(whole.values()) - min(whole.values()) <= 1
    assert len({place for place in order if TASKS[place] == "creative"}) == 30, "all are used before one comes again"


def test_the_tasks_of_a_step_are_mixed():
    order = prompt_order(len(TASKS), 9, 1, seed=0, tasks=TASKS)
    assert [TASKS[place] for place in order] != sorted(TASKS[place] for place in order)


def test_the_order_depends_on_the_seed_and_a_longer_run_begins_as_a_shorter_one():
    assert prompt_order(50, 7, 9, seed=1) != prompt_order(50, 7, 9, seed=2)
    for tasks in (None, TASKS):
        short, long = (prompt_order(39, 7, steps, seed=1, tasks=tasks) for steps in (3, 9))
        assert long[: len(short)] == short


def test_prompts_that_are_none_or_tasks_of_others_are_refused():
    with pytest.raises(ValueError, match="0 prompts"):
        prompt_order(0, 4, 1, seed=0)
    with pytest.raises(ValueError, match="5 prompts with 39 tasks"):
        prompt_order(5, 4, 1, seed=0, tasks=TASKS)
