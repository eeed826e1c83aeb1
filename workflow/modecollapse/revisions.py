"""Revisions: how code counts in the staleness of results.

Every spec holds the revision of the code that computes its result. Raising a number makes everything that the component
made stale; a comment, a rename or a faster loop with the same results does not. `python -m modecollapse.revisions`
writes the digests of the watched modules to `revisions.json` beside this one; a test fails when code changed without
either.
"""

import ast
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from modecollapse.data.transformations.registry import TRANSFORMATIONS
from modecollapse.digests import digest
from modecollapse.generation.settings import SAMPLING_MODULES
from modecollapse.methods import METHODS

REVISIONS: Mapping[str, int] = {
    "world": 1,
    "data": 1,
    "tokenizer": 1,
    "reference": 1,
    "sampled": 1,
    "derived": 1,
    "own_answers": 1,
    # 2: names of annotators that differ in spaces or in the width of letters are one.
    "labelling": 2,
    "generation": 1,
    "vllm": 1,
    "import": 1,
    "tokens": 3,
    "divergence": 1,
    "benchmarks": 1,
    "rewards": 1,
    "repetition": 1,
    "judgements": 1,
    "embedding": 1,
    "diversity": 2,
    # 4: intervals of shares, correlations and agreements end where these do.
    "analysis": 4,
    "semantic": 1,
    "features": 1,
    "feature_answers": 1,
    "experiments": 1,
    "personas": 1,
    "toy_bandit": 1,
    # 2: the divergence of tilted answers, and more tilts.
    "truth": 2,
    "comparison": 1,
}
"""Raise a number when a change of code changes results; methods have theirs in their own modules."""

