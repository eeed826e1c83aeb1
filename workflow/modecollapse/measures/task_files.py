"""What a task file of LM Evaluation Harness may hold.

The harness itself finds most mistakes only when a model is put to the task, hours later. What it knows and takes is
repeated here, so that a plan can tell without loading it; a test compares both.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modecollapse.errors import StudyError

KEYS = (
    *(
        "task",
        "task_alias",
        "tag",
        "custom_dataset",
        "dataset_path",
        "dataset_name",
        "dataset_kwargs",
        "training_split",
    ),
    *("validation_split", "test_split", "fewshot_split", "process_docs", "doc_to_text", "doc_to_target"),
    *("doc_to_image", "doc_to_audio", "unsafe_code", "doc_to_choice", "process_results", "use_prompt", "description"),
    *("target_delimiter", "fewshot_delimiter", "fewshot_config", "num_fewshot", "metric_list", "output_type"),
    *("generation_kwargs", "repeats", "filter_list", "should_decontaminate", "doc_to_decontamination_query"),
    *("gen_prefix", "metadata"),
)
"""Keys of a task file, beside `include` and those in `STRUCTURE`."""

STRUCTURE = ("tag", "group", "task_list")
"""Keys that say how tasks belong together; they change nothing about a single one."""

FEWSHOT_KEYS = (
    *("sampler", "split", "process_docs", "fewshot_indices", "samples", "doc_to_text", "doc_to_choice"),
    *("doc_to_target", "gen_prefix", "fewshot_delimiter", "target_delimiter"),
)
"""Keys of `fewshot_config`."""

METRICS: Mapping[str, tuple[str, bool]] = {
    **dict.fromkeys(("acc", "acc_all", "acc_bytes", "acc_mutual_info", "acc_norm"), ("mean", True)),
    "bits_per_byte": ("bits_per_byte", False),
    "bleu": ("bleu", True),
    "brier_score": ("brier_score", False),
    "bypass": ("bypass", True),
    "byte_perplexity": ("weighted_perplexity", False),
    "chrf": ("chrf", True),
    "chrf++": ("chrf++", True),
    "exact_match": ("mean", True),
    "f1": ("f1", True),
    "likelihood": ("mean", True),
    "mcc": ("matthews_corrcoef", True),
    "perplexity": ("perplexity", False),
    "ter": ("ter", False),
    "word_perplexity": ("weighted_perplexity", False),
}
"""Metric → how one value is made of those of documents, and whether a higher one is better, where a task does not say.
"""

DEFAULT_METRICS: Mapping[str, tuple[str, ...]] = {
    "loglikelihood": ("perplexity", "acc"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "multiple_choice": ("acc", "acc_norm"),
    "generate_until": ("exact_match",),
}
"""Output type → the metrics of a task that names none."""

AGGREGATIONS = (
    *("bits_per_byte", "bleu", "brier_score", "bypass", "chrf", "chrf++", "f1", "matthews_corrcoef", "mean", "median"),
    *("nanmean", "perplexity", "ter", "weighted_perplexity"),
)

_TEXT, _LIST, _MAPPING = (str, "a text"), (list, "a list"), (dict, "a mapping")
_TYPES: Mapping[str, tuple[type, str]] = {
    **dict.fromkeys(("output_type", "dataset_path", "dataset_name"), _TEXT),
    **dict.fromkeys(("test_split", "validation_split", "training_split", "fewshot_split"), _TEXT),
    **dict.fromkeys(("metric_list", "filter_list"), _LIST),
    **dict.fromkeys(("dataset_kwargs", "fewshot_config", "generation_kwargs", "metadata"), _MAPPING),
}
_EXAMPLES = {
    "metric_list": "`metric_list: [{metric: acc}]`",
    "dataset_kwargs": "`dataset_kwargs: {data_files: {test: questions.jsonl}}`",
    "fewshot_config": "`fewshot_config: {sampler: first_n}`",
}
_TEMPLATES = ("description", "doc_to_text", "doc_to_target", "doc_to_choice", "gen_prefix")


def check_types(config: Mapping[str, Any], key: str) -> None:
    """Refuse a task whose lists and mappings are none.

    Args:
        config: the task's keys.
        key: where the study names the task, for messages.

    Raises:
        StudyError: a key has a value of another type than it needs, or a metric has no name.
    """
    for name, (kind, called) in _TYPES.items():
        value = config.get(name)
        if value is not None and not isinstance(value, kind):
            example = f", e.g. {_EXAMPLES[name]}" if name in _EXAMPLES else ""
            raise StudyError(f"{key}: its {name} is {value!r}. Make it {called}{example}, or name another task.")
    for entry in config.get("metric_list") or []:
        if not isinstance(entry, dict) or not entry.get("metric"):
            raise StudyError(
                f"{key}: metric_list has the entry {entry!r}, but each is a mapping that names its `metric`. Write "
                f"{_EXAMPLES['metric_list']}; allowed: {', '.join(METRICS)}."
            )


def check_contents(config: Mapping[str, Any], key: str) -> None:
    """Refuse a task that the harness could not run, whatever the model.

    Args:
        config: the task's keys, with functions as texts of a class of their own; `check_types` found no fault.
        key: where the study names the task, for messages.

    Raises:
        StudyError: a key, a metric or an aggregation is unknown, a template is missing or none.
    """
    _check_keys("", config, (*KEYS, *STRUCTURE), key)
    _check_keys("fewshot_config: ", config.get("fewshot_config") or {}, FEWSHOT_KEYS, key)
    for entry in config.get("metric_list") or []:
        if type(entry["metric"]) is str and entry["metric"] not in METRICS and not config.get("process_results"):
            raise StudyError(
                f"{key}: the harness has no metric {entry['metric']!r}. Allowed: {', '.join(METRICS)}. Correct the "
                "task file, or name another task."
            )
        aggregation = entry.get("aggregation")
        if type(aggregation) is str and aggregation not in AGGREGATIONS:
            raise StudyError(
                f"{key}: metric {entry['metric']}: the harness has no aggregation {aggregation!r}. Allowed: "
                f"{', '.join(AGGREGATIONS)}. Correct the task file, or name another task."
            )
    needed = ["doc_to_text", "doc_to_target"]
    needed += ["doc_to_choice"] if config.get("output_type") == "multiple_choice" else []
    missing = [name for name in needed if config.get(name) is None]
    if missing and not config.get("use_prompt"):
        raise StudyError(
            f'{key}: its file has no `{missing[0]}`. Add one, e.g. `{missing[0]}: "{{{{column}}}}"`, or name another '
            "task."
        )
    for name, template in _templates(config):
        _check_template(name, template, key)


def _check_keys(within: str, found: Mapping[str, Any], allowed: Sequence[str], key: str) -> None:
    unknown = [name for name in found if name not in allowed]
    if unknown:
        raise StudyError(
            f"{key}: {within}{unknown[0]!r} is no key of a task file. Allowed: {', '.join(sorted(set(allowed)))}. "
            "Correct the task file, or name another task."
        )


def _templates(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for within, keys in (("", config), ("fewshot_config: ", config.get("fewshot_config") or {})):
        for name in _TEMPLATES:
            if type(keys.get(name)) is str:  # others are functions, choices or their number
                yield f"{within}{name}", keys[name]


def _check_template(name: str, template: str, key: str) -> None:
    from jinja2 import TemplateError  # few studies need it
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment()
    environment.filters["regex_replace"] = str  # the harness's own, which need not be known to find it named
    try:
        environment.compile(template)
    except TemplateError as error:
        raise StudyError(
            f"{key}: {name}: {template!r} is no template: {error}. Write it in Jinja's language, e.g. "
            '"{{question}}", or name another task.'
        ) from error
