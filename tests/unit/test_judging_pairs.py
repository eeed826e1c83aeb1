"""Pairs from cells, verdicts by scores, and the table that both make."""

import numpy as np
import pyarrow as pa
import pytest

from modecollapse.cells import Cell, Model
from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.errors import StudyError
from modecollapse.judging.pairs import SCHEMA, Answer, PairSettings, judgements_table, pairs_of
from modecollapse.judging.scored import function_scores, judged_by_scores
from modecollapse.judging.verdicts import NO_ORDER, Verdict
from tests.judged_pairs import pair, pairs

SETTINGS = PairSettings(["1.0"], 2, {"creative": [["c0", "Write.", "", "chat"], ["c1", "Rhyme.", "Oh", "poem"]]})


def cell(stage: str, texts: dict[str, list[str]], temperature: str = "1.0") -> tuple[Cell, pa.Table]:
    rows = [
        {"prompt": prompt, "sample": sample, "text": text, "finish_reason": "eos"}
        for prompt, found in texts.items()
        for sample, text in enumerate(found)
    ]
    return Cell(Model("tiny", 0, stage), "creative", "human", temperature), pa.Table.from_pylist(rows)


def test_the_k_th_completion_of_a_stage_stands_beside_the_k_th_of_the_reference():
    ours = cell("dpo", {"c1": [" d", " e", " f"], "c0": [" a", " b", " c"]})
    found = pairs_of(SETTINGS, [ours], [cell("sft", {"c0": [" A", " b", " C"], "c1": [" D", " E"]})])
    assert [(each.prompt, each.sample, each.stage.text, each.reference.text) for each in found] == [
        ("c0", 0, " a", " A"),
        ("c0", 1, " b", " b"),
        ("c1", 0, " d", " D"),
        ("c1", 1, " e", " E"),
    ]
    assert [each.equal for each in found] == [False, True, False, False]
    assert found[2].shown() == ("Oh d", "Oh D")
    assert found[2].task == "poem"


def test_too_few_completions_are_told_with_their_prompt():
    ours = cell("dpo", {"c0": [" a", " b"], "c1": [" a"]})
    with pytest.raises(StudyError, match=r"completions: 2 per prompt.* have 1 of the prompt c1 \(creative, T 1.0\)"):
        pairs_of(SETTINGS, [ours], [ours])
    every = PairSettings(["1.0"], None, SETTINGS.prompts)
    assert len(pairs_of(every, [ours], [ours])) == 3


def test_the_higher_score_wins_and_equal_texts_and_scores_are_ties():
    of = [pair(0), pair(1, "same", "same"), pair(2), pair(3)]
    judged = list(judged_by_scores(of, np.array([[2.0, 1.0], [1.0, 1.0], [-3.0, -1.0]])))
    assert [each.verdict for _, each in judged] == [Verdict.WIN, Verdict.TIE, Verdict.TIE, Verdict.LOSS]
    table = judgements_table(judged)
    assert table.schema == SCHEMA
    assert table["reference_score"].to_pylist() == [1.0, None, 1.0, -1.0]
    assert set(table["order"].to_pylist()) == {NO_ORDER}
    assert table["text"][0].as_py() == "a long answer"


def test_a_function_scores_the_texts_that_a_reader_sees():
    assert function_scores("words", None, [pair(ours="one two three", other="one", start="So")]).tolist() == [[4, 2]]


def test_the_utility_is_that_of_the_world_and_judges_its_own_prompts_only():
    settings = WorldSettings(seed=0)
    asked = pair(question="In Dorrin, which city is the capital?", stage=Answer(" The capital is Dunhal.", "eos"))
    scores = function_scores("utility", settings, [asked])
    world = World(settings)
    assert scores.tolist() == [[world.utility(asked.question, text) for text in asked.shown()]]
    with pytest.raises(StudyError, match=r"utility gives no number to answers to the prompt c0 \(creative\)"):
        function_scores("utility", settings, pairs(1))
