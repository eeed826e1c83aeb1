"""The schema and the reference page say what the configuration model says."""

from modecollapse import config_docs


def test_schema_and_reference_page_are_up_to_date() -> None:
    hint = "run `python -m modecollapse.config_docs`"
    assert config_docs.SCHEMA.read_text(encoding="utf-8") == config_docs.schema(), hint
    assert config_docs.PAGE.read_text(encoding="utf-8") == config_docs.page(), hint


def test_every_key_of_a_study_is_explained() -> None:
    rows = [line for line in config_docs.page().splitlines() if line.startswith("| `")]
    unexplained = [row for row in rows if row.rstrip().endswith("|  |")]
    assert unexplained == []
