"""Token statistics of tiny models against a slow float64 computation, one position at a time."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from modecollapse.analysis.bootstrap import Bootstrap
from modecollapse.analysis.token_replica import replica_statistics
from modecollapse.analysis.tokens import TokenStatistics
from modecollapse.analysis.tokens import token_statistics as corrected_statistics
from modecollapse.errors import StudyError
from modecollapse.measures.token_sums import DOCUMENTS, VOCABULARY
from modecollapse.measures.tokens import TokenSettings, Unfinished, token_statistics
from modecollapse.measures.windows import windows

SETTINGS = TokenSettings(context=16, groups=3)
TEXTS = [
    "a cat sat",
    "bugs are real, and so are cats with long tails",
    "",
    "x",
    "exactly sixteen!",
    "yes\nno",
    "déjà vu",
]


def make_model(directory: Path, seed: int, scale: float = 0.3, vocabulary: int = 98) -> Path:
    letters = [*map(chr, range(33, 127)), "Ġ", "Ċ"]
    tokens = {token: i for i, token in enumerate(["<|endoftext|>", "<|unknown|>", *letters])}
    raw = Tokenizer(models.BPE(vocab=tokens, merges=[], unk_token="<|unknown|>"))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=end, bos_token=end).save_pretrained(directory)
    torch.manual_seed(seed)
    model = GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            bos_token_id=0,
            eos_token_id=0,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0, scale)
        if scale == 0:
            model.get_output_embeddings().weight.zero_()
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("stage"), 1)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("first"), 2)


def score(
    model: Path, reference: Path | None = None, settings: TokenSettings = SETTINGS, texts: list[str] | None = None
) -> tuple[pa.Table, pa.Table]:
    return token_statistics(model, reference, TEXTS if texts is None else texts, settings, 1, "cpu")


def both(tables: tuple[pa.Table, pa.Table]) -> tuple[TokenStatistics, TokenStatistics]:
    """The corrected and the replica's statistics of one model."""
    documents, vocabulary = (table.to_pandas() for table in tables)
    bootstrap = Bootstrap(resamples=100, seed=0)
    return (
        corrected_statistics(documents, vocabulary, bootstrap),
        replica_statistics(documents, vocabulary, bootstrap),
    )


def of_blocks(vocabulary: pa.Table) -> list[dict[str, Any]]:
    return [row for row in vocabulary.to_pylist() if row["definition"] == "corrected"]


def of_replica(vocabulary: pa.Table) -> dict[str, Any]:
    [row] = [row for row in vocabulary.to_pylist() if row["definition"] == "replica"]
    return row


def sums(documents: pa.Table) -> np.ndarray:
    return np.stack([documents[name].to_numpy() for name in ("nll", "entropy", "confidence", "kl")])


