"""The toy bandit as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modecollapse.analysis.table_files import publish_table
from modecollapse.measures.toy_bandit import SCHEMA, ToyBanditSettings, toy_bandit


def simulate_toy_bandit(spec: Mapping[str, Any], outputs: Mapping[str, Path]) -> None:
    """Write the worked example and the simulation."""
    table = toy_bandit(ToyBanditSettings.model_validate(spec["settings"], strict=False))
    publish_table(SCHEMA, [table], outputs["toy_bandit"], outputs["toy_bandit_csv"])
