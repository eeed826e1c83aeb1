"""Odd completions from their file to their scores: a defined number or a clear error, never a silent one."""

import json
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modecollapse.cells import Cell, Model
from modecollapse.completions import read_completions
from modecollapse.errors import StudyError
from modecollapse.jobs.embeddings import embed_cells
from modecollapse.jobs.generations import import_completions
from modecollapse.jobs.running import Job
from modecollapse.jobs.scores import score_model
from modecollapse.measures.embedder import EmbedderSettings
from modecollapse.measures.embedding import embed
from modecollapse.metrics.registry import METRICS
from modecollapse.sealed import read_sealed
from modecollapse.store import Store

MODEL = Model("mine", 0, "base")
CELL = Cell(MODEL, "questions", "human", "1.0")
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"
ODD = [
    "",
    " \u00a0\u2028\x1c\n",
    "שלום עולם \u202eabc",
    f"{FAMILY} {FAMILY} e\u0301 é",
    "one\u2028two\x1cthree\x85four\u3000five",
    "\ufeffİstanbul ß ẞ Human: what",
    "<b>&amp;</b> \\n \\u0000 '\"",
]
FORMS = ["jsonl", "parquet", "npy"]


def write(directory: Path, form: str, texts: Sequence[Sequence[str]]) -> Path:
    """Completions to the prompts p0, p1, … at one temperature, in a file of this form."""
    path = directory / f"completions.{form}"
    rows = [
        {"prompt": f"p{prompt}", "sample": sample, "temperature": "1.0", "text": text}
        for prompt, of_prompt in enumerate(texts)
        for sample, text in enumerate(of_prompt)
    ]
    if form == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=bool(i % 2)) + "\n" for i, row in enumerate(rows)))
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        array = np.empty((1, len(texts), 1), dtype=object)
        for prompt, of_prompt in enumerate(texts):
            array[0, prompt, 0] = list(of_prompt)
        np.save(path, array, allow_pickle=True)
    return path


def imported(directory: Path, form: str, texts: Sequence[Sequence[str]]) -> Path:
    """The sealed cell made from such a file."""
    layout = "analyse-llms" if form == "npy" else "table"
    ids = [f"p{prompt}" for prompt in range(len(texts))]
    spec = {"layout": layout, "order": ["1.0"] if form == "npy" else None, "prompts": {"questions": ids}}
    cell = directory / "cell.parquet"
    files = {"questions": write(directory, form, texts)}
    import_completions({CELL: cell}, spec, files, {"questions": ids}, Store(directory / "store"))
    return cell


