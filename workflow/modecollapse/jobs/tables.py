"""Tidy tables: from the published measurements of single models to the tables of the study."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from modecollapse.analysis import personas, tables
from modecollapse.analysis.attribution import attribution_parts
from modecollapse.analysis.benchmarks import benchmark_tests_table, benchmarks_pooled_table, benchmarks_table
from modecollapse.analysis.costs import costs_parts, divergence_table
from modecollapse.analysis.filters import filters_table, perplexities_table
from modecollapse.analysis.format_effects import format_effect_parts
from modecollapse.analysis.grid import COUNTED_COLUMNS, VALUE_COLUMNS
from modecollapse.analysis.guard_rails import candidates_table, merits_table
from modecollapse.analysis.label_agreement import agreement_table
from modecollapse.analysis.matched import matched_parts
from modecollapse.analysis.personas import Personas
from modecollapse.analysis.published_tokens import published_tokens_table, read_published_tokens
from modecollapse.analysis.repetition import repetition_parts
from modecollapse.analysis.rewards import rewards_table
from modecollapse.analysis.semantic import clusters_part, outputs_part, semantic_parts
from modecollapse.analysis.stage_tests import tests_parts
from modecollapse.analysis.token_replica import REPLICA_COLUMNS, replica_statistics
from modecollapse.analysis.tokens import DOCUMENT_COLUMNS, VOCABULARY_COLUMNS, token_statistics
from modecollapse.cells import Cell, Model
from modecollapse.identities import cell_of_table, model_of_table
from modecollapse.jobs.table_parts import bootstrap_of, model_frames, write_parts
from modecollapse.lineage import below, paths
from modecollapse.sealed import read_sealed
from modecollapse.wordings import Change

logger = logging.getLogger(__name__)

PROMPTS_PER_SET, SAMPLES_PER_PROMPT = 3, 3
"""How many completions the table of samples shows."""

_REPEATED = ("prompts", "prompt", "format", "temperature", "metric", "definition")
"""Columns of scores with few different texts."""


def _scores(files: Iterable[Path], columns: Sequence[str] = COUNTED_COLUMNS) -> Iterator[pd.DataFrame]:
    return model_frames(files, columns, [name for name in columns if name in _REPEATED])


def _cells(files: Iterable[Path]) -> Iterator[tuple[Cell, pa.Table]]:
    for path in files:
        table = read_sealed(path, ["prompt", "sample", "text"])
        yield cell_of_table(table), table


def _tokens(
    documents: Sequence[Path], vocabularies: Sequence[Path], columns: Sequence[str]
) -> Iterator[tuple[Model, pd.DataFrame, pd.DataFrame]]:
    """Each model with these columns of its documents, and its vocabulary: read when it is asked for, and not kept."""
    for path, beside in zip(documents, vocabularies, strict=True):
        table = read_sealed(path, columns)
        yield (
            model_of_table(table),
            table.to_pandas(),
            read_sealed(beside, VOCABULARY_COLUMNS).to_pandas(),
        )


def _benchmarks(
    results: Sequence[Path], samples: Sequence[Path]
) -> Iterator[tuple[Model, tuple[pd.DataFrame, pd.DataFrame]]]:
    for path, beside in zip(results, samples, strict=True):
        table = read_sealed(path)
        yield model_of_table(table), (table.to_pandas(), read_sealed(beside).to_pandas())


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
    bootstrap = bootstrap_of(spec)
    # Read anew for each table: the scores of one size at a time are in memory.
    write_parts("diversity", tables.diversity_parts(_scores(scores), bootstrap), outputs)
    write_parts("curves", tables.curves_parts(_scores(scores), bootstrap), outputs)
    seed = spec["analysis"]["seed"]
    write_parts("samples", [tables.samples_table(_cells(cells), PROMPTS_PER_SET, SAMPLES_PER_PROMPT, seed)], outputs)
    if "training" in outputs:
        logged = {}
        for path in curves:
            table = read_sealed(path)
            if table.num_columns:
                logged[model_of_table(table)] = table.to_pandas()
        write_parts("training", [tables.training_table(logged)], outputs)


def tabulate_tokens(
    spec: Mapping[str, Any], documents: Sequence[Path], vocabularies: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Write the tables of token-level statistics in both definitions, per model and pooled over seeds, and the CDF.

    Raises:
        CorruptFile: a file is not what was published.
    """
    bootstrap = bootstrap_of(spec)
    parts: dict[str, list[pd.DataFrame]] = {"tokens": [], "tokens_pooled": [], "vocabulary_cdf": []}
    measured = _tokens(documents, vocabularies, (*DOCUMENT_COLUMNS, *REPLICA_COLUMNS))
    # Of one size at a time the resamples are in memory, and of one model the distributions over the vocabulary.
    for _, models in groupby(measured, lambda entry: entry[0].size):
        statistics = []
        for model, of_documents, vocabulary in models:
            statistics += [
                (model, define(of_documents, vocabulary, bootstrap))
                for define in (token_statistics, replica_statistics)
            ]
            parts["vocabulary_cdf"].append(tables.vocabulary_cdf_table({model: vocabulary}))
        parts["tokens"].append(tables.tokens_table(statistics, bootstrap))
        parts["tokens_pooled"].append(tables.tokens_pooled_table(statistics, bootstrap))
    for name, of_sizes in parts.items():
        write_parts(name, of_sizes, outputs)


