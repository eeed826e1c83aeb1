"""The staleness of results follows revisions, so code may not change behind their back."""

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


@cache
def imported(file: Path) -> frozenset[str]:
    """The package's own modules whose code a file can run, imports inside of functions included."""
    found = set()
    for node in _executed(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if _is_module(name) else str(node.module) for name in names}
    return frozenset(name.removeprefix("modecollapse.") for name in found if name.startswith("modecollapse."))


def _is_module(name: str) -> bool:
    path = revisions.PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a syntax tree, but for imports that only annotations need."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _executed(child)


def reached(*components: str) -> set[str]:
    """What the modules of these components import."""
    modules = [module for component in components for module in revisions.watched()[component]]
    return {name for module in modules for file in revisions.files_of(module) for name in imported(file)}


def is_among(module: str, watched: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in watched)


@pytest.mark.parametrize("component", sorted(revisions.watched()))
def test_whatever_a_watched_module_imports_is_watched_too_or_decides_no_result(component: str) -> None:
    known = (*revisions.watched()[component], *revisions.ELSEWHERE.get(component, ()), *revisions.DECIDE_NOTHING)
    unknown = {name for name in reached(component) if not is_among(name, known)}
    assert not unknown, f"Add these to the modules of {component}, or say in DECIDE_NOTHING that they decide no result."


def test_what_is_said_to_be_watched_elsewhere_is_watched_there() -> None:
    watched = [
        file for modules in revisions.watched().values() for module in modules for file in revisions.files_of(module)
    ]
    for modules in revisions.ELSEWHERE.values():
        assert {file for module in modules for file in revisions.files_of(module)} <= set(watched)


def test_what_is_said_to_decide_no_result_is_imported_by_what_is_watched() -> None:
    assert set(revisions.DECIDE_NOTHING) <= reached(*revisions.watched())
