"""Which benchmarks are run, and the task files of LM Evaluation Harness that say what they are.

Importing this module loads neither the harness nor a deep-learning framework: a plan needs the names of tasks and the
digests of their files, and finds the few files that it needs among the harness's 14,000 without reading all of them.

Task files can name Python functions. Those of the harness's own tasks belong to an installed package and are run. Files
of a study's own directory are data: functions, classes and metrics that would be downloaded as code are refused, and
their templates are rendered in Jinja's sandbox (see `modecollapse.measures.harness`).
"""

import difflib
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field

from modecollapse.digests import sha256_file
from modecollapse.errors import StudyError
from modecollapse.hub import Kind, Revision
from modecollapse.measures.task_files import check_contents, check_types
from modecollapse.schema import Strict, distinct
from modecollapse.sources import REPOSITORY

LOCAL_FORMATS = ("json", "csv", "parquet", "text")
"""`dataset_path`s of task files that mean local files, named in `dataset_kwargs.data_files`."""

OUTPUT_TYPES = ("loglikelihood", "loglikelihood_rolling", "multiple_choice", "generate_until")

_SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")


def _named(value: Any) -> Any:
    """A list of names is a mapping without differences; lists become tuples, as JSON's do elsewhere."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"given twice: {', '.join(twice)}; name each once")
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if changes is None else _tuples(changes) for name, changes in value.items()}
    return value


def _tuples(changes: Any) -> Any:
    if not isinstance(changes, dict):
        return changes
    return {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}


Shots = Annotated[tuple[Annotated[int, Field(ge=0, le=100)], ...], Field(min_length=1), AfterValidator(distinct)]
Limit = Annotated[int, Field(ge=1)]


class BenchmarkTask(Strict):
    """What one task does differently."""

    shots: Shots | None = None
    """Numbers of solved examples before each question, if not those of all tasks."""
    limit: Limit | None = None
    """Documents at most, if not as for all tasks."""
    data: str | None = None
    """A data set of this study that the task reads, in place of the one that its file names: a part of its `world`."""
    revision: str = Field("main", min_length=1)
    """Revision of the task's data set on the hub. `refs/convert/parquet` is the hub's own conversion of data sets that
    come with a loading script, which is never run."""


class BenchmarkSettings(Strict):
    """Tasks of LM Evaluation Harness that every model with weights is put to."""

    tasks: Annotated[
        dict[str, BenchmarkTask],
        BeforeValidator(_named, json_schema_input_type=list[str] | dict[str, BenchmarkTask | None]),
        Field(min_length=1),
    ]
    """Names of tasks; or a mapping: name → what it does differently (`shots`, `limit`, `data`, `revision`)."""
    shots: Shots = (0, 5)
    """Numbers of solved examples before each question."""
    limit: Limit | None = None
    """The first so many documents of a task at most; null for all of them."""
    include: str | None = None
    """Directory of your own task files (YAML without Python), relative to the study file or to `config/`; a name that
    is not found there is one of the harness's own tasks."""
    chat_template: tuple[str, ...] = ()
    """Stages whose questions are put into the tokenizer's chat template, examples as earlier turns."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Texts that go through the model together; the last bits of a log-likelihood depend on it."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of weights and activations."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 1234
    """Seed of the choice of solved examples, and of everything random in a task."""
    bootstrap: Annotated[int, Field(ge=100)] = 1_000
    """Resamples behind the harness's standard errors of what is no mean, such as perplexity."""

    def shots_of(self, name: str) -> tuple[int, ...]:
        return self.tasks[name].shots or self.shots

    def limit_of(self, name: str) -> int | None:
        return self.tasks[name].limit or self.limit


class _Function(str):
    """A reference to a Python function in a task file: ``module.function``, not looked up."""


class _Loader(yaml.SafeLoader):
    pass


def _function(loader: _Loader, node: yaml.ScalarNode) -> _Function:
    return _Function(loader.construct_scalar(node))


_Loader.add_constructor("!function", _function)


