"""Time and peak memory for 1, 4 and 16 times the published study, and how they grow.

    python -m tests.benchmarks.bench_scaling [--copies 1 4 16] [--every 5] [--completions DIR]

The authors' completions of Pythia-2.8B stand for as many model sizes as asked for. Each number of sizes runs in a
process of its own: import, scores with all metrics that need no embeddings, tables with 10,000 resamples. Only every
so-many-th cell is scored. An exponent of 1 between the first and last row is linear growth; memory has a part that does
not grow at all.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from modecollapse import specs
from modecollapse.jobs.generations import import_completions
from modecollapse.jobs.scores import score_model
from modecollapse.jobs.tables import attribute, compare_steps, tabulate
from modecollapse.metrics.registry import METRICS
from modecollapse.store import Store
from modecollapse.study import Study, parse_study
from modecollapse.targets import Targets
from tests.benchmarks.processes import in_own_process, resident
from tests.projects import PUBLISHED, ROOT

PHASES = ("import", "score", "tables", "attribution")


def study_of(copies: int, completions: Path, directory: Path) -> Study:
    """The published study with its one size under so many names, and without embeddings."""
    file = ROOT / "config" / "studies" / "published.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key != "measures"}
    content["models"] = {f"copy-{number:02}": {} for number in range(copies)}
    content["measures"] = {
        "diversity": {"metrics": [n for n, metric in METRICS.items() if not metric.needs_embeddings]}
    }
    content["generation"]["temperatures"] = [str(t) for t in content["generation"]["temperatures"]]
    study = parse_study(content, "scaling", file, ROOT / "config", directory / "results")
    return replace(study, completions=completions)


def measure(copies: int, every: int, completions: Path) -> dict[str, float]:
    """CPU seconds of each phase, peak resident memory in MiB, and how many cells were scored."""
    with tempfile.TemporaryDirectory() as name:
        study = study_of(copies, completions, Path(name))
        targets, store = Targets(study), Store(Path(name) / "store")
        paths = study.paths
        scored = {model: study.cells(model)[::every] for model in study.models}

        def imported() -> None:
            for model in study.models:
                spec = json.loads(specs.import_spec(study, model))
                files = {key: Path(file) for key, file in targets.completions_files(model).items()}
                cells = {cell: Path(paths.cell(cell)) for cell in study.cells(model)}
                import_completions(cells, spec, files, {key: set_.ids() for key, set_ in study.prompts.items()}, store)

        def score() -> None:
            spec = json.loads(specs.score_spec(study))
            for model, cells in scored.items():
                score_model(spec, model, [Path(paths.cell(c)) for c in cells], [], Path(paths.scores(model)), store)

        def outputs(*tables: str) -> dict[str, Path]:
            files = {table: Path(paths.table(table)) for table in tables}
            return files | {f"{table}_csv": Path(paths.table_csv(table)) for table in tables}

        def attribution() -> None:
            attribute(spec, scores, [], [], outputs("attribution"))
            compare_steps(spec, scores, outputs(*targets.step_tables()))

        spec = json.loads(specs.analysis_spec(study))
        scores = [Path(file) for file in targets.all_scores()]
        cells = [Path(paths.cell(cell)) for members in scored.values() for cell in members]
        phases: dict[str, Callable[[], None]] = {
            "import": imported,
            "score": score,
            "tables": lambda: tabulate(spec, scores, cells, [], outputs(*targets.diversity_tables())),
            "attribution": attribution,
        }
        found: dict[str, float] = {"copies": copies, "cells": len(cells)}
        for phase, run in phases.items():
            start = time.process_time()
            run()
            found[phase] = time.process_time() - start
    found["memory"] = resident("VmHWM") / 2**20
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--every", type=int, default=5, help="score only every so-many-th cell of each model")
    parser.add_argument("--completions", type=Path, default=PUBLISHED / "completions")
    parser.add_argument("--alone", action="store_true", help="measure one number of copies in this process; print JSON")
    arguments = parser.parse_args()
    if not arguments.completions.is_dir():
        print(f"not measured: there are no completions at {arguments.completions}")
        return
    if arguments.alone:
        print(json.dumps(measure(arguments.copies[0], arguments.every, arguments.completions)))
        return
    print(f"{'copies':>8}{'cells':>8}{''.join(f'{phase:>13}' for phase in PHASES)}{'CPU s':>10}{'MiB':>8}")
    rows = []
    for copies in arguments.copies:
        asked = ["--copies", copies, "--every", arguments.every, "--completions", arguments.completions]
        found = in_own_process("tests.benchmarks.bench_scaling", "--alone", *asked)
        found["all"] = sum(found[phase] for phase in PHASES)
        rows.append(found)
        times = "".join(f"{found[phase]:13.1f}" for phase in PHASES)
        print(f"{copies:8}{found['cells']:8}{times}{found['all']:10.1f}{found['memory']:8.0f}", flush=True)
    if len(rows) > 1:
        growth = math.log(rows[-1]["copies"] / rows[0]["copies"])
        exponents = {key: math.log(rows[-1][key] / rows[0][key]) / growth for key in (*PHASES, "all", "memory")}
        print("exponents  " + ", ".join(f"{key} {value:.2f}" for key, value in exponents.items()))


if __name__ == "__main__":
    main()
