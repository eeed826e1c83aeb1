"""Log-probabilities of preference pairs in the parent: right, in order, and of no other batch, model or data."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from modecollapse.errors import CorruptFile, StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.methods import METHODS, answer_head, reference
from modecollapse.methods.examples import read_pairs
from modecollapse.methods.lora import LoraSettings, quantization
from modecollapse.methods.reference import score_pairs
from modecollapse.methods.reference_file import SCHEMA, PairSettings
from modecollapse.sealed import read_sealed, write_sealed
from tests.workflow.conftest import HUMAN

SETTINGS = PairSettings(max_length=32, max_prompt_length=16, too_long="error", dtype="float32")


def score(toy, **changes) -> pa.Table:
    settings = SETTINGS.model_copy(update=changes)
    return score_pairs(toy.root / "parent", toy.root / "dpo.parquet", HUMAN, settings, threads=1)


def one_by_one(toy, network) -> dict[str, list[float]]:
    """The sums from the whole logits of each row, in float64."""
    tokenizer = AutoTokenizer.from_pretrained(toy.root / "parent")
    pairs = read_pairs(toy.root / "dpo.parquet", tokenizer, HUMAN, 32, 16, "error")
    sums: dict[str, list[float]] = {"chosen": [], "rejected": []}
    for answer, values in sums.items():
        for prompt, ids in zip(pairs["prompt_ids"], pairs[f"{answer}_ids"], strict=True):
            row = torch.tensor([[*prompt, *ids]])
            with torch.no_grad():
                scored = network(row).logits[0, :-1].double().log_softmax(-1)
            values.append(float(scored.gather(1, row[0, 1:, None])[len(prompt) - 1 :].sum()))
    return sums


@pytest.mark.parametrize("library_head", [False, True])
def test_every_answer_has_the_sum_of_its_own_tokens_in_the_order_of_the_data(library_head, toy, monkeypatch):
    if library_head:
        monkeypatch.setattr(answer_head, "_LARGEST_VOCABULARY", 0)
    found = score(toy)
    network = AutoModelForCausalLM.from_pretrained(toy.root / "parent", attn_implementation="sdpa")
    expected = one_by_one(toy, network)
    assert found.schema == SCHEMA
    assert found["pair"].to_pylist() == list(range(24))
    assert len(set(found["chosen_tokens"].to_pylist())) > 2
    for answer, sums in expected.items():
        np.testing.assert_allclose(found[f"{answer}_logp"].to_numpy(), sums, rtol=1e-6)


def test_how_many_pairs_go_through_the_model_together_changes_last_bits_only(toy, monkeypatch):
    before = score(toy)
    monkeypatch.setattr(reference, "POSITIONS", {"cpu": 100})
    after = score(toy)
    for answer in ("chosen", "rejected"):
        np.testing.assert_allclose(after[f"{answer}_logp"].to_numpy(), before[f"{answer}_logp"].to_numpy(), rtol=1e-6)


def test_four_bit_weights_are_scored_as_they_are_trained_from(wide_toy):
    found = score(wide_toy, quantization="nf4")["chosen_logp"].to_numpy()
    four_bits = load_causal_model(
        wide_toy.root / "parent", "float32", 1, "cpu", quantization(LoraSettings(quantization="nf4"), "float32")
    )
    np.testing.assert_allclose(found, one_by_one(wide_toy, four_bits.network)["chosen"], rtol=1e-5)
    assert np.abs(found - score(wide_toy)["chosen_logp"].to_numpy()).max() > 1e-3


def test_a_parent_that_gives_no_number_is_one_clear_error(toy, tmp_path):
    network = AutoModelForCausalLM.from_pretrained(toy.root / "parent")
    network.lm_head.weight.data[5] = float("nan")
    network.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(toy.root / "parent").save_pretrained(tmp_path)
    with pytest.raises(StudyError, match=r"log-probability of the chosen answer of row \d+ in the parent is nan"):
        score_pairs(tmp_path, toy.root / "dpo.parquet", HUMAN, SETTINGS, threads=1)


def without_last_pair(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def with_two_pairs_exchanged(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table.slice(1), table.slice(0, 1)])


def with_an_infinity(table: pa.Table) -> pa.Table:
    values = table["rejected_logp"].to_pylist()
    return table.set_column(
        4, SCHEMA.field("rejected_logp"), pa.array([*values[:3], -np.inf, *values[4:]], pa.float32())
    )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (without_last_pair, "it is of 23 pairs, but there are 24"),
        (with_two_pairs_exchanged, r"answer of pair \d+ has another number of tokens in training"),
        (with_an_infinity, "the log-probability of the rejected answer of pair 3 is -inf"),
        (lambda table: table.drop_columns(["pair"]), "its columns are chosen_tokens"),
    ],
)
def test_training_refuses_log_probabilities_of_something_else(change, word, toy, tmp_path):
    job = toy.job("dpo", tmp_path)
    wrong = tmp_path / "wrong.parquet"
    write_sealed(change(read_sealed(job.reference_scores)), wrong)
    with pytest.raises(CorruptFile, match=rf"wrong.parquet is corrupt: it does not fit the data: .*{word}"):
        METHODS["dpo"].run(replace(job, reference_scores=wrong))
