"""The staleness of results follows revisions, so code may not change behind their back."""

import json

import pytest

from modecollapse import revisions


@pytest.mark.parametrize("component", sorted(revisions.state()))
def test_code_changes_are_acknowledged_by_a_revision_or_on_purpose(component: str) -> None:
    acknowledged = json.loads(revisions.ACKNOWLEDGED.read_text())
    assert revisions.state()[component] == acknowledged.get(component), (
        f"The code of {component} changed. If its results change, raise its revision; then acknowledge the change with "
        "`python -m modecollapse.revisions` and commit workflow/modecollapse/revisions.json."
    )


def test_comments_docstrings_and_layout_are_not_code() -> None:
    plain = "def f(x):\n    return x + 1\n"
    commented = '"""Doc."""\n\n\ndef f(x):\n    """Add."""\n    # why\n    return (x\n            + 1)\n'
    assert revisions._code(plain) == revisions._code(commented)
    assert revisions._code(plain) != revisions._code(plain.replace("+ 1", "+ 2"))
