"""What training does beside resuming: learns, logs, saves whole models, and stops at what would mislead."""

import json
import math
from typing import get_args

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.trainer.utils import add_fused_lm_head

from modecollapse.digests import sha256_directory
from modecollapse.errors import StudyError
from modecollapse.methods import METHODS
from modecollapse.methods.answer_head import add_answer_head
from modecollapse.methods.dpo import LossType
from modecollapse.methods.schedule import learning_rate_share
from modecollapse.sealed import write_sealed

METHOD_NAMES = ["pretrain", "sft", "dpo", "ipo", "kto", "simpo", "orpo"]


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_training_learns_and_writes_a_whole_model_without_pickles(method, toy, tmp_path):
    job = toy.job(method, tmp_path)
    record = METHODS[method].run(job)

    losses = [point["loss"] for point in record.curves]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert [point["step"] for point in record.curves] == list(range(1, record.steps + 1))
    assert len({tuple(point) for point in record.curves}) == 1, "every point has the same quantities"

    assert {path.suffix for path in job.output.iterdir()} == {".json", ".safetensors"}
    weights = load_file(job.output / "model.safetensors")
    assert "embed_out.weight" in weights
    _, loading = AutoModelForCausalLM.from_pretrained(job.output, output_loading_info=True)
    assert not any(loading.values())
    if job.parent:
        before = load_file(job.parent / "model.safetensors")
        assert not torch.equal(weights["embed_out.weight"], before["embed_out.weight"])
    config = json.loads((job.output / "config.json").read_text())
    assert config["use_cache"] is True
    assert str(toy.root) not in json.dumps(config)
    tokenizer = sha256_directory(job.parent or job.tokenizer)
    assert sha256_directory(job.output)["tokenizer.json"] == tokenizer["tokenizer.json"]


def test_the_learning_rate_follows_our_schedule_in_every_method(toy, tmp_path):
    warmups = {"pretrain": 1, "sft": 2, "dpo": 2}
    for method, warmup in warmups.items():
        record = METHODS[method].run(toy.job(method, tmp_path / method))
        expected = [3e-3 * learning_rate_share(step, record.steps, warmup, "cosine") for step in range(record.steps)]
        assert [point["learning_rate"] for point in record.curves] == pytest.approx(expected), method


def test_tokens_are_counted_without_padding(toy, tmp_path):
    data = tmp_path / "one.parquet"
    write_sealed(pa.table({"prompt": ["a fox", "a"], "completion": ["ran", "ran and then sat"]}), data)
    record = METHODS["sft"].run(toy.job("sft", tmp_path / "sft", {"epochs": 3}, data=data))
    # Human : a fox Assistant : ran <eos>, and Human : a Assistant : ran and then sat <eos>
    assert record.tokens == 3 * (8 + 10)
    pretraining = METHODS["pretrain"].run(toy.job("pretrain", tmp_path / "pretrain", {"tokens": 65}))
    assert (pretraining.steps, pretraining.tokens) == (2, 128)


def test_the_seed_decides_the_weights_and_nothing_else_does(toy, tmp_path):
    digests = [
        sha256_directory(job.output)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
        if METHODS["pretrain"].run(job := toy.job("pretrain", tmp_path / name, seed=seed))
    ]
    assert digests[0] == digests[1]
    assert digests[0]["model.safetensors"] != digests[2]["model.safetensors"]


