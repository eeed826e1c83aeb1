"""Tiny models put to tasks: log-likelihoods are the model's own, and nothing depends on what else is run."""

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from modecollapse import stopping
from modecollapse.errors import StudyError
from modecollapse.generation.models import load_causal_model
from modecollapse.measures.benchmarks import BenchmarkSettings, Task, find_tasks
from modecollapse.measures.harness import RESULTS, SAMPLES, Harness, _build, load_data
from tests.tasks import CHOICE, SUMS, write_tasks
from tests.tiny_models import save_llama, save_neox

LIKELIHOOD = """
task: last
dataset_path: json
dataset_kwargs: {data_files: {test: sums.jsonl}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{q}}"
doc_to_target: "{{' ' + choices[0]}}"
metric_list:
  - {metric: perplexity, aggregation: perplexity, higher_is_better: false}
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
GENERATION = """
task: written
dataset_path: json
dataset_kwargs: {data_files: {test: sums.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{q}}"
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: ["!"], max_gen_toks: 4}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
WHOLE = """
task: whole
dataset_path: json
dataset_kwargs: {data_files: {test: sums.jsonl}}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{q}}"
metric_list: [{metric: bits_per_byte}]
"""
OPTIONS: dict[str, Any] = {"shots": [0, 2], "include": "tasks", "batch_size": 5, "bootstrap": 100}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_tasks(tmp_path / "tasks", sums=CHOICE, last=LIKELIHOOD, written=GENERATION, whole=WHOLE)
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {"neox": save_neox(root / "neox"), "llama": save_llama(root / "llama")}


def tasks(directory: Path, *names: str) -> tuple[Task, ...]:
    return find_tasks(settings(*names), directory / "own.yaml", directory)


def settings(*names: str, **changes: Any) -> BenchmarkSettings:
    different = {name: {"shots": [0]} if name == "whole" else None for name in names}
    return BenchmarkSettings.model_validate({**OPTIONS, "tasks": different, **changes}, strict=False)


