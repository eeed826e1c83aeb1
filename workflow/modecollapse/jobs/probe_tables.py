"""The tables of single prompts looked at closely: entropy along outputs, and how models choose and answer."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modecollapse.analysis.probes import choice_summary_parts, choices_part
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.top_entropy import outputs_part, sample_part, top_entropy_parts, with_entropies
from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.jobs.table_parts import bootstrap_of, model_frames, write_parts


def tabulate_top_entropy(spec: Mapping[str, Any], tokens: Sequence[Path], outputs: Mapping[str, Path]) -> None:
    """Write the tables of entropy along outputs: by stage, of every output, and of the tokens of one of each stage.

    Args:
        spec: the spec of these tables.
        tokens: of each model the tokens of its outputs.
        outputs: the tables' files.

    Raises:
        CorruptFile: a file is not what was published.
    """
    means, samples = [], []
    first_seeds: dict[str, int] = {}
    for frame in map(with_entropies, model_frames(tokens)):
        if len(frame):
            size, seed = frame["size"].iloc[0], frame["seed"].iloc[0]
            means.append(outputs_part(frame, spec["max_new_tokens"]))
            if first_seeds.setdefault(size, seed) == seed:
                samples.append(sample_part(frame, spec["shown"]))
    nats = _world(spec).answer_entropy(spec["text"]) if spec["world"] else None
    truth = None if nats is None else nats / math.log(2)
    write_parts("top_entropy", top_entropy_parts(means, spec["lineage"], bootstrap_of(spec), truth), outputs)
    write_parts("top_entropy_outputs", means, outputs)
    write_parts("top_entropy_tokens", samples, outputs)


def tabulate_probes(
    spec: Mapping[str, Any],
    choices: Sequence[Path],
    next_tokens: Sequence[Path],
    responses: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write the tables of probes: choices and what their distributions are like, next tokens, responses.

    Args:
        spec: the spec of these tables.
        choices: of each model the probability of each choice.
        next_tokens: of each model the most probable next tokens.
        responses: of each model its answers.
        outputs: the tables' files; those of choices and next tokens only where such questions are asked, that of
            responses likewise.

    Raises:
        CorruptFile: a file is not what was published.
    """
    if "choices" in outputs:
        world = _world(spec) if spec["rules"] else None
        truth = {question: world.phrases(rule) for question, rule in spec["rules"].items()} if world else {}
        parts = choice_summary_parts(model_frames(choices), spec["lineage"], bootstrap_of(spec), truth)
        write_parts("choice_summary", parts, outputs)
        write_parts("choices", (choices_part(frame, truth) for frame in model_frames(choices)), outputs)
        write_parts(
            "next_tokens", (frame[SCHEMAS["next_tokens"].names] for frame in model_frames(next_tokens)), outputs
        )
    if "responses" in outputs:
        write_parts("responses", (frame[SCHEMAS["responses"].names] for frame in model_frames(responses)), outputs)


def _world(spec: Mapping[str, Any]) -> World:
    return World(WorldSettings.model_validate(spec["world"]["settings"], strict=False))
