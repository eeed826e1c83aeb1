"""The staleness contract: after each edit of a finished study, exactly these jobs are scheduled and no others."""

import json
import os
import shutil
from pathlib import Path

import pytest

from modecollapse.sealed import read_sealed
from tests.projects import Project

FIGURES_OF_COMPLETIONS = [
    "plot_attribution",
    "plot_attribution_at_temperature",
    "plot_matched_attribution",
    "plot_output_metrics_tiny",
    "plot_quality_diversity_tiny",
    "plot_quality_tiny",
    "plot_samples_tiny",
    "plot_self_bleu_cosine_tiny",
    "plot_token_attribution",
    "plot_truth",
    "plot_whole_completions_tiny",
]
FIGURES_OF_TOKENS = ["plot_entropy_floor", "plot_token_table", "plot_vocabulary_cdf"]
FIGURES_OF_TRAINING = ["plot_preference_curves", "plot_training_curves"]
CARDS = ["tabulate_data_cards", "plot_data_cards_tiny"]
ALL_FIGURES = sorted(
    [*FIGURES_OF_COMPLETIONS, *FIGURES_OF_TOKENS, *FIGURES_OF_TRAINING, "plot_data_cards_tiny", "plot_lineage"]
)

FIRST_ANSWER = "Dunhal"
FIRST_FACTUAL = "In Dorrin, which city is the capital?"

REFERENCE = "score_reference tiny/s0/sft/preferences/human/128-64-truncate-float32"
SCORES = ["embed tiny/s0", "score tiny/s0/dpo", "score tiny/s0/plm", "score tiny/s0/sft"]
AFTER_COMPLETIONS = [*SCORES, "tabulate", "attribute", "compare_steps", *FIGURES_OF_TRAINING, *FIGURES_OF_COMPLETIONS]


def of(rule: str, *stages: str, seed: int = 0) -> list[str]:
    return [f"{rule} tiny/s{seed}/{stage}" for stage in stages]


def check(project: Project, *expected: list[str]) -> None:
    assert project.plan() == sorted(job for part in expected for job in part)


def test_nothing_changed_schedules_nothing(finished: Project) -> None:
    check(finished)


def test_a_temperature_added_schedules_one_generation_per_model_and_what_depends_on_it(finished: Project) -> None:
    finished.edit_study('["0.5", "1.0"]', '["0.5", "0.8", "1.0"]')
    check(finished, of("generate", "plm", "sft", "dpo"), AFTER_COMPLETIONS)


def test_a_temperature_removed_schedules_no_work_on_models(finished: Project) -> None:
    finished.edit_study('["0.5", "1.0"]', '["1.0"]')
    check(finished, AFTER_COMPLETIONS)


def test_beta_of_dpo_schedules_dpo_and_its_descendants_only(finished: Project) -> None:
    finished.edit_study("beta: 0.1", "beta: 0.2")
    check(
        finished,
        *(of(rule, "dpo") for rule in ("train", "generate", "measure_tokens")),
        ["tabulate_tokens", *FIGURES_OF_TOKENS],
        AFTER_COMPLETIONS,
    )


def test_rates_of_repetition_asked_for_schedule_their_own_jobs_and_no_others(finished: Project) -> None:
    finished.edit_study("measures:\n", "measures:\n  repetition: {}\n")
    own = ["tabulate_repetition", "plot_repetition_tiny"]
    check(finished, of("measure_repetition", "plm", "sft", "dpo"), own)


SECOND_DPO = """  dpo2:
    method: dpo
    from: sft
    data: preferences
    learning_rate: 1e-4
    beta: 0.5
    batch_size: 16
    max_length: 128
    max_prompt_length: 64  # of dpo2
    dtype: float32

seeds: [0]
"""


def test_stages_tuned_from_one_model_on_the_same_pairs_share_its_log_probabilities(finished: Project) -> None:
    finished.edit_study("seeds: [0]\n", SECOND_DPO)
    assert finished.plan("models") == of("train", "dpo2"), "only what does not concern the reference differs"
    finished.edit_study("64  # of dpo2", "32  # of dpo2")
    assert finished.plan("models") == [REFERENCE.replace("128-64", "128-32"), *of("train", "dpo2")]
    finished.edit_study("32  # of dpo2", "64  # of dpo2")
    shutil.rmtree(finished.result("references"))
    assert finished.plan("models") == [REFERENCE, *of("train", "dpo", "dpo2")], "one job for both"


