"""The tables of single prompts looked at closely: entropy along outputs, and how models choose and answer."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from modecollapse.analysis import table_files
from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.probes import choice_summary_parts, choices_part
from modecollapse.analysis.table_files import SCHEMAS
from modecollapse.analysis.top_entropy import outputs_part, sample_part, top_entropy_parts, with_entropies
from modecollapse.data.nano.world import World, WorldSettings
from modecollapse.identities import model_of_table
from modecollapse.jobs.running import failing_of
from modecollapse.sealed import read_sealed


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
    for frame in map(with_entropies, _frames(tokens)):
        if len(frame):
            size, seed = frame["size"].iloc[0], frame["seed"].iloc[0]
            means.append(outputs_part(frame, spec["max_new_tokens"]))
            if first_seeds.setdefault(size, seed) == seed:
                samples.append(sample_part(frame, spec["shown"]))
    nats = _world(spec).answer_entropy(spec["text"]) if spec["world"] else None
    truth = None if nats is None else nats / math.log(2)
    _write("top_entropy", top_entropy_parts(means, spec["lineage"], _bootstrap(spec), truth), outputs)
    _write("top_entropy_outputs", means, outputs)
    _write("top_entropy_tokens", samples, outputs)


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
        parts = choice_summary_parts(_frames(choices), spec["lineage"], _bootstrap(spec), truth)
        _write("choice_summary", parts, outputs)
        _write("choices", (choices_part(frame, truth) for frame in _frames(choices)), outputs)
        _write("next_tokens", (frame[SCHEMAS["next_tokens"].names] for frame in _frames(next_tokens)), outputs)
    if "responses" in outputs:
        _write("responses", (frame[SCHEMAS["responses"].names] for frame in _frames(responses)), outputs)


def _bootstrap(spec: Mapping[str, Any]) -> Bootstrap:
    return Bootstrap(resamples=spec["analysis"]["resamples"], seed=spec["analysis"]["seed"])


def _world(spec: Mapping[str, Any]) -> World:
    return World(WorldSettings.model_validate(spec["world"]["settings"], strict=False))


def _frames(files: Iterable[Path]) -> Iterator[pd.DataFrame]:
    for path in files:
        table = read_sealed(path)
        model = model_of_table(table)
        yield table.to_pandas().assign(size=model.size, seed=model.seed, stage=model.stage)


def _write(name: str, parts: Iterable[pd.DataFrame], outputs: Mapping[str, Path]) -> None:
    table_files.write_table(name, parts, outputs[name], outputs[f"{name}_csv"], failing_of(outputs))