@dataclass(frozen=True, eq=False)
class Task:
    """A task of LM Evaluation Harness as its files define it; no code was run to read it."""

    name: str
    path: Path
    own: bool
    """Whether it is one of the study's own, not of the installed harness."""
    config: Mapping[str, Any]
    """Its keys, those of included files merged in; functions as the text that names them."""
    files: Mapping[str, str]
    """SHA-256 by name of all files that define it: YAML, and the Python modules beside it that it names."""
    settings: BenchmarkTask
    data_files: Mapping[str, tuple[Path, ...]]
    """Split → local files of its data set; empty where it comes from the hub or from the study."""

    @property
    def evaluated(self) -> str:
        """The split whose documents are evaluated."""
        return str(self.config.get("test_split") or self.config["validation_split"])

    @property
    def hub(self) -> Revision | None:
        """The repository of its data set; None where the data is local or the study's."""
        if self.settings.data is not None or self.data_files:
            return None
        return Revision(Kind.DATASET, str(self.config["dataset_path"]), self.settings.revision)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides its documents and its scoring, beside the commit or the content of its data set."""
        data = {split: [sha256_file(path) for path in paths] for split, paths in self.data_files.items()}
        return {
            "name": self.name,
            "files": dict(self.files),
            "data": self.settings.data,
            "data_files": data,
            "hub": str(self.hub) if self.hub else None,
        }


def harness_version() -> str:
    """The installed version of LM Evaluation Harness: its prompts, metrics and tasks are part of the result."""
    return importlib.metadata.version("lm_eval")


def find_tasks(settings: BenchmarkSettings, study: Path, config_directory: Path) -> tuple[Task, ...]:
    """The study's tasks, found and checked without running any code.

    Args:
        settings: the study's `measures.benchmarks`.
        study: the study file.
        config_directory: the project's ``config`` directory.

    Raises:
        StudyError: a directory or a task does not exist, or a task cannot be used here.
    """
    key = f"{study}: measures.benchmarks"
    own = _own_tasks(settings, study, config_directory, key)
    tasks = []
    for name, changes in settings.tasks.items():
        path = own.get(name) or _packaged_task(name)
        if path is None:
            raise StudyError(
                f"{key}.tasks: {name!r} is no task of LM Evaluation Harness {harness_version()}"
                f"{' nor of ' + settings.include if settings.include else ''}. {_suggestion(name, own)}"
            )
        tasks.append(_read_task(name, path, name in own, changes, f"{key}.tasks.{name}"))
    for task in tasks:
        _check_task(task, settings, f"{key}.tasks.{task.name}")
    return tuple(tasks)


def _own_tasks(settings: BenchmarkSettings, study: Path, config_directory: Path, key: str) -> dict[str, Path]:
    if settings.include is None:
        return {}
    places = [base / settings.include for base in (study.parent, config_directory)]
    directory = next((place for place in places if place.is_dir()), None)
    if directory is None:
        raise StudyError(
            f"{key}.include: there is no directory {settings.include} beside the study or in {config_directory}. "
            "Name the directory of your task files, or remove the key."
        )
    found: dict[str, Path] = {}
    for name, path in _named_files(_yaml_files(directory)):
        if name in found:
            raise StudyError(
                f"{key}.include: both {found[name]} and {path} define the task {name!r}. Rename or remove one."
            )
        found[name] = path
    if not found:
        raise StudyError(
            f"{key}.include: no file *.yaml in {directory} has a line `task: NAME`. Write a task file there, or remove "
            "the key."
        )
    return found


_TASK = re.compile(rb"^[\"']?task[\"']?[ \t]*:[ \t]*[\"']?([^\"'\s#\[\]{}]+)", re.MULTILINE)
_GROUP = re.compile(rb"^[\"']?group[\"']?[ \t]*:[ \t]*[\"']?([^\"'\s#\[\]{}]+)", re.MULTILINE)
"""Keys stand in quotation marks in every seventh file of the harness."""


def _named_files(files: Iterator[Path]) -> Iterator[tuple[str, Path]]:
    """The name that each file gives a task, read from the one line that says so."""
    for path in files:
        content = path.read_bytes()
        if (match := _TASK.search(content)) and not _GROUP.search(content):
            yield match[1].decode(errors="replace"), path


def _yaml_files(directory: Path) -> Iterator[Path]:
    yield from sorted(path for path in directory.rglob("*.yaml") if "__pycache__" not in path.parts)


@cache
def tasks_directory() -> Path:
    """The directory of the harness's own tasks."""
    found = importlib.util.find_spec("lm_eval")
    if found is None or found.origin is None:
        raise StudyError("measures.benchmarks: LM Evaluation Harness is not installed. Install lm_eval.")
    return Path(found.origin).parent / "tasks"


