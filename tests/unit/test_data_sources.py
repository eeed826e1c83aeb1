"""Reading data sets of others: every format, what is broken in them, and samples of them."""

import gzip
import itertools
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from modecollapse.data.sources.files import format_of, hub_files, local_files
from modecollapse.data.sources.records import Broken, first_columns, read_records
from modecollapse.data.sources.rows import Reading, read_rows
from modecollapse.data.sources.sampling import Sample
from modecollapse.errors import CorruptFile, StudyError
from modecollapse.hub import Kind, Needed, Revision
from modecollapse.jobs.data import read_data
from modecollapse.sealed import SealedTexts, read_metadata, read_sealed
from modecollapse.snapshots import chosen_files

ODD = [
    "plain",
    "größer 日本語 🙂",
    "line\u2028separator and\ttab",
    'quotes " and, commas\nand lines',
    "\x00nul",
    " e\u0301 ",
]
ROWS = [{"text": text, "n": i} for i, text in enumerate(ODD)]


def json_lines(rows: list[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def parquet(columns: Any, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink, **options)
    return bytes(sink.getvalue())


WRITTEN = {
    "a.jsonl": json_lines(ROWS),
    "crlf.jsonl": json_lines(ROWS).replace(b"\n", b"\r\n"),
    "bom.jsonl": b"\xef\xbb\xbf" + json_lines(ROWS),
    "unended.jsonl": json_lines(ROWS)[:-1],
    "a.jsonl.gz": gzip.compress(json_lines(ROWS)),
    "two.jsonl.gz": gzip.compress(json_lines(ROWS[:2])) + gzip.compress(json_lines(ROWS[2:])),
    "a.jsonl.zst": zstandard.compress(json_lines(ROWS)),
    "two.jsonl.zst": zstandard.compress(json_lines(ROWS[:2])) + zstandard.compress(json_lines(ROWS[2:])),
    "lines.json": json_lines(ROWS),
    "indented.json": b"\xef\xbb\xbf" + b" \n" * 9999 + json.dumps(ROWS).encode(),
    "indented.json.gz": gzip.compress(b"\n" * 99 + json.dumps(ROWS).encode()),
    "indented.json.zst": zstandard.compress(b"\n" * 99_999 + json.dumps(ROWS).encode()),
    "array.json": json.dumps(ROWS, indent=1).encode(),
    "a.csv": ("text,n\r\n" + "".join('"' + r["text"].replace('"', '""') + f'",{r["n"]}\r\n' for r in ROWS)).encode(),
    "a.parquet": parquet({"text": ODD, "n": range(len(ODD))}),
    "large.parquet": parquet(pa.table({"text": pa.array(ODD, pa.large_string())}), row_group_size=2),
    "dictionary.parquet": parquet(pa.table({"text": pa.array(ODD).dictionary_encode()})),
}


def write(directory: Path, name: str, content: bytes) -> Path:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def texts(path: Path, column: str = "text") -> list[str]:
    return [row[0] for _, row in read_records(path, [column]) if not isinstance(row, Broken)]


def broken(path: Path, *columns: str) -> dict[int, str]:
    found = read_records(path, columns or ["text"])
    return {line: record.reason for line, record in found if isinstance(record, Broken)}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_gives_the_same_texts_to_the_last_character(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, WRITTEN[name])
    assert texts(path) == ODD
    assert broken(path) == {}
    assert "text" in (first_columns(path) or [])


def test_broken_lines_are_told_by_number_and_reason_and_cost_only_themselves(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b'{"text": "cut',
        b"",
        b"   ",
        b'{"text": "\xff\xfe"}',
        b'{"text": null}',
        b'{"text": 5}',
        b'{"body": "x", "id": "y"}',
        b'["text"]',
        b'"text"',
        b'{"text": "\\ud83d half"}',
        b"[" * 100_000,
        b'{"text": ' + b"1" * 5_000 + b"}",
        b'{"text": "good"} trailing',
        b'{"text": "also good"}',
    ]
    path = write(tmp_path, "a.jsonl", b"\n".join(lines))
    assert texts(path) == ["good", "also good"]
    found = broken(path)
    assert sorted(found) == [2, *range(5, 15)]
    assert found[2].startswith("it is not valid JSON (Unterminated string")
    assert found[5] == "it is not valid UTF-8 (byte 11)"
    assert found[6] == "its column 'text' is null, not text"
    assert found[7] == "its column 'text' is a number, not text"
    assert found[8] == "it has no column 'text'; it has body, id"
    assert found[9] == "it is a list, not an object with columns"
    assert found[11] == "its column 'text' is not valid Unicode"


def test_lines_are_counted_from_the_first_one_although_it_is_empty(tmp_path: Path) -> None:
    for name in ("a.json", "a.jsonl"):
        assert list(broken(write(tmp_path, name, b"\n" * 99 + b' {"text": "good"}\n{"text": 5}\n'))) == [101]


def test_broken_rows_of_csv_and_parquet_cost_only_themselves(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b'text,n\ngood,1\ntoo,many,fields\nshort\n"bad" quote,1\n\xff,1\n\nalso good,2\n')
    assert texts(path) == ["good", "also good"]
    assert sorted(broken(path)) == [3, 4, 5, 6]
    values = pa.array([b"good", None, b"\xff", "größer".encode()], pa.binary())
    array = pa.StringArray.from_buffers(4, values.buffers()[1], values.buffers()[2], values.buffers()[0], 1)
    path = write(tmp_path, "a.parquet", parquet({"text": array}))
    assert texts(path) == ["good", "größer"]
    assert broken(path) == {2: "its column 'text' is null, not text", 3: "it is not valid UTF-8"}


def test_every_line_that_a_stray_quote_swallows_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b'text,n\ngood,1\n"oops,1\nlost,1\nlost,1\n"x"y,1\nalso good,2\n')
    assert texts(path) == ["good", "also good"]
    assert sorted(broken(path)) == [3, 4, 5, 6]


def test_a_quote_that_is_never_closed_is_one_clear_error(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b'text,n\ngood,1\n"oops,1\n' + b"lost,1\n" * 1000)
    with pytest.raises(StudyError, match=r"a\.csv: a quote that is opened in line 3 or after is never closed"):
        texts(path)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_one_clear_error(name: str, share: float, tmp_path: Path) -> None:
    content = {
        "a.jsonl.gz": gzip.compress(os.urandom(9999).hex().join(['{"text": "', '"}\n']).encode()),
        "a.jsonl.zst": zstandard.compress(os.urandom(9999).hex().join(['{"text": "', '"}\n']).encode()),
        "a.parquet": parquet({"text": [os.urandom(99).hex() for _ in range(99)]}),
    }[name]
    path = write(tmp_path, name, content[: int(len(content) * share)])
    with pytest.raises(StudyError, match=rf"{name}.*Fetch it again"):
        list(read_records(path, ["text"]))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst", "a.parquet"])
def test_a_file_that_is_not_what_its_name_says_is_one_clear_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=name):
        list(read_records(write(tmp_path, name, json_lines(ROWS)), ["text"]))


