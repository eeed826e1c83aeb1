"""Tidy tables: from the published measurements of single models to the tables of the study."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from modecollapse.analysis import table_files, tables
from modecollapse.analysis.attribution import attribution_table
from modecollapse.analysis.benchmarks import benchmark_tests_table, benchmarks_pooled_table, benchmarks_table
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.format_effects import format_effect_table
from modecollapse.analysis.matched import matched_table
from modecollapse.analysis.published_tokens import published_tokens_table, read_published_tokens
from modecollapse.analysis.stage_tests import tests_table
from modecollapse.analysis.token_replica import replica_statistics
from modecollapse.analysis.tokens import token_statistics
from modecollapse.cells import Cell, Model
from modecollapse.lineage import paths
from modecollapse.prompts import Prompt
from modecollapse.sealed import read_sealed
from modecollapse.wordings import Change

logger = logging.getLogger(__name__)

PROMPTS_PER_SET, SAMPLES_PER_PROMPT = 3, 3
"""How many completions the table of samples shows."""


def _bootstrap(spec: Mapping[str, Any]) -> Bootstrap:
    return Bootstrap(resamples=spec["analysis"]["resamples"], seed=spec["analysis"]["seed"])


def _identity(table: pa.Table, name: bytes) -> dict[str, Any]:
    identity: dict[str, Any] = json.loads((table.schema.metadata or {})[name])
    return identity


def _scores(files: Iterable[Path]) -> Iterator[pd.DataFrame]:
    for path in files:
        table = read_sealed(path)
        yield table.to_pandas().assign(**_identity(table, b"model"))


def _cells(files: Iterable[Path]) -> Iterator[tuple[Cell, pa.Table]]:
    for path in files:
        table = read_sealed(path, ["prompt", "sample", "text"])
        identity = _identity(table, b"cell")
        model = Model(identity["size"], identity["seed"], identity["stage"])
        yield Cell(model, identity["prompts"], identity["format"], identity["temperature"]), table


def _tokens(
    documents: Sequence[Path], vocabularies: Sequence[Path]
) -> Iterator[tuple[Model, pd.DataFrame, pd.DataFrame]]:
    for path, beside in zip(documents, vocabularies, strict=True):
        table = read_sealed(path)
        yield Model(**_identity(table, b"model")), table.to_pandas(), read_sealed(beside).to_pandas()


def _write(name: str, frame: pd.DataFrame, outputs: Mapping[str, Path]) -> None:
    table_files.write_table(name, frame, outputs[name], outputs[f"{name}_csv"])


def tabulate(
    spec: Mapping[str, Any],
    scores: Sequence[Path],
    cells: Sequence[Path],
    curves: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write the tables of output-level diversity, of sample completions and of what training logged.

    `cells` are those whose completions are shown.

    Raises:
        CorruptFile: a file is not what was published.
    """
    bootstrap = _bootstrap(spec)
    # Read anew for each table: the scores of one size at a time are in memory.
    _write("diversity", tables.diversity_table(_scores(scores), bootstrap), outputs)
    _write("curves", tables.curves_table(_scores(scores), bootstrap), outputs)
    seed = spec["analysis"]["seed"]
    _write("samples", tables.samples_table(_cells(cells), PROMPTS_PER_SET, SAMPLES_PER_PROMPT, seed), outputs)
    if "training" in outputs:
        logged = {}
        for path in curves:
            table = read_sealed(path)
            if table.num_columns:
                logged[Model(**_identity(table, b"model"))] = table.to_pandas()
        _write("training", tables.training_table(logged), outputs)


