"""The file of reference log-probabilities: known by what it is of."""

from pathlib import Path

import pyarrow as pa
import pytest

from modecollapse.cells import Model, ReferenceScores
from modecollapse.errors import CorruptFile
from modecollapse.methods.reference_file import SCHEMA, PairSettings, check_key, reference_key
from modecollapse.paths import Paths
from modecollapse.sealed import SEAL, read_metadata, write_sealed

SETTINGS = PairSettings(max_length=512, max_prompt_length=256, too_long="truncate", dtype="bfloat16")


def test_a_file_of_another_parent_or_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    spec = {"revision": 1, "settings": SETTINGS.model_dump()}
    key = reference_key(spec, parent="a", data="b")
    others = [
        reference_key(spec, parent="c", data="b"),
        reference_key(spec, parent="a", data="c"),
        reference_key({**spec, "revision": 2}, parent="a", data="b"),
    ]
    assert len({key, *others}) == 4
    path = tmp_path / "scores.parquet"
    write_sealed(SCHEMA.empty_table(), path, {"key": key})
    assert check_key(path, key) == read_metadata(path)[SEAL]
    with pytest.raises(
        CorruptFile, match=f"of another model, other data or other settings .key {key}, not {others[0]}"
    ):
        check_key(path, others[0])
    write_sealed(pa.table({"text": ["a"]}), path)
    with pytest.raises(CorruptFile, match="key none"):
        check_key(path, key)


def test_its_name_says_what_it_is_of() -> None:
    scores = ReferenceScores(Model("tiny", 0, "sft"), "pairs", "human", SETTINGS)
    assert Paths(Path("results/one")).reference_scores(scores.model, scores.pairs) == (
        "results/one/references/tiny/s0/sft/pairs/human/512-256-truncate-bfloat16.parquet"
    )
    quantized = SETTINGS.model_copy(update={"quantization": "nf4"})
    assert str(quantized) == "512-256-truncate-bfloat16-nf4"
