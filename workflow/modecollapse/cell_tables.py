"""The table of a cell: one row per completion, ordered by prompt, then sample."""

import pyarrow as pa

CELL_SCHEMA = pa.schema(
    [
        ("prompt", pa.string()),
        ("sample", pa.int32()),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("n_tokens", pa.int32()),
        ("log_probs", pa.list_(pa.float32())),
    ]
)
"""`prompt` is an id; `text` the completion without special tokens, cut before a stop string; `finish_reason` "eos",
"stop", "length" or "unknown"; `n_tokens` the generated tokens, end-of-text included, null if unknown; `log_probs` the
log-probability (nats) of each sampled token under the distribution it was drawn from, null if unknown."""


def cell_record(table: pa.Table) -> dict[str, str]:
    """What a cell was made with: engine and library versions, device, threads, number format, rows per batch."""
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
