"""Prompt formats of a study: comparisons in equal words, and what specs know of them."""

import json
from typing import Any

from modecollapse.cells import Model
from modecollapse.specs import (
    analysis_spec,
    figure_spec,
    generation_spec,
    model_spec,
    score_spec,
)
from modecollapse.targets import Targets
from tests.studies import parse


def test_leaks_are_looked_for_in_the_words_of_each_format(content: dict[str, Any]) -> None:
    content["generation"]["formats"] = ["human", "qa", "plain", "mine"]
    content["formats"] = {"mine": "Q: {prompt}? {start}"}
    markers = json.loads(score_spec(parse(content)))["markers"]
    turns = ["Human:", "Assistant:"]
    assert markers == {
        "human": turns,
        "qa": [*turns, "Question:", "Answer:"],
        "plain": turns,
        "mine": [*turns, "Q:"],
    }


def test_rules_for_different_choices_of_formats_have_different_names(content: dict[str, Any]) -> None:
    content["formats"] = {"a": "A {prompt}", "b": "B {prompt}", "a_b": "AB {prompt}"}
    for stage, formats in {"plm": ["a_b"], "sft": ["a", "b"], "dpo": ["b"]}.items():
        content["stages"][stage]["formats"] = formats
    content["analysis"]["across_formats"] = {"mixed": {"plm": "a_b", "sft": "a", "dpo": "b"}}
    rules = Targets(parse(content)).generating_rules(Model("{size}", 0, "{stage}"))
    assert len({name for name, _, _ in rules}) == 3


def test_stages_under_different_formats_are_compared_by_name(content: dict[str, Any]) -> None:
    content["stages"]["plm"]["formats"] = ["okay"]
    content["analysis"] = {"across_formats": {"paper": {"plm": "okay", "sft": "human", "dpo": "human"}}}
    study = parse(content)
    assert study.views() == {"paper": {"plm": "okay", "sft": "human", "dpo": "human"}}
    assert json.loads(analysis_spec(study))["analysis"]["across_formats"] == content["analysis"]["across_formats"]
    assert "format_effect" not in Targets(study).table_names(), "no stage has two formats"
    drawing = Targets(study).drawings()["attribution"]
    assert json.loads(figure_spec(study, drawing))["context"]["view"]["name"] == "paper"


def test_specs_of_a_study_of_one_format_do_not_know_of_others(content: dict[str, Any]) -> None:
    study = parse(content)
    model = Model("tiny", 0, "sft")
    assert "across_formats" not in analysis_spec(study)
    assert json.loads(generation_spec(study, model))["formats"] == {"human": "Human: {prompt} Assistant: {start}"}
    assert json.loads(model_spec(study, model))["format"] == "Human: {prompt} Assistant: {start}"
    for drawing in Targets(study).drawings().values():
        assert "view" not in json.loads(figure_spec(study, drawing))["context"]


def test_a_chat_format_is_in_the_specs_of_what_is_made_with_it(content: dict[str, Any]) -> None:
    content["formats"] = {"terse": {"system": "Be brief."}}
    content["stages"]["sft"] |= {"formats": ["human", "chat", "terse"], "train_format": "terse"}
    study = parse(content)
    model = Model("tiny", 0, "sft")
    terse = {"chat": {"system": "Be brief.", "template": None}}
    assert json.loads(model_spec(study, model))["format"] == terse
    found = json.loads(generation_spec(study, model))["formats"]
    assert found["terse"] == terse
    assert found["chat"] == {"chat": {"system": None, "template": None}}
    assert "format_effect" in Targets(study).table_names()