def tabulate_tokens(
    spec: Mapping[str, Any], documents: Sequence[Path], vocabularies: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Write the tables of token-level statistics in both definitions, per model and pooled over seeds, and the CDF.

    Raises:
        CorruptFile: a file is not what was published.
    """
    bootstrap = _bootstrap(spec)
    measured = list(_tokens(documents, vocabularies))
    statistics = [
        (model, define(of_documents, vocabulary, bootstrap))
        for model, of_documents, vocabulary in measured
        for define in (token_statistics, replica_statistics)
    ]
    _write("tokens", tables.tokens_table(statistics, bootstrap), outputs)
    _write("tokens_pooled", tables.tokens_pooled_table(statistics, bootstrap), outputs)
    vocabularies_of = {model: vocabulary for model, _, vocabulary in measured}
    _write("vocabulary_cdf", tables.vocabulary_cdf_table(vocabularies_of), outputs)


def tabulate_benchmarks(
    spec: Mapping[str, Any], results: Sequence[Path], samples: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Write the tables of benchmarks, per model and pooled over seeds, and the paired tests between stages.

    Raises:
        CorruptFile: a file is not what was published.
    """
    read, answered = ({Model(**_identity(table, b"model")): table.to_pandas() for table in map(read_sealed, files)}
                      for files in (results, samples))  # fmt: skip
    _write("benchmarks", benchmarks_table(read, answered), outputs)
    _write("benchmarks_pooled", benchmarks_pooled_table(read, answered), outputs)
    _write("benchmark_tests", benchmark_tests_table(answered, paths(spec["lineage"])), outputs)


def compare_published_tokens(
    spec: Mapping[str, Any], tokens: Path, published: Path, outputs: Mapping[str, Path]
) -> None:
    """Write the table of our token statistics beside the published ones of the same models.

    Raises:
        CorruptFile: `tokens`, the table of pooled statistics, is not what was published.
    """
    models = [(size, stage, model, theirs) for size, stage, model, theirs in spec["models"]]
    frame = published_tokens_table(read_sealed(tokens).to_pandas(), models, read_published_tokens(published))
    _write("published_tokens", frame, outputs)


def attribute(
    spec: Mapping[str, Any],
    scores: Sequence[Path],
    documents: Sequence[Path],
    vocabularies: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write what each step of the lineage changes, and the total: attribution, tests, and the same at matched entropy.

    Raises:
        CorruptFile: a file is not what was published.
        StudyError: stages that are to be compared were measured under different prompt formats only.
    """
    bootstrap = _bootstrap(spec)
    statistics = {
        model: token_statistics(of_documents, vocabulary, bootstrap)
        for model, of_documents, vocabulary in _tokens(documents, vocabularies)
    }
    lines, across = paths(spec["lineage"]), spec["analysis"].get("across_formats", {})
    _write("attribution", attribution_table(_scores(scores), statistics, lines, bootstrap, across), outputs)
    _write("tests", tests_table(_scores(scores), lines, across), outputs)
    if "matched_attribution" in outputs:
        _write("matched_attribution", matched_table(_scores(scores), lines, bootstrap, across), outputs)


def split_format_effects(spec: Mapping[str, Any], scores: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write how much of what seems the effect of a stage is that of the words around the prompt.

    Raises:
        CorruptFile: a file is not what was published.
    """
    changes = [Change(*change) for change in spec["changes"]]
    table = format_effect_table(_scores(scores), changes, spec["formats"], _bootstrap(spec))
    _write("format_effect", table, outputs)


def measure_truth(spec: Mapping[str, Any], tokens: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write the true values of the nano world: entropy floor, true answers' self-BLEU, the tilting curve.

    `tokens` is the document statistics of any model, if there are some: how many tokens a held-out document has.
    """
    from modecollapse.data.nano.truth import truth_table
    from modecollapse.data.nano.world import World, WorldSettings
    from modecollapse.metrics.lexical import first_words, self_bleu

    world = World(WorldSettings.model_validate(spec["world"]["settings"], strict=False))
    asked = [Prompt(*entry) for entries in spec["prompts"].values() for entry in entries]
    prompts = [prompt for prompt in asked if prompt.text and world.understand(prompt.text)]
    if len(prompts) < len(asked):
        logger.warning("%d of %d prompts are not questions of this world", len(asked) - len(prompts), len(asked))
    documents = read_sealed(tokens[0], ["n_tokens"]).column("n_tokens").to_numpy() if tokens else None
    table = truth_table(
        world,
        prompts,
        lambda texts: self_bleu([first_words(text, spec["words"]) for text in texts]),
        None if documents is None else float(documents.mean()),
    )
    table_files.publish_table(table, outputs["truth"], outputs["truth_csv"])
