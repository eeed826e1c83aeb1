"""The paper's grid many times over: how long Snakemake plans, how long a job starts, and what tables cost.

    python -m tests.benchmarks.bench_grid [--times 1 4 16 100] [--phases plan job present tables] [--directory DIR]

The paper's grid is 6 sizes × 3 stages × 15 temperatures × 2 prompt sets, here under two prompt formats. It is widened
by sizes, training seeds and pairs of a fine-tuned and a preference-tuned stage (see `WIDENED`); 100 times are
1,800 models and 108,000 cells, which takes half an hour and is not done unless asked for. Everything that is
measured runs in a process of its own; seconds are of processor time.

plan: `snakemake --dry-run` of a study of which nothing is made.
job: what a job of a cluster does before its work starts: it reads the workflow and plans itself alone.
present: `snakemake --dry-run` of a study of which everything is made, as files of a few bytes with Snakemake's records.
tables: the rules that read every model, on scores and token statistics of the real size and schema.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from modecollapse import specs
from modecollapse.identities import identity_metadata
from modecollapse.jobs.tables import attribute, compare_steps, tabulate, tabulate_tokens
from modecollapse.measures.diversity import score_cell
from modecollapse.measures.token_entropy import entropy_scores
from modecollapse.measures.token_sums import DOCUMENTS, VOCABULARY
from modecollapse.metrics.registry import METRICS
from modecollapse.sealed import write_sealed
from modecollapse.study import Study, parse_study
from modecollapse.targets import Targets
from modecollapse.yaml_files import read_yaml
from tests.projects import ROOT, Project, make_project

WIDENED = {1: (6, 1, 1), 4: (12, 2, 1), 16: (8, 4, 4), 100: (20, 10, 4)}
"""Times → sizes, training seeds, and pairs of tuned stages beside the pretrained one."""

NAME = "grid"
PHASES = ("plan", "job", "present", "tables")


def content_of(sizes: int, seeds: int, pairs: int) -> dict[str, object]:
    """A study with the paper's prompts and temperatures whose models need nothing from elsewhere."""
    content = read_yaml(ROOT / "config" / "studies" / "nano.yaml")
    shape, stages = content["models"]["nano-s"]["architecture"], content["stages"]
    plain = {"tokens": 1_500_000, "learning_rate": "1e-3"}
    content["models"] = {f"size{number:02}": {"architecture": shape} for number in range(sizes)}
    content["stages"] = {"plm": stages["plm"] | plain}
    for number in range(1, pairs + 1):
        content["stages"][f"sft{number}"] = {**stages["sft"], "learning_rate": f"{number}e-3"}
        content["stages"][f"dpo{number}"] = {
            **stages["dpo"], "from": f"sft{number}", "learning_rate": "1e-4", "beta": number / 10,
        }  # fmt: skip
    content["seeds"] = list(range(seeds))
    content["prompts"] = {name: f"prompts/{name}.yaml" for name in ("creative", "factual")}
    content["generation"] |= {
        "temperatures": [f"{tenth / 10:.1f}" for tenth in range(1, 16)], "formats": ["okay", "human"],
    }  # fmt: skip
    content["measures"].pop("benchmarks")
    content["measures"]["truth"] = False
    return content


def measured(
    command: Sequence[str], directory: Path, environment: Mapping[str, str]
) -> tuple[float, float, float, str]:
    """Processor seconds, wall seconds and peak MiB of a command, and what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        files = [(os.POSIX_SPAWN_DUP2, output.fileno(), place) for place in (1, 2)]
        here = Path.cwd()
        os.chdir(directory)
        try:
            process = os.posix_spawn(command[0], command, environment, file_actions=files)
        finally:
            os.chdir(here)
        _, status, used = os.wait4(process, 0)
        wall = time.perf_counter() - started
        output.seek(0)
        printed = output.read()
    if status:
        raise RuntimeError(printed[-2000:])
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024, printed


def project_of(times: int, directory: Path) -> tuple[Project, Study]:
    """A project whose study is the paper's grid so many times."""
    project = make_project(directory / f"times{times}", NAME)
    file = project.root / "config" / "studies" / f"{NAME}.yaml"
    file.write_text(yaml.safe_dump(content_of(*WIDENED[times]), sort_keys=False))
    return project, parse_study(read_yaml(file), NAME, file, project.root / "config", Path("results"))


