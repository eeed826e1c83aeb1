"""What transformations of data sets keep, on rows that are worked by hand and on random ones."""

import random
import tracemalloc
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from pydantic import ValidationError

from modecollapse.data.transformations.balance import BalanceSettings, balance
from modecollapse.data.transformations.base import KEPT, Given, Perplexities, counted, merge
from modecollapse.data.transformations.classify import ClassifySettings, tasks_told
from modecollapse.data.transformations.decontaminate import DecontaminateSettings, decontaminate
from modecollapse.data.transformations.deduplicate import DeduplicateSettings, deduplicate, near_duplicates
from modecollapse.data.transformations.perplexity import PerplexitySettings, filter_by_perplexity, least
from modecollapse.data.transformations.split import SplitSettings, split
from modecollapse.data.transformations.words import normalised, words_of


def pairs(rows):
    """Columns of (task, chosen, rejected)."""
    tasks, chosen, rejected = zip(*rows, strict=True)
    return {"prompt": [f"p{row}" for row in range(len(rows))], "chosen": chosen, "rejected": rejected, "task": tasks}


LONGER, SHORTER, SAME = ("aaaa", "b"), ("a", "bbbb"), ("aa", "bb")


def kinds(*counts):
    """Pairs of a task: so many longer, shorter, and of the same length."""
    return [pair for pair, count in zip((LONGER, SHORTER, SAME), counts, strict=True) for _ in range(count)]


def kept_of(columns, selection):
    """(task, sign of the difference of lengths) → rows that are kept."""
    found = Counter()
    for row, keeps in enumerate(selection.kept):
        difference = len(columns["chosen"][row]) - len(columns["rejected"][row])
        found[columns["task"][row], (difference > 0) - (difference < 0)] += keeps
    return +found


def test_no_task_has_more_than_the_ratio_times_the_smallest():
    columns = pairs([(task, *LONGER) for task, n in (("a", 50), ("b", 7), ("c", 15)) for _ in range(n)])
    selection = balance(columns, BalanceSettings(task_ratio=2.0), Given())
    assert kept_of(columns, selection) == {("a", 1): 14, ("b", 1): 7, ("c", 1): 14}
    assert Counter(selection.outcomes) == {KEPT: 35, "task balance": 37}
    again = balance(columns, BalanceSettings(task_ratio=2.0), Given())
    assert again == selection
    assert balance(columns, BalanceSettings(task_ratio=2.0), Given(seed=1)).kept != selection.kept
    wider = balance(columns, BalanceSettings(task_ratio=3.0), Given())
    assert all(more or not fewer for more, fewer in zip(wider.kept, selection.kept, strict=True)), "a part of more"


def test_better_is_longer_as_often_as_shorter_and_ties_stay():
    columns = pairs([("a", *pair) for pair in kinds(9, 4, 3)])
    selection = balance(columns, BalanceSettings(length=True), Given())
    assert kept_of(columns, selection) == {("a", 1): 4, ("a", -1): 4, ("a", 0): 3}
    assert Counter(selection.outcomes) == {KEPT: 11, "length balance": 5}


@pytest.mark.parametrize("seed", range(20))
def test_both_balances_hold_together(seed):
    source = random.Random(seed)
    rows = [(task, *pair) for task in "abcd" for pair in kinds(*(source.randrange(1, 30) for _ in range(3)))]
    source.shuffle(rows)
    columns = pairs(rows)
    found = kept_of(columns, balance(columns, BalanceSettings(task_ratio=1.5, length=True), Given(seed)))
    sizes = {task: sum(n for (name, _), n in found.items() if name == task) for task in "abcd"}
    assert max(sizes.values()) <= 1.5 * min(sizes.values())
    assert all(found[task, 1] == found[task, -1] for task in "abcd")


def test_a_task_of_one_kind_only_is_left_out_and_is_not_the_smallest():
    columns = pairs([("a", *pair) for pair in kinds(5, 5, 0)] + [("b", *pair) for pair in kinds(3, 0, 0)])
    selection = balance(columns, BalanceSettings(task_ratio=2.0, length=True), Given())
    assert kept_of(columns, selection) == {("a", 1): 5, ("a", -1): 5}


