"""What a reward model gives to pairs of answers, found again in the store or computed."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.cells import Model
from modecollapse.data.nano.world import WorldSettings
from modecollapse.digests import canonical, digest
from modecollapse.identities import identity_metadata
from modecollapse.jobs.running import Job
from modecollapse.manifest import read_manifest
from modecollapse.methods.base import RewardSource
from modecollapse.methods.processes import computes_on
from modecollapse.methods.reward_file import TruncationSettings
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import SEAL, read_metadata, read_sealed, write_sealed
from modecollapse.store import Store

logger = logging.getLogger(__name__)

KIND = "reward_scores"


def score_rewards(
    spec: Mapping[str, Any],
    identity: Model,
    model: tuple[Path, Path],
    data: Sequence[Path],
    output: Path,
    store: Store,
    job: Job,
) -> None:
    """Publish what a reward model gives to the pairs of several data sets (`methods.reward_file.SCHEMA`).

    Args:
        spec: the rewards spec, which says what each data set is called.
        identity: the model.
        model: its manifest and weights.
        data: sealed Parquet files with `prompt`, `chosen`, `rejected` and perhaps `task`.
        output: the file.
        store: where the scores of each data set are found again.
        job: the running job: where it computes, and to count imports as start-up.

    Raises:
        CorruptFile: an input is not what was published.
        StudyError: as `methods.reward_scores.score_pairs` and `methods.scoring.open_scorer`.
    """
    manifest = read_manifest(model[0])
    manifest.verify(model[1])
    world = None if spec["world"] is None else WorldSettings.model_validate(spec["world"]["settings"])
    parts, scorer = [], None
    for name, path in zip(spec["data"], data, strict=True):
        read_sealed(path, [])
        key = digest({"spec": {**spec, "data": name}, "weights": manifest.weights, "data": read_metadata(path)[SEAL]})
        table = store.read_table(KIND, key)
        if table is None:
            if scorer is None:
                job.load("torch", "transformers.modeling_utils", "modecollapse.methods.reward_scores")
                from modecollapse.generation.models import load_tokenizer
                from modecollapse.methods.reward_scores import score_pairs
                from modecollapse.methods.scoring import open_scorer

                tokenizer, source = load_tokenizer(model[1]), RewardSource(str(identity), model[1])
                scorer = open_scorer(source, world, tokenizer, spec["threads"], computes_on(job.layout()))
            table = score_pairs(
                scorer,
                tokenizer,
                name,
                path,
                PromptFormat.from_spec("train_format", spec["format"]),
                TruncationSettings.model_validate(spec["settings"]),
                world,
            )
            store.write_table(KIND, key, table)
            logger.info("%d pairs of %s are scored", table.num_rows, name)
        parts.append(table.replace_schema_metadata(None))
    write_sealed(pa.concat_tables(parts), output, {**identity_metadata(identity), "spec": canonical(dict(spec))})
