"""The transformers engine on tiny random models, against the library's own generation and plain forward passes."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from modecollapse.cell_tables import CELL_SCHEMA, cell_record
from modecollapse.errors import StudyError
from modecollapse.generation.completions import Finisher
from modecollapse.generation.decoding import Decoding
from modecollapse.generation.prefill import RowMemory, rows_in_memory
from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine

PROMPTS = [("bugs", "are bugs real"), ("cat", "a cat"), ("long", "which of them would you rather have"), ("x", "x")]
SIZES = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE = {**SIZES, "intermediate_size": 64, "max_position_embeddings": 96, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A GPT-NeoX and a Llama with random weights, large enough to have opinions; one token per character."""
    # The last two are the space and the line break as the pre-tokenizer writes them.
    letters = [*map(chr, range(33, 127)), "Ġ", "Ċ"]
    vocabulary = {token: i for i, token in enumerate(["<|endoftext|>", *letters])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    neox = GPTNeoXConfig(**SHAPE, tie_word_embeddings=False)
    llama = LlamaConfig(**SHAPE, num_key_value_heads=2)
    paths = {}
    for name, family, config in (("neox", GPTNeoXForCausalLM, neox), ("llama", LlamaForCausalLM, llama)):
        torch.manual_seed(3)
        model = family(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0, 0.25)
            model.get_output_embeddings().weight[0] += 0.1  # some rows end
        paths[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(paths[name])
        tokenizer.save_pretrained(paths[name])
    return paths


def engine_of(directory: Path, **settings: object) -> TransformersEngine:
    return TransformersEngine(directory, SamplingSettings(**{"completions": 6, "max_new_tokens": 40, **settings}), 1)


def sample(directory: Path, temperature: float = 1.0, stream: str = "s", **settings: object) -> pa.Table:
    engine = engine_of(directory, **settings)
    return engine.sample(engine.prepare(PROMPTS), temperature, stream)


def tokens_of(directory: Path, text: str) -> list[int]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    return list(tokenizer(text)["input_ids"])


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_a_tiny_temperature_gives_what_greedy_generation_gives(directories: dict[str, Path], family: str) -> None:
    table = sample(directories[family], temperature=1e-7, completions=1)
    model = AutoModelForCausalLM.from_pretrained(directories[family])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directories[family])
    for (_, text), found, n in zip(PROMPTS, table["text"].to_pylist(), table["n_tokens"].to_pylist(), strict=True):
        inputs = tokenizer(text, return_tensors="pt")["input_ids"]
        output = model.generate(inputs, do_sample=False, max_new_tokens=40, pad_token_id=1, eos_token_id=0)
        new = output[0, inputs.shape[1] :]
        assert found == tokenizer.decode(new, skip_special_tokens=True)
        assert n == len(new)


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_log_probabilities_are_those_of_a_forward_pass_without_cache(directories: dict[str, Path], family: str) -> None:
    """Also: rows that ended early and left the batch did not disturb the others."""
    temperature, directory = 0.8, directories[family]
    table = sample(directory, temperature)
    assert {"eos", "length"} == set(table["finish_reason"].to_pylist())
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64)
    engine = engine_of(directory)
    prepared = engine.prepare(PROMPTS)
    prompts = dict(PROMPTS)
    for i, (name, text) in enumerate(PROMPTS):
        logits = model(torch.tensor([tokens_of(directory, text)])).logits[0, -1]
        assert torch.allclose(prepared.logits[i].double(), logits, atol=1e-5), name
    for row in table.to_pylist():
        before, after = tokens_of(directory, prompts[row["prompt"]]), tokens_of(directory, row["text"])
        after += [0] * (row["finish_reason"] == "eos")
        assert len(after) == row["n_tokens"]
        ids = torch.tensor([[*before, *after]])
        log_probs = (model(ids).logits[0, len(before) - 1 : -1] / temperature).log_softmax(-1)
        expected = log_probs.gather(-1, ids[0, len(before) :, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(row["log_probs"]).double(), expected, atol=1e-4)


def test_a_cell_made_alone_equals_the_cell_made_after_others(directories: dict[str, Path]) -> None:
    engine = engine_of(directories["neox"])
    prepared = engine.prepare(PROMPTS)
    others = [engine.sample(prepared, 0.3, "first"), engine.sample(engine.prepare(PROMPTS[:2]), 1.5, "second")]
    after = engine.sample(prepared, 1.0, "s")
    assert after.equals(sample(directories["neox"]))
    assert not after.equals(others[0])


def test_another_stream_gives_other_completions_and_the_same_stream_the_same(directories: dict[str, Path]) -> None:
    one, same, other = (sample(directories["neox"], stream=stream) for stream in ("a", "a", "b"))
    assert one.equals(same)
    assert one["text"] != other["text"]


def test_rows_per_batch_changes_no_completion_but_is_recorded(directories: dict[str, Path]) -> None:
    whole, parts = sample(directories["neox"]), sample(directories["neox"], rows_per_batch=5)
    assert whole["text"] == parts["text"]
    assert cell_record(parts)["rows_per_batch"] == "5"
    assert int(cell_record(whole)["rows_per_batch"]) >= 24
    for one, other in zip(whole["log_probs"].to_pylist(), parts["log_probs"].to_pylist(), strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def short_of_memory(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Let the model of `engine` run out of memory with more than `most` rows, as a device does."""
    network = engine._model.network
    forward = network.forward

    def scarce(*args: object, input_ids: torch.Tensor, **kwargs: object) -> object:
        if len(input_ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*args, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(network, "forward", scarce)


def test_where_memory_runs_out_cells_are_made_with_half_the_rows_from_then_on(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(directories["neox"])
    prepared = engine.prepare(PROMPTS)
    short_of_memory(engine, monkeypatch, most=7)
    halved, after = engine.sample(prepared, 1.0, "s"), engine.sample(prepared, 0.8, "other")
    # 24 rows, then 12, then 6: the same cells as where 6 rows per batch were asked for.
    for table, temperature, stream in ((halved, 1.0, "s"), (after, 0.8, "other")):
        assert table.equals(sample(directories["neox"], temperature, stream, rows_per_batch=6))
        assert cell_record(table)["rows_per_batch"] == "6"


def test_prompts_that_do_not_fit_together_are_run_in_parts(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(directories["neox"])
    whole = engine.prepare(PROMPTS)
    short_of_memory(engine, monkeypatch, most=1)
    parts = engine.prepare(PROMPTS)
    assert torch.allclose(whole.logits, parts.logits, atol=1e-5)
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.keys.shape == other.keys.shape
    short_of_memory(engine, monkeypatch, most=0)
    with pytest.raises(StudyError, match="does not do for one completion"):
        engine.prepare(PROMPTS)


def test_memory_that_does_not_do_for_one_row_is_a_clear_error(
    directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(directories["neox"])
    prepared = engine.prepare(PROMPTS)
    short_of_memory(engine, monkeypatch, most=0)
    with pytest.raises(StudyError, match=r"memory of cpu does not do for one completion of 35 \+ 40 tokens"):
        engine.sample(prepared, 1.0, "s")


@pytest.mark.parametrize(("free", "rows"), [(100, 10), (99, 5), (49, 2), (3, 1)])
def test_rows_that_fit_a_share_of_a_device_are_halved_until_they_fit_what_is_free(free: int, rows: int) -> None:
    assert rows_in_memory(row=10, share=100, free=free) == rows


def test_what_rows_may_take_is_chosen_once_whatever_is_free_later() -> None:
    memory = RowMemory()
    assert [memory.rows(row=10, share=100, free=60), memory.bytes] == [5, 50]
    assert [memory.rows(row=10, share=100, free=99), memory.rows(20, 100, 10), memory.rows(90, 100, 10)] == [5, 2, 1]
    assert RowMemory(50).rows(row=10, share=100, free=1000) == 5, "as after a resume"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_no_step_waits_for_the_device(directories: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TransformersEngine(directories["neox"], SamplingSettings(completions=6, max_new_tokens=40), 1, "cuda")
    prepared = engine.prepare(PROMPTS)
    engine.sample(prepared, 1.0, "what is set up on first use")
    step = Decoding._step

    def watched(self: Decoding, *args: object, **kwargs: object) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(self, *args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Decoding, "_step", watched)
    assert engine.sample(prepared, 1.0, "s").num_rows == 24


def test_a_cell_has_the_documented_layout(directories: dict[str, Path]) -> None:
    seen: list[tuple[int, int]] = []
    engine = engine_of(directories["neox"])
    table = engine.sample(engine.prepare(PROMPTS), 1.0, "s", progress=lambda done, total: seen.append((done, total)))
    assert table.schema.equals(CELL_SCHEMA)
    assert table["prompt"].to_pylist() == [name for name, _ in PROMPTS for _ in range(6)]
    assert table["sample"].to_pylist() == list(range(6)) * 4
    for row in table.to_pylist():
        assert len(row["log_probs"]) == row["n_tokens"]
        assert (row["n_tokens"] == 40) or row["finish_reason"] == "eos"
        assert "<|endoftext|>" not in row["text"]
    assert seen[-1] == (24, 24)
    assert seen == sorted(seen)


def test_stop_strings_cut_the_text_and_end_the_row(directories: dict[str, Path]) -> None:
    free = sample(directories["neox"], temperature=0.5)
    texts = free["text"].to_pylist()
    stop = next(text[7:9] for text in texts if len(text) > 20)
    stopped = sample(directories["neox"], temperature=0.5, stop=["never said", stop])
    assert "stop" in stopped["finish_reason"].to_pylist()
    for text, before, row in zip(texts, free["log_probs"].to_pylist(), stopped.to_pylist(), strict=True):
        assert row["text"] == text.split(stop)[0]
        assert (row["finish_reason"] == "stop") == (stop in text)
        assert row["log_probs"] == pytest.approx(before[: row["n_tokens"]], abs=1e-4)
        if stop in text:
            assert row["n_tokens"] == len(row["text"]) + len(stop)


def test_where_a_row_ends_follows_from_its_tokens(directories: dict[str, Path]) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directories["neox"])
    finisher = Finisher(tokenizer, [0], ["Human:", "\n\n"])
    tokens = tokens_of(directories["neox"], " yes\n\nHuman: no")
    done = finisher.finish(tokens)
    assert (done.text, done.finish_reason, done.n_tokens) == (" yes", "stop", 6)
    assert finisher.finish([*tokens[:4], 0, *tokens]).finish_reason == "eos"
    assert finisher.finish([*tokens[:4], 0, *tokens]).n_tokens == 5
    assert finisher.finish(tokens[:3]).finish_reason == "length"
    assert finisher.finish([0]).text == ""
    assert [finisher.is_stopped(tokens[:n], 1) for n in (5, 6, 7)] == [False, True, True]


def test_nothing_is_taken_from_generation_config(directories: dict[str, Path], tmp_path: Path) -> None:
    for file in directories["neox"].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    quirks = {"do_sample": True, "top_k": 1, "temperature": 0.01, "eos_token_id": [0, *range(50, 90)]}
    (tmp_path / "generation_config.json").write_text(json.dumps(quirks))
    assert sample(tmp_path).equals(sample(directories["neox"]))


def test_a_prompt_beyond_the_context_is_refused_with_its_numbers(directories: dict[str, Path]) -> None:
    engine = TransformersEngine(directories["neox"], SamplingSettings(max_new_tokens=70), 1)
    with pytest.raises(
        StudyError, match=r"'long' has 35 tokens; with max_new_tokens = 70 that is 105, .* the 96 positions"
    ):
        engine.prepare(PROMPTS)


def test_prompts_without_distinct_ids_are_refused_and_an_empty_prompt_is_not(directories: dict[str, Path]) -> None:
    engine = TransformersEngine(directories["neox"], SamplingSettings(completions=2, max_new_tokens=4), 1)
    for prompts in ([], [("a", "x"), ("a", "y")]):
        with pytest.raises(StudyError, match="distinct ids"):
            engine.prepare(prompts)
    assert engine.sample(engine.prepare([("empty", "")]), 1.0, "s").num_rows == 2


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_not_positive_is_refused(directories: dict[str, Path], temperature: float) -> None:
    engine = TransformersEngine(directories["neox"], SamplingSettings(completions=1, max_new_tokens=2), 1)
    with pytest.raises(StudyError, match="positive"):
        engine.sample(engine.prepare(PROMPTS), temperature, "s")


def test_broken_model_directories_are_refused(directories: dict[str, Path], tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        target = tmp_path / name
        target.mkdir()
        for file in directories["neox"].iterdir():
            (target / file.name).write_bytes(file.read_bytes())
        return target

    def refused(directory: Path, why: str) -> None:
        with pytest.raises(StudyError, match=why):
            TransformersEngine(directory, SamplingSettings(completions=1, max_new_tokens=2), 1)

    refused(tmp_path / "nowhere", "no config.json")
    pickled = copy("pickled")
    weights = load_file(pickled / "model.safetensors")
    torch.save(weights, pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    refused(pickled, "cannot be loaded")
    headless = copy("headless")
    head = next(name for name in weights if name.startswith(("embed_out", "lm_head")))
    save_file(
        {key: value for key, value in weights.items() if key != head}, headless / "model.safetensors", {"format": "pt"}
    )
    refused(headless, "missing keys")
    broken = copy("broken")
    save_file({**weights, head: weights[head] * torch.nan}, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(StudyError, match="not numbers"):
        sample(broken)
    sliding = copy("sliding")
    config = json.loads((sliding / "config.json").read_text())
    (sliding / "config.json").write_text(json.dumps({**config, "sliding_window": 16}))
    refused(sliding, "full attention")