def test_a_balance_of_nothing_is_refused():
    with pytest.raises(ValidationError, match="nothing is balanced"):
        BalanceSettings()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("  A\tcat\n sat ", "a cat sat"), ("ﬁne Ｔｅｘｔ", "fine text"), ("Straße", "strasse"), ("İ", "i̇"), ("", "")],
)
def test_case_white_space_and_compatible_characters_make_no_difference(text, expected):
    assert normalised(text) == expected
    assert normalised(expected) == expected


def test_words_are_runs_of_letters_and_digits():
    assert words_of("Don't panic -- it's 42!") == ["don", "t", "panic", "it", "s", "42"]


def test_the_first_of_equal_rows_stays():
    columns = {
        "prompt": ["Ask", "ask ", "ask", "other"],
        "chosen": ["x", "X", "y", "x"],
        "rejected": ["z", "z", "z", "z"],
    }
    assert deduplicate(columns, DeduplicateSettings(), Given()).kept == [True, False, True, True]
    assert deduplicate(columns, DeduplicateSettings(by="prompt"), Given()).kept == [True, False, False, True]


def test_texts_do_not_run_into_each_other():
    columns = {"prompt": ["a b", "a"], "completion": ["c", "b c"]}
    assert deduplicate(columns, DeduplicateSettings(), Given()).kept == [True, True]


def test_near_duplicates_share_most_of_their_word_5_grams():
    long = "one two three four five six seven eight nine ten eleven twelve"
    columns = {"text": [long, long.replace("twelve", "dozen"), long.upper() + "!", long.replace("six", "6")]}

    # Of 8 shingles each: the second shares 7 (7/9), the third all, the last 3 (3/13).
    def outcomes(near):
        return list(deduplicate(columns, DeduplicateSettings(near=near), Given()).outcomes)

    assert outcomes(None) == [KEPT] * 4
    assert outcomes(7 / 9) == [KEPT, "near duplicate", "near duplicate", KEPT]
    assert outcomes(0.78) == [KEPT, KEPT, "near duplicate", KEPT]
    assert outcomes(3 / 13) == [KEPT, "near duplicate", "near duplicate", "near duplicate"]


def test_texts_without_words_or_with_few_are_near_only_to_equal_ones():
    columns = {"text": ["!!!", "???", "two words", "Two words.", "words two"]}
    assert deduplicate(columns, DeduplicateSettings(near=0.5), Given()).kept == [True, True, True, False, True]


def test_near_duplicates_of_long_texts_take_memory_of_a_few_times_their_size():
    source = random.Random(0)
    texts = [" ".join(f"word{source.randrange(50_000)}" for _ in range(300)) for _ in range(40)]
    columns = {"text": [*texts, *(f"{text} more" for text in texts)]}
    tracemalloc.start()
    try:
        kept = deduplicate(columns, DeduplicateSettings(near=0.8), Given()).kept
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept == [True] * 40 + [False] * 40
    assert peak < 10 * sum(map(len, columns["text"]))


def jaccard(one, other):
    return len(one & other) / len(one | other)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 2 / 3, 0.8, 0.9, 1.0])
def test_near_duplicates_are_those_that_comparing_all_with_all_finds(threshold):
    source = random.Random(threshold)
    sets = []
    for _ in range(150):
        if sets and source.random() < 0.6:
            near = set(source.choice(sets)) ^ {source.randrange(40) for _ in range(source.randrange(4))}
            sets.append(near or {0})
        else:
            sets.append({source.randrange(40) for _ in range(source.randrange(1, 25))})
    kept, expected = [], []
    for place, each in enumerate(sets):
        if any(jaccard(each, other) >= threshold for other in kept):
            expected.append(place)
        else:
            kept.append(each)
    arrays = [np.array(list(each), np.uint64) for each in sets]
    assert list(near_duplicates(arrays, threshold)) == expected
    assert expected
    assert all(jaccard(*two) < threshold for two in combinations(kept, 2))


