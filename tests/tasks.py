"""A task of LM Evaluation Harness for tests: sums, asked as questions with choices."""

import json
from pathlib import Path

SUMS = [
    {"q": f"What is {a} + {b}?", "choices": [str(a + b), str(a + b + 1), str(a + b + 2)], "answer": 0}
    for a in range(4)
    for b in range(3)
]
CHOICE = """
task: sums
dataset_path: json
dataset_kwargs: {data_files: {test: sums.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{q}}"
doc_to_choice: choices
doc_to_target: answer
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 2}
"""
"""Of the name `sums`."""


def write_tasks(directory: Path, **tasks: str) -> None:
    """Write these task files (name → content), and the questions that they ask, into a new directory."""
    directory.mkdir(parents=True)
    for name, content in tasks.items():
        (directory / f"{name}.yaml").write_text(content)
    (directory / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SUMS))
