"""Rejection sampling and fine-tuning: what is trained on, and that nothing is sampled twice."""

import pyarrow as pa
import pytest

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.methods import METHODS, answers_file, sampled_answers
from modecollapse.methods.answers_file import SCHEMA
from modecollapse.methods.rejection_sft import ANSWERS
from modecollapse.methods.sampled_answers import ask
from modecollapse.prompts import PromptFormat
from modecollapse.sealed import read_sealed, write_sealed
from tests.workflow.conftest import HUMAN
from tests.workflow.test_resume import kill_in_child

METHOD = METHODS["rejection_sft"]


def sampled(job) -> pa.Table:
    return read_sealed(job.state / ANSWERS)


def test_the_best_finished_answer_to_each_prompt_is_trained_on(toy, tmp_path, caplog):
    caplog.set_level("INFO")
    job = toy.job("rejection_sft", tmp_path, {"epochs": 1})
    record = METHOD.run(job)
    table = sampled(job)
    assert table.schema == SCHEMA
    assert table["prompt"].to_pylist() == [prompt for prompt in range(24) for _ in range(4)]
    best: dict[int, float] = {}
    for row in table.to_pylist():
        assert row["score"] == len(row["text"].split()), "what the reward says of the very text"
        if row["ended"] and row["text"].strip():
            best[row["prompt"]] = max(best.get(row["prompt"], 0.0), row["score"])
    first = record.curves[0]
    assert first["step"] == 0
    assert first["score/kept"] == pytest.approx(sum(best.values()) / len(best))
    assert first["score/sampled"] == pytest.approx(sum(table["score"].to_pylist()) / 96)
    assert record.steps == -(-len(best) // 4)
    assert f"96 answers to 24 prompts: {len(best)} taken" in caplog.text


def test_a_killed_run_ends_with_the_weights_and_curves_of_an_undisturbed_one(toy, tmp_path, monkeypatch):
    undisturbed = toy.job("rejection_sft", tmp_path / "undisturbed")
    expected = METHOD.run(undisturbed)
    job = toy.job("rejection_sft", tmp_path / "killed")
    kill_in_child("rejection_sft", job, 5, tmp_path)
    assert [path.name for path in job.state.glob("checkpoint-*")] == ["checkpoint-3"]
    kept = (job.state / ANSWERS).read_bytes()
    assert kept == (undisturbed.state / ANSWERS).read_bytes()

    def sample_again(*_):
        raise AssertionError("answers that were kept are sampled again")

    monkeypatch.setattr(sampled_answers, "sample_rollouts", sample_again)
    assert METHOD.run(job) == expected
    assert sha256_directory(job.output) == sha256_directory(undisturbed.output)


def test_a_run_that_was_killed_while_it_sampled_goes_on_with_the_next_part(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(answers_file, "ROWS_OF_A_PART", 40)  # ten prompts at a time
    undisturbed = toy.job("rejection_sft", tmp_path / "undisturbed", {"epochs": 1})
    METHOD.run(undisturbed)
    expected = sha256_directory(undisturbed.output)
    job = toy.job("rejection_sft", tmp_path / "killed", {"epochs": 1})
    write_sealed(sampled(undisturbed).slice(0, 40), job.state / ANSWERS)  # as a kill in the second part leaves it
    asked = []
    sample = sampled_answers.sample_rollouts

    def noted(model, prompts, *rest):
        asked.append(len(prompts))
        return sample(model, prompts, *rest)

    monkeypatch.setattr(sampled_answers, "sample_rollouts", noted)
    METHOD.run(job)
    assert asked == [10, 4]
    assert sha256_directory(job.output) == expected
    assert sampled(job) == sampled(undisturbed)


def test_fewer_prompts_are_a_draw_of_all_that_depends_on_nothing_but_the_seed(toy):
    model = load_causal_model(toy.root / "parent", "float32", 1, "cpu")
    texts = [f"tell me of a {' '.join(['old'] * number)} fox ." for number in range(12)]

    def asked(number: int | None, seed: int, room: int | None = None) -> list[int]:
        return ask(model, HUMAN, texts, number, seed, room, "truncate", toy.root / "data").rows

    few, more = asked(4, 0), asked(8, 0)
    assert few == sorted(few)
    assert set(few) < set(more)
    assert asked(4, 1) != few
    assert asked(None, 0) == asked(99, 0) == list(range(12))
    # The shortest prompt has ten tokens in its format, and every "old" is one more.
    assert asked(None, 0, room=14) == [0, 1, 2, 3, 4], "what leaves no room for an answer is left out"
    with pytest.raises(StudyError, match=r"7 of 12 prompts have more than 14 tokens, e\.g\. row 5.*too_long: truncate"):
        ask(model, HUMAN, texts, None, 0, 14, "error", toy.root / "data")


def test_prompts_without_tokens_are_left_out_and_counted_apart(toy, caplog):
    model, form = load_causal_model(toy.root / "parent", "float32", 1, "cpu"), PromptFormat("raw", "{prompt}")
    asked = ask(model, form, ["", "a fox", ""], None, 0, None, "error", toy.root / "data")
    assert asked.rows == [1]
    assert "2 of 3 prompts have no tokens, e.g. row 0; they are left out" in caplog.text
    with pytest.raises(StudyError, match="1 of 1 prompts have no tokens"):
        ask(model, form, [""], None, 0, None, "error", toy.root / "data")


def test_a_model_whose_answers_never_end_is_one_clear_error(toy, tmp_path):
    job = toy.job("rejection_sft", tmp_path, {"max_new_tokens": 1, "n": 2, "prompts": 3})
    with pytest.raises(StudyError, match=r"nothing is left to train on. 6 answers to 3 prompts: 0 taken.*max_new_tok"):
        METHOD.run(job)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 5}, "keep 5 is more than the n 4 answers"),
        ({"keep": 1, "quantile": 0.9}, "two ways to select"),
        ({"max_new_tokens": 32}, "leaves no room for a prompt"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message, toy, tmp_path):
    with pytest.raises(ValueError, match=message):
        toy.job("rejection_sft", tmp_path, settings)