def test_a_flipped_byte_in_a_compressed_file_is_found(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "a.jsonl.zst"):
        rows = [{"text": os.urandom(50).hex()} for _ in range(50)]
        pack = gzip.compress if name.endswith("gz") else zstandard.ZstdCompressor(write_checksum=True).compress
        content = bytearray(pack(json_lines(rows)))
        content[len(content) // 2] ^= 1
        path = write(tmp_path, name, bytes(content))
        with pytest.raises(StudyError, match=name):
            list(read_records(path, ["text"]))


def test_a_parquet_file_without_the_column_or_with_numbers_in_it_is_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "a.parquet", parquet({"body": ["x"], "n": [1]}))
    with pytest.raises(StudyError, match="no column 'text'; it has body, n"):
        list(read_records(path, ["text"]))
    with pytest.raises(StudyError, match="column 'n' is int64, not text"):
        list(read_records(path, ["n"]))


def rows(files: list[Path], columns: dict[str, str], sample: int | None = None, seed: int = 0) -> list[tuple[str, ...]]:
    return list(read_rows(files, columns, sample, seed, Reading()))


def test_columns_are_mapped_and_only_the_space_around_answers_is_removed(tmp_path: Path) -> None:
    content = [{"q": "\n\nHuman: hi\n\nAssistant: ", "good": " yes \n", "bad": "\tno", "rest": 1}]
    path = write(tmp_path, "a.jsonl", json_lines(content))
    found = rows([path], {"prompt": "q", "chosen": "good", "rejected": "bad"})
    assert found == [("\n\nHuman: hi\n\nAssistant: ", "yes", "no")]
    # One of theirs may serve as two of ours.
    assert rows([path], {"completion": "good", "chosen": "good"}) == [("yes", "yes")]


