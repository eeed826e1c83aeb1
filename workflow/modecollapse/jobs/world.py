"""Data sets that are sampled from the nano world."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modecollapse.digests import canonical
from modecollapse.sealed import write_sealed

logger = logging.getLogger(__name__)


def sample_data(spec: Mapping[str, Any], output: Path) -> None:
    """Sample one part of the world into a sealed Parquet file."""
    from modecollapse.data.nano.world import World, WorldSettings

    world = World(WorldSettings.model_validate_json(json.dumps(spec["world"]["settings"])))
    part = spec["part"]
    table = getattr(world, part["world"])(part["n"], part["seed"])
    write_sealed(table, output, {"spec": canonical(spec)})
    logger.info("%s: %d rows", output, table.num_rows)