def test_the_length_of_pairs_schedules_their_log_probabilities_and_dpo(finished: Project) -> None:
    finished.edit_study("max_prompt_length: 64", "max_prompt_length: 60")
    assert finished.plan("models") == [REFERENCE.replace("128-64", "128-60"), *of("train", "dpo")]


def test_the_revision_of_the_reference_schedules_its_log_probabilities_and_dpo(finished: Project) -> None:
    finished.edit("workflow/modecollapse/revisions.py", '"reference": 1', '"reference": 2')
    assert finished.plan("models") == [REFERENCE, *of("train", "dpo")]


def test_deleted_log_probabilities_come_back_from_the_store(finished: Project) -> None:
    file = finished.result(f"references/tiny/s0/{REFERENCE.partition('/s0/')[2]}.parquet")
    before = file.read_bytes()
    file.unlink()
    assert REFERENCE in finished.plan("models")
    finished.run("models")
    assert file.read_bytes() == before
    log = next((finished.root / "logs/nano-smoke/score_reference").rglob("*.log")).read_text()
    assert "the log-probabilities came back from the store" in log
    check(finished)


def test_a_prompt_edited_schedules_no_training(finished: Project) -> None:
    finished.edit("config/prompts/nano-smoke-factual.yaml", FIRST_FACTUAL, f"Tell me: {FIRST_FACTUAL}")
    check(
        finished,
        of("generate", "plm", "sft", "dpo"),
        AFTER_COMPLETIONS,
        ["measure_truth", "plot_lineage", *CARDS],
        FIGURES_OF_TOKENS,
    )


def test_an_accepted_answer_edited_schedules_no_generation(finished: Project) -> None:
    finished.edit("config/prompts/nano-smoke-factual.yaml", FIRST_ANSWER, "Elsewhere")
    scored = [job for job in AFTER_COMPLETIONS if not job.startswith("embed")]
    check(finished, scored, ["measure_truth", "plot_entropy_floor"])


def test_the_figure_style_schedules_figures_only(finished: Project) -> None:
    style = finished.root / "workflow/modecollapse/figures/style.py"
    style.write_text(style.read_text() + "\n# another line\n")
    check(finished, ALL_FIGURES)


def test_the_code_of_one_figure_schedules_that_figure_only(finished: Project) -> None:
    module = finished.root / "workflow/modecollapse/figures/samples.py"
    module.write_text(module.read_text() + "\n# another line\n")
    check(finished, ["plot_samples_tiny"])


def test_a_caption_changes_the_report_only(finished: Project) -> None:
    caption = finished.root / "workflow/report/attribution.rst"
    caption.write_text("An entirely different caption.\n")
    check(finished)
    finished.run("--report", "report.html")
    assert "An entirely different caption." in (finished.root / "report.html").read_text()


def test_a_comment_in_a_module_a_script_or_a_rule_schedules_nothing(finished: Project) -> None:
    modules = ("methods/sft.py", "methods/base.py", "generation/sampling.py", "metrics/lexical.py")
    for file in (
        *(f"workflow/modecollapse/{name}" for name in modules),
        "scripts/train.py",
        "workflow/rules/models.smk",
    ):
        path = finished.root / file
        path.write_text(path.read_text() + "\n# a comment\n")
    check(finished)


def test_a_revision_of_a_method_schedules_its_stages_and_their_descendants(finished: Project) -> None:
    finished.edit("workflow/modecollapse/methods/sft.py", "revision=2", "revision=3")
    check(
        finished,
        *(of(rule, "sft", "dpo") for rule in ("train", "generate", "measure_tokens")),
        [REFERENCE, "tabulate_tokens", *FIGURES_OF_TOKENS, *CARDS],
        AFTER_COMPLETIONS,
    )


def test_a_revision_of_the_metrics_schedules_scores_and_what_depends_on_them(finished: Project) -> None:
    finished.edit("workflow/modecollapse/revisions.py", '"diversity": 2', '"diversity": 3')
    check(finished, [job for job in AFTER_COMPLETIONS if not job.startswith("embed")])