def say(phase: str, times: int, study: Study, found: tuple[float, float, float, str]) -> None:
    cpu, wall, memory, printed = found
    total = re.search(r"^total +(\d+)", printed, re.MULTILINE)
    jobs = total[1] if total else "0"
    cells = sum(len(study.cells(model)) for model in study.models)
    print(f"{phase:>10}{times:8}{len(study.models):8}{cells:9}{jobs:>8}{cpu:9.1f}{wall:9.1f}{memory:8.0f}", flush=True)


def plan(times: int, directory: Path, phases: Sequence[str]) -> None:
    """Measure Snakemake on the grid so many times."""
    project, study = project_of(times, directory)
    dry_run = project.command("--dry-run", "--quiet", "reason")
    if "plan" in phases:
        say("plan", times, study, measured(dry_run, project.root, project.environment()))
    if "job" in phases:
        model = study.models[-1]
        one = f"score:size={model.size},seed={model.seed},stage={model.stage}"
        arguments = ("--nolock", "--target-jobs", one, "--allowed-rules", "score", "--mode", "remote")
        alone = project.command("--dry-run", *arguments)
        say("job", times, study, measured(alone, project.root, project.environment()))
    if "present" in phases:
        make_everything(project, study)
        say("present", times, study, measured(dry_run, project.root, project.environment()))


def make_everything(project: Project, study: Study) -> None:
    """Write a few bytes for every file of the study, and let Snakemake record them as made."""
    data = [study.paths.data(name) for name in study.config.data]
    for path in [*data, study.paths.tokenizer_manifest(), *Targets(study).everything()]:
        file = project.root / path
        if file.name == "weights":
            file = file / "model.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    (project.root / study.paths.tokenizer()).mkdir(parents=True)
    # Snakemake's way of touching, without the tenth of a second that it waits for each job.
    quick = "from snakemake import cli\nfrom snakemake.executors import touch\n"
    quick += "touch.Executor.SLEEPING_TIME = 0\ncli.main()"
    arguments = project.options("--touch", "--quiet", "all")
    measured([sys.executable, "-c", quick, *arguments], project.root, project.environment())


def fake_scores(study: Study, generator: np.random.Generator) -> pa.Table:
    """The scores of a model: one cell of random texts is scored, and stands in all cells with noise on its values."""
    words = [f"word{number}" for number in range(300)]
    texts = {
        prompt: [" ".join(generator.choice(words, 24)) for _ in range(25)] for prompt in study.prompts["creative"].ids()
    }
    names = [name for name, metric in METRICS.items() if not metric.needs_embeddings]
    table = score_cell(texts, words=tuple(study.config.measures.diversity.words), metrics=names, controlled=10)
    log_probs = {prompt: [list(-generator.random(24)) for _ in of_prompt] for prompt, of_prompt in texts.items()}
    one = pa.concat_tables([table, entropy_scores(log_probs)], promote_options="default").to_pandas()
    frames = [
        one.assign(prompts=cell.prompts, format=cell.format, temperature=cell.temperature,
                   value=one["value"] * float(cell.temperature) ** 0.1)
        for cell in study.cells(study.models[0])
    ]  # fmt: skip
    return pa.Table.from_pandas(pd.concat(frames, ignore_index=True), preserve_index=False)


