"""A write that a file system refuses is one clear message, and nothing that stood there before is lost."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from modecollapse.publishing import publish_directory, publish_file
from modecollapse.refused_writes import RefusedWrite, refusal
from modecollapse.sealed import read_sealed, write_sealed
from modecollapse.store import Store
from tests.projects import SmallDisk

KEY = "aa" + "0" * 62
LARGE = pa.table({"x": np.random.default_rng(0).random(50_000)})
SMALL = pa.table({"x": [1.0]})

Mount = Callable[[str], SmallDisk]


def partials(directory: Path) -> list[Path]:
    return [path for path in directory.rglob(".*") if path.name.endswith((".partial", ".old"))]


def test_results_that_are_full_are_named_with_what_is_needed_and_the_store_keeps_the_work(
    small_disk: Mount, tmp_path: Path
) -> None:
    disk, store = small_disk("256k"), Store(tmp_path / "store")
    path = disk.path / "cells" / "T1.0.parquet"
    write_sealed(SMALL, path)
    before = path.read_bytes()
    with pytest.raises(RefusedWrite) as caught:
        store.publish_table("cells", KEY, LARGE, path, {})
    assert path.read_bytes() == before
    assert not partials(disk.path)
    needed = (store.root / "cells" / KEY[:2] / KEY).stat().st_size // 1000
    assert refusal(caught.value, {"results": disk.path, "store": store.root}) == (
        f"{path} cannot be written: no space is left (the file system at {disk.path} has 258 kB free of 262 kB; "
        f"{needed} kB are needed). Make room there, or name another place with --config results=DIR, and run the same "
        "command again: what was finished is kept."
    )
    disk.remount("size=2m")
    assert store.restore_table("cells", KEY, path)
    assert read_sealed(path).num_rows == LARGE.num_rows


def test_a_store_that_is_full_costs_a_warning(
    small_disk: Mount, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = small_disk("256k")
    store = Store(disk.path / "store")
    with caplog.at_level(logging.WARNING):
        store.publish_table("cells", KEY, LARGE, tmp_path / "cell.parquet", {})
    assert read_sealed(tmp_path / "cell.parquet").num_rows == LARGE.num_rows
    assert "the store cannot keep this (cells): [Errno 28] No space left on device" in caplog.text
    assert not partials(disk.path)
    assert store.read_table("cells", KEY) is None


def test_a_directory_that_does_not_fit_leaves_the_one_before(small_disk: Mount) -> None:
    disk = small_disk("256k")
    path = disk.path / "weights"
    with publish_directory(path) as partial:
        (partial / "old").write_text("old")
    with pytest.raises(RefusedWrite), publish_directory(path) as partial:
        (partial / "new").write_bytes(bytes(500_000))
    assert [file.name for file in path.iterdir()] == ["old"]
    assert [each.name for each in disk.path.iterdir()] == ["weights"]


def test_a_read_only_file_system_is_named(small_disk: Mount) -> None:
    disk = small_disk("256k")
    disk.remount("ro")
    with pytest.raises(RefusedWrite) as caught:
        write_sealed(SMALL, disk.path / "tables" / "new.parquet")
    message = refusal(caught.value, {"results": disk.path})
    assert message is not None
    assert message.startswith(f"{disk.path}/tables/new.parquet cannot be written: it is read-only (the file system at ")
    assert "Make it writable, or name another place with --config results=DIR" in message


def test_what_libraries_write_by_themselves_is_told_too(small_disk: Mount) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    disk = small_disk("64k")
    writers = (
        lambda: save_file({"weight": torch.zeros(10**5)}, disk.path / "model.safetensors"),
        lambda: torch.save(torch.zeros(10**5), disk.path / "optimizer.pt"),
    )
    for write in writers:
        with pytest.raises((SafetensorError, RuntimeError)) as caught:
            write()
        message = refusal(caught.value, {"results": disk.path / "no-such", "store": disk.path})
        assert message is not None
        assert message.startswith(
            f"A file cannot be written: no space is left (results: the file system at {disk.path}"
        )
        assert "Make room there, or name another place with --config results=DIR or store=DIR" in message


def test_a_quota_that_is_used_up_and_a_directory_of_others_are_told(tmp_path: Path) -> None:
    told = {errno.EDQUOT: "your quota is used up", errno.EACCES: "you may not write there"}
    for number, why in told.items():
        with pytest.raises(RefusedWrite) as caught, publish_file(tmp_path / "table") as partial:
            raise OSError(number, "refused", str(partial))
        assert f"{tmp_path}/table cannot be written: {why}" in str(refusal(caught.value, {}))


def test_other_errors_are_no_refused_writes(tmp_path: Path) -> None:
    with pytest.raises(PermissionError) as caught, publish_file(tmp_path / "table"):
        raise PermissionError(errno.EACCES, "may not be read", "/somewhere/else")
    assert refusal(caught.value, {}) is None
    assert refusal(ValueError("a table without rows"), {}) is None
