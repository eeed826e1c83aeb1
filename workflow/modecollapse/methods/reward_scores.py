"""What a reward model gives to the pairs of a data set, and what their true utility is where it is known."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from modecollapse.data.nano.world import WorldSettings
from modecollapse.methods.examples import encode, paired, read_texts
from modecollapse.methods.reward_file import ANSWERS, SCHEMA, TruncationSettings
from modecollapse.methods.reward_functions import utility
from modecollapse.methods.scoring import Scorer
from modecollapse.prompts import PromptFormat


def score_pairs(
    scorer: Scorer,
    tokenizer: Any,
    name: str,
    data: Path,
    form: PromptFormat,
    settings: TruncationSettings,
    world: WorldSettings | None,
) -> pa.Table:
    """One row per pair of a sealed data set, in order (`SCHEMA`); `name` is what the set is called there.

    Raises:
        StudyError: the pairs cannot be encoded (`read_texts`, `encode`, `paired`), or a score is not a finite number.
    """
    texts = read_texts(data, ("prompt", *ANSWERS), optional=("task",))
    prompts, count = texts["prompt"], len(texts["prompt"])
    encoded = encode(tokenizer, form, prompts, [texts[answer] for answer in ANSWERS])
    pairs = paired(encoded, settings.max_length, settings.max_prompt_length, settings.too_long, data)
    first: dict[str, int] = {}
    columns: dict[str, Any] = {
        "data": [name] * count,
        "pair": range(count),
        "prompt": [first.setdefault(prompt, row) for row, prompt in enumerate(prompts)],
        "task": texts.get("task", [None] * count),
    }
    for answer in ANSWERS:
        ids = pairs[f"{answer}_ids"]
        columns[f"{answer}_score"] = scorer.score(prompts, pairs["prompt_ids"], ids)
        columns[f"{answer}_tokens"] = [len(each) for each in ids]
        columns[f"{answer}_utility"] = (
            [float("nan")] * count if world is None else utility(world)(prompts, texts[answer])
        )
    return pa.table(columns, schema=SCHEMA)
