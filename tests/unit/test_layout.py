"""How an update is shared, and what a job's resources make of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modecollapse.methods.layout import Layout, shares
from modecollapse.methods.order import updates
from modecollapse.methods.saving import SaveClock


@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 9), st.integers(1, 40))
def test_every_place_is_shared_once_in_passes_that_are_never_too_large(examples, processes, micro, batch):
    layout = Layout(processes=processes, micro_batch=micro)
    passes = layout.accumulation(batch)
    for update in updates(examples, batch):
        shared = shares(update, processes, passes)
        assert [len(each) for each in shared] == [passes] * processes
        parts = [part for each in shared for part in each]
        assert [place for part in parts for place in part] == list(update)
        assert max(map(len, parts)) <= micro


def test_one_process_without_a_smaller_micro_batch_takes_the_whole_batch():
    assert Layout().is_whole(64)
    assert Layout(micro_batch=64).is_whole(64)
    assert Layout(micro_batch=100).is_whole(64)
    assert not Layout(micro_batch=32).is_whole(64)
    assert not Layout(processes=2).is_whole(64)
    assert Layout(processes=4, micro_batch=8).accumulation(64) == 2


@pytest.mark.parametrize(
    ("resources", "machine", "expected"),
    [
        ({}, {}, Layout()),
        ({"gpu": 0, "mem_mb": 4000}, {"accelerator": "cpu"}, Layout()),
        ({"gpu": 1}, {}, Layout(accelerator="cuda")),
        (
            {"gpu": 4, "zero_stage": 3, "micro_batch": 2},
            {"save_minutes": 5},
            Layout(processes=4, zero_stage=3, micro_batch=2, accelerator="cuda", save_minutes=5.0),
        ),
        ({"gpu": 2, "zero_stage": 0}, {"accelerator": "cpu"}, Layout(processes=2, accelerator="cpu")),
    ],
)
def test_a_layout_is_made_from_what_the_job_was_given(resources, machine, expected):
    assert Layout.of(resources, machine) == expected


def test_a_save_is_due_after_so_many_minutes_without_one():
    now = 0.0
    clock = SaveClock(minutes=2.0, now=lambda: now)
    now = 119.0
    assert not clock.is_due()
    now = 120.0
    assert clock.is_due()
    clock.restart()
    assert not clock.is_due()
