"""The true values of the nano world, beside which measured ones can be put."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modecollapse.analysis import table_files
from modecollapse.data.nano.truth import truth_table
from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.metrics.lexical import first_words, self_bleu
from modecollapse.prompts import Prompt
from modecollapse.sealed import read_sealed

logger = logging.getLogger(__name__)


def measure_truth(spec: Mapping[str, Any], tokens: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write the true values of the nano world: entropy floor, true answers' self-BLEU, the tilting curve.

    `tokens` is the document statistics of any model, if there are some: how many tokens a held-out document has.
    """
    world = World(WorldSettings.model_validate(spec["world"]["settings"], strict=False))
    asked = [Prompt(*entry) for entries in spec["prompts"].values() for entry in entries]
    prompts = [prompt for prompt in asked if prompt.text and world.understand(prompt.text)]
    if len(prompts) < len(asked):
        logger.warning("%d of %d prompts are not questions of this world", len(asked) - len(prompts), len(asked))
    documents = read_sealed(tokens[0], ["n_tokens"]).column("n_tokens").to_numpy() if tokens else None
    table = truth_table(
        world,
        prompts,
        lambda texts: self_bleu([first_words(text, spec["words"]) for text in texts]),
        None if documents is None else float(documents.mean()),
    )
    table_files.publish_table(table.schema, [table], outputs["truth"], outputs["truth_csv"])
