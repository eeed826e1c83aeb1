"""Tokenizers as models come with them: without padding, with padding = end-of-text, with and without a BOS.

Nothing of what is measured or trained may depend on which token padding is.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from modecollapse.generation.settings import SamplingSettings
from modecollapse.generation.transformers_engine import TransformersEngine
from modecollapse.measures.tokens import TokenSettings, token_statistics
from modecollapse.methods import METHODS
from modecollapse.methods.base import TrainingJob
from modecollapse.prompts import Chat, PromptFormat
from modecollapse.sealed import write_sealed
from tests.references import write_reference
from tests.tiny_models import save_llama, save_neox

FORMATS = {"neox": PromptFormat("human", "Human: {prompt} Assistant: {start}"), "llama": PromptFormat("chat", Chat())}
FAMILIES = list(FORMATS)
TUNING = {
    "learning_rate": 1e-2, "epochs": 1, "batch_size": 2, "max_length": 64, "too_long": "error", "dtype": "float32",
    "log_every": 1, "save_every": 1, "warmup_steps": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """(family, padding) → the same model with a tokenizer without a padding token, or with end-of-text as padding."""
    found = {}
    for family, save in (("neox", save_neox), ("llama", save_llama)):
        plain = save(tmp_path_factory.mktemp(family))
        padded = tmp_path_factory.mktemp(f"{family}-padded") / "model"
        shutil.copytree(plain, padded)
        settings = json.loads((padded / "tokenizer_config.json").read_text())
        settings["pad_token"] = settings["eos_token"]
        (padded / "tokenizer_config.json").write_text(json.dumps(settings))
        found |= {(family, "none"): plain, (family, "end of text"): padded}
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_completions_and_their_probabilities_do_not_depend_on_the_padding_token(directories, family) -> None:
    def sample(padding: str, prompts: list[tuple[str, str]]) -> pa.Table:
        settings = SamplingSettings(completions=4, max_new_tokens=12)
        engine = TransformersEngine(directories[family, padding], settings, 1)
        return engine.sample(engine.prepare(prompts), 1.0, "s")

    prompts = [("a", "x"), ("b", "a much longer prompt than the other")]
    tables = [sample(padding, prompts) for padding in ("none", "end of text")]
    assert tables[0].equals(tables[1])
    # The short prompt is padded beside the long one, and answers as it does alone.
    alone, beside = sample("none", prompts[:1]), tables[0].slice(0, 4)
    assert alone["text"].to_pylist() == beside["text"].to_pylist()
    for found, expected in zip(beside["log_probs"].to_pylist(), alone["log_probs"].to_pylist(), strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_statistics_do_not_depend_on_the_padding_token(directories, family) -> None:
    texts = ["x", "a longer document, so that the other one is padded", ""]
    settings = TokenSettings(context=32, groups=2)
    tables = [token_statistics(directories[family, p], None, texts, settings, 1) for p in ("none", "end of text")]
    # Not compared: the divergence from a reference, of which there is none.
    assert tables[0][0].drop_columns("kl").equals(tables[1][0].drop_columns("kl"))
    alone, _ = token_statistics(directories[family, "none"], None, texts[:1], settings, 1)
    assert tables[0][0]["nll"][0].as_py() == pytest.approx(alone["nll"][0].as_py(), rel=1e-5)
    assert tables[0][0]["n_tokens"].to_pylist() == [len(text) for text in texts], "no BOS or EOS is scored"


def _job(method: str, parent: Path, family: str, directory: Path, **settings: Any) -> TrainingJob:
    data = directory / "data.parquet"
    prompts = ["x", "why do cats purr?", "a", "who?"]
    columns = {
        "sft": {"prompt": prompts, "completion": ["no", "nobody knows for sure", "b", "he"]},
        "dpo": {"prompt": prompts, "chosen": ["no", "nobody knows", "b", "he"], "rejected": ["yes", "?", "cc", "it"]},
    }
    (directory / "output").mkdir(parents=True)
    (directory / "state").mkdir()
    write_sealed(pa.table(columns[method]), data)
    chosen = {**TUNING, **({"max_prompt_length": 48} if method == "dpo" else {}), **settings}
    job = TrainingJob(
        settings=METHODS[method].settings(**chosen), seed=0, threads=1, output=directory / "output",
        state=directory / "state", parent=parent, data=data, format=FORMATS[family],
    )  # fmt: skip
    if method == "dpo":
        return replace(job, reference_scores=write_reference(job, directory / "reference.parquet"))
    return job


def _weights(job: TrainingJob) -> dict[str, Any]:
    return dict(load_file(job.output / "model.safetensors"))


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("family", FAMILIES)
def test_trained_weights_do_not_depend_on_the_padding_token(directories, family, method, tmp_path) -> None:
    jobs = [_job(method, directories[family, p], family, tmp_path / p) for p in ("none", "end of text")]
    for job in jobs:
        METHODS[method].run(job)
    first, second = map(_weights, jobs)
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_end_of_text_after_an_answer_is_trained_also_where_it_is_the_padding(
    directories, family, tmp_path, monkeypatch
) -> None:
    """What the collator hands to the model: the end-of-text of every answer is a label, padding is none."""
    from modecollapse.methods import trainers

    seen: list[dict[str, Any]] = []
    original = trainers.AnswerTrainer.compute_loss

    def spy(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append({name: tensor.tolist() for name, tensor in inputs.items() if hasattr(tensor, "tolist")})
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(trainers.AnswerTrainer, "compute_loss", spy)
    job = _job("sft", directories[family, "end of text"], family, tmp_path, batch_size=4)
    METHODS["sft"].run(job)
    eos = {"neox": 0, "llama": 2}[family]
    answers = {"no": 2, "nobody knows for sure": 21, "b": 1, "he": 2}
    trained = sorted(sum(label != -100 for label in row) for row in seen[0]["labels"])
    # A space, the answer's characters and end-of-text each; chat prompts end without a line break, so with the space.
    assert trained == sorted(length + 2 for length in answers.values())
    for row in seen[0]["labels"]:
        assert [label for label in row if label != -100][-1] == eos
        assert row.count(eos) == 1
    if family == "llama":
        assert all(row.count(1) == 1 for row in seen[0]["input_ids"]), "one beginning-of-text token each"