def scores(directory: Path, cell: Path, prompts: int, metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """All scores of the cell, with vectors of the real embedder where they are needed."""
    store, vectors = Store(directory / "store"), directory / "vectors.parquet"
    embedding = {"words": [20, 5], "embedder": EmbedderSettings().model_dump(), "threads": 1}
    embeds = any(METRICS[name].needs_embeddings for name in metrics)
    if embeds:
        embed_cells(embedding, [cell], vectors, store, Job(None))
    spec: dict[str, Any] = {
        "metrics": list(metrics),
        "words": [20, 5],
        "controlled": 2,
        "markers": {"human": ["Human:"]},
        "prompts": {"questions": [[f"p{prompt}", None, "", []] for prompt in range(prompts)]},
    }
    score_model(spec, MODEL, [cell], [vectors] if embeds else [], directory / "scores.parquet", store)
    return read_sealed(directory / "scores.parquet").to_pandas()


def value(frame: pd.DataFrame, metric: str, words: int, prompt: str = "p0", definition: str = "corrected") -> float:
    where = (frame["metric"] == metric) & (frame["words"] == words) & (frame["prompt"] == prompt)
    [found] = frame.loc[where & (frame["definition"] == definition), "value"]
    return float(found)


@pytest.mark.parametrize("form", FORMS)
def test_odd_texts_come_through_any_file_unchanged_and_are_scored(tmp_path: Path, form: str) -> None:
    cell = imported(tmp_path, form, [ODD])
    assert read_sealed(cell, ["text"]).column("text").to_pylist() == ODD
    frame = scores(tmp_path, cell, 1)
    assert value(frame, "empty_rate", 0) == 2 / 7
    assert value(frame, "mean_length", 0) == (0 + 0 + 3 + 4 + 5 + 5 + 4) / 7
    assert value(frame, "leak_rate", 5) == 1 / 7
    assert value(frame, "short_rate", 5) == 5 / 7
    assert value(frame, "distinct_answers_exact", 20) == 6, "the two without words are one answer"
    defined = frame[(frame["definition"] == "corrected") & (frame["words"] == 20)]
    assert np.isfinite(defined["value"]).all()


@pytest.mark.parametrize("form", FORMS)
def test_the_one_completion_of_a_prompt_has_counts_but_no_pairs(tmp_path: Path, form: str) -> None:
    frame = scores(tmp_path, imported(tmp_path, form, [["a b c d e f"], [""]]), 2)
    for pairwise in ("self_bleu", "jaccard_2", "ncd", "cosine", "compression_ratio_target"):
        assert math.isnan(value(frame, pairwise, 5))
    for counted in ("distinct_1", "vendi_jaccard", "vendi_cosine", "distinct_answers_80", "distinct_answers_exact"):
        assert value(frame, counted, 5) == pytest.approx(1)
    assert math.isnan(value(frame, "distinct_1", 5, "p1"))
    assert frame["se"].isna().all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("texts", [[["a", "b"], []], [[], []]])
def test_a_prompt_without_completions_is_refused(tmp_path: Path, form: str, texts: list[list[str]]) -> None:
    with pytest.raises(StudyError, match=r"holds (no completions of 'p\d'|between 0 and \d completions|no readable)"):
        imported(tmp_path, form, texts)


@pytest.mark.parametrize("form", FORMS)
def test_a_nul_character_is_refused_with_its_place(tmp_path: Path, form: str) -> None:
    with pytest.raises(StudyError, match="a NUL character in sample 1 of 'p0'"):
        imported(tmp_path, form, [["a", "b\0c"]])


@pytest.mark.parametrize("form", ["jsonl", "npy"])
def test_half_a_surrogate_pair_is_refused_with_its_place(tmp_path: Path, form: str) -> None:
    with pytest.raises(StudyError, match="half a surrogate pair in sample 1 of 'p0'"):
        imported(tmp_path, form, [["a", "b \ud83d"]])
    assert not (tmp_path / "cell.parquet").exists()


def test_a_key_given_twice_is_refused_instead_of_one_being_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "jsonl", [["a", "b"]])
    path.write_text(path.read_text().replace('"text": "b"', '"text": "b", "text": "c"'))
    with pytest.raises(StudyError, match=r"no JSON in line 2 \(one of the keys .*, text, text is given twice\)"):
        read_completions(path, layout="table", prompts=["p0"], temperatures=["1.0"])


def test_a_column_given_twice_is_refused_instead_of_one_being_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet", [["a", "b"]])
    pq.write_table(pq.read_table(path).append_column("text", pa.array(["c", "d"])), path)
    with pytest.raises(StudyError, match=r"no readable Parquet table \(Multiple matches"):
        read_completions(path, layout="table", prompts=["p0"], temperatures=["1.0"])


def long_texts(size: int) -> list[str]:
    generator = random.Random(0)
    return [
        "".join(generator.choices("abcdefghij", k=size)),
        "x" * size,
        " ".join(["w"] * size),
        " " * size,
        " ".join(map(str, range(size // 7))),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_completions_of_a_million_characters_are_read_unchanged(tmp_path: Path, form: str) -> None:
    texts = long_texts(1_000_000)
    assert read_sealed(imported(tmp_path, form, [texts]), ["text"]).column("text").to_pylist() == texts


def test_completions_of_a_million_characters_are_scored(tmp_path: Path) -> None:
    texts = [*long_texts(1_000_000)[::2], "the sea is blue and so is the sky"]
    frame = scores(tmp_path, imported(tmp_path, "jsonl", [texts]), 1)
    assert value(frame, "mean_length", 0) == (1 + 1_000_000 + 142_857 + 9) / 4
    assert value(frame, "distinct_answers_exact", 20) == 4
    assert np.isfinite(frame.loc[frame["definition"] == "corrected", "value"]).all()


def test_the_time_of_a_score_is_proportional_to_the_length_of_a_text(tmp_path: Path) -> None:
    metrics = [name for name, entry in METRICS.items() if not entry.needs_embeddings]
    seconds = []
    for size in (50_000, 400_000):
        (tmp_path / str(size)).mkdir()
        cell = imported(tmp_path / str(size), "jsonl", [[*long_texts(size), "the sea"]])
        start = time.process_time()
        scores(tmp_path / str(size), cell, 1, metrics)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 24 * seconds[0], "eight times the length took more than 24 times as long; 64 would be quadratic"


def test_the_embedder_has_a_unit_vector_for_any_string() -> None:
    vectors = embed([*ODD, "\ud800", "a\0b", "ab", "\0"], EmbedderSettings())
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    empty, nul_within, without, nul = (vectors[place] for place in (0, -3, -2, -1))
    assert (nul == empty).all()
    assert (nul_within == without).all()