def run(
    directory: Path, weights: Path, name: str, shots: int = 0, chat: bool = False, **changes: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    (task,) = tasks(directory, name)
    harness = Harness.load(weights, settings(name, **changes), 1, "cpu")
    results, samples = harness.run(task, shots, load_data(task, None), chat)
    assert (results.schema, samples.schema) == (RESULTS, SAMPLES)
    return results.to_pandas(), samples.to_pandas()


def log_likelihood(weights: Path, context: str, target: str) -> float:
    """Computed with transformers alone: the tokenizer's own special tokens, then the sum over the target's tokens."""
    model = load_causal_model(weights, "float32", 1, "cpu")
    before, whole = (model.tokenizer(text)["input_ids"] for text in (context, context + target))
    logits = model.network(torch.tensor([whole])).logits[0].log_softmax(-1)
    return sum(float(logits[place - 1, whole[place]]) for place in range(len(before), len(whole)))


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_the_log_likelihood_of_an_answer_is_what_transformers_computes(
    family: str, models: dict[str, Path], directory: Path
) -> None:
    results, samples = run(directory, models[family], "last")
    found = samples[samples["metric"] == "log_likelihood"].sort_values("document")["value"]
    expected = [log_likelihood(models[family], row["q"], f" {row['choices'][0]}") for row in SUMS]
    assert list(found) == pytest.approx(expected, abs=1e-4)
    perplexity = results.set_index("metric").loc["perplexity"]
    assert perplexity["value"] == pytest.approx(math.exp(-sum(expected) / len(expected)))
    assert perplexity["se"] > 0
    assert not perplexity["higher_is_better"]


@pytest.mark.parametrize("family", ["neox", "llama"])
def test_whole_texts_are_scored_after_one_first_token_which_is_not_scored(
    family: str, models: dict[str, Path], directory: Path
) -> None:
    model = load_causal_model(models[family], "float32", 1, "cpu")
    total = 0.0
    for row in SUMS:
        ids = [model.tokenizer.bos_token_id, *model.tokenizer(row["q"], add_special_tokens=False)["input_ids"]]
        logits = model.network(torch.tensor([ids])).logits[0].log_softmax(-1)
        total += sum(float(logits[place - 1, ids[place]]) for place in range(1, len(ids)))
    results, _ = run(directory, models[family], "whole", shots=0)
    expected = -total / sum(len(row["q"].encode()) for row in SUMS) / math.log(2)
    assert list(results["value"]) == [pytest.approx(expected, rel=1e-5)]


def test_answers_are_encoded_as_before_after_whole_texts(models: dict[str, Path], directory: Path) -> None:
    whole, last = tasks(directory, "whole", "last")
    harness = Harness.load(models["llama"], settings("whole", "last"), 1, "cpu")
    _, alone = harness.run(last, 0, load_data(last, None), False)
    harness.run(whole, 0, load_data(whole, None), False)
    _, again = harness.run(last, 0, load_data(last, None), False)
    assert again == alone


def test_the_chosen_answer_is_the_likeliest(models: dict[str, Path], directory: Path) -> None:
    results, samples = run(directory, models["neox"], "sums")
    right = []
    for row in SUMS:
        values = [log_likelihood(models["neox"], row["q"], f" {choice}") for choice in row["choices"]]
        right.append(float(max(values) == values[0]))
    assert list(samples["value"]) == right
    (row,) = results.to_dict("records")
    assert (row["value"], row["n"], row["version"]) == (pytest.approx(sum(right) / 12), 12, "2")
    assert row["chance"] == pytest.approx(1 / 3)


def test_tables_are_tidy_with_one_row_per_metric_and_per_document(models: dict[str, Path], directory: Path) -> None:
    results, samples = run(directory, models["llama"], "last", 2)
    assert len(results) == 2
    assert len(samples) == 2 * 12
    assert samples["hash"].nunique() == 12


def test_a_result_does_not_depend_on_what_was_run_before(models: dict[str, Path], directory: Path) -> None:
    last, sums = tasks(directory, "last", "sums")
    harness = Harness.load(models["neox"], settings("last", "sums"), 1, "cpu")
    alone = harness.run(sums, 2, load_data(sums, None), chat=False)
    harness.run(last, 2, load_data(last, None), chat=False)
    again = harness.run(sums, 2, load_data(sums, None), chat=False)
    for first, second in zip(alone, again, strict=True):
        assert first.to_pylist() == second.to_pylist()


def test_another_seed_draws_other_examples_and_the_same_seed_the_same(directory: Path) -> None:
    (task,) = tasks(directory, "sums")
    data = load_data(task, None)

    def context(seed: int) -> str:
        built = _build(task, 2, data, seed)
        return str(built.fewshot_context(SUMS[0], num_fewshot=2))

    assert context(1) == context(1)
    assert len({context(seed) for seed in range(5)}) > 1


def test_no_document_is_among_its_own_examples(directory: Path) -> None:
    (task,) = tasks(directory, "sums")
    built = _build(task, 11, load_data(task, None), 0)
    for row in SUMS:
        context = built.fewshot_context(row, num_fewshot=11)
        assert context.count(row["q"]) == 1
        assert context.count("What is") == 12


def test_the_limit_takes_the_first_documents(models: dict[str, Path], directory: Path) -> None:
    whole = run(directory, models["neox"], "last")[1]
    part = run(directory, models["neox"], "last", limit=5)[1]
    assert part["document"].max() == 4
    assert list(part["hash"]) == list(whole["hash"])[: len(part)]


def test_answers_are_generated_where_a_task_wants_text(models: dict[str, Path], directory: Path) -> None:
    results, samples = run(directory, models["llama"], "written", 2)
    assert list(results["metric"]) == ["exact_match"]
    assert len(samples) == 12
    pd.testing.assert_frame_equal(run(directory, models["llama"], "written", 2)[0], results)


def test_requests_beyond_the_context_are_counted(tmp_path: Path, directory: Path) -> None:
    weights = save_neox(tmp_path / "short", context=32)
    assert run(directory, weights, "sums", 0)[0]["n_truncated"].tolist() == [0]
    assert run(directory, weights, "sums", 2)[0]["n_truncated"].tolist() == [36]


def test_a_chat_template_changes_the_questions_of_stages_that_ask_for_it(
    models: dict[str, Path], directory: Path
) -> None:
    plain = run(directory, models["llama"], "last")[0]
    chat = run(directory, models["llama"], "last", chat=True)[0]
    assert plain["value"][0] != chat["value"][0]
    with pytest.raises(StudyError, match="no chat template"):
        run(directory, models["neox"], "last", chat=True)


def test_a_template_of_ones_own_cannot_reach_python(models: dict[str, Path], directory: Path) -> None:
    file = directory / "tasks/sums.yaml"
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    file.write_text(file.read_text().replace('"{{q}}"', f'"{escape}"'))
    with pytest.raises(StudyError, match="SecurityError"):
        run(directory, models["neox"], "sums")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: acc", "metric: bleurt", "the harness has no metric 'bleurt'"),
        ("doc_to_choice: choices", "doc_to_choice: options", "the harness cannot run it"),
        ("test_split: test", "test_split: test\ntraining_split: train", "has the splits test, but the task uses train"),
    ],
)
def test_what_does_not_fit_is_one_error(
    old: str, new: str, message: str, models: dict[str, Path], directory: Path
) -> None:
    file = directory / "tasks/sums.yaml"
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(StudyError, match=message):
        run(directory, models["neox"], "sums")


