"""Training reward models: what they learn, what is published, and that a killed training ends with the same bytes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.base import RewardSource, TrainingJob
from modecollapse.methods.examples import encode, read_texts
from modecollapse.methods.layout import Layout
from modecollapse.methods.lora import LoraSettings
from modecollapse.methods.reward_file import SCHEMA, TruncationSettings
from modecollapse.methods.reward_model import start_reward_model
from modecollapse.methods.reward_scores import score_pairs
from modecollapse.methods.scoring import open_scorer
from modecollapse.sealed import write_sealed
from tests.workflow.test_resume import kill_in_child

REWARD = METHODS["reward"]
KINDS: dict[str, dict[str, Any]] = {
    "full": {"head_warmup_steps": 4, "learning_rate": 1e-2},
    "adapter": {"lora": LoraSettings(rank=4, alpha=8), "learning_rate": 1e-2},
}
VERBS = {"chosen": "slept", "rejected": "ran"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Pairs in which the better answer is the one that sleeps."""
    rows = [
        {
            "prompt": f"tell me of a {animal} .",
            **{name: f"a {adjective} {animal} {verb} ." for name, verb in VERBS.items()},
        }
        for animal in ("fox", "owl", "cat")
        for adjective in ("red", "green", "old", "young", "red and old", "young and green", "old and red", "and then")
    ]
    path = tmp_path / "learnable.parquet"
    write_sealed(pa.Table.from_pylist(rows), path)
    return path


def scores(job: TrainingJob) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of the chosen and the rejected answers of the job's data by the model that it made."""
    tokenizer = AutoTokenizer.from_pretrained(job.parent)
    texts = read_texts(job.data, ("prompt", "chosen", "rejected"))
    encoded = encode(tokenizer, job.format, texts["prompt"], [texts["chosen"], texts["rejected"]])
    scorer = open_scorer(RewardSource("rm", job.output), None, tokenizer, 1, "cpu")
    chosen, rejected = (scorer.score(texts["prompt"], encoded.prompts, ids) for ids in encoded.answers)
    return torch.tensor(chosen), torch.tensor(rejected)


@pytest.mark.parametrize("kind", [pytest.param("full", marks=pytest.mark.slow), "adapter"])
def test_a_killed_reward_model_ends_with_the_bytes_and_curves_of_an_undisturbed_one(kind, toy, data, tmp_path):
    job = toy.job("reward", tmp_path / "undisturbed", KINDS[kind], data=data)
    record = REWARD.run(job)
    killed = toy.job("reward", tmp_path / "killed", KINDS[kind], data=data)
    # The checkpoint that it goes on from, after 3 updates, is in the middle of the warm-up.
    kill_in_child("reward", killed, 5, tmp_path)
    assert [path.name for path in killed.state.glob("checkpoint-*")] == ["checkpoint-3"]
    assert REWARD.run(killed) == record
    assert sha256_directory(killed.output) == sha256_directory(job.output)

    # It learned, and what is published scores as the curves say.
    assert {"accuracy", "margin", "score/chosen", "score/rejected", "learning_rate", "grad_norm"} <= record.curves[
        0
    ].keys()
    weights = load_file(job.output / "model.safetensors")
    assert weights["score.weight"].shape == (1, 16)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert not any("embed_out" in name for name in weights)
    config = json.loads((job.output / "config.json").read_text())
    assert config["use_cache"] is True
    assert str(toy.root) not in json.dumps(config)
    chosen, rejected = scores(job)
    assert (chosen > rejected).float().mean() > 0.9
    if kind == "adapter":
        start = start_reward_model(job.parent, job.seed, 1, "cpu").network
        start.score.weight.data.zero_()  # the adapter brings the whole head
        adapted = PeftModel.from_pretrained(start, job.output / "adapter").eval()
        merged = AutoModelForSequenceClassification.from_pretrained(job.output)
        ids = torch.arange(3, 20)[None]
        with torch.no_grad():
            torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=0, atol=3e-6)


def test_the_first_loss_and_accuracy_are_those_of_the_scores_of_a_new_head(toy, tmp_path):
    job = toy.job("reward", tmp_path, {"epochs": 1, "batch_size": 24, "learning_rate": 1e-12})
    point = REWARD.run(job).curves[0]
    chosen, rejected = scores(job)
    assert point["loss"] == pytest.approx(-torch.log(1 / (1 + torch.exp(rejected - chosen))).mean().item(), rel=1e-5)
    assert point["accuracy"] == pytest.approx((chosen > rejected).float().mean().item())
    assert point["margin"] == pytest.approx((chosen - rejected).mean().item(), abs=1e-6)
    assert point["score/chosen"] == pytest.approx(chosen.mean().item(), rel=1e-5)
    assert point["score/rejected"] == pytest.approx(rejected.mean().item(), rel=1e-5)