def test_preference_curves_show_likelihood_displacement_beside_the_margin(toy, tmp_path):
    record = METHODS["dpo"].run(toy.job("dpo", tmp_path))
    first = record.curves[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert {
        "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected",
        "entropy", "grad_norm", "learning_rate",
    } <= first.keys()  # fmt: skip
    assert record.curves[-1]["rewards/margins"] > 0


LN2 = math.log(2)
LOSSES_OF_EQUAL_MODELS = {
    "sigmoid": LN2,
    "hinge": 1.0,
    "ipo": (1 / (2 * 0.1)) ** 2,
    "exo_pair": 0.5 * (math.log(0.5 / 0.9) + math.log(0.5 / 0.1)),
    "nca_pair": 2 * LN2,
    "robust": LN2,
    "bco_pair": 2 * LN2,
    "sppo_hard": 2 * (0.5 / 0.1) ** 2,
    "aot": LN2,
    "aot_unpaired": LN2,
    "apo_zero": 1.0,
    "apo_down": 1.0,
    "discopop": 0.5 * LN2 + 0.5,
    "sigmoid_norm": LN2,
}
"""Every loss where all log-ratios are 0, β is 0.1 and the label smoothing, where it is used, 0.1."""


@pytest.mark.parametrize("loss", get_args(LossType))
def test_every_loss_starts_where_equal_models_must(loss, toy, tmp_path):
    smoothing = {"label_smoothing": 0.1} if loss in ("robust", "exo_pair") else {}
    job = toy.job("dpo", tmp_path, {"loss_type": loss, "epochs": 1, "batch_size": 12, **smoothing})
    losses = [point["loss"] for point in METHODS["dpo"].run(job).curves]
    assert losses[0] == pytest.approx(LOSSES_OF_EQUAL_MODELS[loss], rel=1e-4)
    assert losses[1] != losses[0]
    assert all(map(math.isfinite, losses))


@pytest.mark.parametrize(
    "settings", [{"optimizer": "rmsprop", "betas": None, "weight_decay": 0.0}, {"dtype": "bfloat16"}]
)
def test_other_optimizers_and_numbers_start_where_equal_models_must(toy, tmp_path, settings):
    record = METHODS["dpo"].run(toy.job("dpo", tmp_path, {**settings, "epochs": 1}))
    assert record.curves[0]["loss"] == pytest.approx(LN2, rel=0.01)


def test_the_likelihood_term_adds_the_chosen_answers_loss(toy, tmp_path):
    plain = METHODS["dpo"].run(toy.job("dpo", tmp_path / "plain", {"epochs": 1}))
    with_term = METHODS["dpo"].run(toy.job("dpo", tmp_path / "term", {"epochs": 1, "sft_weight": 0.2}))
    added = with_term.curves[0]["loss"] - plain.curves[0]["loss"]
    # An untrained model of 24 tokens is nearly uniform: about ln 24 per token.
    assert added == pytest.approx(0.2 * math.log(24), rel=0.2)
    assert with_term.curves[-1]["logps/chosen"] > plain.curves[-1]["logps/chosen"]


def test_a_strong_pull_does_not_make_rounding_a_wrong_reference(toy, tmp_path):
    record = METHODS["dpo"].run(toy.job("dpo", tmp_path, {"beta": 2000.0, "epochs": 1, "log_every": 1}))
    # Other batches than the reference's: more than 1e-4 apart, yet the same model.
    assert 1e-4 < abs(record.curves[0]["rewards/chosen"]) < 0.1


def test_a_reference_that_is_not_the_parent_stops_preference_tuning(toy, tmp_path):
    METHODS["sft"].run(other := toy.job("sft", tmp_path / "other"))
    wrong = toy.job("dpo", tmp_path / "wrong", parent=other.output).reference_scores
    for method in ("dpo", "ipo", "kto"):
        with pytest.raises(StudyError, match="log-probabilities of the reference are not those of the parent"):
            METHODS[method].run(toy.job(method, tmp_path / method, reference_scores=wrong))


def test_the_change_of_a_chosen_answers_log_probability_is_read_from_the_curves(toy, tmp_path):
    for method, batch in (("dpo", 24), ("ipo", 24), ("kto", 48)):
        job = toy.job(method, tmp_path / method, {"batch_size": batch})  # all of the data in every update
        points = METHODS[method].run(job).curves
        changes = [METHODS[method].change_of_chosen(job.settings, point) for point in points]
        assert changes[1] == pytest.approx(points[1]["logps/chosen"] - points[0]["logps/chosen"], abs=1e-4)
        assert abs(changes[1]) > 0.01
        assert METHODS[method].change_of_chosen(job.settings, {"loss": 1.0}) is None
    assert METHODS["simpo"].change_of_chosen(METHODS["simpo"].settings(), points[0]) is None


def test_methods_without_a_reference_ask_for_none(toy, tmp_path):
    for method in ("simpo", "orpo"):
        assert toy.job(method, tmp_path / method).reference_scores is None


PREFERENCE_METHODS = ["dpo", "ipo", "kto", "simpo", "orpo"]


def _pairs(path, chosen, rejected):
    write_sealed(pa.table({"prompt": ["tell me of a fox"] * len(chosen), "chosen": chosen, "rejected": rejected}), path)
    return path


@pytest.mark.parametrize("method", PREFERENCE_METHODS)
def test_answers_that_are_equal_or_only_end_of_text_are_learned_from_like_any_others(method, toy, tmp_path, caplog):
    chosen, rejected = ["", "a fox ran .", "a cat", "ran"], ["a red fox .", "a fox ran .", "", ""]
    data = _pairs(tmp_path / "pairs.parquet", chosen, rejected)
    record = METHODS[method].run(toy.job(method, tmp_path, {"epochs": 1, "batch_size": 4}, data=data))
    assert "the same tokens in 1 of 4 rows, first in row 1" in caplog.text
    assert all(math.isfinite(value) for point in record.curves for value in point.values())


def test_pairs_without_any_preference_are_refused(toy, tmp_path):
    # They differ only beyond what truncation leaves of them.
    data = _pairs(tmp_path / "pairs.parquet", ["a fox ran and then sat"] * 2, ["a fox ran and then slept"] * 2)
    limits = {"max_length": 12, "max_prompt_length": 9, "too_long": "truncate"}
    with pytest.raises(StudyError, match="the same tokens in all 2 rows, row 0 first"):
        METHODS["simpo"].run(toy.job("simpo", tmp_path, limits, data=data))


@pytest.mark.parametrize(
    ("method", "settings", "word"),
    [
        ("sft", {"max_length": 64}, "max_length 64 is longer than the context .* 32 tokens"),
        ("dpo", {"max_length": 64}, "max_length 64 is longer than the context .* 32 tokens"),
        ("pretrain", {"sequence_length": 64}, "sequence_length 64 is longer than the architecture's context"),
        ("sft", {"max_length": 12}, "tokens long, but max_length allows 12"),
        ("sft", {"column": "chosen"}, "no column 'chosen'; it has prompt, completion"),
        ("sft", {"learning_rate": 1e30}, "training diverged"),
        ("dpo", {"learning_rate": 1e30}, "training diverged"),
        ("orpo", {"learning_rate": 1e30}, "training diverged"),
        ("kto", {"learning_rate": 1e30}, "training diverged"),
        ("pretrain", {"learning_rate": 1e30, "warmup": 0.0}, "training diverged"),
    ],
)
def test_what_cannot_be_trained_is_said_in_one_message(toy, tmp_path, method, settings, word):
    with pytest.raises(StudyError, match=word):  # with preference tuning, perhaps by the job of the reference
        METHODS[method].run(toy.job(method, tmp_path, settings))
    assert not any((tmp_path / "output").iterdir())


def test_scoring_answers_alone_gives_the_librarys_numbers_and_gradients(toy):
    tokenizer = AutoTokenizer.from_pretrained(toy.root / "parent")
    batch = tokenizer(["a red fox ran", "then a cat sat and then slept ."], padding=True, return_tensors="pt")
    batch = {key: batch[key] for key in ("input_ids", "attention_mask")}
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    labels[:, :2] = -100
    outputs = []
    for own in (False, True):
        model = AutoModelForCausalLM.from_pretrained(toy.root / "parent", attn_implementation="sdpa")
        add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        if own:
            add_answer_head(model, statistics=True)
        output = model(**batch, labels=labels, fused_lm_head=True)
        output.loss.backward()
        outputs.append((output, {name: parameter.grad for name, parameter in model.named_parameters()}))
    (library, library_gradients), (ours, our_gradients) = outputs
    assert library.keys() == ours.keys()
    for field in library:
        torch.testing.assert_close(ours[field], library[field])
    for name, gradient in library_gradients.items():
        torch.testing.assert_close(our_gradients[name], gradient, msg=name)