@cache
def _packaged_task(name: str) -> Path | None:
    """The file of one of the harness's own tasks: directories whose name begins as the task's are looked into first."""

    def alike(directory: str) -> int:
        return -sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(directory, name, strict=False)))

    root = tasks_directory()
    with os.scandir(root) as entries:
        directories = sorted(entry.name for entry in entries if entry.is_dir())
    for directory in sorted(directories, key=alike):
        for found, path in _named_files(_yaml_files(root / directory)):
            if found == name:
                return path
    return None


def _suggestion(name: str, own: Mapping[str, Path]) -> str:
    names, groups = [*own], []
    for path in _yaml_files(tasks_directory()):
        content = path.read_bytes()
        if match := _GROUP.search(content):
            groups.append(match[1].decode(errors="replace"))
        elif match := _TASK.search(content):
            names.append(match[1].decode(errors="replace"))
    if name in groups:
        members = _members(name, names)
        return f"It is a group: name its tasks one by one{', e.g. ' + ', '.join(members[:4]) if members else ''}."
    close = difflib.get_close_matches(name, names, n=5, cutoff=0.6)
    return f"Did you mean {', '.join(close)}?" if close else "`lm-eval ls tasks` lists the names."


def _members(group: str, names: Sequence[str]) -> list[str]:
    """The tasks whose name begins with that of a group; last the languages and variants of others, e.g. mmlu_es_…."""
    found = sorted(name for name in names if name.startswith(f"{group}_"))

    def rank(name: str) -> tuple[bool, bool]:
        language = len(name.removeprefix(f"{group}_").split("_")[0]) == 2
        return language, any(name.startswith(f"{other}_") for other in found)

    return sorted(found, key=rank)


def _read_task(name: str, path: Path, own: bool, changes: BenchmarkTask, key: str) -> Task:
    read: dict[Path, Mapping[str, Any]] = {}
    config = _merged(path, read, key)
    check_types(config, key)
    modules = set()
    for file, content in read.items():
        for function in _functions(content):
            if not file.is_relative_to(tasks_directory().resolve()):
                raise StudyError(
                    f"{key}: {file} names the Python function {function}. Task files of your own are data: write it "
                    "as a template, or prepare the data set accordingly."
                )
            module = file.parent / f"{function.rpartition('.')[0].replace('.', '/')}.py"
            modules |= {module} if module.is_file() else set()
    base = path.resolve().parent
    files = {os.path.relpath(file, base): sha256_file(file) for file in sorted([*read, *modules])}
    return Task(name, path, own, config, files, changes, _local_files(config, base, changes, own, key))