EVALUATION = {
    "creative": {"bugs": ["Are bugs real?"], "long": ["tell me a long story of an old king in ten short words"]},
    "factual": {
        "capital": ["what is the capital of this far country", "Rome", "it is the city of the seven hills there"]
    },
}


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("I ask: are BUGS, real or not", {"creative": {"bugs": 1}}),
        ("are bugs unreal", {}),
        ("story of an old king in ten long years", {}),
        ("a long story of an old king in ten", {"creative": {"long": 1}}),
        ("all roads lead to rome", {}),
        ("the city of the seven hills there", {}),
        ("for it is the city of the seven hills, there and now", {"factual": {"capital": 1}}),
    ],
)
def test_rows_with_words_of_evaluation_prompts_are_found(text, prompts):
    given = Given(prompts=EVALUATION)
    for columns in ({"text": [text, "x"]}, {"prompt": ["x", "x"], "chosen": ["y", text][::-1], "rejected": ["z", "z"]}):
        selection = decontaminate(columns, DecontaminateSettings(), given)
        assert list(selection.kept) == [not prompts, True]
        assert selection.found["prompts"] == prompts
        noted = decontaminate(columns, DecontaminateSettings(remove=False), given)
        assert noted.outcomes == selection.outcomes
        assert all(noted.kept)


def test_a_prompt_without_words_overlaps_nothing():
    given = Given(prompts={"odd": {"marks": ["?!"]}})
    assert decontaminate({"text": ["?!", ""]}, DecontaminateSettings(), given).kept == [True, True]


OWN = [float(value) for value in range(1, 22)]
"""Their 95th percentile is 20: of 21 values the last but one."""


def filtered(rows, perplexities, own=None, **settings):
    columns = pairs([(task, f"c{row}", f"r{row}") for row, task in enumerate(rows)])
    chosen, rejected = zip(*perplexities, strict=True)
    given = Given(perplexities=Perplexities(chosen, rejected, own if own is not None else {"a": OWN}))
    return filter_by_perplexity(columns, PerplexitySettings(scorer="sft", **settings), given)


def test_a_pair_stays_only_if_both_answers_are_strictly_below_the_bound():
    just_below = np.nextafter(20.0, 0)
    answers = [(just_below, just_below), (20.0, 1.0), (1.0, 20.0), (21.0, 99.0), (1.0, 1.0)]
    selection = filtered(["a"] * 4 + ["b"], answers)
    assert list(selection.outcomes) == [KEPT, "chosen above", "rejected above", "both above", "unknown task"]
    assert selection.found["bounds"] == {"a": {"bound": 20.0, "n": 21}}
    quantiles = selection.found["quantiles"]
    assert quantiles["a"]["own"] == {"n": 21, "values": pytest.approx(np.linspace(1, 21, 101).tolist())}
    assert quantiles["a"]["chosen"]["n"] == 4
    assert quantiles["a"]["rejected"]["values"][-1] == 99.0
    assert set(quantiles["b"]) == {"chosen", "rejected"}


def test_what_is_left_is_balanced_by_task_unless_told_not_to():
    rows, answers = ["a"] * 30 + ["b"] * 5, [(1.0, 1.0)] * 35
    own = {"a": OWN, "b": OWN}
    assert Counter(filtered(rows, answers, own).outcomes) == {KEPT: 15, "task balance": 20}
    assert set(filtered(rows, answers, own, task_ratio=None).outcomes) == {KEPT}
    # A task of which nothing is left does not count as the smallest.
    answers[30:] = [(30.0, 1.0)] * 5
    assert Counter(filtered(rows, answers, own).outcomes) == {KEPT: 30, "chosen above": 5}


def test_a_task_with_too_few_own_responses_has_no_bound():
    assert [least(percentile) for percentile in (95, 99, 50, 90, 5, 97.5)] == [20, 100, 2, 10, 20, 40]
    assert filtered(["a"], [(1.0, 1.0)], {"a": OWN[:19]}).outcomes == ["too few own responses"]
    assert filtered(["a"], [(1.0, 1.0)], {"a": OWN[:20]}).outcomes == [KEPT]
    selection = filtered(["a", "b", "b", "c"], [(1.0, 1.0)] * 4, {"a": [], "b": OWN})
    assert selection.outcomes == ["too few own responses", KEPT, KEPT, "unknown task"]
    assert set(selection.found["bounds"]) == {"b"}


