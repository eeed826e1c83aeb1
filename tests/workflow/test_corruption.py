"""A flipped byte is never read silently: whoever reads the file refuses, names it, and says how to make it again."""

from pathlib import Path

import pytest

from modecollapse.store import Store
from tests.projects import Project


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()  # a hard link to the store must not be written through
    path.write_bytes(data)


CELL = "generations/tiny/s0/sft/creative/human/T1.0.parquet"
WEIGHTS = "models/tiny/s0/sft/weights/model.safetensors"
TABLE = "tables/curves.parquet"


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(CELL, marks=pytest.mark.slow),
        pytest.param(TABLE, marks=pytest.mark.slow),
        pytest.param("data/answers.parquet", marks=pytest.mark.slow),
        pytest.param("tokens/tiny/s0/sft/documents.parquet", marks=pytest.mark.slow),
    ],
)
def test_a_reader_refuses_a_corrupt_file_and_says_how_to_make_it_again(finished: Project, file: str) -> None:
    flip(finished.result(file))
    output = finished.run(succeeds=False)
    assert f"results/nano-smoke/{file} is corrupt" in output
    assert "Delete this file and run the same command again" in output
    assert "Traceback" not in output.split("is corrupt")[0].splitlines()[-1]
    finished.result(file).unlink()
    finished.run()
    assert "intact" in finished.run("verify")


def test_corrupt_weights_are_refused_by_the_next_reader(finished: Project) -> None:
    flip(finished.result(WEIGHTS))
    finished.edit_study('["0.5", "1.0"]', '["0.5", "0.8", "1.0"]')
    output = finished.run(f"results/nano-smoke/{CELL.replace('T1.0', 'T0.8')}", succeeds=False)
    assert f"results/nano-smoke/{WEIGHTS} is corrupt" in output
    assert "came back" not in output
    assert finished.result(CELL).is_file()


FLIPPED = [CELL, WEIGHTS, TABLE, "figures/truth.svg", "tokenizer/files/tokenizer.json"]
FLIPPED += ["models/tiny/s0/plm/manifest.json", "scores/tiny/s0/plm.parquet", "embeddings/tiny/s0.parquet"]


@pytest.fixture(scope="module")
def told(finished_once: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `verify` says of a study with files that were altered or deleted."""
    project = finished_once.copy(tmp_path_factory.mktemp("damaged") / "project")
    for file in FLIPPED:
        flip(project.result(file))
    project.result("figures/quality_tiny.sha256").unlink()
    for table in ("curves", "attribution"):
        project.result(f"tables/{table}.csv").write_text("altered\n")
    return project.run("verify", succeeds=False)


def test_verify_finds_nothing_in_a_finished_study(finished: Project) -> None:
    assert "0 are not made yet" in finished.run("verify")


def test_verify_names_every_corrupt_file(told: str) -> None:
    # The digest of a CSV file stands in the Parquet file, and that of the curves is corrupt as well.
    for file in FLIPPED:
        assert f"results/nano-smoke/{file} is corrupt" in told


def test_a_file_that_was_not_published_is_refused(finished: Project) -> None:
    for directory in ("models/tiny/s0/sft/weights", "tokenizer/files"):
        (finished.result(directory) / "special_tokens_map.json").write_text('{"eos_token": "Human"}')
    output = finished.run("verify", succeeds=False)
    assert "models/tiny/s0/sft/weights/special_tokens_map.json is corrupt" in output
    assert "tokenizer/files/special_tokens_map.json is corrupt" in output


def test_verify_notices_a_missing_list_of_digests(told: str) -> None:
    assert "figures/quality_tiny.svg cannot be checked" in told


def test_verify_notices_an_altered_csv_beside_an_intact_table(told: str) -> None:
    assert "results/nano-smoke/tables/attribution.csv is corrupt" in told


def test_prune_keeps_the_store_within_its_limit(finished: Project) -> None:
    store = Store(finished.root / "store")
    removed = store.prune(0)
    assert removed
    assert store.prune(0) == []
    assert finished.plan() == [], "results do not need the store"
