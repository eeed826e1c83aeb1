"""Running benchmarks with LM Evaluation Harness: one model, one task and one number of shots at a time.

The model is loaded as everywhere else here and handed to the harness, which only scores. Every task has its own
random generators, is evaluated in batches of its own and is built anew for each number of shots, so a result does not
depend on what else was run.

A text begins with the token that the tokenizer itself puts before texts: Llama's beginning of text, none for GPT-NeoX.
An empty context is replaced by that token, or by the end-of-text token where there is none; so is that of tasks that
score whole texts, such as wikitext, where the token is a context and is never scored.
"""

import contextlib
import io
import logging
import os
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# The harness and its libraries look for a network unless told otherwise; jobs never have one.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("HF_EVALUATE_OFFLINE", "1")
# Standard errors by resampling in this process: the pool of workers that is the alternative gives the same numbers.
os.environ.setdefault("DISABLE_MULTIPROC", "1")

import datasets
import lm_eval.utils
import numpy as np
import pyarrow as pa
import torch
from jinja2 import BaseLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from lm_eval.api.registry import metric_registry
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml

from modecollapse.errors import StudyError
from modecollapse.generation.models import CausalModel, load_causal_model
from modecollapse.measures.benchmarks import BenchmarkSettings, Task, leak_free
from modecollapse.measures.task_files import STRUCTURE

logger = logging.getLogger(__name__)
# Advice about an option of the harness's command line, for every task whose data is handed to it.
logging.getLogger("lm_eval.api.task").addFilter(lambda record: "Custom kwargs" not in record.getMessage())

_PAIR = [("task", pa.string()), ("shots", pa.int64()), ("filter", pa.string()), ("metric", pa.string())]

RESULTS = pa.schema(
    [
        *_PAIR,
        ("value", pa.float64()),
        ("se", pa.float64()),
        ("n", pa.int64()),
        ("aggregation", pa.string()),
        ("higher_is_better", pa.bool_()),
        ("chance", pa.float64()),
        ("n_truncated", pa.int64()),
        ("version", pa.string()),
    ]
)
"""Of a table with one row per metric of a task.

`se` is the harness's standard error, NaN where it has none; `n` documents; `aggregation` how the harness makes one
value of theirs, e.g. "mean"; `chance` the accuracy of guessing, NaN where nothing is guessed; `n_truncated` the
requests of the task that lost their beginning because they exceed the model's context."""

SAMPLES = pa.schema([*_PAIR, ("document", pa.int64()), ("hash", pa.string()), ("value", pa.float64())])
"""Of a table with one row per document and metric. `document` counts from 0 in the task's order, `hash` tells
documents apart; `log_likelihood` (nats) stands here for what the harness aggregates as perplexity."""

LOG_LIKELIHOOD = "log_likelihood"

_GUESSED = ("acc", "acc_norm", "acc_bytes", "exact_match")