QUESTION, IDEAS, STORY, TALK = "What is rain?", "Brainstorm names.", "Write a story.", "How are you?"


@pytest.mark.parametrize(
    ("prompts", "least", "expected"),
    [
        ({QUESTION: 995, IDEAS: 5}, 0, {"open_qa": 995, "brainstorm": 5}),
        ({QUESTION: 700, STORY: 250, "Rain.": 45, IDEAS: 5}, 0.05, {"open_qa": 700, "generation": 250, "other": 50}),
        ({QUESTION: 700, STORY: 245, TALK: 50, IDEAS: 5}, 0.05, {"open_qa": 700, "generation": 245, "other": 55}),
        ({QUESTION: 700, STORY: 299, "Rain.": 1}, 0.05, {"open_qa": 700, "other": 300}),
        ({QUESTION: 950, STORY: 50}, 0.05, {"open_qa": 950, "generation": 50}),
        ({QUESTION: 995, IDEAS: 5}, 0.05, {"other": 1000}),
        ({}, 0.05, {}),
    ],
)
def test_rare_tasks_are_put_together_until_none_is_rarer_than_told(prompts, least, expected):
    columns = {"prompt": [prompt for prompt, n in prompts.items() for _ in range(n)]}
    assert Counter(tasks_told(columns, ClassifySettings(least=least))) == expected


def test_pairs_of_equal_answers_are_left_out_of_every_set():
    columns = {"prompt": ["p", "p"], "chosen": ["a ", "a"], "rejected": ["a", "A"], "task": ["x", "x"]}
    selection = merge(columns)
    assert list(selection.outcomes) == ["equal answers", KEPT]
    assert counted(columns["task"], selection) == [
        {"task": "x", "outcome": "equal answers", "kept": False, "n": 1},
        {"task": "x", "outcome": KEPT, "kept": True, "n": 1},
    ]
    assert merge({"prompt": ["p"], "completion": ["p"]}).kept == [True]


def parts(columns, share, seed=0):
    """Which rows the drawn part has, and which the rest."""
    settings = (SplitSettings(share=share), SplitSettings(share=share, part="rest"))
    return [split(columns, each, Given(seed)).kept for each in settings]


@pytest.mark.parametrize(("share", "seed", "rows"), [(0.9, 0, 1000), (0.5, 7, 33), (0.123, 1, 200)])
def test_the_two_parts_of_a_split_have_all_rows_and_none_in_common(share, seed, rows):
    columns = pairs([("a", *LONGER)] * rows)
    drawn, rest = parts(columns, share, seed)
    assert [one + other for one, other in zip(drawn, rest, strict=True)] == [1] * rows
    assert sum(drawn) == round(share * rows)
    assert parts(columns, share, seed) == [drawn, rest]
    assert parts(columns, share, seed + 1)[0] != drawn
    larger = parts(columns, share + 0.05, seed)[0]
    assert all(more or not fewer for more, fewer in zip(larger, drawn, strict=True)), "a part of more"


def test_no_prompt_stands_on_both_sides_of_a_split():
    source = random.Random(3)
    names = [source.choice("abcdefghijklmnopqrst") for _ in range(300)]
    written = [source.choice([name, name.upper(), f" {name}\n"]) for name in names]
    columns = {"prompt": written, "chosen": ["c"] * 300, "rejected": ["r"] * 300}
    drawn, rest = ({name for name, kept in zip(names, part, strict=True) if kept} for part in parts(columns, 0.7))
    assert not drawn & rest
    assert len(drawn) == 14, "of the twenty prompts, whatever their rows"


def test_rows_without_prompts_are_split_one_by_one():
    drawn, rest = parts({"text": ["the same"] * 20}, 0.75)
    assert (sum(drawn), sum(rest)) == (15, 5)


def test_rows_that_are_left_out_of_a_part_are_counted_as_the_other_one():
    selection = split({"text": list("abcd")}, SplitSettings(share=0.5), Given())
    assert counted(["all"] * 4, selection) == [
        {"task": "all", "outcome": "kept", "kept": True, "n": 2},
        {"task": "all", "outcome": "other part", "kept": False, "n": 2},
    ]
