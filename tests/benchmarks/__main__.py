"""Measure what docs/performance.md states: `python -m tests.benchmarks [SUBJECT …] [--device cuda]`.

Each subject runs in a process of its own, prints a table and writes `results/benchmarks/SUBJECT-DEVICE.json`. On a
processor the sizes are those of the embedded study; on a GPU the shapes of Pythia-410m, 1.4b and 2.8b with random
weights.
"""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

SUBJECTS = (
    "lexical_metrics",
    "repetition",
    "features",
    "bootstrap",
    "embedding",
    "tokens",
    "generation",
    "vllm",
    "reference",
    "sft",
    "dpo",
    "startup",
    "planning",
)
"""In the order in which they run; each is the module `bench_NAME` here."""

ON_A_GPU = ("embedding", "tokens", "generation", "vllm", "reference", "sft", "dpo")
"""Those that compute on a GPU where there is one."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}; without any, all")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"), help="folder of the JSON files")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.subjects) - set(SUBJECTS))
    if unknown:
        parser.error(f"there is no subject {', '.join(unknown)}; choose of {', '.join(SUBJECTS)}")
    subjects = arguments.subjects or list(SUBJECTS)
    if len(subjects) == 1:
        return _run(subjects[0], arguments.device, arguments.output)
    failed = []
    for subject in subjects:
        device = ["--device", arguments.device] if arguments.device else []
        command = [sys.executable, "-m", "tests.benchmarks", subject, *device, "--output", str(arguments.output)]
        if subprocess.run(command, check=False).returncode:
            failed.append(subject)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _run(subject: str, device: str | None, output: Path) -> int:
    from tests.benchmarks.comparing import print_table, write_json

    computes_on = "cpu"
    if subject in ON_A_GPU and device != "cpu":
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            print("There is no GPU here that torch can use: leave --device out.", file=sys.stderr)
            return 1
        computes_on = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"== {subject} on {computes_on}", flush=True)
    started = time.monotonic()
    comparisons = importlib.import_module(f"tests.benchmarks.bench_{subject}").compare(computes_on)
    print_table(comparisons, computes_on)
    path = output / f"{subject}-{computes_on}.json"
    write_json(path, subject, computes_on, comparisons)
    print(f"{path}: {time.monotonic() - started:.0f} s\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
