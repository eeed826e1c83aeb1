"""What a study may say of judges, and what is refused."""

import json

import pytest
from pydantic import ValidationError

from modecollapse.judging.settings import GENERAL, TEMPLATE, EndpointSettings, Judge, JudgementSettings

ENDPOINT = {"base_url": "https://api.example.com/v1", "model": "judge"}


def endpoint(content):
    return EndpointSettings.model_validate_json(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_url": "api.example.com/v1"}, "it is no address of a server"),
        ({"base_url": "ftp://api.example.com"}, "it is no address of a server"),
        ({"base_url": "http://host:99999/v1"}, "it is no address of a server"),
        ({"base_url": "https://me:secret@host/v1"}, "name the environment variable"),
        ({"base_url": "https://host/v1?key=secret"}, "name the environment variable"),
        ({"key_from": "sk-123"}, "it is no name of an environment variable"),
        ({"template": "{prompt} {answer_a} [[A]] [[B]] [[C]]"}, "{answer_b} is no field"),
        ({"template": "{prompt} {answer_a} {answer_b} {answer_a} [[A]] [[B]] [[C]]"}, "{answer_a} is no field"),
        ({"template": "{prompt.x} {answer_a} {answer_b} [[A]] [[B]] [[C]]"}, "{prompt.x} is no field"),
        ({"template": "{prompt:>9} {answer_a} {answer_b} [[A]] [[B]] [[C]]"}, "{prompt:>9} is no field"),
        ({"template": "{prompt} {answer_a} {answer_b} {"}, "no text with fields"),
        ({"template": "{prompt} {answer_a} {answer_b} [[A]] or [[B]]"}, "only these are read as verdicts"),
        ({"budget": {"requests": 0}}, "greater than or equal to 1"),
        ({"requests_per_minute": 0}, "greater than 0"),
        ({"api_key": "sk-123"}, "Extra inputs"),
    ],
)
def test_what_an_endpoint_cannot_be_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message.replace("{", r"\{").replace("}", r"\}")):
        endpoint({**ENDPOINT, **changes})


def test_a_template_may_hold_braces_and_the_built_in_one_passes():
    for template in (TEMPLATE, '{{"x"}} {prompt} {answer_a} {answer_b} [[A]] [[B]] [[C]]'):
        assert endpoint({**ENDPOINT, "template": template}).template == template


def test_criteria_of_a_task_come_first_and_those_of_all_after_them():
    settings = endpoint({**ENDPOINT, "criteria": {"poem": ["it rhymes"]}})
    assert settings.criteria_of("poem") == ("it rhymes", *GENERAL)
    assert settings.criteria_of("Open QA") == ("it is truthful", "it is complete", *GENERAL)
    assert settings.criteria_of("unheard-of") == GENERAL
    both = endpoint({**ENDPOINT, "criteria": {"poem": ["it rhymes"], "all": ["it is short"]}})
    assert both.criteria_of("poem") == ("it rhymes", "it is short")


@pytest.mark.parametrize("judge", [{}, {"reward": "rm", "labels": ["a.csv"]}, {"reward": "rm", "overlap": 2}])
def test_a_judge_is_of_exactly_one_kind(judge):
    with pytest.raises(ValidationError):
        Judge.model_validate_json(json.dumps(judge))


def test_there_is_no_comparison_without_a_judge():
    with pytest.raises(ValidationError, match="judges"):
        JudgementSettings.model_validate_json('{"reference": "sft", "judges": {}}')