def test_the_warm_up_moves_the_head_alone(toy, tmp_path):
    job = toy.job("reward", tmp_path, {"head_warmup_steps": 12, "weight_decay": 0.1})
    assert REWARD.run(job).steps == 12
    before, after = load_file(job.parent / "model.safetensors"), load_file(job.output / "model.safetensors")
    start = start_reward_model(job.parent, job.seed, 1, "cpu").network.score.weight
    assert not torch.equal(after.pop("score.weight"), start)
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_a_batch_in_parts_gives_the_curves_of_the_whole_one(toy, tmp_path):
    settings = {"batch_size": 10, "epochs": 1, "group_by_length": False}
    whole = REWARD.run(toy.job("reward", tmp_path / "whole", settings))
    parts = REWARD.run(toy.job("reward", tmp_path / "parts", settings, layout=Layout(micro_batch=4)))
    assert whole.curves[0] == pytest.approx(parts.curves[0], abs=2e-6, rel=2e-5)
    # The loss knows differences of scores only: what all scores have in common has a gradient of rounding errors alone,
    # which AdamW scales up.
    for name in ("loss", "margin", "accuracy"):
        expected = [point[name] for point in whole.curves]
        assert [point[name] for point in parts.curves] == pytest.approx(expected, abs=1e-4), name


def test_lengths_are_balanced_by_task(toy, tmp_path, caplog):
    data = tmp_path / "pairs.parquet"
    rows = [("a fox", "ran and then sat", "ran", "long")] * 6 + [("a fox", "ran", "ran and sat", "short")] * 2
    rows += [("a cat", "sat", "sat and slept", "long")] * 2
    table = pa.Table.from_pylist(
        [dict(zip(("prompt", "chosen", "rejected", "task"), row, strict=True)) for row in rows]
    )
    write_sealed(table, data)
    job = toy.job("reward", tmp_path / "rm", {"balance_length": True, "epochs": 1, "batch_size": 2}, data=data)
    assert REWARD.run(job).steps == 2, "two pairs of each kind in the task that has both kinds, none of the other"
    short = tmp_path / "short.parquet"
    write_sealed(table.slice(0, 6).drop_columns("task"), short)
    with pytest.raises(StudyError, match=r"no pairs are left to train on.*balance_length: false"):
        REWARD.run(replace(job, data=short))


def test_pairs_that_teach_nothing_or_lack_an_answer_are_refused(toy, tmp_path):
    def run(columns: dict[str, list[Any]]) -> None:
        data = tmp_path / "pairs.parquet"
        write_sealed(pa.table(columns), data)
        directory = tmp_path / str(len(list(tmp_path.iterdir())))
        REWARD.run(toy.job("reward", directory, data=data))

    with pytest.raises(StudyError, match="chosen and rejected of row 1 are equal, 'sat'"):
        run({"prompt": ["a", "b"], "chosen": ["ran", "sat"], "rejected": ["slept", "sat"]})
    with pytest.raises(StudyError, match="has no column 'rejected'"):
        run({"prompt": ["a"], "chosen": ["ran"]})
    with pytest.raises(StudyError, match="rejected of row 0 is None, not text"):
        run({"prompt": ["a"], "chosen": ["ran"], "rejected": pa.array([None], pa.string())})


def test_scores_of_pairs_are_those_of_the_model_with_lengths_and_tasks(toy, data, tmp_path):
    job = toy.job("reward", tmp_path, {"epochs": 1}, data=data)
    REWARD.run(job)
    tokenizer = AutoTokenizer.from_pretrained(job.parent)
    scorer = open_scorer(RewardSource("rm", job.output), None, tokenizer, 1, "cpu")
    settings = TruncationSettings(max_length=32, max_prompt_length=16, too_long="error")
    table = score_pairs(scorer, tokenizer, "held", data, job.format, settings, None)
    assert table.schema.equals(SCHEMA)
    chosen, rejected = scores(job)
    assert table["chosen_score"].to_pylist() == chosen.tolist()
    assert table["rejected_score"].to_pylist() == rejected.tolist()
    assert table["prompt"].to_pylist() == [0] * 8 + [8] * 8 + [16] * 8, "the first pair with the same prompt"
    assert table["chosen_tokens"].to_pylist()[:1] == [6]  # a red fox slept . <eos>
    assert set(table["data"].to_pylist()) == {"held"}
    assert set(table["task"].to_pylist()) == {None}
    assert all(map(math.isnan, table["chosen_utility"].to_pylist()))