def test_touched_but_identical_files_schedule_nothing(finished: Project) -> None:
    for file in (  # what is made from others before them, so that each is newer than all that is made from it
        "tables/curves.parquet",
        "scores/tiny/s0/sft.parquet",
        "generations/tiny/s0/sft/creative/human/T1.0.parquet",
        "models/tiny/s0/sft/weights/model.safetensors",
        "models/tiny/s0/sft/manifest.json",
        "data/corpus.parquet",
    ):
        assert finished.result(file).is_file()
        os.utime(finished.result(file))
    check(finished)


def test_a_further_seed_schedules_that_seed_and_the_tables(finished: Project) -> None:
    finished.edit_study("seeds: [0]", "seeds: [0, 1]")
    stages = ("plm", "sft", "dpo")
    rules = ("train", "generate", "measure_tokens", "score")
    check(
        finished,
        *(of(rule, *stages, seed=1) for rule in rules),
        [REFERENCE.replace("s0", "s1"), "embed tiny/s1", CARDS[0]],
        ["tabulate", "tabulate_tokens", "attribute", "compare_steps"],
        [figure for figure in ALL_FIGURES if figure != "plot_lineage"],
    )


def test_a_deleted_cell_schedules_that_cell_and_what_depends_on_it(finished: Project) -> None:
    finished.result("generations/tiny/s0/sft/creative/human/T0.5.parquet").unlink()
    check(finished, of("generate", "sft"), AFTER_COMPLETIONS)


def test_a_deleted_figure_schedules_that_figure(finished: Project) -> None:
    finished.result("figures/truth.png").unlink()
    check(finished, ["plot_truth"])


def test_the_interval_settings_schedule_tables_and_figures_only(finished: Project) -> None:
    finished.edit_study("resamples: 1000", "resamples: 2000")
    check(
        finished,
        ["tabulate", "tabulate_tokens", "attribute", "compare_steps"],
        [figure for figure in ALL_FIGURES if figure not in ("plot_lineage", *CARDS)],
    )


OF_CHECKPOINTS = ("models", "results/own/generations/tiny/s0/tuned/factual/human/T1.0.parquet")


@pytest.fixture
def with_checkpoints(finished: Project) -> Project:
    """A study of two checkpoints that lie in directories, the second one not descending from the first: their models,
    and completions of the second one."""
    for stage in ("plm", "sft"):
        source, target = finished.result(f"models/tiny/s0/{stage}/weights"), finished.root / "checkpoints" / stage
        shutil.copytree(source, target)
    study = """
title: Two checkpoints
models: {tiny: {}}
stages:
  base: {method: checkpoint, source: {path: checkpoints/plm}}
  tuned: {method: checkpoint, source: {path: checkpoints/sft}}
prompts: {factual: prompts/nano-factual.yaml}
generation: {temperatures: ["1.0"], completions: 2, max_new_tokens: 4}
measures: {diversity: {metrics: [self_bleu], words: [5]}}
"""
    (finished.root / "config/studies/own.yaml").write_text(study)
    project = Project(finished.root, "own")
    project.run(*OF_CHECKPOINTS)
    return project


def test_a_checkpoint_replaced_by_other_weights_schedules_its_descendants(with_checkpoints: Project) -> None:
    project = with_checkpoints
    assert project.plan(*OF_CHECKPOINTS) == []
    replaced = project.root / "checkpoints/sft/model.safetensors"
    os.utime(replaced)
    assert project.plan(*OF_CHECKPOINTS) == [], "touched, but the same weights"
    replaced.unlink()
    shutil.copyfile(project.root / "results/nano-smoke/models/tiny/s0/dpo/weights/model.safetensors", replaced)
    assert project.plan(*OF_CHECKPOINTS) == ["generate tiny/s0/tuned", "train tiny/s0/tuned"]