def slow(model: Path, reference: Path, text: str, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of a document (four quantities) and of its predicted distributions, in float64, token by token."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    networks = [GPTNeoXForCausalLM.from_pretrained(path, dtype=torch.float64) for path in (model, reference)]
    tokens = [0, *tokenizer(text)["input_ids"]]
    totals, mass = np.zeros(4), np.zeros(98)
    for i in range(1, len(tokens)):
        # The window of token i: chunks of `context` tokens; the last one is drawn back until it is full.
        end = min(1 + ((i - 1) // context + 1) * context, len(tokens))
        before = torch.tensor([tokens[max(0, end - 1 - context) : i]])
        log_p, log_q = (network(before).logits[0, -1].log_softmax(-1).detach().numpy() for network in networks)
        p = np.exp(log_p)
        totals += -log_p[tokens[i]], -(p * log_p).sum(), p.max(), (p * (log_p - log_q)).sum()
        mass += p
    return totals, mass


def slow_windows(model: Path, text: str, context: int) -> list[np.ndarray]:
    """Predicted distributions [positions, vocabulary] of each window in float64, as lm-evaluation-harness rolls them.

    The first window holds the prefix and the first tokens; each later one predicts as many new tokens as it can and is
    filled up with tokens before them.
    """
    network = GPTNeoXForCausalLM.from_pretrained(model, dtype=torch.float64)
    tokens: list[int] = PreTrainedTokenizerFast.from_pretrained(model)(text)["input_ids"]
    inputs = [[0, *tokens[: context - 1]]] if tokens else []
    done = context
    while done < len(tokens):
        end = min(done + context, len(tokens))
        inputs.append(tokens[end - context - 1 : end - 1])
        done = end
    inputs = [window[: len(tokens)] for window in inputs]
    with torch.inference_mode():
        return [network(torch.tensor([window])).logits[0].softmax(-1).numpy() for window in inputs]


def test_sums_over_windows_agree_with_a_slow_float64_computation(stage: Path) -> None:
    documents, vocabulary = score(stage)
    expected = [slow_windows(stage, text, 16) for text in TEXTS]
    for row, found in zip(documents.to_pylist(), expected, strict=True):
        p = np.concatenate(found) if found else np.zeros((0, 98))
        assert row["n_positions"] == len(p)
        assert row["window_entropy"] == pytest.approx(-(p * np.log(p)).sum(), rel=1e-5)
        assert row["window_confidence"] == pytest.approx(p.max(axis=1, initial=0).sum(), rel=1e-5)
    # 46 tokens in three windows of 16: two of them are scored, and counted, as context of the last.
    assert documents["n_positions"].to_pylist()[1] == 48
    # Only document 0 comes before or at a multiple of 500.
    replica = of_replica(vocabulary)
    assert replica["n_distributions"] == len(expected[0]) == 1
    assert np.allclose(replica["probability_sum"], expected[0][0].mean(axis=0), rtol=1e-5, atol=1e-9)


def test_the_definitions_agree_with_a_slow_float64_computation(stage: Path, first: Path) -> None:
    texts = [TEXTS[1], *TEXTS]
    corrected, replica = both(score(stage, first, texts=texts))
    slow_sums = [slow(stage, first, text, 16) for text in texts]
    totals, mass = sum(totals for totals, _ in slow_sums), sum(mass for _, mass in slow_sums)
    n = sum(len(text.encode()) for text in texts)
    assert corrected.n_tokens == n
    assert corrected.values["perplexity"] == pytest.approx(np.exp(totals[0] / n), rel=1e-5)
    assert corrected.values["entropy"] == pytest.approx(totals[1] / n, rel=1e-5)
    assert corrected.values["confidence"] == pytest.approx(totals[2] / n, rel=1e-5)
    falling = np.cumsum(np.sort(mass)[::-1]) / mass.sum()
    assert corrected.values["vocabulary_share_70"] == (np.flatnonzero(falling >= 0.7)[0] + 1) / 98
    p = [np.concatenate(found) for text in texts if (found := slow_windows(stage, text, 16))]
    assert replica.values["perplexity"] == corrected.values["perplexity"]
    assert replica.values["entropy"] == pytest.approx(-(p[0] * np.log(p[0])).sum() / len(p[0]), rel=1e-5)
    assert replica.values["confidence"] == pytest.approx(np.mean([one.max(axis=1).mean() for one in p]), rel=1e-5)
    kept = np.mean([found.mean(axis=0) for found in slow_windows(stage, texts[0], 16)], axis=0)
    place = np.flatnonzero(np.cumsum(np.sort(kept)[::-1]) > 0.9)[0]
    assert replica.values["vocabulary_share_90"] == place / 98
    assert replica.values["entropy"] != pytest.approx(corrected.values["entropy"], rel=1e-3)
    assert replica.values["confidence"] != pytest.approx(corrected.values["confidence"], rel=1e-3)


def test_the_replicas_entropy_knows_the_first_document_that_is_not_empty_and_no_other(stage: Path) -> None:
    one = both(score(stage, texts=["", "a cat sat", "bugs are real", "x"]))
    two = both(score(stage, texts=["", "a cat sat", "something else", "y"]))
    other = both(score(stage, texts=["", "a dog sat", "bugs are real", "x"]))
    assert one[1].values["entropy"] == pytest.approx(two[1].values["entropy"], rel=1e-5)
    assert one[0].values["entropy"] != pytest.approx(two[0].values["entropy"], rel=1e-3)
    assert one[1].values["entropy"] != pytest.approx(other[1].values["entropy"], rel=1e-3)


def test_the_replicas_confidence_weighs_documents_alike_and_counts_repeated_context(stage: Path) -> None:
    long = TEXTS[1][:17]
    window, last = (found.max(axis=1) for found in slow_windows(stage, long, 16))
    short = slow_windows(stage, "x", 16)[0].max(axis=1)
    replica = both(score(stage, texts=[long, "x"]))[1]
    assert len(window) == len(last) == 16
    assert replica.values["confidence"] == pytest.approx((np.append(window, last).mean() + short.mean()) / 2, rel=1e-5)


def test_the_replicas_mean_probabilities_drop_what_comes_after_the_last_multiple_of_500(stage: Path) -> None:
    def row(texts: list[str]) -> dict[str, Any]:
        return of_replica(score(stage, texts=texts)[1])

    many = ["x"] * 501
    assert row(many)["n_distributions"] == 501
    assert row([*many, "y"])["n_distributions"] == 501
    assert np.allclose(row([*many, "y"])["probability_sum"], row(many)["probability_sum"], rtol=1e-6)
    changed = row([*many[:500], "y y y y"])
    assert changed["n_distributions"] == 501
    assert not np.allclose(changed["probability_sum"], row(many)["probability_sum"], rtol=1e-3)
    # Without tokens, the document at the multiple is passed over before anything is kept.
    assert row([*many[:500], "", "x"])["n_distributions"] == 1
    assert row(["", "x"])["n_distributions"] == 0
    assert sum(row(["", "x"])["probability_sum"]) == 0


def test_sums_agree_with_a_slow_float64_computation(stage: Path, first: Path) -> None:
    documents, vocabulary = score(stage, first)
    expected = [slow(stage, first, text, 16) for text in TEXTS]
    found = sums(documents)
    for i, (totals, _) in enumerate(expected):
        assert found[:3, i] == pytest.approx(totals[:3], rel=1e-5)
        assert found[3, i] == pytest.approx(totals[3], rel=1e-5, abs=1e-6)
    groups = documents["group"].to_numpy()
    for row in of_blocks(vocabulary):
        members = np.flatnonzero(groups == row["group"])
        assert np.allclose(row["probability_sum"], sum(expected[i][1] for i in members), rtol=1e-5, atol=1e-9)
        assert sum(row["probability_sum"]) == pytest.approx(row["n_distributions"], rel=1e-6)


def test_the_tables_have_the_documented_layout(stage: Path) -> None:
    documents, vocabulary = score(stage)
    assert documents.schema.equals(DOCUMENTS)
    assert vocabulary.schema.equals(VOCABULARY)
    assert documents["document"].to_pylist() == list(range(len(TEXTS)))
    assert documents["n_bytes"].to_pylist() == [len(text.encode()) for text in TEXTS]
    assert documents["n_tokens"].to_pylist()[:4] == [9, 46, 0, 1]
    assert set(documents["group"].to_pylist()) == {0, 1, 2}
    assert vocabulary["group"].to_pylist() == [0, 1, 2, None]
    assert sum(row["n_distributions"] for row in of_blocks(vocabulary)) == sum(documents["n_tokens"].to_pylist())
    assert all(np.isnan(documents["kl"].to_numpy()))


@given(length=st.integers(1, 200), context=st.integers(2, 70))
def test_windows_score_each_token_exactly_once_and_are_full_but_for_short_documents(length: int, context: int) -> None:
    tokens = list(range(1, length + 1))
    pieces = list(windows(3, tokens, 0, context))
    scored = [
        (window.targets[i], window.inputs[i]) for window in pieces for i in range(window.first, len(window.inputs))
    ]
    assert scored == [(token, token - 1) for token in tokens]
    assert {len(window.inputs) for window in pieces} == {min(length, context)}
    assert all(len(window.targets) == len(window.inputs) for window in pieces)
    assert len(pieces) == -(-length // context)
    assert pieces[0].inputs[0] == 0
    assert {window.document for window in pieces} == {3}


def test_a_document_without_tokens_has_no_window() -> None:
    assert list(windows(0, [], 0, 16)) == []


def test_uniform_predictions_have_the_entropy_of_the_vocabulary(tmp_path: Path) -> None:
    documents, vocabulary = score(make_model(tmp_path, 1, scale=0))
    n = documents["n_tokens"].to_numpy()
    for name, per_token in (("nll", np.log(98)), ("entropy", np.log(98)), ("confidence", 1 / 98)):
        assert np.allclose(documents[name].to_numpy(), n * per_token, rtol=1e-6), name
    for row in vocabulary.to_pylist():
        assert np.allclose(row["probability_sum"], row["n_distributions"] / 98, rtol=1e-6)
    for found in both((documents, vocabulary)):
        assert found.values["perplexity"] == pytest.approx(98, rel=1e-6)
        assert found.values["entropy"] == pytest.approx(np.log(98), rel=1e-6)
        assert found.values["confidence"] == pytest.approx(1 / 98, rel=1e-6)


def test_certain_predictions_have_no_entropy(tmp_path: Path) -> None:
    directory = make_model(tmp_path, 1)
    network = GPTNeoXForCausalLM.from_pretrained(directory)
    with torch.no_grad():
        # Whatever it reads, the last hidden state is all ones, and the head gives all mass to "a".
        network.base_model.final_layer_norm.weight.zero_()
        network.base_model.final_layer_norm.bias.fill_(1)
        head = network.get_output_embeddings().weight
        head.zero_()
        [letter] = PreTrainedTokenizerFast.from_pretrained(directory)("a")["input_ids"]
        head[letter] = 100
    network.save_pretrained(directory)
    for found in both(score(directory, texts=["a" * 40, "aaa"])):
        assert found.values["perplexity"] == 1
        assert found.values["entropy"] == 0
        assert found.values["confidence"] == 1
        assert found.values["vocabulary_share_70"] <= 1 / 98


def test_a_certain_prediction_of_another_token_costs_what_the_logits_say(tmp_path: Path) -> None:
    directory = make_model(tmp_path, 1)
    network = GPTNeoXForCausalLM.from_pretrained(directory)
    with torch.no_grad():
        network.base_model.final_layer_norm.weight.zero_()
        network.base_model.final_layer_norm.bias.fill_(1)
        network.get_output_embeddings().weight.zero_()
        network.get_output_embeddings().weight[50] = 20
    network.save_pretrained(directory)
    # Sixteen dimensions of 20: the logit of token 50 is 320, all others are 0.
    assert score(directory, texts=["a"])[0]["nll"].to_pylist() == pytest.approx([320])


def test_kl_is_zero_to_itself_and_positive_to_another_model(stage: Path, first: Path, tmp_path: Path) -> None:
    for file in stage.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert not sums(score(stage, stage)[0])[3].any()
    assert not sums(score(stage, tmp_path)[0])[3].any()
    documents = score(stage, first)[0]
    assert (sums(documents)[3] > 0).tolist() == (documents["n_tokens"].to_numpy() > 0).tolist()


def test_neither_batches_nor_the_order_of_documents_matter(stage: Path, first: Path) -> None:
    whole = sums(score(stage, first)[0])
    for batch in (1, 20, 50):
        assert np.allclose(sums(score(stage, first, SETTINGS.model_copy(update={"batch": batch}))[0]), whole, rtol=1e-5)
    backwards = sums(score(stage, first, texts=TEXTS[::-1])[0])
    assert np.allclose(backwards[:, ::-1], whole, rtol=1e-5)


def test_the_same_call_gives_the_same_bits(stage: Path, first: Path) -> None:
    one, other = score(stage, first), score(stage, first)
    assert one[0].equals(other[0])
    assert one[1].equals(other[1])


def test_only_so_many_documents_are_scored(stage: Path) -> None:
    few = score(stage, settings=TokenSettings(documents=2, context=16, groups=50))
    assert few[0].num_rows == 2
    assert len(of_blocks(few[1])) == 2


def test_progress_ends_with_all_windows(stage: Path) -> None:
    seen: list[tuple[int, int]] = []
    settings = SETTINGS.model_copy(update={"batch": 16})
    token_statistics(stage, None, TEXTS, settings, 1, "cpu", lambda done, total: seen.append((done, total)))
    assert len(seen) > 1
    assert seen[-1][0] == seen[-1][1]


def test_what_cannot_be_scored_is_refused(stage: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="at least one"):
        score(stage, texts=[])
    with pytest.raises(StudyError, match="every document is empty"):
        score(stage, texts=["", ""])
    with pytest.raises(StudyError, match="context of 64 positions, the model knows 32"):
        score(stage, settings=TokenSettings(context=64))
    with pytest.raises(StudyError, match="not numbers"):
        score(make_model(tmp_path / "broken", 1, scale=1e30))


def test_kl_is_undefined_where_vocabularies_differ_and_all_else_is_not(stage: Path, tmp_path: Path) -> None:
    larger = make_model(tmp_path / "larger", 1, vocabulary=120)
    renamed = make_model(tmp_path / "renamed", 1)
    file = renamed / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(content))
    defined = score(stage, stage)[0].to_pandas()
    for other in (larger, renamed):
        documents, table = score(stage, other)
        found = documents.to_pandas()
        assert found["kl"].isna().all()
        assert found.drop(columns="kl").equals(defined.drop(columns="kl"))
        statistics = corrected_statistics(found, table.to_pandas(), Bootstrap(resamples=200, seed=0))
        assert math.isnan(statistics.values["kl"])
        assert math.isfinite(statistics.values["entropy"])


def chunks_of(monkeypatch: pytest.MonkeyPatch, positions: int) -> None:
    monkeypatch.setattr("modecollapse.measures.windows.CHUNK_POSITIONS", positions)


@pytest.mark.parametrize("positions", [pytest.param(1, marks=pytest.mark.slow), 20, 100])
def test_chunks_change_no_sum_beyond_its_last_bits(
    stage: Path, first: Path, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 1,003 documents: the replica keeps those up to the one of number 1,000, and drops two.
    texts = [*TEXTS * 143, "x", "y"]
    whole = score(stage, first, texts=texts)
    chunks_of(monkeypatch, positions)
    parts = score(stage, first, texts=texts)
    for name in DOCUMENTS.names:
        assert np.allclose(parts[0][name].to_numpy(), whole[0][name].to_numpy(), rtol=1e-5), name
    for one, other in zip(parts[1].to_pylist(), whole[1].to_pylist(), strict=True):
        assert one["n_distributions"] == other["n_distributions"]
        assert np.allclose(one["probability_sum"], other["probability_sum"], rtol=1e-5)


def test_sums_that_were_kept_after_any_chunk_lead_to_the_very_same_end(
    stage: Path, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunks_of(monkeypatch, 40)
    texts = ["", *TEXTS, "a long one " * 20, *TEXTS, ""]
    kept: list[pa.Table] = []
    whole = token_statistics(
        stage, first, texts, SETTINGS, 1, unfinished=Unfinished(lambda: None, kept.append, seconds=0)
    )
    assert len(kept) > 5
    for state in kept:
        saved: list[pa.Table] = []
        resumed = token_statistics(
            stage, first, texts, SETTINGS, 1, unfinished=Unfinished(lambda state=state: state, saved.append, seconds=0)
        )
        assert [table.to_pylist() for table in resumed] == [table.to_pylist() for table in whole]
        assert len(saved) == len(kept) - 1 - next(i for i, one in enumerate(kept) if one is state)


def test_a_document_far_longer_than_the_context_is_scored_in_many_chunks(
    stage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "the quick brown fox " * 100
    whole = score(stage, texts=[long])
    chunks_of(monkeypatch, 64)
    documents, vocabulary = score(stage, texts=[long])
    assert documents["n_tokens"].to_pylist() == [2000]
    assert np.allclose(sums(documents)[:3], sums(whole[0])[:3], rtol=1e-5)
    assert of_replica(vocabulary)["n_distributions"] == 125


def test_documents_that_are_all_empty_are_refused(stage: Path) -> None:
    with pytest.raises(StudyError, match="every document is empty"):
        score(stage, texts=["", ""])
