"""PPO in the nano world, as the RL paper has it: policy, reference, critic and reward over one model."""

from statistics import fmean

import pytest

from modecollapse.sealed import read_sealed
from tests.projects import Project

STAGES = """  rm:
    method: reward
    from: sft
    data: preferences
    lora: {rank: 8}
    learning_rate: 1e-2
    batch_size: 16
    epochs: 4
    max_length: 128
    max_prompt_length: 64
    dtype: float32
  ppo:
    method: ppo
    from: sft
    reward: rm
    data: preferences
    lora: {rank: 8}
    learning_rate: 1e-2
    critic_learning_rate: 1e-2
    steps: 16
    batch_size: 64
    minibatch_size: 32
    kl_weight: 0.01
    unended_penalty: 0.0
    warmup_steps: 0
    max_new_tokens: 24
    max_length: 128
    dtype: float32

seeds: [0]
"""


@pytest.mark.slow
def test_the_score_rises_above_that_of_the_fine_tuned_model_s_answers(finished: Project) -> None:
    finished.edit_study("seeds: [0]\n", STAGES)
    curves = "results/nano-smoke/models/tiny/s0/ppo/curves.parquet"
    finished.run(curves)
    points = read_sealed(finished.root / curves).to_pylist()
    assert len(points) == 16
    first, scores = points[0], [point["score"] for point in points]
    assert (first["kl"], first["ratio_first"]) == (0, 1)
    assert fmean(scores[-6:]) > max(first["baseline_score"], fmean(scores[:3])) + 0.1