def test_rows_with_an_empty_prompt_or_answer_are_left_out_and_empty_documents_stay(tmp_path: Path) -> None:
    content = [{"a": "x", "b": "y"}, {"a": " ", "b": "y"}, {"a": "x", "b": "\n"}, {"a": "", "b": ""}]
    path = write(tmp_path, "a.jsonl", json_lines(content))
    reading = Reading()
    assert list(read_rows([path], {"prompt": "a", "completion": "b"}, None, 0, reading)) == [("x", "y")]
    assert (reading.rows, reading.broken, reading.empty) == (4, 0, 3)
    assert rows([path], {"text": "b"}) == [("y",), ("y",), ("\n",), ("",)]


def many(directory: Path, n: int = 1000) -> Path:
    return write(directory, "many.jsonl", json_lines([{"text": str(i)} for i in range(n)]))


def test_a_sample_is_in_order_and_part_of_any_larger_one(tmp_path: Path) -> None:
    path = many(tmp_path)
    samples = [[int(row[0]) for row in rows([path], {"text": "text"}, size)] for size in (10, 100, 999, 1000, 5000)]
    assert [len(sample) for sample in samples] == [10, 100, 999, 1000, 1000]
    for small, large in itertools.pairwise(samples):
        assert set(small) <= set(large)
        assert small == sorted(small)
    assert rows([path], {"text": "text"}, 10) == rows([path], {"text": "text"}, 10)
    assert rows([path], {"text": "text"}, 10, seed=1) != rows([path], {"text": "text"}, 10)


def test_a_sample_depends_neither_on_the_files_format_nor_on_where_it_is_cut(tmp_path: Path) -> None:
    whole = rows([many(tmp_path)], {"text": "text"}, 50)
    values = [str(i) for i in range(1000)]
    one = write(tmp_path, "1.parquet", parquet({"text": values[:300]}, row_group_size=7))
    two = write(tmp_path, "2.jsonl.zst", zstandard.compress(json_lines([{"text": value} for value in values[300:]])))
    assert rows([one, two], {"text": "text"}, 50) == whole


def test_mending_a_broken_row_moves_no_other_row_of_a_sample(tmp_path: Path) -> None:
    lines = json_lines([{"text": str(i)} for i in range(1000)]).splitlines(keepends=True)
    whole = rows([write(tmp_path, "a.jsonl", b"".join(lines))], {"text": "text"}, 50)
    out = int(whole[3][0])
    lines[out] = b"{broken\n"
    found = rows([write(tmp_path, "b.jsonl", b"".join(lines))], {"text": "text"}, 50)
    assert set(whole) - set(found) == {(str(out),)}
    assert len(found) == 50


def test_every_row_is_as_likely_in_a_sample_as_any_other() -> None:
    size, n, seeds = 20, 100, 500
    counts = np.zeros(n)
    for seed in range(seeds):
        sample: Sample[int] = Sample(size, seed)
        for number in range(n):
            sample.offer(number, number)
        counts[list(sample.rows())] += 1
    expected = seeds * size / n
    chi_square = ((counts - expected) ** 2).sum() / (expected * (1 - size / n))
    assert counts.sum() == seeds * size
    # Chi-square with 99 degrees of freedom: beyond these in one of a thousand cases each.
    assert 60 < chi_square < 149


SPEC: dict[str, Any] = {"columns": {"text": "text"}, "sample": None, "seed": 0}