_SANDBOX = SandboxedEnvironment(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
_SANDBOX.filters.update(lm_eval.utils.env.filters)


class _Scorer(HFLM):
    """The harness's model class around a loaded model; counts the requests that did not fit the context."""

    add_bos_token: bool | None

    def __init__(self, model: CausalModel, batch_size: int) -> None:
        super().__init__(
            pretrained=model.network, tokenizer=model.tokenizer, backend="causal", batch_size=batch_size,
            max_length=model.context,
        )  # fmt: skip
        self.truncated = 0

    def _loglikelihood_tokens(self, requests: Any, *args: Any, **kwargs: Any) -> Any:
        self.truncated += sum(len(context) + len(target) > self.max_length + 1 for _, context, target in requests)
        return super()._loglikelihood_tokens(requests, *args, **kwargs)

    def loglikelihood_rolling(self, requests: Any, *args: Any, **kwargs: Any) -> Any:
        """Of whole texts: the harness itself puts the first token before them, so the tokenizer must not do so too."""
        usual, self.add_bos_token = self.add_bos_token, False
        try:
            return super().loglikelihood_rolling(requests, *args, **kwargs)
        finally:
            self.add_bos_token = usual


class Harness:
    """One model, ready to be put to tasks."""

    def __init__(self, model: CausalModel, settings: BenchmarkSettings) -> None:
        """Around a loaded model, whose tokenizer gets a padding token if it has none.

        Raises:
            StudyError: its tokenizer puts a token behind every text.
        """
        self._settings = settings
        _check_tokenizer(model.tokenizer)
        lm_eval.utils.env = _SANDBOX
        with _quiet():
            self._scorer = _Scorer(model, settings.batch_size)

    @classmethod
    def load(cls, weights: Path, settings: BenchmarkSettings, threads: int, device: str) -> "Harness":
        """The model in `weights`; sets the process's number of threads.

        Raises:
            StudyError: the model cannot be loaded, or its tokenizer puts a token behind every text.
        """
        return cls(load_causal_model(weights, settings.dtype, threads, device), settings)

    def run(self, task: Task, shots: int, data: Mapping[str, Any], chat: bool) -> tuple[pa.Table, pa.Table]:
        """Evaluate one task with one number of solved examples.

        Args:
            data: its data set: split → `datasets.Dataset`.
            chat: whether to use the tokenizer's chat template.

        Returns:
            Results and samples, with the schemas `RESULTS` and `SAMPLES`.

        Raises:
            StudyError: the task and its data do not fit, a metric is unknown, there are too few documents for the
                shots, or there is no chat template.
        """
        if chat and not self._scorer.tokenizer.chat_template:
            raise StudyError(
                "measures.benchmarks.chat_template: the tokenizer of this stage has no chat template. Remove the stage "
                "from the list."
            )
        self._scorer.truncated = 0
        _seed(self._settings.seed)
        try:
            with _quiet():
                built = _build(task, shots, data, self._settings.seed)
                found = evaluate(
                    self._scorer,
                    {"tasks": {task.name: built}},
                    limit=self._settings.limit_of(task.name),
                    bootstrap_iters=self._settings.bootstrap,
                    log_samples=True,
                    apply_chat_template=chat,
                    fewshot_as_multiturn=chat,
                )
        except StudyError:
            raise
        except Exception as error:
            logger.exception("%s, %d shots", task.name, shots)
            raise StudyError(
                f"measures.benchmarks.tasks.{task.name}: the harness cannot run it with {shots} shots: "
                f"{type(error).__name__}: {error}. Mend the task or its data; the log has the details."
            ) from error
        samples = found["samples"][task.name]
        return _results(task, shots, built, found, self._scorer.truncated), _samples(task, shots, built, samples)


def load_data(task: Task, source: Path | None) -> dict[str, Any]:
    """The data set of a task as split → `datasets.Dataset`, in memory; nothing of it is run and no network is used.

    Args:
        task: the task; its own local files are used where it names some.
        source: the study's data set (Parquet), or the directory of the hub's cache with the locked commit.

    Raises:
        StudyError: the data set comes with a loading script, has no such part or split, or cannot be read.
    """
    key = f"measures.benchmarks.tasks.{task.name}"
    with tempfile.TemporaryDirectory() as cache, _quiet():
        options: dict[str, Any] = {"cache_dir": cache, "keep_in_memory": True}
        try:
            if task.settings.data is not None:
                files = {task.evaluated: str(source)}
                found = datasets.load_dataset("parquet", data_files=files, **options)
            elif task.data_files:
                local = {split: [str(path) for path in paths] for split, paths in task.data_files.items()}
                found = datasets.load_dataset(str(task.config["dataset_path"]), data_files=local, **options)
            else:
                assert source is not None
                found = _load_snapshot(task, source, key, options)
        except StudyError:
            raise
        except Exception as error:
            raise StudyError(
                f"{key}: its data set {task.hub or task.settings.data or task.path} cannot be read: "
                f"{type(error).__name__}: {error}. Mend the data, or name another task."
            ) from error
    needed = {task.config[split] for split in ("test_split", "validation_split", "training_split", "fewshot_split")
              if task.config.get(split)}  # fmt: skip
    if missing := sorted(needed - set(found)):
        raise StudyError(
            f"{key}: its data set has the splits {', '.join(map(str, found))}, but the task uses {', '.join(missing)}. "
            "Correct the task file, or name another revision."
        )
    return dict(found)


def _load_snapshot(task: Task, directory: Path, key: str, options: Mapping[str, Any]) -> Any:
    """The data set in a hub repository's files: as its card says, or as the hub's Parquet conversion lays it out."""
    name, kwargs = task.config.get("dataset_name"), dict(task.config.get("dataset_kwargs") or {})
    kwargs.pop("trust_remote_code", None)  # nothing here would heed it
    repository = str(task.config["dataset_path"])
    script = directory / f"{repository.rpartition('/')[2]}.py"
    if script.exists():
        raise StudyError(
            f"{key}: the data set {task.hub} comes with a loading script, {script.name}, which is never run. Use the "
            f"hub's own conversion: `tasks: {{{task.name}: {{revision: refs/convert/parquet}}}}`, then run `snakemake "
            "download` again; or name another task."
        )
    if not (directory / "README.md").exists():
        parts = sorted(path.name for path in directory.iterdir() if path.is_dir() and not path.name.startswith("."))
        part = next((part for part in (name, "default") if part in parts), None)
        if part is not None:
            return datasets.load_dataset(str(directory / str(part)), **kwargs, **options)
        if name is not None:
            raise StudyError(
                f"{key}: {task.hub} has no part {name!r} but {', '.join(parts) or 'none'}. Name another revision."
            )
    return datasets.load_dataset(str(directory), name, **kwargs, **options)


def _build(task: Task, shots: int, data: Mapping[str, Any], seed: int) -> ConfigurableTask:
    config = load_yaml(task.path)  # its functions, if it has some, are the harness's own: `find_tasks` saw to that
    for structural in STRUCTURE:
        config.pop(structural, None)
    _check_metrics(task, config)
    config |= leak_free(task.config)
    # The data set is ours to load: the harness would take whatever version its own cache or the network has.
    config |= {"custom_dataset": lambda **_: dict(data), "dataset_kwargs": None}
    built = ConfigurableTask(config=config)
    built.set_config("num_fewshot", shots)
    built.set_fewshot_seed(seed)
    return built


def _check_metrics(task: Task, config: Mapping[str, Any]) -> None:
    """A metric that the harness does not know would be sought on the hub, as code."""
    known = set(metric_registry.keys())
    for entry in config.get("metric_list") or []:
        if isinstance(entry["metric"], str) and entry["metric"] not in known and "process_results" not in config:
            raise StudyError(
                f"measures.benchmarks.tasks.{task.name}: the harness has no metric {entry['metric']!r}. Allowed: "
                f"{', '.join(sorted(known))}. Correct the task file."
            )


def _check_tokenizer(tokenizer: Any) -> None:
    """The harness takes a text's tokens for the beginning of those of a longer text."""
    plain, marked = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    if marked[len(marked) - len(plain) :] != plain:
        raise StudyError(
            f"The tokenizer in {tokenizer.name_or_path} puts a token behind every text, so no answer can follow a "
            "question. Set add_eos_token to false in its tokenizer_config.json."
        )


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class _Lines(io.TextIOBase):
    """A stream whose lines go to the log."""

    def write(self, text: str) -> int:
        for line in filter(str.strip, text.splitlines()):
            logger.info("%s", line)
        return len(text)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What the libraries print goes to the log; their progress bars go nowhere."""
    with contextlib.redirect_stdout(_Lines()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _results(task: Task, shots: int, built: ConfigurableTask, found: Mapping[str, Any], truncated: int) -> pa.Table:
    samples = found["samples"][task.name]
    values: Mapping[str, Any] = found["results"][task.name]
    rows = []
    for name, value in values.items():
        metric, _, filtered = name.partition(",")
        if not filtered or metric.endswith("_stderr"):
            continue
        se = values.get(f"{metric}_stderr,{filtered}")
        scored = [sample for sample in samples if sample["filter"] == filtered and metric in sample]
        aggregation = built.aggregation().get(metric)
        rows.append(
            {
                "task": task.name,
                "shots": shots,
                "filter": filtered,
                "metric": metric,
                "value": float(value),
                "se": float(se) if isinstance(se, int | float) else np.nan,
                "n": len(scored),
                "aggregation": getattr(aggregation, "__name__", "mean"),
                "higher_is_better": built.higher_is_better().get(metric),
                "chance": _chance(built, scored) if metric in _GUESSED else np.nan,
                "n_truncated": truncated,
                "version": str((task.config.get("metadata") or {}).get("version", "")),
            }
        )
    return pa.Table.from_pylist(rows, schema=RESULTS)


def _chance(built: ConfigurableTask, samples: Sequence[Mapping[str, Any]]) -> float:
    """The mean share of right answers among the choices of each document."""
    if built.OUTPUT_TYPE != "multiple_choice" or not samples:
        return float("nan")
    shares = []
    for sample in samples:
        target = sample["target"]
        right = len(set(target)) if isinstance(target, list) else 1
        shares.append(right / len(built.doc_to_choice(sample["doc"])))
    return float(np.mean(shares))


def _samples(task: Task, shots: int, built: ConfigurableTask, samples: Sequence[Mapping[str, Any]]) -> pa.Table:
    rows = []
    for sample in samples:
        for metric in sample["metrics"]:
            value = sample[metric]
            if not isinstance(value, int | float | np.number | bool):
                continue  # parts of an aggregate, such as (gold, predicted), are no value of one document
            aggregation = getattr(built.aggregation().get(metric), "__name__", "mean")
            rows.append(
                {
                    "task": task.name,
                    "shots": shots,
                    "filter": sample["filter"],
                    "metric": LOG_LIKELIHOOD if aggregation == "perplexity" else metric,
                    "document": sample["doc_id"],
                    "hash": sample["doc_hash"],
                    "value": float(value),
                }
            )
    return pa.Table.from_pylist(rows, schema=SAMPLES)
