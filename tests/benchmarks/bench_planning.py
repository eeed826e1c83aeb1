"""How long Snakemake takes to see what is stale: a finished study, and a synthetic grid 80 times its models.

Both sides are dry runs of the same code in one run of this script; the ratio says how planning grows with the grid. The
synthetic study has 6 sizes × 8 stages × 15 temperatures × 5 seeds and nothing made.
"""

import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from modecollapse.yaml_files import read_yaml
from tests.projects import ROOT, Project, make_project


def synthetic() -> dict[str, object]:
    """The smoke study, grown to 240 models and 7,200 cells."""
    content = read_yaml(ROOT / "config" / "studies" / "nano-smoke.yaml")
    shape = content["models"]["tiny"]
    content["models"] = {f"size{number}": shape for number in range(6)}
    content["stages"].update({f"dpo{n}": {**content["stages"]["dpo"], "beta": 0.2 + 0.1 * n} for n in range(5)})
    content["seeds"] = list(range(5))
    content["generation"]["temperatures"] = [f"{tenth / 10:.1f}" for tenth in range(1, 16)]
    return content


def seconds(project: Project, arguments: Sequence[str]) -> tuple[float, int]:
    """Median wall seconds of three dry runs, and the number of jobs."""
    taken = []
    for _ in range(3):
        started = time.perf_counter()
        output = project.run("--dry-run", "--quiet", "reason", *arguments)
        taken.append(time.perf_counter() - started)
    total = re.search(r"^total +(\d+)", output, re.MULTILINE)
    return sorted(taken)[1], int(total[1]) if total else 0


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        project = make_project(Path(directory) / "project")
        project.run()
        small, jobs = seconds(project, [])
        print(f"finished smoke study: {small:.1f} s, {jobs} jobs to run")
        (project.root / "config" / "studies" / "synthetic.yaml").write_text(
            yaml.safe_dump(synthetic(), sort_keys=False)
        )
        large, jobs = seconds(Project(project.root, "synthetic"), [])
        print(f"synthetic study of 240 models and 7,200 cells: {large:.1f} s, {jobs} jobs to run")
        print(f"ratio: {large / small:.1f}")


if __name__ == "__main__":
    main()
