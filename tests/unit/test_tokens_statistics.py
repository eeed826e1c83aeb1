"""Token statistics of tiny models against a slow float64 computation, one position at a time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from modecollapse.errors import StudyError
from modecollapse.measures.tokens import DOCUMENTS, VOCABULARY, TokenSettings, token_statistics, windows

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


def test_sums_agree_with_a_slow_float64_computation(stage: Path, first: Path) -> None:
    documents, vocabulary = score(stage, first)
    expected = [slow(stage, first, text, 16) for text in TEXTS]
    found = sums(documents)
    for i, (totals, _) in enumerate(expected):
        assert found[:3, i] == pytest.approx(totals[:3], rel=1e-5)
        assert found[3, i] == pytest.approx(totals[3], rel=1e-5, abs=1e-6)
    groups = documents["group"].to_numpy()
    for row in vocabulary.to_pylist():
        members = np.flatnonzero(groups == row["group"])
        assert np.allclose(row["probability_sum"], sum(expected[i][1] for i in members), rtol=1e-5, atol=1e-9)
        assert sum(row["probability_sum"]) == pytest.approx(row["n_tokens"], rel=1e-6)


def test_the_tables_have_the_documented_layout(stage: Path) -> None:
    documents, vocabulary = score(stage)
    assert documents.schema.equals(DOCUMENTS)
    assert vocabulary.schema.equals(VOCABULARY)
    assert documents["document"].to_pylist() == list(range(len(TEXTS)))
    assert documents["n_bytes"].to_pylist() == [len(text.encode()) for text in TEXTS]
    assert documents["n_tokens"].to_pylist()[:4] == [9, 46, 0, 1]
    assert set(documents["group"].to_pylist()) == set(vocabulary["group"].to_pylist()) == {0, 1, 2}
    assert sum(vocabulary["n_tokens"].to_pylist()) == sum(documents["n_tokens"].to_pylist())
    assert all(np.isnan(documents["kl"].to_numpy()))


@pytest.mark.parametrize("length", [1, 2, 15, 16, 17, 31, 32, 33, 100])
def test_windows_score_each_token_exactly_once_and_are_full_but_for_short_documents(length: int) -> None:
    tokens = list(range(1, length + 1))
    pieces = list(windows(3, tokens, 0, 16))
    scored = [
        (window.targets[i], window.inputs[i]) for window in pieces for i in range(window.first, len(window.inputs))
    ]
    assert scored == [(token, token - 1) for token in tokens]
    assert {len(window.inputs) for window in pieces} == {min(length, 16)}
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
        assert np.allclose(row["probability_sum"], row["n_tokens"] / 98, rtol=1e-6)


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
    assert few[1].num_rows == 2


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
    with pytest.raises(StudyError, match="98 tokens, its reference 120"):
        score(stage, make_model(tmp_path / "other", 1, vocabulary=120))
    with pytest.raises(StudyError, match="not numbers"):
        score(make_model(tmp_path / "broken", 1, scale=1e30))
