"""Pairs of answers, and what it takes to ask an endpoint about them, for tests."""

from pathlib import Path
from typing import Any

from modecollapse.judging.asking import Question, ask_all, judged_by_endpoint
from modecollapse.judging.chat import Endpoint, key_of
from modecollapse.judging.journal import open_journal
from modecollapse.judging.pairs import Answer, Judged, Pair
from modecollapse.judging.settings import GENERAL, SYSTEM, TEMPLATE, EndpointSettings
from modecollapse.store import Store

VARIABLE = "TEST_JUDGE_KEY"


def pair(number: int = 0, ours: str = "a long answer", other: str = "short", **changes: Any) -> Pair:
    return Pair(
        **{
            **{"prompts": "creative", "prompt": f"c{number}", "question": f"Question {number}?", "start": ""},
            **{"task": "chat", "temperature": "1.0", "sample": 0},
            **{"stage": Answer(f" {ours}", "eos"), "reference": Answer(f" {other}", "eos")},
            **changes,
        }
    )


def pairs(count: int) -> list[Pair]:
    return [pair(number) for number in range(count)]


def question(**changes: Any) -> Question:
    return Question(
        **{
            **{"model": "judge-1", "seed": 0, "max_tokens": 16, "system": SYSTEM, "template": TEMPLATE},
            **{"criteria": {"chat": GENERAL}},
            **changes,
        }
    )


def settings(base_url: str, **changes: Any) -> EndpointSettings:
    return EndpointSettings(
        **{"base_url": base_url, "model": "judge-1", "key_from": VARIABLE, "concurrency": 1, "tries": 3, **changes}
    )


def ask(
    store: Path, asked: EndpointSettings, of: list[Pair], what: Question | None = None, payer: str = "study/gpt"
) -> list[tuple[Pair, Judged]]:
    """Ask about all pairs as a job does; returns the verdicts."""
    what = what or question()
    endpoint = Endpoint("gpt", asked.base_url, key_of("gpt", asked.key_from), asked.key_from, asked.timeout_seconds)
    with open_journal(Store(store), asked.model) as journal:
        ask_all(of, what, asked, endpoint, journal, payer)
        return list(judged_by_endpoint(of, what, journal))
