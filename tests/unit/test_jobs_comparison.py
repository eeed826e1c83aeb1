"""The tables of a comparison with stored results as files."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from modecollapse.analysis import table_files
from modecollapse.cells import Model
from modecollapse.comparison.stored_results import KEYS
from modecollapse.identities import identity_metadata
from modecollapse.jobs.comparison import compare
from modecollapse.jobs.running import Outputs
from modecollapse.sealed import read_sealed, write_sealed
from tests.unit.test_comparison_results import PROMPTS, TEMPERATURES, content, saved

STAGES = ("plm", "dpo")
SPEC: dict[str, Any] = {
    **{"analysis": {"resamples": 200, "seed": 0}, "words": 20, "temperatures": TEMPERATURES, "prompts": PROMPTS},
    **{"formats": dict.fromkeys(STAGES, "plain"), "lineage": {"plm": [], "dpo": ["plm"]}, "embedder": None},
    "context": {"title": "A study", "description": "", "labels": {"plm": "PLM", "dpo": "DPO"}},
}
TABLES = ("comparison", "order_q", "published", "consequence")


def scores(path: Path, stage: str) -> Path:
    rows = [
        {"prompts": key, "prompt": prompt, "temperature": temperature, "words": 20, "metric": "self_bleu"}
        | {"definition": "replica", "value": 0.5}
        for key in KEYS
        for prompt in PROMPTS[key]
        for temperature in TEMPERATURES
    ]
    write_sealed(pa.Table.from_pylist(rows), path, identity_metadata(Model("S", 0, stage)))
    return path


def test_tables_of_stored_results_name_the_stages_that_fail_their_guard_rails(tmp_path: Path) -> None:
    outputs = Outputs({name: tmp_path / f"{name}.parquet" for name in TABLES})
    outputs |= {f"{name}_csv": tmp_path / f"{name}.csv" for name in TABLES}
    outputs |= {"finding": tmp_path / "finding.html", "finding_sha256": tmp_path / "finding.sha256"}
    outputs.candidates = tmp_path / "candidates.parquet"
    row = dict.fromkeys(table_files.SCHEMAS["candidates"].names)
    row |= {"size": "S", "stage": "dpo", "level": "overall", "verdict": "fails"}
    table_files.write_table("candidates", [pd.DataFrame([row])], outputs.candidates, tmp_path / "candidates.csv")
    measured = [scores(tmp_path / f"{stage}.parquet", stage) for stage in STAGES]
    compare(SPEC, measured, [saved(tmp_path / f"{stage}.npy", content()) for stage in STAGES], [], outputs)
    for name in TABLES:
        table = read_sealed(outputs[name]).to_pandas()
        about = table["stage"] if "stage" in table else table["path"].str.split(">").str[-1]
        assert table["failing"].tolist() == ["dpo" if stage == "dpo" else "" for stage in about], name
