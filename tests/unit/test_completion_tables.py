import json
import random
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modecollapse.cell_tables import CELL_SCHEMA
from modecollapse.completions import read_completions
from modecollapse.errors import StudyError

PROMPTS = ["p1", "p2", "p3"]
TEMPERATURES = ["0.5", "1.0"]


def read(path: Path) -> dict[str, pa.Table]:
    return read_completions(path, layout="table", prompts=PROMPTS, temperatures=TEMPERATURES)


def rows() -> list[dict[str, Any]]:
    return [
        {
            "prompt": prompt,
            "sample": sample,
            "temperature": temperature,
            "text": f" {prompt} {temperature} {sample}\u2028",
        }
        for temperature in TEMPERATURES
        for prompt in PROMPTS
        for sample in range(2)
    ]


def jsonl(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_json_lines_and_parquet_give_the_same_tables(tmp_path: Path) -> None:
    records = [{**row, "finish_reason": "eos", "n_tokens": 5 + row["sample"]} for row in rows()]
    random.Random(0).shuffle(records)
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    from_lines, from_parquet = (
        read(jsonl(tmp_path / "a.jsonl", records)),
        read(tmp_path / "a.parquet"),
    )
    assert from_lines == from_parquet
    assert from_lines["0.5"].schema == CELL_SCHEMA
    assert from_lines["0.5"].slice(3, 1).to_pylist() == [
        {
            "prompt": "p2",
            "sample": 1,
            "text": " p2 0.5 1\u2028",
            "finish_reason": "eos",
            "n_tokens": 6,
            "log_probs": None,
        }
    ]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64(), pa.string(), pa.large_string()])
def test_temperatures_match_as_numbers_however_they_are_stored(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.Table.from_pylist(
        [{**row, "temperature": {"0.5": "0.70", "1.0": "1"}[row["temperature"]]} for row in rows()]
    )
    pq.write_table(table.set_column(2, "temperature", table["temperature"].cast(kind)), tmp_path / "a.parquet")
    tables = read_completions(tmp_path / "a.parquet", layout="table", prompts=PROMPTS, temperatures=["1.0", "0.7"])
    assert tables["0.7"]["text"][0].as_py() == " p1 0.5 0\u2028"


def test_temperatures_that_the_study_does_not_ask_for_are_left_out(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", rows())
    assert list(read_completions(path, layout="table", prompts=PROMPTS, temperatures=["1.0"])) == ["1.0"]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ({"prompt": "p9"}, "the prompt 'p9' in line 1.* Allowed: the prompt set's ids, p1, p2, p3"),
        ({"sample": 1}, r"sample 1 of 'p1' at temperature 0\.5 again in line 2"),
        ({"sample": 7}, "2 samples of 'p1' at temperature 0.5, numbered up to 7"),
        ({"sample": -1}, "-1 as 'sample' in line 1"),
        ({"sample": True}, "True as 'sample' in line 1"),
        ({"sample": 0.0}, "0.0 as 'sample' in line 1"),
        ({"temperature": 0}, "0 as 'temperature' in line 1"),
        ({"temperature": "warm"}, "'warm' as 'temperature' in line 1"),
        ({"temperature": True}, "True as 'temperature' in line 1"),
        ({"text": None}, "None as 'text' in line 1"),
        ({"text": 3}, "3 as 'text' in line 1"),
        ({"text": "x\0"}, "a NUL character in sample 0 of 'p1'"),
        ({"text": "x\udc00"}, "half a surrogate pair in sample 0 of 'p1'"),
        ({"finish_reason": "done"}, "'done' as 'finish_reason' in line 1.* Allowed: eos, stop, length, unknown"),
        ({"finish_reason": ""}, "'' as 'finish_reason' in line 1"),
        ({"finish_reason": ["eos"]}, r"\['eos'\] as 'finish_reason' in line 1"),
        ({"n_tokens": -3}, "-3 as 'n_tokens' in line 1"),
        ({"txet": "a"}, "the columns prompt, sample, temperature, text, txet in line 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_line(tmp_path: Path, edit: dict[str, Any], found: str) -> None:
    records = rows()
    records[0] |= edit
    with pytest.raises(StudyError, match=rf"a\.jsonl holds {found}"):
        read(jsonl(tmp_path / "a.jsonl", records))


def test_a_missing_column_temperature_or_completion_is_refused(tmp_path: Path) -> None:
    without = [{key: value for key, value in row.items() if key != "sample"} for row in rows()]
    with pytest.raises(StudyError, match="no 'sample' in line 1"):
        read(jsonl(tmp_path / "a.jsonl", without))
    only = [row for row in rows() if row["temperature"] == "0.5"]
    with pytest.raises(StudyError, match=r"no completions of 'p1' at temperature 1\.0 \(it has temperature 0\.5\)"):
        read(jsonl(tmp_path / "a.jsonl", only))
    with pytest.raises(StudyError, match="between 1 and 2 completions"):
        read(jsonl(tmp_path / "a.jsonl", rows()[:-1]))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.jsonl", b"", "no completions of 'p1'"),
        ("a.jsonl", b"[1]\n", "a JSON list in line 1"),
        ("a.jsonl", b'{"prompt": \n', "no JSON in line 1"),
        ("a.jsonl", b'{"prompt": "p1", "sample": NaN}\n', "no JSON in line 1 .*NaN"),
        ("a.jsonl", b"[" * 100_000, "no JSON in line 1"),
        ("a.jsonl", b'\n{"text": "\xff"}\n', "bytes that are not UTF-8"),
        ("a.parquet", b"", "no readable Parquet table"),
        ("a.parquet", b"PAR1 and so on PAR1", "no readable Parquet table"),
        ("a.csv", b"prompt,sample\n", r"something with the suffix '\.csv'"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=rf"{name} holds {found}"):
        read(tmp_path / name)


def test_a_truncated_parquet_file_or_one_with_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(rows()), path, write_page_checksum=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StudyError, match="no readable Parquet table"):
        read(path)
    path.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(StudyError, match="no readable Parquet table"):
        read(path)


def test_parquet_strings_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows())
    offsets = struct.pack("<13i", *range(13))
    texts = pa.Array.from_buffers(pa.string(), 12, [None, pa.py_buffer(offsets), pa.py_buffer(b"\xff" * 12)])
    pq.write_table(table.set_column(3, "text", texts), tmp_path / "a.parquet")
    with pytest.raises(StudyError, match="no readable Parquet table"):
        read(tmp_path / "a.parquet")