def test_a_manifest_of_other_weights_in_the_results_schedules_descendants(finished: Project) -> None:
    """Somebody puts another model in the place of a trained one, manifest and all."""
    model, other = finished.result("models/tiny/s0/sft"), finished.result("models/tiny/s0/dpo")
    shutil.rmtree(model / "weights")
    shutil.copytree(other / "weights", model / "weights")
    shutil.copyfile(other / "manifest.json", model / "manifest.json")
    check(
        finished,
        of("train", "dpo"),
        *(of(rule, "sft", "dpo") for rule in ("generate", "measure_tokens")),
        [REFERENCE, "tabulate_tokens", *FIGURES_OF_TOKENS, *CARDS],
        AFTER_COMPLETIONS,
    )


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and bytes of each cell: a file that was written again has another inode.

    Modification times say nothing: Snakemake 9.27 touches all outputs of a job that ends well.
    """
    files = (path for path in directory.rglob("*.parquet"))
    return {str(path.relative_to(directory)): (path.stat().st_ino, path.read_bytes()) for path in files}


def test_a_new_temperature_writes_its_cells_and_leaves_the_others_alone(finished: Project) -> None:
    before = snapshot(finished.result("generations"))
    finished.edit_study('["0.5", "1.0"]', '["0.5", "0.8", "1.0"]')
    new = [f"tiny/s0/sft/{prompts}/human/T0.8.parquet" for prompts in ("creative", "factual")]
    asked = [f"results/nano-smoke/generations/{cell}" for cell in new]
    finished.run(*asked)
    after = snapshot(finished.result("generations"))
    assert {name: after[name] for name in before} == before
    assert sorted(set(after) - set(before)) == new
    assert finished.plan(*asked) == []


def test_timings_of_every_job_are_kept(finished: Project) -> None:
    files = list((finished.root / "logs/nano-smoke").rglob("*.timing.json"))
    entries = [json.loads(file.read_text()) for file in files]
    assert {"train", "generate", "score", "tabulate"} <= {entry["rule"] for entry in entries}
    assert all(entry["started"] <= entry["ready"] <= entry["ended"] for entry in entries)
    assert all(0 < entry["ready_cpu"] <= entry["cpu"] for entry in entries)


def test_no_job_loads_torch_to_score_to_tabulate_or_to_draw(finished: Project) -> None:
    files = list((finished.root / "logs/nano-smoke").rglob("*.timing.json"))
    loaded = {entry["rule"]: set(entry["libraries"]) for entry in (json.loads(file.read_text()) for file in files)}
    assert {rule for rule, libraries in loaded.items() if "torch" in libraries} == {
        "train",
        "generate",
        "embed",
        "measure_tokens",
        "score_reference",
    }
    assert loaded["generate"] == loaded["measure_tokens"] == loaded["embed"] == {"torch", "transformers"}
    assert loaded["score"] == loaded["sample_data"] == set()
    drawn = {rule for rule in loaded if rule.startswith("plot_")}
    assert drawn == set(ALL_FIGURES)
    assert all("scipy" not in loaded[rule] for rule in drawn)


def test_a_study_can_be_run_in_another_directory(fresh: Project, tmp_path: Path) -> None:
    corpus = "results/nano-smoke/data/corpus.parquet"
    fresh.run("--directory", str(tmp_path), corpus)
    assert (tmp_path / corpus).is_file()
    assert not (fresh.root / "results").exists()


def test_calling_models_published_schedules_their_comparison_only(finished: Project) -> None:
    finished.edit_study("tiny: {architecture", "tiny: {published_as: pythia-70m, architecture")
    finished.edit_study("    method: pretrain", "    published_as: plm\n    method: pretrain")
    check(finished, ["compare_published_tokens"])
    finished.run("tables")
    rows = read_sealed(finished.result("tables/published_tokens.parquet")).to_pylist()
    ours = read_sealed(finished.result("tables/tokens_pooled.parquet")).to_pylist()
    values = {(row["definition"], row["metric"]): row["value"] for row in ours if row["stage"] == "plm"}
    assert {row["stage"] for row in rows} == {"plm"}
    assert {row["definition"] for row in rows} == {"corrected", "replica"}
    # Five metrics, each in a table and in a file, in two definitions.
    assert len(rows) == 20
    for row in rows:
        assert row["value"] == values[row["definition"], row["metric"]]
        assert row["difference"] == pytest.approx(row["value"] - row["published"])
    check(finished)
    finished.edit("workflow/modecollapse/analysis/published_tokens.csv", "18.33", "18.34")
    check(finished, ["compare_published_tokens"])
