"""Of the candidates that the parent writes, each completion of a cell is the one that the reward scores highest."""

from pathlib import Path

import numpy as np
import pytest

from modecollapse.cells import Cell
from modecollapse.digests import sha256_directory
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from modecollapse.jobs.answer_sources import AnswerSources
from modecollapse.jobs.choosing import choose
from modecollapse.jobs.models import library_versions
from modecollapse.manifest import Manifest, write_manifest
from modecollapse.methods.base import RewardSource
from modecollapse.methods.scoring import open_scorer
from modecollapse.sealed import read_metadata, read_sealed
from modecollapse.store import Store
from tests.tiny_models import save_neox, save_reward
from tests.workflow.stopped_job import GENERATION, MODEL, PROMPTS

N, SAMPLES = 5, 10


def with_manifest(weights: Path) -> Path:
    manifest = weights.parent / "manifest.json"
    write_manifest(Manifest("m", {}, {}, sha256_directory(weights), library_versions({}), 0, 0, 0), manifest)
    return manifest


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_neox(tmp_path_factory.mktemp("parent") / "weights", context=64)


@pytest.mark.parametrize("by_model", [pytest.param(False, marks=pytest.mark.slow), True])
def test_each_completion_is_the_best_of_its_own_n_candidates(by_model: bool, parent: Path, tmp_path: Path) -> None:
    sources, reward = AnswerSources(parent, with_manifest(parent), "words"), {"function": "words", "world": None}
    if by_model:
        weights = save_reward(parent, tmp_path / "rm" / "weights")
        sources = AnswerSources(parent, sources.manifest, "rm", weights, with_manifest(weights))
        reward = {"format": "Q {prompt} A"}
    cell, output = Cell(MODEL, "creative", "bare", "1.0"), tmp_path / "cell.parquet"
    spec = {**GENERATION, "choice": {"revision": 0, "n": N, "reward": reward}}
    choose({cell: output}, spec, {"creative": PROMPTS}, sources, Store(tmp_path / "store"), lambda *_: None)
    chosen, record = read_sealed(output).to_pylist(), read_metadata(output)

    settings = SamplingSettings(completions=SAMPLES * N, max_new_tokens=12, rows_per_batch=4)
    engine = TransformersEngine(parent, settings, 1)
    prepared = engine.prepare([(prompt.id, prompt.text or "") for prompt in PROMPTS.prompts])
    candidates = engine.sample(prepared, 1.0, f"0/{cell}").to_pylist()
    tokenizer = engine._model.tokenizer
    scorer = open_scorer(
        RewardSource("r", sources.reward_weights) if by_model else RewardSource("words"), None, tokenizer, 1, "cpu"
    )
    texts = {prompt.id: prompt.text or "" for prompt in PROMPTS.prompts}
    scores = scorer.score(
        [texts[row["prompt"]] for row in candidates],
        [tokenizer(f"Q {texts[row['prompt']]} A")["input_ids"] for row in candidates],
        [tokenizer(row["text"])["input_ids"] + [0] * (row["finish_reason"] == "eos") for row in candidates],
    )
    best = scores.reshape(-1, N).argmax(1) + np.arange(len(chosen)) * N
    assert len(set(best % N)) > 1
    names = ("prompt", "text", "finish_reason", "n_tokens", "log_probs")
    assert [{name: row[name] for name in names} for row in chosen] == [
        {name: candidates[place][name] for name in names} for place in best
    ]
    assert [row["sample"] for row in chosen] == [*range(SAMPLES), *range(SAMPLES)]
    assert float(record["mean_score_of_chosen"]) == pytest.approx(scores[best].mean(), rel=1e-5)
    assert ("reward_weights" in record) == by_model
