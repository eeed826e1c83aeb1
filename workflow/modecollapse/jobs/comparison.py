"""Our values beside the stored results of others: tables, and the finding in words."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modecollapse.analysis import table_files
from modecollapse.analysis.bootstrap import Array, Bootstrap
from modecollapse.cells import Model
from modecollapse.comparison import effects, finding, order_q, residuals
from modecollapse.comparison.page import render
from modecollapse.comparison.stored_results import read_results
from modecollapse.identities import cell_of_table, model_of_table
from modecollapse.jobs.running import failing_of
from modecollapse.lineage import paths
from modecollapse.metrics.lexical import first_words, jaccard_kernel
from modecollapse.publishing import publish_file, write_digests
from modecollapse.sealed import read_sealed


def compare(
    spec: Mapping[str, Any],
    scores: Sequence[Path],
    results: Sequence[Path],
    cells: Sequence[Path],
    outputs: Mapping[str, Path],
) -> None:
    """Write the tables of the comparison, and the page that says what was found.

    `results` are the stored results of the models of `scores`, one file each, in the same order.

    Raises:
        CorruptFile: a score or a cell is not what was published.
        StudyError: a file of results was replaced by something else since the study was checked.
    """
    bootstrap = Bootstrap(resamples=spec["analysis"]["resamples"], seed=spec["analysis"]["seed"])
    temperatures, prompts, words = spec["temperatures"], spec["prompts"], spec["words"]
    ours, stored = {}, {}
    for scored, file in zip(scores, results, strict=True):
        table = read_sealed(scored)
        model = model_of_table(table)
        ours[model] = residuals.our_values(table.to_pandas(), words, temperatures, prompts)
        stored[model] = read_results(file, temperatures, prompts)
    comparison = residuals.comparison_table(ours, stored)
    found = {size: residuals.verdict(rows) for size, rows in comparison.groupby("size", sort=False)}
    assignments = {str(size): one.assignment for size, one in found.items() if one.assignment is not None}
    frames = {
        "comparison": comparison,
        "order_q": order_q.order_table(_kernels(cells, spec), stored, assignments),
        "published": effects.published_table(stored, spec["formats"], temperatures, assignments, bootstrap),
        "consequence": effects.consequence_table(stored, paths(spec["lineage"]), assignments, bootstrap),
    }
    failing = failing_of(outputs)
    for name, frame in frames.items():
        table_files.write_table(name, [frame], outputs[name], outputs[f"{name}_csv"], failing)
    context = finding.Context(words=words, embedder=spec["embedder"], **spec["context"])
    page = render(finding.finding(frames, context), f"{context.title}: stored results and ours")
    with publish_file(outputs["finding"]) as partial:
        partial.write_text(page, encoding="utf-8")
    write_digests(outputs["finding_sha256"], [outputs["finding"]])


def _kernels(cells: Sequence[Path], spec: Mapping[str, Any]) -> dict[Model, dict[str, list[Array]]]:
    """The replica's Jaccard kernels of all cells by model and prompt set: temperatures, then prompts."""
    kernels: dict[tuple[Model, str], dict[str, list[Array]]] = defaultdict(dict)
    for path in cells:
        table = read_sealed(path, ["prompt", "text"])
        cell = cell_of_table(table)
        texts: dict[str, list[str]] = {prompt: [] for prompt in spec["prompts"][cell.prompts]}
        for prompt, text in zip(table.column("prompt").to_pylist(), table.column("text").to_pylist(), strict=True):
            texts[prompt].append(first_words(text, spec["words"]))
        kernels[cell.model, cell.prompts][cell.temperature] = [
            jaccard_kernel(of_prompt, 2, replica=True) for of_prompt in texts.values()
        ]
    ordered: dict[Model, dict[str, list[Array]]] = defaultdict(dict)
    for (model, prompts), by_temperature in kernels.items():
        ordered[model][prompts] = [kernel for name in spec["temperatures"] for kernel in by_temperature[name]]
    return dict(ordered)