def test_a_data_set_is_sealed_and_says_what_was_broken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [b'{"text": "good %d"}\n' % i for i in range(99)]
    path = write(tmp_path, "a.jsonl", b"".join([*lines, b"{\n"]))
    output = tmp_path / "data.parquet"
    with caplog.at_level(logging.WARNING):
        read_data(SPEC, [path], 0.01, "study.yaml: data.mine", output)
    assert read_sealed(output)["text"].to_pylist() == [f"good {i}" for i in range(99)]
    assert list(SealedTexts(output, "text")) == [f"good {i}" for i in range(99)]
    reading = json.loads(read_metadata(output)["reading"])
    assert (reading["rows"], reading["broken"], reading["empty"]) == (100, 1, 0)
    assert reading["first_broken"][0].startswith("a.jsonl, line 100: it is not valid JSON")
    assert "a.jsonl, line 100" in caplog.text
    read_data(SPEC, [path], 0.01, "again", tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == output.read_bytes()


def test_too_many_broken_rows_are_one_error_with_place_and_number_and_nothing_is_published(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", b'{"text": "good"}\n' * 9 + b"{\n")
    with pytest.raises(StudyError, match=r"data.mine: 1 of 10 rows are broken.*0\.05.*a\.jsonl, line 10: .*Mend"):
        read_data(SPEC, [path], 0.05, "study.yaml: data.mine", tmp_path / "data.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"prompt": " "}\n'])
def test_a_data_set_without_a_usable_row_is_refused(content: bytes, tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", content)
    with pytest.raises(StudyError, match="none can be used"):
        read_data({**SPEC, "columns": {"prompt": "prompt"}}, [path], 0.9, "data.mine", tmp_path / "data.parquet")


def test_long_and_many_texts_survive_sealing_and_a_flipped_byte_does_not(tmp_path: Path) -> None:
    values = ["x" * 5_000_000, "", *[f"{i} größer" for i in range(3000)], "y" * 5_000_000]
    path = write(tmp_path, "a.jsonl", json_lines([{"text": value} for value in values]))
    output = tmp_path / "data.parquet"
    read_data(SPEC, [path], 0.0, "data", output)
    sealed = SealedTexts(output, "text")
    assert len(sealed) == len(values)
    assert list(sealed) == list(sealed) == values
    assert pq.ParquetFile(output).num_row_groups > 3
    content = bytearray(output.read_bytes())
    content[100] ^= 1
    output.write_bytes(content)
    with pytest.raises(CorruptFile, match="do not match"):
        SealedTexts(output, "text")
    output.write_bytes(content[:-9])
    with pytest.raises(CorruptFile):
        SealedTexts(output, "text")


def test_local_files_are_found_beside_the_study_then_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, here = tmp_path / "study" / "mine.yaml", tmp_path / "here"
    for name in ("d/b.jsonl", "d/a.jsonl.zst", "d/sub/c.parquet", "d/notes.txt", "d/.hidden.jsonl", "odd[1].jsonl"):
        write(study.parent, name, b"")
    write(here, "only.csv", b"")
    monkeypatch.chdir(here)

    def names(path: str) -> list[str]:
        return [file.name for file in local_files(path, study)]

    assert names("d") == ["a.jsonl.zst", "b.jsonl", "c.parquet"]
    assert names("d/*.jsonl") == ["b.jsonl"]
    assert names("odd[1].jsonl") == ["odd[1].jsonl"]
    assert names("only.csv") == ["only.csv"]
    assert names(str(study.parent / "d" / "*.zst")) == ["a.jsonl.zst"]
    for path, message in (
        ("no/*.jsonl", "no match"),
        ("absent.jsonl", "Correct `path`"),
        ("d/notes.txt", "format is not known. Allowed: .jsonl"),
    ):
        with pytest.raises(StudyError, match=message):
            names(path)
    (study.parent / "empty").mkdir()
    with pytest.raises(StudyError, match="holds no data files"):
        names("empty")


def test_formats_are_known_by_their_suffixes() -> None:
    known = ["a.jsonl", "A.JSONL.GZ", "v1.2.jsonl.zst", "a.json", "a.csv.gz", "a.parquet"]
    assert [str(format_of(Path(name))) for name in known] == [
        *("jsonl", "jsonl.gz", "jsonl.zst", "json", "csv.gz", "parquet")
    ]
    assert not any(format_of(Path(name)) for name in ("a", "a.gz", "a.txt", "a.parquet.gz", "a.jsonl.xz", "jsonl"))


CONFIGS = b"""---
configs:
- config_name: default
  data_files: [{split: train, path: "x/*.jsonl"}, {split: check, path: y.jsonl}]
- config_name: other
  data_files: [{split: train, path: y.jsonl}]
---
"""


def test_files_of_a_hub_data_set_are_those_of_its_page_or_of_its_files_names(
    hub_cache: Callable[[str, dict[str, bytes]], Path],
) -> None:
    named = hub_cache(
        "org/named", {"README.md": CONFIGS, "x/b.jsonl": b"", "x/a.jsonl": b"", "y.jsonl": b"", "run.py": b""}
    )
    plain = hub_cache(
        "org/plain", {"val.jsonl.zst": b"", "data/train-00000-of-00001-ab.parquet": b"", "notes.txt": b""}
    )

    def names(*arguments: Any) -> list[str]:
        return [file.name for file in hub_files(*arguments)]

    assert names(named, None, None, None) == ["a.jsonl", "b.jsonl"]
    assert names(named, None, "check", None) == ["y.jsonl"]
    assert names(named, "other", "train", None) == ["y.jsonl"]
    assert names(plain, None, None, None) == ["train-00000-of-00001-ab.parquet"]
    assert names(plain, None, None, "*.zst") == ["val.jsonl.zst"]
    for arguments, message in (
        ((named, None, "test", None), "no 'test'. Allowed: train, check"),
        ((named, "third", None, None), "'default', 'other'"),
        ((plain, None, None, "*.parquet"), "it holds data/train-00000-of-00001-ab.parquet, notes.txt, val.jsonl.zst"),
        ((plain, None, None, "notes.txt"), "format is not known"),
    ):
        with pytest.raises(StudyError, match=message):
            names(*arguments)


@pytest.mark.parametrize(
    ("heading", "word"),
    [
        ("configs: [{config_name: a, data_files: ABSOLUTE}]", "names '/.*secret.jsonl', which is not a file of the"),
        ("configs: [{config_name: a, data_files: ../secret.jsonl}]", "names '../secret.jsonl'"),
        ("configs: [{config_name: a, data_files: [{split: train, path: ['a/../../*.jsonl']}]}]", "names 'a/../../"),
        ("configs: [{config_name: a, data_dir: .., data_files: '*.jsonl'}]", r"names '\.\.'"),
        (
            "configs: [{config_name: a, data_files: 'https://127.0.0.1:1/a.jsonl'}]",
            "names 'https://127.0.0.1:1/a.jsonl'",
        ),
        ("configs: [", "`datasets` finds no files in the data set: .*Name a `subset`"),
        ("configs: 3", "`datasets` finds no files in the data set: .*Name a `subset`"),
        ("configs: [a]", "`datasets` finds no files in the data set: .*Name a `subset`"),
    ],
)
def test_a_page_that_is_broken_or_names_files_outside_the_data_set_is_refused(
    tmp_path: Path, heading: str, word: str
) -> None:
    secret = write(tmp_path, "secret.jsonl", json_lines(ROWS))
    write(tmp_path, "set/a/train.jsonl", json_lines(ROWS))
    page = f"---\n{heading.replace('ABSOLUTE', str(secret))}\n---\n"
    write(tmp_path, "set/README.md", page.encode())
    with pytest.raises(StudyError, match=word):
        hub_files(tmp_path / "set", None, None, None)


def test_a_data_set_in_a_cache_behind_a_link_is_read(tmp_path: Path) -> None:
    write(tmp_path, "real/blobs/1", json_lines(ROWS))
    (tmp_path / "real/set").mkdir()
    (tmp_path / "real/set/train.jsonl").symlink_to("../blobs/1")
    (tmp_path / "linked").symlink_to("real")
    assert [file.name for file in hub_files(tmp_path / "linked/set", None, None, None)] == ["train.jsonl"]


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("*.jsonl", ["a.jsonl"]),
        ("./*.jsonl", ["a.jsonl"]),
        ("data/*", ["data/b.jsonl", "data/c[1].jsonl"]),
        ("*/*.jsonl", ["data/b.jsonl", "data/c[1].jsonl"]),
        ("**/*.jsonl", ["a.jsonl", "data/b.jsonl", "data/c[1].jsonl", "data/deep/d.jsonl"]),
        ("data/**", ["data/b.jsonl", "data/c[1].jsonl", "data/deep/d.jsonl"]),
        ("data/[bd].jsonl", ["data/b.jsonl"]),
        ("data/c[1].jsonl", ["data/c[1].jsonl"]),
        ("data/c[[]1].jsonl", ["data/c[1].jsonl"]),
        (".*.jsonl", [".hidden.jsonl"]),
        ("?.jsonl", ["a.jsonl"]),
        ("../set/*.jsonl", []),
        ("/*.jsonl", []),
        ("data", []),
    ],
)
def test_a_pattern_of_files_names_the_same_ones_when_they_are_fetched_and_when_they_are_read(
    tmp_path: Path, pattern: str, named: list[str]
) -> None:
    files = [".hidden.jsonl", "a.jsonl", "data/b.jsonl", "data/c[1].jsonl", "data/deep/d.jsonl", "data/deep/.e.jsonl"]
    for file in files:
        write(tmp_path / "set", file, json_lines(ROWS))
    needed = Needed(Revision(Kind.DATASET, "a/b", "main"), (pattern,))
    if not named:
        with pytest.raises(StudyError, match="has no file"):
            chosen_files(needed, files)
        with pytest.raises(StudyError, match="nothing in the data set matches"):
            hub_files(tmp_path / "set", None, None, pattern)
        return
    assert chosen_files(needed, files) == named
    found = hub_files(tmp_path / "set", None, None, pattern)
    assert [file.relative_to(tmp_path / "set").as_posix() for file in found] == named


def test_a_local_pattern_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"\*\*x/\*\.jsonl: .*Correct the pattern"):
        local_files("**x/*.jsonl", tmp_path / "study.yaml")
