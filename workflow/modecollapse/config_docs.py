"""The schema and the reference page of study files, written from the configuration model.

`python -m modecollapse.config_docs` writes both; a test fails when they differ from the model.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modecollapse.config import StudyConfig
from modecollapse.format_config import FORMATS
from modecollapse.resources.machine import Machine
from modecollapse.stage_config import STAGE_MODELS

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schemas" / "study.schema.json"
PAGE = ROOT / "docs" / "configuration.md"


def schema() -> str:
    """JSON schema of a study file, for editors that check YAML while it is written."""
    return json.dumps(StudyConfig.model_json_schema(by_alias=True), indent=1, ensure_ascii=False) + "\n"


def page() -> str:
    """Reference of every key: its type, its default and what it means."""
    content = StudyConfig.model_json_schema(by_alias=True)
    definitions = content["$defs"]
    stages = {f"{name.capitalize()}Stage" for name in STAGE_MODELS}
    sections = [("Study", content), *((n, d) for n, d in definitions.items() if n not in stages and "properties" in d)]
    lines = [INTRODUCTION]
    for name, definition in sections:
        lines += ["", f"## {name}", "", *_section(definition)]
    lines += ["", "## Stages", "", STAGES]
    for name, model in STAGE_MODELS.items():
        lines += ["", f"### `method: {name}`", "", *_section(definitions[model.__name__], skip={"method"})]
    lines += ["", "## Machine", "", MACHINE, "", *_section(Machine.model_json_schema())]
    return "\n".join(lines) + "\n"


def _section(definition: dict[str, Any], skip: set[str] = frozenset()) -> Iterator[str]:  # type: ignore[assignment]
    if "description" in definition:
        yield from [definition["description"], ""]
    required = definition.get("required", [])
    yield from ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, value in definition["properties"].items():
        if key in skip:
            continue
        default = "required" if key in required else f"`{json.dumps(value.get('default'), ensure_ascii=False)}`"
        if "default" not in value and key not in required:
            default = "empty"
        if len(default) > 60:
            default = "see the schema"
        meaning = value.get("description", "").replace("\n", " ").replace("|", "\\|")
        yield f"| `{key}` | {_type(value)} | {default} | {meaning} |"


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return value["$ref"].rsplit("/", 1)[-1]
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{option}`" for option in value["enum"])
    for union in ("anyOf", "oneOf"):
        if union in value:
            names = list(dict.fromkeys(_type(option) for option in value[union]))
            # The sources of weights and data are unions of this kind too; those of stages are too long a list.
            stages = {f"{name.capitalize()}Stage" for name in STAGE_MODELS}
            return "a stage (see below)" if stages.intersection(names) else " or ".join(names)
    if value.get("type") == "array":
        return f"list of {_type(value.get('items', {}))}" if "items" in value else "list"
    if value.get("type") == "object":
        inner: Any = value.get("additionalProperties") or next(iter(value.get("patternProperties", {}).values()), {})
        return f"mapping of names to {_type(inner)}" if isinstance(inner, dict) and inner else "mapping"
    return str(value.get("type", "anything"))


INTRODUCTION = f"""# Configuration of a study

<!-- Written by `python -m modecollapse.config_docs` from the configuration model; do not edit. -->

A study is one YAML file: `config/studies/NAME.yaml`, chosen by `--config study=NAME`, or a file of your own, chosen by
`--config study=path/to/file.yaml`. Everything is checked before any job starts. Numbers may be written as `1e-6`; a key
given twice is an error; temperatures may be numbers or text.

`config/config.yaml` and `--config` hold what is not science: `study`, `results` and `store` (directories),
`store_limit_gb` (for the target `prune`), `machine` (see the end of this page), `completions` (directory of finished
completions) and `reference` (directory of results that others stored, for studies with a section `reference`; without
it they run without the comparison).

Built-in prompt formats: {", ".join(f"`{name}` = `{text}`" for name, text in FORMATS.items() if isinstance(text, str))},
and `chat`, the chat template in each model's tokenizer. No text ends with a space, so that completions begin with one;
a line break at the end of a format of one's own stays. A text that begins with the beginning-of-text token gets no
second one, and no end-of-text token stands before a completion.

Prompt files are YAML: `name`, `description` and `prompts`, a list of `id`, `text` and optionally `start` (the beginning
of the answer that is put into the model's mouth), `answers` (accepted answers, for the score `correct`) and `task`
(what kind of task it is, for judged comparisons; the prompt set's name without). `text` may be null where only finished
completions are measured.

Finished completions come in two layouts. `analyse-llms`: the `.npy` files of O'Mahony et al. (2024), object arrays of
shape (temperatures, prompts, 1) whose entries are lists of strings; all temperatures of the file have to be named, in
order. `table`: JSON Lines or Parquet, one row per completion, with `prompt` (an id of the prompt set), `sample`
(0, 1, …), `temperature`, `text`, and optionally `finish_reason` and `n_tokens`.

Stored results of others come in one layout, `analyse-llms`: the `.npy` files of O'Mahony et al., each a dictionary with
the keys `creative` and `factual`, each of these a dictionary of float arrays of shape (temperatures, prompts, 1) by
metric. They are compared with ours under both assignments of the keys to the prompt sets; see `docs/published.md`."""

STAGES = """A stage names its `method`; each method adds its own keys. `models.SIZE.stages.STAGE` states what one size
does differently."""

MACHINE = """Not a key of a study but of the workflow: `machine` stands in `config/config.yaml`, in the configuration
file of a profile, or in `--config 'machine={gpus_per_node: 4, gpu_memory_gb: 80}'`. It decides what jobs ask for and
over how many GPUs a training is spread, and nothing else: no result depends on it but for the last bits of sums.
`snakemake plan` prints what a study takes on it."""


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