def fake_tokens(
    generator: np.random.Generator, documents: int, vocabulary: int, groups: int
) -> tuple[pa.Table, pa.Table]:
    """A model's token statistics, drawn at random: tables of documents and of the vocabulary."""
    columns = {
        field.name: generator.integers(20, 900, documents)
        if pa.types.is_integer(field.type)
        else generator.random(documents)
        for field in DOCUMENTS
    }
    columns |= {"document": np.arange(documents), "group": np.arange(documents) * groups // documents}
    rows = [
        {
            "definition": "corrected",
            "group": group,
            "n_distributions": 100,
            "probability_sum": generator.random(vocabulary),
        }
        for group in range(groups)
    ]
    rows.append({**rows[0], "definition": "replica", "group": None})
    return pa.table(columns, schema=DOCUMENTS), pa.Table.from_pylist(rows, schema=VOCABULARY)


def fill(study: Study, directory: Path, vocabulary: int) -> None:
    """Write scores and token statistics for every model of the study."""
    generator = np.random.default_rng(0)
    scores = fake_scores(study, generator)
    documents, distributions = fake_tokens(generator, 10_000, vocabulary, 50)
    value = scores.schema.get_field_index("value")
    for model in study.models:
        identity = identity_metadata(model)
        noise = 1 + 0.1 * generator.standard_normal(scores.num_rows)
        noisy = scores.set_column(value, "value", pa.array(scores["value"].to_numpy() * noise))
        write_sealed(noisy, directory / study.paths.scores(model), identity)
        write_sealed(documents, directory / study.paths.token_documents(model), identity)
        write_sealed(distributions, directory / study.paths.token_vocabulary(model), identity)


def tables_of(times: int, directory: Path, rule: str, resamples: int) -> None:
    """Make the tables of one rule in this process."""
    os.chdir(directory)
    file = Path(f"times{times}.yaml")
    study = parse_study(read_yaml(file), NAME, file, ROOT / "config", Path("results"))
    targets = Targets(study)
    spec = json.loads(specs.analysis_spec(study))
    spec["analysis"]["resamples"] = resamples
    documents, vocabularies = (
        list(map(Path, files)) for files in (targets.all_token_documents(), targets.all_token_vocabularies())
    )
    scores = [Path(path) for path in targets.all_scores()]

    def outputs(*names: str) -> dict[str, Path]:
        files = {name: Path(study.paths.table(name)) for name in names}
        return files | {f"{name}_csv": Path(study.paths.table_csv(name)) for name in names}

    rules: dict[str, Callable[[], None]] = {
        "tabulate": lambda: tabulate(spec, scores, [], [], outputs("diversity", "curves", "samples")),
        "tabulate_tokens": lambda: tabulate_tokens(
            spec, documents, vocabularies, outputs("tokens", "tokens_pooled", "vocabulary_cdf")
        ),
        "attribute": lambda: attribute(spec, scores, documents, vocabularies, outputs("attribution")),
        "compare_steps": lambda: compare_steps(spec, scores, outputs("tests", "matched_attribution")),
    }
    rules[rule]()


def tables(times: int, directory: Path, grid: tuple[int, int, int], vocabulary: int, resamples: int) -> None:
    """Measure the rules that read every model; sizes are those of what they read and wrote."""
    directory = directory / f"tables{times}"
    directory.mkdir(parents=True)
    file = directory / f"times{times}.yaml"
    file.write_text(yaml.safe_dump(content_of(*grid), sort_keys=False))
    study = parse_study(read_yaml(file), NAME, file, ROOT / "config", Path("results"))
    fill(study, directory, vocabulary)
    for rule in ("tabulate_tokens", "tabulate", "attribute", "compare_steps"):
        command = [sys.executable, "-m", "tests.benchmarks.bench_grid", "--alone", rule, "--times", str(times)]
        command += ["--directory", str(directory), "--resamples", str(resamples)]
        path = os.pathsep.join([str(ROOT), str(ROOT / "workflow")])
        say(rule, times, study, measured(command, ROOT, {**os.environ, "PYTHONPATH": path}))
    root = directory / study.paths.root
    for kind in ("scores", "tokens", "tables/*.parquet", "tables/*.csv"):
        paths = root.glob(kind) if "*" in kind else (root / kind).rglob("*.parquet")
        print(f"{kind:>18}: {sum(path.stat().st_size for path in paths) / 2**20:10.1f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16], choices=sorted(WIDENED))
    parser.add_argument("--phases", nargs="+", default=["plan", "job", "present"], choices=PHASES)
    parser.add_argument(
        "--grid", type=int, nargs=3, help="tables: sizes, seeds and pairs of stages instead of --times'"
    )
    parser.add_argument("--vocabulary", type=int, default=1024, help="tables: entries of the vocabulary")
    parser.add_argument("--resamples", type=int, default=10_000, help="tables: resamples of the bootstrap")
    parser.add_argument("--directory", type=Path, help="where to work; a temporary directory by default")
    parser.add_argument("--alone", help="make the tables of this rule in this process")
    arguments = parser.parse_args()
    if arguments.alone:
        tables_of(arguments.times[0], arguments.directory, arguments.alone, arguments.resamples)
        return
    columns = (
        ("phase", 10),
        ("times", 8),
        ("models", 8),
        ("cells", 9),
        ("jobs", 8),
        ("CPU s", 9),
        ("wall s", 9),
        ("MiB", 8),
    )
    print("".join(f"{name:>{width}}" for name, width in columns))
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        for times in arguments.times:
            if set(arguments.phases) - {"tables"}:
                plan(times, Path(name), arguments.phases)
            if "tables" in arguments.phases:
                grid = tuple(arguments.grid or WIDENED[times])
                tables(times, Path(name), (grid[0], grid[1], grid[2]), arguments.vocabulary, arguments.resamples)


if __name__ == "__main__":
    main()