def tabulate_benchmarks(
    spec: Mapping[str, Any], results: Sequence[Path], samples: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Write the tables of benchmarks, per model and pooled over seeds, and the paired tests between stages.

    Raises:
        CorruptFile: a file is not what was published.
    """
    parts: dict[str, list[pd.DataFrame]] = {"benchmarks": [], "benchmarks_pooled": [], "benchmark_tests": []}
    # The documents of one size at a time are in memory.
    for _, models in groupby(_benchmarks(results, samples), lambda entry: entry[0].size):
        of_size = dict(models)
        read, answered = ({model: tables[place] for model, tables in of_size.items()} for place in (0, 1))
        parts["benchmarks"].append(benchmarks_table(read, answered))
        parts["benchmarks_pooled"].append(benchmarks_pooled_table(read, answered))
        parts["benchmark_tests"].append(benchmark_tests_table(answered, paths(spec["lineage"])))
    for name, of_sizes in parts.items():
        write_parts(name, of_sizes, outputs)


def judge_candidates(spec: Mapping[str, Any], samples: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write which stages fall below their reference on benchmarks.

    Raises:
        CorruptFile: a file is not what was published.
    """
    known = (spec["rails"], spec["reference"], spec["candidates"], spec["confidence"])

    def parts() -> Iterator[pd.DataFrame]:
        tables = ((model_of_table(table), table.to_pandas()) for table in map(read_sealed, samples))
        # The documents of one size at a time are in memory.
        for _, models in groupby(tables, lambda entry: entry[0].size):
            yield candidates_table(dict(models), *known)

    write_parts("candidates", parts(), outputs)


def tabulate_merits(
    spec: Mapping[str, Any],
    candidates: Path,
    costs: Sequence[Path],
    win_rates: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write what candidates are judged by beside their guard rails.

    `costs` and `win_rates` are the tables of these names; none where the study does not have them.

    Raises:
        CorruptFile: a file is not what was published.
    """
    known, won = (read_sealed(paths[0]).to_pandas() if paths else None for paths in (costs, win_rates))
    judged = read_sealed(candidates).to_pandas()
    write_parts("candidate_merits", [merits_table(judged, known, won, spec["temperature"])], outputs)


def tabulate_rewards(spec: Mapping[str, Any], scores: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write how often reward models agree with the labels of pairs, and with the true utility where it is known.

    Raises:
        CorruptFile: a file is not what was published.
    """
    judged: dict[tuple[str, str], dict[Model, pd.DataFrame]] = {}
    for path in scores:
        table = read_sealed(path)
        model = model_of_table(table)
        judged.setdefault((model.size, model.stage), {})[model] = table.to_pandas()
    bootstrap = bootstrap_of(spec)
    write_parts("rewards", (rewards_table(models, bootstrap) for models in judged.values()), outputs)


def tabulate_repetition(spec: Mapping[str, Any], counts: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write how many completions of each stage repeat themselves, beside those of the stage before.

    Raises:
        CorruptFile: a file is not what was published.
    """
    write_parts("repetition", repetition_parts(model_frames(counts), spec["lineage"], bootstrap_of(spec)), outputs)


def tabulate_semantic(
    spec: Mapping[str, Any], values: Sequence[Path], found: Sequence[Path], outputs: Mapping[str, Path]
) -> None:
    """Write the tables of semantic modes: similarities and clusters, every output's place, and clusters with samples.

    Args:
        spec: the spec of these tables.
        values: of each model what was found of each prompt.
        found: of each model its outputs.
        outputs: the tables' files.

    Raises:
        CorruptFile: a file is not what was published.
    """
    write_parts("semantic", semantic_parts(model_frames(values), spec["lineage"], bootstrap_of(spec)), outputs)
    write_parts("semantic_outputs", map(outputs_part, model_frames(found)), outputs)
    write_parts("semantic_clusters", map(clusters_part, model_frames(found)), outputs)


def tabulate_personas(
    spec: Mapping[str, Any],
    read: Sequence[Path],
    answers: Sequence[Path],
    sentences: Sequence[Path],
    clusters: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write those tables of personas that there are outputs for.

    Args:
        spec: the spec of these tables.
        read: of each model what is known of every output.
        answers: of each model the values of fields.
        sentences: of each model the sentences of its reviews.
        clusters: of each model what is known of these sentences' clusters.
        outputs: the tables' files.

    Raises:
        CorruptFile: a file is not what was published.
    """
    found = (pd.concat(model_frames(files), ignore_index=True) for files in (read, answers, sentences, clusters))
    for name, table in personas.tables(Personas(*found), spec, bootstrap_of(spec)).items():
        if name in outputs:
            write_parts(name, [table], outputs)


def tabulate_filters(spec: Mapping[str, Any], data: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write what became of the rows of derived data sets, and of filtered ones the perplexities.

    Raises:
        CorruptFile: a file is not what was published.
    """
    reports = []
    for (name, size, seed), path in zip(spec["sets"], data, strict=True):
        metadata = read_sealed(path, []).schema.metadata
        reports.append(({"data": name, "size": size, "seed": seed}, json.loads(metadata[b"report"])))
    write_parts("filters", [filters_table(reports)], outputs)
    if "perplexities" in outputs:
        write_parts("perplexities", [perplexities_table(reports)], outputs)


def tabulate_label_agreement(spec: Mapping[str, Any], labels: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write how far annotators agree on pairs.

    Raises:
        CorruptFile: a file is not what was published.
    """
    labelled: dict[tuple[str, str, str], list[pd.DataFrame]] = {}
    for path, (size, _, data, labelled_by) in zip(labels, spec["labels"], strict=True):
        labelled.setdefault((size, data, labelled_by), []).append(read_sealed(path).to_pandas())
    write_parts("label_agreement", [agreement_table(labelled, bootstrap_of(spec))], outputs)


def compare_published_tokens(
    spec: Mapping[str, Any], tokens: Path, published: Path, outputs: Mapping[str, Path]
) -> None:
    """Write the table of our token statistics beside the published ones of the same models.

    Raises:
        CorruptFile: `tokens`, the table of pooled statistics, is not what was published.
    """
    models = [(size, stage, model, theirs) for size, stage, model, theirs in spec["models"]]
    frame = published_tokens_table(read_sealed(tokens).to_pandas(), models, read_published_tokens(published))
    write_parts("published_tokens", [frame], outputs)


def attribute(
    spec: Mapping[str, Any],
    scores: Sequence[Path],
    documents: Sequence[Path],
    vocabularies: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write what each step of the lineage changes, and the total, with intervals.

    Raises:
        CorruptFile: a file is not what was published.
        StudyError: stages that are to be compared were measured under different prompt formats only.
    """
    bootstrap = bootstrap_of(spec)
    statistics = (
        (model, token_statistics(of_documents, vocabulary, bootstrap))
        for model, of_documents, vocabulary in _tokens(documents, vocabularies, DOCUMENT_COLUMNS)
    )
    lines, across = _compared(spec)
    parts = attribution_parts(_scores(scores), statistics, lines, bootstrap, across)
    write_parts("attribution", parts, outputs)


def compare_steps(spec: Mapping[str, Any], scores: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write the tests of what each step of the lineage changes, and what it changes at matched entropy.

    Raises:
        CorruptFile: a file is not what was published.
        StudyError: stages that are to be compared were measured under different prompt formats only.
    """
    lines, across = _compared(spec)
    write_parts("tests", tests_parts(_scores(scores, VALUE_COLUMNS), lines, across), outputs)
    if "matched_attribution" in outputs:
        values = _scores(scores, VALUE_COLUMNS)
        write_parts("matched_attribution", matched_parts(values, lines, bootstrap_of(spec), across), outputs)


def _compared(spec: Mapping[str, Any]) -> tuple[Sequence[Sequence[str]], Mapping[str, Mapping[str, str]]]:
    """The paths whose steps are compared, and the pairs of formats that are compared with each other."""
    return paths(spec["lineage"]), spec["analysis"].get("across_formats", {})


def tabulate_costs(
    spec: Mapping[str, Any],
    scores: Sequence[Path],
    divergences: Sequence[Path],
    truth: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write how far each stage is from the reference, and what diversity it costs for the quality it gains.

    `truth` is the table of a world's true values, if there is one.

    Raises:
        CorruptFile: a file is not what was published.
    """
    bootstrap, reference = bootstrap_of(spec), spec["reference"]
    measured = (
        (model_of_table(table), table.to_pandas())
        for table in (read_sealed(path, ["prompts", "prompt", "n_tokens", "kl"]) for path in divergences)
    )
    distances = divergence_table(measured, reference, spec["best_of"], spec["formats"], spec["prompts"], bootstrap)
    descendants = below(paths(spec["lineage"]), reference)
    stages = [stage for stage in spec["stages"] if stage in descendants]
    known = read_sealed(truth[0]).to_pandas() if truth else None
    write_parts("divergence", [distances], outputs)
    values = _scores(scores, VALUE_COLUMNS)
    write_parts("costs", costs_parts(values, distances, stages, reference, bootstrap, known), outputs)


def split_format_effects(spec: Mapping[str, Any], scores: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write how much of what seems the effect of a stage is that of the words around the prompt.

    Raises:
        CorruptFile: a file is not what was published.
    """
    changes = [Change(*change) for change in spec["changes"]]
    parts = format_effect_parts(_scores(scores), changes, spec["formats"], bootstrap_of(spec))
    write_parts("format_effect", parts, outputs)