MODULES: Mapping[str, tuple[str, ...]] = {
    "world": ("data.nano", "jobs.world", "prompts"),
    "data": ("data.sources", "jobs.data"),
    "tokenizer": ("data.tokenizer", "data.columns", "jobs.tokenizers"),
    "reference": (
        "methods.reference",
        "methods.reference_file",
        "methods.answer_head",
        "methods.rows",
        "data.columns",
        "methods.examples",
        "methods.layout",
        "methods.lora",
        "methods.processes",
        "methods.start",
        "generation.models",
        "prompts",
        "rendering",
        "jobs.references",
    ),
    "sampled": (
        "jobs.sampled_data",
        "methods.sampled_answers",
        "methods.answers_file",
        "methods.selection",
        "methods.pair_choice",
        "methods.answer_distances",
        "labelling.candidates",
        "data.columns",
        "metrics.lexical",
        "metrics.ngrams",
        "metrics.repetition",
        "methods.scoring",
        "methods.reward_functions",
        "methods.reward_model",
        "data.columns",
        "methods.examples",
        "methods.reference_file",
        "methods.lora",
        "generation.models",
        *SAMPLING_MODULES,
        "jobs.answer_sources",
        "prompts",
        "rendering",
    ),
    "derived": ("jobs.derived_data", "data.sets", "data.columns", "data.sources.sampling", "data.transformations.base"),
    "own_answers": (
        "jobs.own_answers",
        "data.sets",
        "methods.likelihood",
        "methods.sampled_answers",
        "methods.answers_file",
        "methods.selection",
        "methods.scoring",
        "methods.reward_functions",
        "methods.reward_model",
        "methods.reference",
        "methods.reference_file",
        "methods.answer_head",
        "methods.rows",
        "methods.examples",
        "methods.lora",
        "methods.start",
        "data.columns",
        "generation.cache",
        "generation.completions",
        "generation.decoding",
        "generation.models",
        "generation.prefill",
        "generation.rollouts",
        "generation.sampling",
        "generation.streams",
        "generation.tokenized",
        "prompts",
        "rendering",
    ),
    "labelling": (
        "labelling",
        "data.columns",
        "generation.streams",
        "jobs.answer_sources",
        "jobs.labelling",
        "methods.reward_functions",
    ),
    "generation": ("generation", "methods.lora", "cell_tables", "prompts", "rendering", "jobs.generations"),
    "vllm": (
        "serving",
        "generation.completions",
        "generation.tokenized",
        "generation.cell_rows",
        "cell_tables",
        "prompts",
        "rendering",
        "jobs.generations",
    ),
    "import": ("completions", "cell_tables", "jobs.generations"),
    "tokens": (
        "measures.tokens",
        "measures.token_sums",
        "measures.windows",
        "measures.encoding",
        "generation.models",
        "methods.lora",
        "jobs.tokens",
    ),
    "divergence": (
        "measures.divergence",
        "generation.models",
        "methods.lora",
        *SAMPLING_MODULES,
        "prompts",
        "rendering",
        "jobs.divergence",
    ),
    "benchmarks": (
        "measures.benchmarks",
        "measures.harness",
        "measures.task_files",
        "generation.models",
        "methods.lora",
        "jobs.benchmarks",
    ),
    "rewards": (
        "methods.reward_scores",
        "methods.reward_file",
        "methods.reward_model",
        "methods.reward_functions",
        "methods.scoring",
        "data.columns",
        "methods.examples",
        "methods.processes",
        "methods.layout",
        "methods.reference_file",
        "methods.lora",
        "generation.models",
        "prompts",
        "rendering",
        "jobs.rewards",
    ),
    "repetition": ("measures.repetition", "metrics.repetition", "jobs.repetition"),
    "judgements": (
        "judging.asking",
        "judging.chat",
        "judging.journal",
        "judging.pairs",
        "judging.people",
        "judging.scored",
        "judging.settings",
        "judging.verdicts",
        "data.columns",
        "jobs.judging",
        "labelling",
        "methods.scoring",
        "methods.reward_model",
        "methods.reward_functions",
        "methods.reference_file",
        "methods.lora",
        "generation.models",
        "jobs.answer_sources",
        "prompts",
        "rendering",
    ),
    "embedding": (
        "measures.embedder",
        "measures.embedding",
        "measures.vectors",
        "metrics.lexical",
        "metrics.ngrams",
        "jobs.embeddings",
    ),
    "diversity": ("measures.diversity", "measures.token_entropy", "metrics", "prompts", "jobs.scores"),
    "analysis": (
        "analysis",
        "data.columns",
        "data.sets",
        "data.sources.sampling",
        "data.task_types",
        "data.transformations",
        "figures.token_colours",
        "jobs.continuations",
        "jobs.data_cards",
        "jobs.feature_tables",
        "labelling.labels",
        "lineage",
        "measures.text_features",
        "metrics.categories",
        "metrics.text_features",
        "wordings",
        "jobs.table_parts",
        "jobs.tables",
        "jobs.judgement_tables",
        "jobs.probe_tables",
        "judging.verdicts",
        "comparison.page",
    ),
    "truth": ("data.nano.truth", "jobs.truth", "analysis.table_files", "metrics.lexical", "metrics.ngrams", "prompts"),
    "semantic": ("measures.semantic", "metrics.modes", "metrics.similarity", "jobs.semantic"),
    "features": (
        "data.columns",
        "data.compared_pairs",
        "data.sources.sampling",
        "data.transformations.base",
        "jobs.text_features",
        "measures.feature_extractor",
        "measures.feature_pipeline",
        "measures.feature_values",
        "measures.text_features",
        "metrics.text_features",
    ),
    "feature_answers": (
        "data.columns",
        "data.compared_pairs",
        "data.sources.sampling",
        "data.transformations.base",
        "generation.models",
        "jobs.feature_answers",
        "measures.asking",
        "measures.experimenter",
        "measures.text_features",
        "methods.lora",
        "prompts",
        "rendering",
        *SAMPLING_MODULES,
    ),
    "experiments": (
        "cell_tables",
        "generation.models",
        "methods.lora",
        "jobs.experiments",
        "measures.asking",
        "measures.attractor",
        "measures.experimenter",
        "measures.personas",
        "measures.probes",
        "measures.semantic",
        "measures.top_entropy",
        "metrics.attractors",
        "metrics.modes",
        "prompts",
        "rendering",
        *SAMPLING_MODULES,
    ),
    "personas": (
        "measures.persona_outputs",
        "measures.persona_parsing",
        "measures.personas",
        "metrics.modes",
        "jobs.personas",
    ),
    "toy_bandit": ("measures.toy_bandit", "jobs.toy_bandit", "analysis.table_files"),
    "comparison": (
        "comparison",
        "jobs.comparison",
        "analysis.attribution",
        "analysis.bootstrap",
        "analysis.grid",
        "analysis.table_files",
        "analysis.tokens",
        "analysis.variance",
        "completions.npy",
        "completions.unpickler",
        "lineage",
        "metrics",
        "wordings",
    ),
}
"""Modules, or packages of modules, whose code decides the results of each component."""

ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "derived": ("data.transformations.balance", "data.transformations.perplexity"),
    "generation": ("completions", "serving"),
    "vllm": ("completions", "generation"),
    "import": ("generation", "prompts", "rendering", "serving"),
    "embedding": (
        "data.nano",
        "measures.diversity",
        "measures.token_entropy",
        "metrics.quality",
        "metrics.registry",
    ),
    "rewards": ("data.nano",),
    "judgements": ("data.nano",),
    "diversity": ("data.nano", "measures.vectors"),
    "own_answers": ("data.nano",),
    "sampled": ("data.nano", "measures.embedder", "measures.embedding"),
    "labelling": ("data.nano",),
    "method best_of_n": (
        "cell_tables",
        "completions",
        "data.nano",
        "generation",
        "jobs.generations",
        "prompts",
        "serving",
    ),
    "method rejection_sft": ("data.nano",),
    "truth": ("data.nano",),
    "semantic": ("jobs.embeddings", "metrics.lexical"),
    # How long the batches are in which answers are read, and nothing else of the divergence.
    "experiments": ("jobs.embeddings", "measures.divergence", "metrics.similarity"),
    "feature_answers": ("measures.divergence", "measures.feature_pipeline", "metrics.text_features"),
    "personas": ("jobs.embeddings", "measures.semantic", "metrics.lexical"),
    "method ppo": ("data.nano", "measures.harness"),
    "method rloo": ("data.nano",),
    "method grpo": ("data.nano",),
    # Of the metrics it needs no more than which way diversity lies, and how a verb is negated; of repetition what its
    # counts are called.
    "analysis": (
        "data.nano",
        "metrics.attractors",
        "metrics.modes",
        "metrics.registry",
        "measures.feature_pipeline",
        "measures.repetition",
    ),
}
"""Modules that a component's modules import and that are watched elsewhere only: another job of the same module uses
them, or the revision of their own component (the world, the embedding) stands in the same spec."""

