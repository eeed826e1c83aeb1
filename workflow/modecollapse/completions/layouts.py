"""Files of finished completions in, one table per temperature out, in the layout of a generated cell.

Two layouts are read. `analyse-llms`: the published `.npy` files of O'Mahony et al. (2024), an object array of shape
(temperatures, prompts, 1) whose elements are lists of strings; its axes carry no names, so the study's order of
temperatures and prompts gives them. `table`: a Parquet or JSON Lines file with one row per completion and the columns
`prompt` (an id of the prompt set), `sample` (0 … n - 1), `temperature` (text or number), `text`, and optionally
`finish_reason` and `n_tokens`. Texts are taken as they stand: nothing is stripped or cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa

from modecollapse.cell_tables import CELL_SCHEMA
from modecollapse.completions.npy import read_string_lists, refuse
from modecollapse.completions.rows import Row, numeric_temperature, read_rows
from modecollapse.completions.unpickler import STRINGS


class Layout(StrEnum):
    """How a file of completions is laid out."""

    ANALYSE_LLMS = "analyse-llms"
    TABLE = "table"


@dataclass(frozen=True)
class Completion:
    """One finished completion; `n_tokens` is None where nobody counted."""

    text: str
    finish_reason: str = "unknown"
    n_tokens: int | None = None


Grid = Mapping[str, Mapping[str, Sequence[Completion]]]
"""Completions by temperature and prompt id, in order of sample."""


def read_completions(
    path: Path, *, layout: Layout | str, prompts: Sequence[str], temperatures: Sequence[str]
) -> dict[str, pa.Table]:
    """One table (`CELL_SCHEMA`) per temperature, rows ordered by prompt as in `prompts`, then by sample.

    Args:
        path: The file.
        layout: "analyse-llms" or "table".
        prompts: Ids of the prompt set, in its order; exactly these must be in the file.
        temperatures: As the study writes them. For "analyse-llms" they name the whole first axis; from a "table" these
            are taken, and rows of other temperatures are left out.

    Raises:
        StudyError: the file is missing or unreadable, or holds anything else than a full grid of clean texts.
    """
    grid = _read_grid(path, layout, prompts, temperatures)
    return {temperature: _table(by_prompt) for temperature, by_prompt in grid.items()}


def check_completions(path: Path, *, layout: Layout | str, prompts: Sequence[str], temperatures: Sequence[str]) -> int:
    """Raise the `StudyError` that `read_completions` would raise; returns the number of completions per prompt.

    The whole file is read, as a header says nothing about what comes after it (0.05 s for a published file), but no
    table is built: for that pyarrow imports pandas.
    """
    grid = _read_grid(path, layout, prompts, temperatures)
    return len(grid[temperatures[0]][prompts[0]])


def _read_grid(path: Path, layout: Layout | str, prompts: Sequence[str], temperatures: Sequence[str]) -> Grid:
    read = {Layout.ANALYSE_LLMS: _read_analyse_llms, Layout.TABLE: _read_table}[Layout(layout)]
    grid = read(path, prompts, temperatures)
    counts = {len(samples) for by_prompt in grid.values() for samples in by_prompt.values()}
    if len(counts) != 1 or counts == {0}:
        found = f"between {min(counts)} and {max(counts)} completions per prompt and temperature"
        raise refuse(path, found, "the same number, at least 1, everywhere")
    _check_texts(path, grid)
    return grid


def _read_analyse_llms(path: Path, prompts: Sequence[str], temperatures: Sequence[str]) -> Grid:
    shape, lists = read_string_lists(path)
    expected = (len(temperatures), len(prompts), 1)
    if shape != expected:
        allowed = f"shape {expected}, for the study's {len(temperatures)} temperatures and {len(prompts)} prompts"
        raise refuse(path, f"{STRINGS.holds} of shape {shape}", allowed)
    cells = iter(lists)
    return {
        temperature: {prompt: [Completion(text) for text in next(cells)] for prompt in prompts}
        for temperature in temperatures
    }


def _read_table(path: Path, prompts: Sequence[str], temperatures: Sequence[str]) -> Grid:
    names = {numeric_temperature(temperature): temperature for temperature in temperatures}
    samples: dict[tuple[str, str], dict[int, Completion]] = {(t, p): {} for t in temperatures for p in prompts}
    seen: set[str] = set()
    for place, row in read_rows(path):
        seen.add(f"temperature {row.temperature}")
        temperature = names.get(numeric_temperature(row.temperature))
        if row.prompt not in prompts:
            raise refuse(path, f"the prompt {row.prompt!r} in {place}", f"the prompt set's ids, {_some(prompts)}")
        if temperature is None:
            continue
        numbered = samples[temperature, row.prompt]
        if row.sample in numbered:
            found = f"sample {row.sample} of {row.prompt!r} at temperature {row.temperature} again in {place}"
            raise refuse(path, found, "each sample once")
        numbered[row.sample] = _completion(row)
    for (temperature, prompt), numbered in samples.items():
        if not numbered:
            found = f"no completions of {prompt!r} at temperature {temperature} (it has {_some(sorted(seen))})"
            raise refuse(path, found, "completions of every prompt at every temperature of the study")
        if max(numbered) != len(numbered) - 1:
            found = (
                f"{len(numbered)} samples of {prompt!r} at temperature {temperature}, numbered up to {max(numbered)}"
            )
            raise refuse(path, found, "samples numbered 0, 1, 2, … without a gap")
    return {t: {p: [samples[t, p][i] for i in sorted(samples[t, p])] for p in prompts} for t in temperatures}


def _completion(row: Row) -> Completion:
    return Completion(row.text, row.finish_reason or "unknown", row.n_tokens)


def _check_texts(path: Path, grid: Grid) -> None:
    for temperature, by_prompt in grid.items():
        for prompt, samples in by_prompt.items():
            for sample, completion in enumerate(samples):
                if fault := _fault(completion.text):
                    found = f"{fault} in sample {sample} of {prompt!r} at temperature {temperature}"
                    raise refuse(path, found, "texts of Unicode characters, without NUL")


def _fault(text: str) -> str | None:
    if "\0" in text:
        return "a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "half a surrogate pair"
    return None


def _table(by_prompt: Mapping[str, Sequence[Completion]]) -> pa.Table:
    rows = [(prompt, i, c) for prompt, completions in by_prompt.items() for i, c in enumerate(completions)]
    return pa.table(
        {
            "prompt": [prompt for prompt, _, _ in rows],
            "sample": [sample for _, sample, _ in rows],
            "text": [completion.text for _, _, completion in rows],
            "finish_reason": [completion.finish_reason for _, _, completion in rows],
            "n_tokens": [completion.n_tokens for _, _, completion in rows],
            "log_probs": [None] * len(rows),
        },
        schema=CELL_SCHEMA,
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
