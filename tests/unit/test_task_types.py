"""Kinds of tasks are told by how the sentences of a request begin, and by nothing that a text only mentions."""

import time

import pytest

from modecollapse.data.task_types import TaskType, task_type, task_types

ESSAY = "The lake lies between hills. Translate nothing here. People summarize it as calm. " * 4

EXAMPLES = {
    "brainstorm": [
        "Give me five ideas for a birthday party.",
        "What are some ways to save water at home?",
        "Brainstorm names for a bakery",
        "Can you please suggest a book for a long flight?",
        "What should I cook tonight?",
    ],
    "chat": [
        "Hello, how are you?",
        "Hi there!",
        "I'm so bored today",
        "Human: What is a lake?\n\nAssistant: Water among land.\n\nHuman: And a pond?\n\nAssistant:",
        "Thanks a lot!",
    ],
    "classification": [
        "Classify the following review as positive or negative: I loved it.",
        "Is this tweet angry or happy?\n\nI will never come back.",
        "What is the sentiment of this sentence?",
        "Determine whether the statement is true.",
    ],
    "closed_qa": [
        "According to the passage, who built the bridge?",
        f"When was the lake found?\n\n{ESSAY}\n\nIt was found in 1820.",
        "Context: The mill was built in 1820. Question: When was the mill built?",
    ],
    "extract": [
        "Extract all dates from this letter.",
        "List all names mentioned in the following text: Ann met Bob.",
    ],
    "generation": [
        "Write a short story about a summary.",
        "Tell me a joke about cats.",
        "Compose an email to my landlord",
        "Human: Write a poem about the sea.\n\nAssistant:",
        "I want you to write a function that sorts a list",
    ],
    "open_qa": [
        "What is the capital of France?",
        "Hi! What is the capital of France?",
        "Explain photosynthesis to a child.",
        "How do I write a summary?",
        "Who translated the Odyssey first?",
    ],
    "rewrite": [
        "Rewrite this sentence in the past tense: I go home.",
        "Could you please proofread my letter?",
        "Fix the grammar: he go home",
        "Make it more formal.",
    ],
    "summarization": [
        f"Summarize the following text.\n\n{ESSAY}\n\nWrite a poem, she said.",
        f"The lake is calm.\n\n{ESSAY}\n\nTL;DR",
        "Write a short summary of Hamlet.",
        "What are the main points of the article?",
    ],
    "translation": [
        "Translate into French: Summarize the text.",
        "How do you say good night in Spanish?",
        "Please give me a German translation of this letter.",
    ],
    "other": ["", "   \n ", "42", "Напиши стихотворение о море", "Wer hat die Brücke gebaut?", "lake hill mill"],
}


@pytest.mark.parametrize(("kind", "prompt"), [(kind, each) for kind, of in EXAMPLES.items() for each in of])
def test_a_request_is_of_the_kind_that_its_first_words_say(kind: str, prompt: str) -> None:
    assert task_type(prompt) == kind


def test_every_kind_has_examples() -> None:
    assert set(EXAMPLES) == {str(kind) for kind in TaskType}


def test_what_a_text_mentions_is_no_request() -> None:
    assert task_type("Write a story in which a king says: translate this!") == "generation"
    assert task_type(f"Rephrase this.\n\n{ESSAY}\n\nSummarize it, they said.") == "rewrite"
    assert task_type("Why do people brainstorm?") == "open_qa"


def test_case_white_space_quotes_and_typographic_signs_make_no_difference() -> None:
    plain = "let's translate this letter"
    for odd in ("LET\u2019S  Translate\tthis letter", '"Let\u2019s translate this letter"', "\n\n  " + plain + " \n"):
        assert task_type(odd) == task_type(plain) == "translation"


def test_an_assistant_that_has_said_nothing_yet_makes_no_conversation() -> None:
    assert task_type("Human: Who built the mill?\nAssistant:  \n") == "open_qa"
    assert task_type("Human: Who built the mill?\nAssistant: Ann.\nHuman: When?\nAssistant:") == "chat"


HOSTILE = {
    "letters": "a" * 10_000_000,
    "empty lines": "\n" * 10_000_000,
    "spaces": " " * 10_000_000 + "x",
    "lines of spaces": "x" + " \n" * 5_000_000 + "x",
    "politeness": "please " * 1_500_000,
    "speakers": "assistant " * 1_000_000,
    "speakers on lines": "x" + "\nassistant   " * 500_000,
    "comparatives": "make it " + "more " * 1_000_000,
    "marks": "?" * 5_000_000,
    "texts": "in the following " * 500_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_prompts_of_megabytes_are_told_in_seconds(name: str) -> None:
    start = time.process_time()
    task_type(HOSTILE[name])
    assert time.process_time() - start < 10


def test_many_prompts_are_told_in_their_order() -> None:
    assert task_types(["Translate it.", "Hello!"]) == ["translation", "chat"]
    assert task_types([]) == []
