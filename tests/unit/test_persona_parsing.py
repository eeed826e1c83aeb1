"""Reading personas: forms, Markdown, JSON and patterns; what says nothing is missing, and what fails says why."""

import json

import pytest

from modecollapse.measures.persona_parsing import Failure, PersonaReader, sentences
from modecollapse.measures.personas import FIELDS, TEMPLATES, FieldKind

FULL = {
    "first_name": "Emily", "last_name": "Jones", "gender": "female", "age": "34", "nationality": "American",
    "ethnicity": "Caucasian", "personality": "ENFP",
}  # fmt: skip
REVIEW = "I love it. My coffee stays warm!"
PLAIN, CHAT = (PersonaReader(TEMPLATES[form].lead, None, FIELDS, "review") for form in ("plain", "chat"))

FORMS = {
    "the form": (
        "First name: Emily\nLast name: Jones\nGender: Female\nAge: 34\nNationality: American\nEthnicity: Caucasian\n"
        f"Personality type (Myers-Briggs): ENFP\nReview: {REVIEW}"
    ),
    "Markdown": (
        "Sure! Here is a customer:\n\n- **First Name:** Emily\n- **Surname**: Jones\n* *Sex*: F\n1. **Age:** 34 years "
        f'old\n2) NATIONALITY – American\n• Race/Ethnicity = Caucasian\n**MBTI:** "enfp-A"\n\n**Review:**\n"{REVIEW}"'
    ),
    "JSON": "```json\n"
    + json.dumps(
        {
            "customer": {"firstName": "Emily", "last_name": "Jones", "Gender": "Woman", "age": 34},
            "nationality": "American", "ethnicity": ["Caucasian"], "Personality Type (Myers-Briggs)": "ENFP",
            "review": REVIEW,
        }
    )
    + "\n```",
    "JSON that is cut off": (
        '{"first_name": "Emily",\n "last_name": "Jones",\n "gender": "Female",\n "age": 34,\n "nationality": "American"'
        f',\n "ethnicity": "Caucasian",\n "personality": "ENFP",\n "review": "{REVIEW}'
    ),
    "one line": (
        "Name: Emily Rose Jones, Gender: Female (she/her), Age: 34, Nationality: American; Ethnicity: Caucasian; "
        f"Personality type: The Campaigner (ENFP)\nReview: {REVIEW}"
    ),
    "a table": (
        "| First name | Emily |\n| Last name | Jones |\n| Gender | female |\n| Age | 34 |\n| Nationality | American |\n"
        f"| Ethnicity | Caucasian |\n| Personality type (Myers-Briggs) | ENFP |\n\nReview: {REVIEW}"
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_persona_is_the_same_in_whatever_form_it_is_written(form: str) -> None:
    found = CHAT.read(FORMS[form])
    assert (dict(found.fields), found.review, found.failure) == (FULL, REVIEW, None)


def test_an_answer_goes_on_behind_the_label_that_the_prompt_ends_with() -> None:
    found = PLAIN.read(" Emily\nLast name: Jones\n")
    assert found.fields == {**dict.fromkeys(FIELDS), "first_name": "Emily", "last_name": "Jones"}
    assert (found.review, found.failure) == (None, None)


def test_a_second_persona_is_ignored_and_ends_the_review_of_the_first() -> None:
    first = "First name: Ann\nReview: Good.\n\nVery good, at my age: I am 80.\n"
    for between in ("", "\nCustomer 2:\n", "\n---\n", "\nProduct: A kettle.\n\nThe form that a customer filled in:\n"):
        found = CHAT.read(f"{first}{between}First name: Bob\nAge: 9\nReview: Bad.")
        assert found.fields["first_name"] == "Ann"
        assert found.fields["age"] is None
        assert found.review == "Good.\n\nVery good, at my age: I am 80."
    both = json.dumps({"personas": [{"First name": "Ann"}, {"First name": "Bob", "Age": 9}]})
    assert CHAT.read(both).fields == {**dict.fromkeys(FIELDS), "first_name": "Ann"}


VALUES = [
    ("age", "34", "34"),
    ("age", "thirty", None),
    ("age", "25-34", None),
    ("age", "0", None),
    ("age", "121", None),
    ("age", "33.5", None),
    ("age", "٣٤", "34"),
    ("age", "35.", "35"),
    ("gender", "Non-binary", "non-binary"),
    ("gender", "M", "male"),
    ("gender", "…", None),
    ("personality", "INTJ (The Architect)", "INTJ"),
    ("personality", "outgoing", None),
    ("personality", "INTJX", None),
    ("nationality", "  south   Korean. ", "south Korean"),
    ("nationality", "[Nationality]", None),
    ("nationality", "N/A", None),
    ("nationality", "...", None),
    ("ethnicity", "漢族", "漢族"),
    ("first_name", "Zoe\u0308", "Zoë"),
    ("first_name", "\U0001f600", "\U0001f600"),
    ("last_name", "O'Brien", "O'Brien"),
    ("first_name", "\ud800", None),
]


@pytest.mark.parametrize(("field", "value", "expected"), VALUES)
def test_values_are_brought_to_one_form(field: str, value: str, expected: str | None) -> None:
    assert CHAT.normalised(field, value) == expected


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("", Failure.EMPTY),
        (" \n\t", Failure.EMPTY),
        ("I'm sorry, I cannot do that.", Failure.NO_FIELD),
        ("First name: ...\nLast name: ...\nAge: ...", Failure.NO_FIELD),
        ("{}", Failure.NO_FIELD),
        ("[" * 3000 + "{" * 3000, Failure.NO_FIELD),
        ("海はとても広い。\U0001f600\U0001f600", Failure.NO_FIELD),
        ("Review: I like it.", Failure.NO_FIELD),
    ],
)
def test_an_output_without_a_persona_says_why(text: str, failure: Failure) -> None:
    found = CHAT.read(text)
    assert (found.failure, found.review, set(found.fields.values())) == (failure, None, {None})


def test_a_pattern_says_what_counts_whatever_the_fields_are_called() -> None:
    pattern = r"a (?P<gender>\w+) (?P<personality>\w+) of (?P<years>\d+)"
    kinds = {"gender": FieldKind.CATEGORY, "personality": FieldKind.CATEGORY, "years": FieldKind.NUMBER}
    reader = PersonaReader("Once a", pattern, kinds, None)
    assert reader.read(" Small fox of 300 lived.").fields == {"gender": "Small", "personality": "fox", "years": "300"}
    assert reader.read(" cat.").failure is Failure.NO_MATCH


def test_labels_of_own_fields_are_their_names() -> None:
    reader = PersonaReader("", None, {"home_town": FieldKind.NAME}, "opinion")
    found = reader.read("HomeTown: Łódź\nopinion: Fine; age: 3\nwas nice")
    assert (found.fields, found.review) == ({"home_town": "Łódź"}, "Fine; age: 3\nwas nice")


def test_long_outputs_are_read_in_linear_time() -> None:
    for text in ("-* " * 20_000, "First name" * 10_000, "age " * 30_000, '{"a": ' * 400, " " * 100_000 + "x"):
        CHAT.read(text)


def test_sentences_are_parted_by_a_stated_rule() -> None:
    assert sentences('It works. "Really?" she said!  \n\nYes… 3.5 cups。広い。 \U0001f600 !!') == [
        "It works.", '"Really?', "she said!", "Yes…", "3.5 cups。", "広い。", "\U0001f600 !!",
    ]  # fmt: skip
    assert sentences("") == sentences("... !\n") == []
