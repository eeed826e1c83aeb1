"""Which stages may be compared, and in which words."""

import pytest

from modecollapse.errors import StudyError
from modecollapse.wordings import Change, Wording, compared, format_changes, path_wordings, views

PATH = ["plm", "sft", "dpo"]
FORMATS = {"plm": ["okay", "human"], "sft": ["human", "okay"], "dpo": ["human"]}
PAPER = {"plm": "okay", "sft": "human", "dpo": "human"}


def test_stages_are_compared_under_common_formats_and_in_the_studys_own_words_first() -> None:
    assert path_wordings(PATH, FORMATS, {}) == [Wording("human", ("human",) * 3)]
    found = path_wordings(PATH, FORMATS, {"paper": PAPER, "partial": {"plm": "okay", "sft": "okay"}})
    assert found == [Wording("paper", ("okay", "human", "human")), Wording("human", ("human",) * 3)]
    assert found[0].before_after == [("okay", "human"), ("human", "human"), ("okay", "human")]


def test_a_path_without_a_wording_is_refused_with_an_example_of_how_to_ask_for_one() -> None:
    formats = {"plm": ["okay"], "sft": ["human", "qa"]}
    with pytest.raises(StudyError) as error:
        path_wordings(["plm", "sft"], formats, {})
    for words in ("plm > sft", "plm: okay; sft: human, qa", "common format", "{NAME: {plm: okay, sft: human}}"):
        assert words in str(error.value)


def test_figures_show_one_wording_at_a_time_and_none_twice() -> None:
    assert views(FORMATS, {}) == {"okay": {"plm": "okay", "sft": "okay"}, "human": dict.fromkeys(PATH, "human")}
    apart = {"plm": ["okay"], "sft": ["human"], "dpo": ["human"]}
    assert views(apart, {"paper": PAPER}) == {"paper": PAPER}, "what `human` would show is in `paper`"
    assert compared(PAPER, [PATH])
    assert not compared({"plm": "okay", "sft": "okay"}, [PATH])
    assert not compared({"plm": "okay"}, [["plm"]])


def test_steps_that_change_the_format_are_split_where_both_stages_have_both_formats() -> None:
    assert format_changes([PATH], FORMATS, {"paper": PAPER}) == [Change("plm", "sft", "okay", "human")]
    everywhere = {stage: ["okay", "human"] for stage in PATH}
    assert format_changes([PATH], everywhere, {"paper": PAPER}) == [
        Change("plm", "sft", "okay", "human"),
        Change("plm", "dpo", "okay", "human"),
    ]
    assert format_changes([PATH], everywhere, {}) == [], "the first formats are the same"
    assert format_changes([PATH], FORMATS, {}) == [Change("plm", "sft", "okay", "human")]