def _merged(path: Path, read: dict[Path, Mapping[str, Any]], key: str, within: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a task file after those of the files that it includes, which its own override."""
    path = path.resolve()
    if path in within:
        raise StudyError(f"{key}: {path} includes itself. Remove the `include`.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # a SafeLoader; functions stay text
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(f"{key}: {path} is no task file: {error}. Mend it, or name another task.") from error
    if not isinstance(content, dict):
        raise StudyError(f"{key}: {path} holds no mapping of keys to values. Mend it, or name another task.")
    read[path] = content
    included = content.get("include", [])
    merged: dict[str, Any] = {}
    for name in included if isinstance(included, list) else [included]:
        merged |= _merged(path.parent / str(name), read, key, (*within, path))
    return merged | {entry: value for entry, value in content.items() if entry != "include"}


def _functions(value: Any) -> Iterator[str]:
    if isinstance(value, _Function):
        yield str(value)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _functions(part)


_ELSEWHERE = "This task of the harness downloads its data from elsewhere and is not run; name another task."


def _local_files(
    config: Mapping[str, Any], base: Path, changes: BenchmarkTask, own: bool, key: str
) -> dict[str, tuple[Path, ...]]:
    """The data files that a task names, by split; none where its data is on the hub or the study's."""
    if changes.data is not None or config.get("dataset_path") not in LOCAL_FORMATS:
        return {}
    named = (config.get("dataset_kwargs") or {}).get("data_files")
    if not named:
        raise StudyError(
            f"{key}: its data is local (`dataset_path: {config['dataset_path']}`), but it names no files. "
            + ("Say `dataset_kwargs: {data_files: {test: FILE}}`, relative to the task file." if own else _ELSEWHERE)
        )
    if not isinstance(named, dict):
        named = {str(config.get("test_split") or config.get("validation_split")): named}
    files: dict[str, tuple[Path, ...]] = {}
    for split, names in named.items():
        paths = tuple(base / str(name) for name in (names if isinstance(names, list) else [names]))
        for path in paths:
            if not path.is_file():
                raise StudyError(
                    f"{key}: dataset_kwargs.data_files.{split}: there is no file {path}. "
                    + ("Name local files, relative to the task file." if own else _ELSEWHERE)
                )
        files[str(split)] = paths
    return files


def _check_task(task: Task, settings: BenchmarkSettings, key: str) -> None:
    config = task.config
    if config.get("output_type", "generate_until") not in OUTPUT_TYPES:
        raise StudyError(
            f"{key}: its output_type is {config['output_type']!r}. Allowed: {', '.join(OUTPUT_TYPES)}. Mend the task "
            "file, or name another task."
        )
    for entry, why in (
        ("class", "is a Python class"),
        ("custom_dataset", "makes its data set by Python code"),
        ("unsafe_code", "runs code that a model wrote"),
        ("doc_to_image", "shows images"),
        ("doc_to_audio", "plays sounds"),
    ):
        if config.get(entry):
            raise StudyError(f"{key}: the task {why} (`{entry}`), which is not supported. Name another task.")
    for metric in config.get("metric_list") or []:
        if metric.get("hf_evaluate"):
            raise StudyError(
                f"{key}: its metric {metric.get('metric')} would be downloaded as code (`hf_evaluate`), which is never "
                "done. Name another task, or write a task file of your own with metrics of the harness."
            )
    if not config.get("test_split") and not config.get("validation_split"):
        raise StudyError(f"{key}: neither test_split nor validation_split says what is evaluated. Add one to its file.")
    if task.settings.data is None and not config.get("dataset_path"):
        raise StudyError(
            f"{key}: its file names no `dataset_path`. Add one, or a data set of the study: "
            f"`tasks: {{{task.name}: {{data: SET}}}}`."
        )
    if task.own and task.hub is not None and not _is_repository(task.hub.repository):
        raise StudyError(
            f"{key}: its dataset_path is {task.hub.repository!r}. Allowed: a data set of the hub, OWNER/NAME, or local "
            f"files: {', '.join(LOCAL_FORMATS)} with `dataset_kwargs: {{data_files: {{test: FILE}}}}`. Correct it."
        )
    splits = {config[split] for split in _SPLITS if config.get(split)}
    if task.settings.data is not None and len(splits) > 1:
        raise StudyError(
            f"{key}: the data set {task.settings.data!r} of the study is one split, but the task uses "
            f"{', '.join(sorted(splits))}. Let its file name one split only."
        )
    check_contents(config, key)
    _check_shots(task, settings.shots_of(task.name), key)


def _is_repository(name: str) -> bool:
    """Whether a data set can be of the hub; what only leads out of a directory, `../..`, is no owner and no name."""
    return bool(re.fullmatch(REPOSITORY, name)) and not {".", ".."} & set(name.split("/")) and "{" not in name


def _check_shots(task: Task, shots: Sequence[int], key: str) -> None:
    """Solved examples are asked for only where they would be shown."""
    if not any(shots):
        return
    if task.config.get("num_fewshot") == 0:
        why = "the task is defined without solved examples (`num_fewshot: 0`)"
    elif task.config.get("output_type") == "loglikelihood_rolling":
        why = "the task scores whole texts (`output_type: loglikelihood_rolling`), which have no examples before them"
    else:
        return
    raise StudyError(
        f"{key}: {why}, but shots are {', '.join(map(str, shots))}. Say `tasks: {{…, {task.name}: {{shots: [0]}}}}`."
    )


def leak_free(config: Mapping[str, Any]) -> dict[str, str]:
    """Changes to a task's keys after which no document is ever among its own solved examples.

    The harness leaves the evaluated document out only if the task's `fewshot_split` equals its `test_split`. A task
    without another split, such as lambada_openai, draws its examples from the evaluated one all the same.
    """
    evaluated = config.get("test_split") or config["validation_split"]
    examples = (
        config.get("fewshot_split")
        or (config.get("fewshot_config") or {}).get("split")
        or config.get("training_split")
        or config.get("validation_split")
        or config.get("test_split")
    )
    if (config.get("fewshot_config") or {}).get("samples") is not None or examples != evaluated:
        return {}
    return {"test_split": str(evaluated), "fewshot_split": str(evaluated)}


def hub_revisions(tasks: Sequence[Task]) -> list[Revision]:
    """The repositories that the tasks' data sets come from, each once: what has to be locked and downloaded."""
    return list(dict.fromkeys(task.hub for task in tasks if task.hub is not None))
