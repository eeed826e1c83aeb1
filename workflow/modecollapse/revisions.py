"""Revisions: how code counts in the staleness of results.

Every spec holds the revision of the code that computes its result. Raising a number makes everything that the component
made stale; a comment, a rename or a faster loop with the same results does not. `python -m modecollapse.revisions`
writes the digests of the watched modules to `revisions.json` beside this one; a test fails when code changed without
either.
"""

import ast
import json
from collections.abc import Mapping
from pathlib import Path

from modecollapse.digests import digest
from modecollapse.methods import METHODS

REVISIONS: Mapping[str, int] = {
    "world": 1,
    "data": 1,
    "tokenizer": 1,
    "generation": 1,
    "import": 1,
    "tokens": 3,
    "benchmarks": 1,
    "embedding": 1,
    "diversity": 2,
    "analysis": 3,
    "truth": 1,
    "comparison": 1,
}
"""Raise a number when a change of code changes results; methods have theirs in their own modules."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "world": ("data.nano",),
    "data": ("data.sources",),
    "tokenizer": ("data.tokenizer", "jobs.tokenizers"),
    "generation": ("generation", "prompts", "rendering"),
    "import": ("completions",),
    "tokens": (
        "measures.tokens",
        "measures.token_sums",
        "measures.windows",
        "measures.encoding",
        "generation.models",
    ),
    "benchmarks": ("measures.benchmarks", "measures.harness", "generation.models"),
    "embedding": ("measures.embedding",),
    "diversity": ("measures.diversity", "measures.token_entropy", "metrics", "jobs.scores"),
    "analysis": ("analysis", "lineage", "wordings", "jobs.tables"),
    "truth": ("data.nano.truth",),
    "comparison": ("comparison", "jobs.comparison"),
}
"""Modules, or packages of modules, whose code decides the results of each component."""

PACKAGE = Path(__file__).parent
ACKNOWLEDGED = PACKAGE / "revisions.json"


def code_digest(modules: tuple[str, ...]) -> str:
    """Digest of the code of these modules: comments, docstrings and layout do not count."""
    files: list[Path] = []
    for module in modules:
        path = PACKAGE.joinpath(*module.split("."))
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    return digest({file.relative_to(PACKAGE).as_posix(): _code(file.read_text(encoding="utf-8")) for file in files})


def _code(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [entry for entry in body if not _is_docstring(entry)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def state() -> dict[str, dict[str, object]]:
    """Component → its revision and the digest of its code, as they are now."""
    methods = {
        f"method {name}": {"revision": method.revision, "code": code_digest(method.modules)}
        for name, method in METHODS.items()
    }
    others = {name: {"revision": REVISIONS[name], "code": code_digest(MODULES[name])} for name in REVISIONS}
    return {**methods, **others}


if __name__ == "__main__":
    ACKNOWLEDGED.write_text(json.dumps(state(), indent=1, sort_keys=True) + "\n")