DECIDE_NOTHING = (
    "cells",
    "digests",
    "data.transformations.registry",
    "errors",
    "generation.progress",
    "generation.settings",
    "hub",
    "identities",
    "jobs.running",
    "judging.comparisons",
    "labelling.settings",
    "manifest",
    "measures.asking",
    "methods.base",
    "methods.progress",
    "methods.resume",
    "methods.saving",
    "methods.settings",
    "publishing",
    "resources.inference",
    "resources.machine",
    "schema",
    "sealed",
    "snapshots",
    "sources",
    "specs",
    "stopping",
    "store",
    "study",
    "temperatures",
    "unfinished",
)
"""Modules that watched ones import and that are not watched, nor what they import in turn: what they decide stands in
the specs (of which a changed one makes results stale by itself), or it is no value of a result, but how results are
called, kept, read and written, and how jobs end."""

PACKAGE = Path(__file__).parent
ACKNOWLEDGED = PACKAGE / "revisions.json"


def files_of(module: str) -> list[Path]:
    """The file of a module, or those of a package."""
    path = PACKAGE.joinpath(*module.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def code_digest(modules: tuple[str, ...]) -> str:
    """Digest of the code of these modules: comments, docstrings and layout do not count."""
    files = [file for module in modules for file in files_of(module)]
    return digest({file.relative_to(PACKAGE).as_posix(): _code(file.read_text(encoding="utf-8")) for file in files})


@cache
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


def watched() -> dict[str, tuple[str, ...]]:
    """Component → modules, or packages of modules, whose code decides its results.

    Methods and transformations of data sets are components too.
    """
    methods = {f"method {name}": method.modules for name, method in METHODS.items()}
    return methods | {f"transformation {name}": each.modules for name, each in TRANSFORMATIONS.items()} | dict(MODULES)


def state() -> dict[str, dict[str, object]]:
    """Component → its revision and the digest of its code, as they are now."""
    numbers = {f"method {name}": method.revision for name, method in METHODS.items()}
    numbers |= {f"transformation {name}": each.revision for name, each in TRANSFORMATIONS.items()} | dict(REVISIONS)
    return {name: {"revision": numbers[name], "code": code_digest(modules)} for name, modules in watched().items()}


if __name__ == "__main__":
    ACKNOWLEDGED.write_text(json.dumps(state(), indent=1, sort_keys=True) + "\n")
