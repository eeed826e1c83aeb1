"""The tidy tables of a study as files: their columns and types, and how they are published and checked."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from modecollapse.digests import sha256_file
from modecollapse.errors import CorruptFile
from modecollapse.publishing import publish_file
from modecollapse.sealed import read_sealed, regrouped, write_sealed_parts

Column = tuple[str, pa.DataType]


def _counts(*names: str) -> list[Column]:
    return [(name, pa.int64()) for name in names]


def _numbers(*names: str) -> list[Column]:
    return [(name, pa.float64()) for name in names]


_CELL = [("prompts", pa.string()), ("format", pa.string()), ("temperature", pa.string())]
_METRIC = [("words", pa.int32()), ("metric", pa.string()), ("definition", pa.string())]
_MODEL = [("size", pa.string()), ("seed", pa.int64()), ("stage", pa.string())]
_POOLED = [("size", pa.string()), ("stage", pa.string())]
_INTERVAL = [("value", pa.float64()), ("low", pa.float64()), ("high", pa.float64())]
_COMPLETION_SE = [("completion_se", pa.float64())]
_CHANGE = [(name, pa.string()) for name in ("path", "step", "format_before", "format_after")]
_DELTA = [(name, pa.float64()) for name in ("delta", "low", "high", "share", "share_low", "share_high")]
_TASK = [("task", pa.string()), ("shots", pa.int64()), ("filter", pa.string()), ("metric", pa.string())]
_ASKED = [
    *(("n", pa.int64()), ("chance", pa.float64()), ("higher_is_better", pa.bool_()), ("n_truncated", pa.int64())),
    ("version", pa.string()),
]
_CONTRAST = [(name, pa.string()) for name in ("definition", "size", "stage", "reference")]
_SIDE = ("difference", "normalised", "low", "high", "normalised_mad", "effect", "effect_low", "effect_high", "p", "q")
_TOKENS = [("metric", pa.string()), ("definition", pa.string()), ("unit", pa.string())]

SCHEMAS: Mapping[str, pa.Schema] = {
    "diversity": pa.schema(
        [*_MODEL, *_CELL, *_METRIC, *_INTERVAL, *_COMPLETION_SE, *_counts("n_prompts", "n_completions")]
    ),
    "curves": pa.schema(
        [*_POOLED, *_CELL, *_METRIC, *_INTERVAL, *_COMPLETION_SE, *_counts("n_seeds", "n_prompts", "n_completions")]
    ),
    "tokens": pa.schema([*_MODEL, *_TOKENS, *_INTERVAL, *_counts("n_documents", "n_tokens")]),
    "tokens_pooled": pa.schema([*_POOLED, *_TOKENS, *_INTERVAL, *_counts("n_seeds", "n_documents", "n_tokens")]),
    "benchmarks": pa.schema([*_MODEL, *_TASK, *_numbers("value", "se", "low", "high"), *_ASKED]),
    "benchmarks_pooled": pa.schema(
        [*_POOLED, *_TASK, *_numbers("value", "se", "low", "high"), *_counts("n_seeds"), *_ASKED]
    ),
    "benchmark_tests": pa.schema(
        [
            *(("size", pa.string()), *_TASK, ("path", pa.string()), ("step", pa.string())),
            *_counts("n", "n_seeds", "lost", "gained"),
            *(*_numbers("difference", "low", "high"), ("test", pa.string()), *_numbers("p", "p_holm")),
            *(("family", pa.string()), *_counts("n_family")),
        ]
    ),
    "candidates": pa.schema(
        [
            *(*_POOLED, ("reference", pa.string()), ("level", pa.string()), *_TASK, *_INTERVAL, *_numbers("margin")),
            *(("verdict", pa.string()), *_numbers("low_confidence", "high_confidence")),
            *(*_counts("n", "n_seeds"), ("definition", pa.string())),
        ]
    ),
    "candidate_merits": pa.schema(
        [
            *(*_POOLED, ("reference", pa.string()), ("verdict", pa.string()), ("quantity", pa.string())),
            *(("prompts", pa.string()), ("format", pa.string()), ("metric", pa.string()), *_INTERVAL),
            *(*_counts("n_seeds", "n_prompts"), ("definition", pa.string())),
        ]
    ),
    "rewards": pa.schema(
        [
            *(*_POOLED, *((name, pa.string()) for name in ("data", "task", "better", "quantity")), *_INTERVAL),
            *_counts("n_seeds", "n_pairs", "n_prompts", "n_ties"),
        ]
    ),
    "filters": pa.schema(
        [
            *((name, pa.string()) for name in ("data", "size", "seed", "transformation", "task", "outcome")),
            *(("kept", pa.bool_()), *_counts("n"), *_numbers("share", "bound"), *_counts("n_own")),
        ]
    ),
    "perplexities": pa.schema(
        [
            *((name, pa.string()) for name in ("data", "size", "seed", "task", "text")),
            *(*_counts("n"), *_numbers("quantile", "perplexity", "bound")),
        ]
    ),
    "data_cards": pa.schema(
        [
            *((name, pa.string()) for name in ("data", "size", "seed", "types", "task", "quantity", "other")),
            *(*_numbers("level"), *_INTERVAL, *_counts("n")),
        ]
    ),
    "label_agreement": pa.schema(
        [
            *((name, pa.string()) for name in ("size", "data", "labelled_by", "task", "quantity")),
            *(*_INTERVAL, *_counts("n_seeds", "n_pairs", "n_annotators", "n_labels")),
        ]
    ),
    "published_tokens": pa.schema(
        [
            *_POOLED,
            *_TOKENS,
            *_INTERVAL,
            *_counts("n_seeds", "n_documents"),
            *((name, pa.string()) for name in ("published_model", "published_stage", "source")),
            *(("published", pa.float64()), ("decimals", pa.int64())),
            *((name, pa.float64()) for name in ("difference", "relative_difference")),
        ]
    ),
    "vocabulary_cdf": pa.schema([*_MODEL, ("rank_share", pa.float64()), ("mass", pa.float64())]),
    "attribution": pa.schema(
        [
            *(("size", pa.string()), ("level", pa.string()), *_CELL, *_METRIC),
            *(*_CHANGE, *_DELTA, *_COMPLETION_SE, *_counts("n_prompts", "n_seeds")),
        ]
    ),
    "matched_attribution": pa.schema(
        [
            *(("size", pa.string()), ("prompts", pa.string()), ("format", pa.string()), *_METRIC),
            *(*_CHANGE, *_DELTA, ("entropy_low", pa.float64()), ("entropy_high", pa.float64())),
            *(*_counts("n_temperatures", "n_prompts", "n_seeds"), ("note", pa.string())),
        ]
    ),
    "tests": pa.schema(
        [
            *(("size", pa.string()), *_CELL, *_METRIC, *_CHANGE),
            *(*_counts("n_prompts", "n_zero", "n_seeds"), ("difference", pa.float64()), ("w", pa.float64())),
            *((name, pa.float64()) for name in ("p", "p_holm", "rank_biserial", "d_z")),
            *(("family", pa.string()), *_counts("n_family")),
        ]
    ),
    "format_effect": pa.schema(
        [
            *(("size", pa.string()), ("prompts", pa.string()), ("temperature", pa.string()), *_METRIC),
            *((name, pa.string()) for name in ("step", "format_before", "format_after", "effect", "within")),
            *(*_DELTA, *_COMPLETION_SE, *_counts("n_prompts", "n_seeds")),
        ]
    ),
    "divergence": pa.schema(
        [
            *(*_POOLED, ("prompts", pa.string()), ("format", pa.string()), ("reference", pa.string()), *_INTERVAL),
            *(*_numbers("per_token"), ("source", pa.string()), *_counts("n_seeds", "n_prompts", "n_completions")),
        ]
    ),
    "costs": pa.schema(
        [
            *(*_POOLED, ("reference", pa.string()), *_CELL, *_METRIC, ("quality", pa.string())),
            *_numbers("loss", "loss_low", "loss_high", "gain", "gain_low", "gain_high"),
            *(*_numbers("cost", "cost_low", "cost_high", "kl", "tilted_loss", "tilted_gain"),),
            *_counts("n_seeds", "n_prompts"),
        ]
    ),
    "repetition": pa.schema(
        [
            *(*_POOLED, *_CELL, ("kind", pa.string()), *_INTERVAL, ("parent", pa.string())),
            *_numbers("before", "difference", "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high"),
            *_counts("n_seeds", "n_prompts", "n_completions"),
        ]
    ),
    "semantic": pa.schema(
        [
            *(*_POOLED, *_CELL, ("quantity", pa.string()), *_INTERVAL, ("parent", pa.string())),
            *_numbers("before", "difference", "difference_low", "difference_high"),
            *_counts("n_seeds", "n_prompts", "n_outputs"),
        ]
    ),
    "semantic_outputs": pa.schema(
        [
            *(*_MODEL, *_CELL, ("prompt", pa.string()), ("sample", pa.int32()), *_numbers("similarity")),
            *(("cluster", pa.int32()), *_numbers("x", "y"), ("text", pa.string())),
        ]
    ),
    "semantic_clusters": pa.schema(
        [
            *(*_MODEL, *_CELL, ("prompt", pa.string()), ("cluster", pa.int32()), *_counts("n"), *_numbers("share")),
            ("text", pa.string()),
        ]
    ),
    "attractor": pa.schema(
        [
            *(*_POOLED, ("temperature", pa.string()), ("arm", pa.string()), ("quantity", pa.string()), *_INTERVAL),
            *_numbers("covered"),
            *_counts("n_modes", "n_modes_without_verb", "n_continuations", "n_seeds"),
        ]
    ),
    "attractor_modes": pa.schema(
        [
            *(*_MODEL, ("temperature", pa.string()), ("mode", pa.int32())),
            *_numbers("share", "returned_perturbed", "returned_unperturbed"),
            *((name, pa.string()) for name in ("prefix", "negated", "text")),
        ]
    ),
    "attractor_tokens": pa.schema(
        [
            *(*_MODEL, ("temperature", pa.string()), ("mode", pa.int32()), ("arm", pa.string())),
            *(("position", pa.int32()), ("token", pa.string()), *_numbers("probability"), ("before", pa.string())),
        ]
    ),
    "confidence": pa.schema(
        [*_POOLED, ("question", pa.string()), *_numbers("mean", "median", "top_mean"), *_counts("n_tokens", "n_seeds")]
    ),
    "confidence_tokens": pa.schema(
        [
            *(*_MODEL, ("question", pa.string()), ("position", pa.int32()), ("token", pa.string())),
            *(*_numbers("probability", "top_prob"), ("before", pa.string())),
        ]
    ),
    "top_entropy": pa.schema(
        [
            *(*_POOLED, ("quantity", pa.string()), *_numbers("value", "sd", "low", "high"), ("parent", pa.string())),
            *_numbers("before", "difference", "difference_low", "difference_high", "p_value", "truth", "ended"),
            *_counts("n_seeds", "n_outputs"),
        ]
    ),
    "top_entropy_outputs": pa.schema(
        [
            *(*_MODEL, ("sample", pa.int32()), *_numbers("top_entropy", "top_entropy_renormalised", "entropy")),
            *(*_numbers("mass_of_top", "entropy_per_output"), *_counts("n_tokens"), ("ended", pa.bool_())),
        ]
    ),
    "top_entropy_tokens": pa.schema(
        [
            *(*_MODEL, ("sample", pa.int32()), ("position", pa.int32()), ("token", pa.string())),
            *_numbers("probability", "top_entropy", "top_entropy_renormalised", "entropy"),
            *(("rank", pa.int32()), ("top_token", pa.string()), *_numbers("top_probability")),
        ]
    ),
    "choices": pa.schema(
        [
            *(*_MODEL, ("question", pa.string()), ("choice", pa.string())),
            *_numbers("probability", "true_probability"),
        ]
    ),
    "choice_summary": pa.schema(
        [
            *(*_POOLED, ("question", pa.string()), ("quantity", pa.string()), *_INTERVAL, *_numbers("truth")),
            *(("parent", pa.string()), *_numbers("before", "difference", "difference_low", "difference_high")),
            *_counts("n_seeds"),
        ]
    ),
    "next_tokens": pa.schema(
        [
            *(*_MODEL, ("question", pa.string()), ("rank", pa.int32()), ("token", pa.string())),
            *_numbers("probability"),
        ]
    ),
    "responses": pa.schema(
        [
            *(*_MODEL, ("question", pa.string()), ("format", pa.string()), ("sample", pa.int32())),
            ("text", pa.string()),
        ]
    ),
    "personas": pa.schema(
        [
            *(*_POOLED, *((name, pa.string()) for name in ("format", "field", "quantity")), *_INTERVAL),
            *(("parent", pa.string()), *_numbers("before", "difference"), ("test", pa.string())),
            *(*_numbers("p", "p_holm", "truth"), *_counts("n_seeds", "n", "n_family")),
        ]
    ),
    "persona_values": pa.schema(
        [
            *(*_MODEL, *((name, pa.string()) for name in ("format", "field", "kind", "value"))),
            *(*_counts("n"), *_numbers("share", "true_share")),
        ]
    ),
    "persona_reviews": pa.schema(
        [
            *(
                *_MODEL,
                ("format", pa.string()),
                ("sample", pa.int32()),
                ("parsed", pa.bool_()),
                ("reason", pa.string()),
            ),
            *_numbers("characters", "words", "polarity"),
        ]
    ),
    "persona_sentences": pa.schema(
        [
            *(*_MODEL, ("format", pa.string()), ("sample", pa.int32()), ("sentence", pa.int32())),
            *(("cluster", pa.int32()), *_numbers("x", "y"), ("text", pa.string())),
        ]
    ),
    "persona_clusters": pa.schema(
        [
            *_MODEL,
            ("format", pa.string()),
            ("cluster", pa.int32()),
            *_counts("n"),
            *_numbers("share"),
            ("text", pa.string()),
        ]
    ),
    "samples": pa.schema([*_MODEL, *_CELL, ("prompt", pa.string()), ("sample", pa.int32()), ("text", pa.string())]),
    "comparison": pa.schema(
        [
            *(*_MODEL, ("metric", pa.string()), ("kind", pa.string()), ("assignment", pa.string())),
            *_counts("n", "n_undefined", "n_undefined_stored", "n_undefined_mismatch"),
            *_numbers("max_difference", "mean_difference", "bias", "correlation", "tolerance"),
            *(("within", pa.bool_()), ("chosen", pa.bool_()), ("margin", pa.float64())),
        ]
    ),
    "order_q": pa.schema(
        [
            *(*_MODEL, ("prompts", pa.string()), *_counts("order", "n", "n_undefined")),
            *_numbers("expected_undefined", "draws", "draws_zeros", "draws_zeros_low", "draws_zeros_high"),
            *(*_numbers("draws_scatter"), *_counts("n_z")),
            *_numbers("mean_z", "se_z", "sd_z", "mean_z_distinct"),
        ]
    ),
    "published": pa.schema(
        [
            *(*_POOLED, ("key", pa.string()), ("prompts", pa.string()), ("format", pa.string())),
            *(("metric", pa.string()), ("temperature", pa.string()), *_INTERVAL, *_counts("n_seeds", "n_prompts")),
        ]
    ),
    "consequence": pa.schema(
        [
            *(("size", pa.string()), ("path", pa.string()), ("step", pa.string()), ("metric", pa.string())),
            *(("labels", pa.string()), ("prompts", pa.string()), *_INTERVAL, *_counts("n_seeds", "n_prompts")),
        ]
    ),
    "win_rates": pa.schema(
        [
            *((name, pa.string()) for name in ("judge", "size", "stage", "reference", "temperature", "task")),
            *(*_counts("wins", "ties", "losses", "refusals", "unreadable", "n"), *_INTERVAL),
            *_numbers("controlled", "controlled_low", "controlled_high", "longer", "consistent", "first"),
            *(*_counts("n_seeds", "n_prompts"), *_numbers("p", "p_holm")),
            *(("family", pa.string()), *_counts("n_family")),
        ]
    ),
    "judge_agreement": pa.schema(
        [
            *((name, pa.string()) for name in ("size", "judge", "other", "task", "counted")),
            *_numbers("agreement", "low", "high", "chance", "kappa", "kappa_low", "kappa_high"),
            *(("beyond_chance", pa.bool_()), *_counts("n", "n_seeds", "n_prompts")),
        ]
    ),
    "judged_pairs": pa.schema(
        [
            *(*_MODEL, ("reference", pa.string())),
            *((name, pa.string()) for name in ("prompts", "prompt", "task", "temperature")),
            *(("sample", pa.int32()), ("judge", pa.string())),
            *((name, pa.string()) for name in ("order", "verdict", "reply", "answered_by")),
            *_numbers("score", "reference_score"),
            *((name, pa.string()) for name in ("question", "text", "reference_text")),
        ]
    ),
    "text_features": pa.schema(
        [
            *(*_CONTRAST, *((name, pa.string()) for name in ("kind", "split", "category", "feature"))),
            *(*_numbers("scale", "scale_mad"), ("scaled_by", pa.string())),
            *(*_counts("data_n"), *_numbers(*(f"data_{name}" for name in _SIDE))),
            *(*_counts("answer_n"), *_numbers(*(f"answer_{name}" for name in _SIDE))),
            *(*_numbers("agreement"), ("reason", pa.string())),
        ]
    ),
    "text_feature_alignment": pa.schema(
        [
            *(*_CONTRAST, ("split", pa.string()), *_counts("features", "agreeing")),
            *_numbers("pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high"),
        ]
    ),
    "text_feature_rows": pa.schema(
        [
            *(*_CONTRAST, *((name, pa.string()) for name in ("kind", "split", "feature", "whose"))),
            *(*_counts("n", "dropped"), *_numbers("words_kept", "words_dropped")),
        ]
    ),
    "text_feature_means": pa.schema(
        [
            *(*_POOLED, *((name, pa.string()) for name in ("kind", "split", "role", "category", "feature"))),
            *(*_counts("n", "undefined"), *_numbers("mean", "sd", "median")),
        ]
    ),
    "training": pa.schema(
        [*_MODEL, ("step", pa.int64()), ("quantity", pa.string()), ("value", pa.float64())],
    ),
}
"""Columns and types of every table made here, in order."""


def joined(name: str, parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The table called `name` from its consecutive parts."""
    held = list(parts)
    if not held:
        return SCHEMAS[name].empty_table().to_pandas()
    return pd.concat(held, ignore_index=True)[SCHEMAS[name].names]