def test_more_examples_than_documents_are_one_error(models: dict[str, Path], directory: Path) -> None:
    with pytest.raises(StudyError, match="cannot run it with 12 shots"):
        run(directory, models["neox"], "sums", 12)


def test_a_data_set_with_broken_lines_is_one_error(directory: Path) -> None:
    with (directory / "tasks/sums.jsonl").open("a") as file:
        file.write('{"q": \n')
    (task,) = tasks(directory, "sums")
    with pytest.raises(StudyError, match=r"sums: its data set .* cannot be read"):
        load_data(task, None)


def test_a_tokenizer_that_ends_every_text_is_refused(tmp_path: Path) -> None:
    weights = save_llama(tmp_path / "ending")
    file = weights / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"]["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    content["post_processor"]["special_tokens"]["</s>"] = {"id": "</s>", "ids": [2], "tokens": ["</s>"]}
    file.write_text(json.dumps(content))
    with pytest.raises(StudyError, match="puts a token behind every text"):
        Harness.load(weights, settings("sums"), 1, "cpu")


def hub_task(directory: Path, name: str | None) -> Task:
    file = directory / "tasks/sums.yaml"
    part = f"dataset_name: {name}\n" if name else ""
    file.write_text(CHOICE.replace("json\n", f"someone/sums\n{part}").replace("dataset_kwargs", "metadata"))
    return tasks(directory, "sums")[0]


def snapshot(directory: Path, layout: str) -> Path:
    """The files of a hub repository, as its cache holds them."""
    root = directory / "snapshot"
    place = {"card": root / "data", "parquet": root / "small/test", "default": root / "default/test"}.get(layout, root)
    place.mkdir(parents=True)
    rows = pd.DataFrame(SUMS)
    if layout == "script":
        (root / "sums.py").write_text("raise SystemExit('this code must not run')")
        rows.to_csv(root / "sums.csv")
        return root
    rows.to_parquet(place / "0000.parquet")
    if layout == "card":
        rows[:3].to_parquet(place / "other.parquet")
        (root / "README.md").write_text(
            "---\nconfigs:\n- config_name: small\n  data_files:\n  - {split: test, path: data/0000.parquet}\n"
            "- config_name: other\n  data_files:\n  - {split: test, path: data/other.parquet}\n---\n"
        )
    return root


@pytest.mark.parametrize("layout", ["card", "parquet", "default"])
def test_a_locked_data_set_is_read_from_its_files(layout: str, directory: Path) -> None:
    data = load_data(hub_task(directory, "small"), snapshot(directory, layout))
    assert [dict(row) for row in data["test"]] == SUMS


def test_a_loading_script_is_never_run_and_its_conversion_is_named(directory: Path) -> None:
    with pytest.raises(StudyError, match=r"sums.py, which is never run. Use .*refs/convert/parquet"):
        load_data(hub_task(directory, None), snapshot(directory, "script"))


def test_a_part_that_a_data_set_does_not_have_is_named(directory: Path) -> None:
    with pytest.raises(StudyError, match="has no part 'large' but small"):
        load_data(hub_task(directory, "large"), snapshot(directory, "parquet"))


def test_a_request_to_stop_ends_the_harness_where_it_is_and_is_no_error_of_the_task(
    directory: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    monkeypatch.setattr(stopping, "_received", {})
    forward = GPTNeoXForCausalLM.forward

    def asked(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return forward(*arguments, **options)

    monkeypatch.setattr(GPTNeoXForCausalLM, "forward", asked)
    try:
        stopping.listen(at_once=True)
        with pytest.raises(stopping.Stopped):
            run(directory, models["neox"], "sums")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