FAILING = "failing"
"""Last column of every table of stages in a study with guard rails: those that a row is about and that fail theirs."""

Failing = Mapping[str, frozenset[str]]
"""Size → the stages that fail their guard rails."""


def failing_stages(candidates: Path) -> Failing:
    """The stages that fail their guard rails, from the table `candidates`.

    Raises:
        CorruptFile: the table is not what was published.
    """
    found: dict[str, frozenset[str]] = {}
    for row in read_sealed(candidates, ["size", "stage", "level", "verdict"]).to_pylist():
        if (row["level"], row["verdict"]) == ("overall", "fails"):
            found[row["size"]] = found.get(row["size"], frozenset()) | {row["stage"]}
    return found


def _marked(part: pd.DataFrame, failing: Failing) -> pd.DataFrame:
    """The rows with the column `failing`: names joined by commas, of a path in its order."""
    named = part["stage"] if "stage" in part else part["path" if "path" in part else "step"]
    found = [
        ",".join(stage for stage in str(stages).split(">") if stage in failing.get(str(size), ()))
        for size, stages in zip(part["size"], named, strict=True)
    ]
    return part.assign(**{FAILING: pd.Series(found, index=part.index, dtype=object)})


def write_table(
    name: str, parts: Iterable[pd.DataFrame], parquet: Path, csv: Path, failing: Failing | None = None
) -> None:
    """Publish a table, given in consecutive parts, as sealed Parquet and as CSV (full precision, UTF-8).

    Parts are written as they come, so that a large table is never in memory as a whole. In a study with guard rails
    a table about stages gets the column `failing`.
    """
    schema = SCHEMAS[name]
    if failing is not None and {"stage", "path", "step"} & set(schema.names):
        schema = schema.append(pa.field(FAILING, pa.string()))
        parts = (_marked(part, failing) for part in parts)
    publish_table(schema, (pa.Table.from_pandas(part, schema, preserve_index=False) for part in parts), parquet, csv)


def publish_table(schema: pa.Schema, parts: Iterable[pa.Table], parquet: Path, csv: Path) -> None:
    """Publish a table, given in consecutive parts, as CSV and as sealed Parquet, which holds the digest of the CSV."""

    def written() -> Iterator[pa.Table]:
        with publish_file(csv) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            for number, group in enumerate(regrouped(schema, parts)):
                group.to_pandas().to_csv(file, index=False, lineterminator="\n", header=number == 0)
                yield group

    write_sealed_parts(schema, written(), parquet, lambda: {"csv_sha256": sha256_file(csv)})


def verify_table(parquet: Path, csv: Path) -> None:
    """Check both files of a table.

    Raises:
        CorruptFile: one of them is not what was published.
    """
    expected = (read_sealed(parquet, []).schema.metadata or {})[b"csv_sha256"].decode()
    if not csv.is_file() or sha256_file(csv) != expected:
        raise CorruptFile(
            f"{csv} is corrupt: its bytes do not match the SHA-256 in {parquet}. "
            "Delete it and run the same command again to make it anew."
        )
