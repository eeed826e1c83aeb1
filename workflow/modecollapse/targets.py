"""What a study's rules read and write: the lists that the rules declare as inputs and targets."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import modecollapse
from modecollapse.card_targets import CardTargets
from modecollapse.cells import Cell, Model
from modecollapse.data_targets import DataTargets
from modecollapse.epochs import epoch_stage
from modecollapse.experiment_targets import ExperimentTargets
from modecollapse.feature_targets import FeatureTargets
from modecollapse.figures.features import features_of
from modecollapse.figures.registry import Drawing, figures_of
from modecollapse.guard_rails.targets import GuardRailTargets
from modecollapse.hub import Needed
from modecollapse.judging.targets import JudgementTargets
from modecollapse.label_targets import LabelTargets
from modecollapse.measures.benchmarks import hub_revisions

PACKAGE = Path(modecollapse.__file__).parent
"""Where the package is: below the working directory in a checkout, elsewhere if installed."""


def _in_package(*names: str) -> str:
    """A file of the package as the rules name it: relative to the working directory if it is below it."""
    here, file = Path.cwd(), PACKAGE.joinpath(*names)
    return str(file.relative_to(here) if file.is_relative_to(here) else file)


class Targets(
    DataTargets, LabelTargets, JudgementTargets, GuardRailTargets, CardTargets, ExperimentTargets, FeatureTargets
):
    """The files of one study, by phase."""

    def everything(self) -> list[str]:
        """All files of the study."""
        measured = self.models() + self.cells() + self.measurements() + self.all_sheets()
        return measured + self.tables() + self.figures()

    def sheets_to_label(self) -> list[str]:
        """The sheets that people can label now: nothing that these are made from waits for labels itself."""
        ready = [
            each
            for each in self.comparisons.sheets()
            if not any(map(self.waits_for_labels, (each.model, self.comparisons.reference(each.model))))
        ]
        return super().sheets_to_label() + self.sheets(ready)

    def models(self) -> list[str]:
        """Every model: manifest, curves and weights; what references give to pairs; and what models write."""
        return (
            self.all_sampled_data()
            + self.all_derived_data()
            + self.all_own_answers()
            + self.sealed_label_files()
            + self.labelling_sheets()
            + self.all_reference_scores()
            + [
                path
                for model in self.study.trained()
                for path in (self.paths.manifest(model), self.paths.curves(model), self.paths.weights(model))
            ]
        )

    def embeddings_of(self, model: Model) -> list[str]:
        """The sentence vectors that a model's scores need: one file, or none."""
        return [self.paths.embeddings(model.size, model.seed)] if self.study.embeds() else []

    def training_inputs(self, model: Model) -> dict[str, object]:
        """What one training job reads, by name."""
        from snakemake.io import ancient

        stage = self.study.stage(model)
        method = self.study.method(model)
        assert method is not None
        inputs: dict[str, object] = {}
        parent = self.study.start(model)
        if parent is not None:
            inputs |= self.model_inputs("parent_", parent)
        if (base := self.study.adapted(model)) is not None:
            inputs |= self.model_inputs("base_", base)
        if (source := self.study.local_source(model)) is not None:
            # Its files are in the spec by their SHA-256, so touching them makes nothing stale.
            inputs["source"] = ancient(str(source))
        if stage.data is not None:
            inputs["data"] = self.data_of(model, stage.data)
        inputs |= self.scorer_inputs(self.study.reward(model))
        if self.study.run_rails(model):
            inputs["guard_data"] = self.guard_data(model)
        if (scores := self.study.reference_scores(model)) is not None:
            inputs["reference_scores"] = self.paths.reference_scores(scores.model, scores.pairs)
        if method.starts_from_nothing:
            inputs["tokenizer_manifest"] = self.paths.tokenizer_manifest()
            inputs["tokenizer"] = ancient(self.paths.tokenizer())
        return inputs

    def training_stages(self) -> list[str]:
        """The stages that are trained (or taken over) one by one."""
        stages = {model.stage for model in self.study.trained() if self.study.epoch(model) is None}
        return [stage for stage in self.study.stages if stage in stages]

    def epoch_rules(self, pattern: Model) -> list[tuple[str, list[str], dict[str, list[str]]]]:
        """(rule name, its runs, its outputs by name as patterns) for runs that keep the model of every epoch.

        The stage of `pattern` is the wildcard for the run. A rule's outputs cannot depend on its wildcards otherwise,
        so there is one rule for each number of epochs.
        """
        choices: dict[int, list[str]] = {}
        for run, stages in self.study.runs.stages.items():
            choices.setdefault(len(stages), []).append(run)
        rules = []
        for count, runs in choices.items():
            epochs = range(1, count + 1)
            models = [Model(pattern.size, pattern.seed, epoch_stage(pattern.stage, epoch)) for epoch in epochs]
            outputs = {
                "manifests": [self.paths.manifest(model) for model in models],
                "curves": [self.paths.curves(model) for model in models],
                "weights": [self.paths.weights(model) for model in models],
            }
            rules.append((f"train_{count}_epochs", runs, outputs))
        return rules

    def needed_by(self, jobs: Iterable[Any]) -> list[Needed]:
        """What these jobs of Snakemake's need of the hub."""
        needed = []
        for job in jobs:
            if job.rule.name == "train":
                model = Model(job.wildcards.size, int(job.wildcards.seed), job.wildcards.stage)
                needed.append(self.study.needed_of(model))
                needed += [Needed(revision) for revision in hub_revisions(self.watching_tasks(model))]
            elif job.rule.name == "read_data":
                needed.append(self.study.needed_of_data(job.wildcards.data))
            elif job.rule.name == "run_benchmarks":
                needed += [Needed(revision) for revision in hub_revisions(self.study.benchmarks)]
        return [need for need in needed if need is not None]

    def priority(self, makes: Literal["vectors", "completions", "models"], size: str) -> int:
        """Scheduling priority of a job, above that of measures, whose results only tables wait for.

        What most others wait for goes first, so that no processor is idle at the end; of one kind, larger sizes, which
        are later in the study file.
        """
        sizes = list(self.study.config.models)
        return 1 + ("vectors", "completions", "models").index(makes) * len(sizes) + sizes.index(size)

    def cells(self) -> list[str]:
        return [path for model in self.study.answering() for path in self.cells_of(model)]

    def shown_cells(self) -> list[str]:
        """The cells whose completions a table shows: those at the temperature of figures that show one."""
        temperature = self.study.config.analysis.temperature
        return [
            self.paths.cell(cell)
            for model in self.study.answering()
            for cell in self.study.cells(model)
            if cell.temperature == temperature
        ]

    def cells_of(self, model: Model) -> list[str]:
        return [self.paths.cell(cell) for cell in self.study.cells(model)]

    def cells_of_size(self, size: str, seed: int) -> list[str]:
        models = [model for model in self.study.answering() if (model.size, model.seed) == (size, seed)]
        return [path for model in models for path in self.cells_of(model)]

    def generating_rules(self, pattern: Model) -> list[tuple[str, list[str], list[str]]]:
        """(rule name, its stages, its outputs as patterns) for the stages that are sampled from."""
        return self._cell_rules("generate", pattern, {model.stage for model in self.study.language_models()})

    def choosing_rules(self, pattern: Model) -> list[tuple[str, list[str], list[str]]]:
        """The same for the stages that choose among answers of their parents."""
        return self._cell_rules("choose", pattern, {model.stage for model in self.study.choosing()})

    def choice_inputs(self, model: Model) -> dict[str, object]:
        """What a job reads that chooses, by name."""
        parent = self.study.parent(model)
        assert parent is not None
        return {**self.model_inputs("", parent), **self.scorer_inputs(self.study.reward(model))}

    def importing_rules(self, pattern: Model) -> list[tuple[str, list[str], list[str]]]:
        """The same for the stages whose completions are read from files."""
        return self._cell_rules("import_completions", pattern, {model.stage for model in self.study.imported()})

    def _cell_rules(self, verb: str, pattern: Model, stages: set[str]) -> list[tuple[str, list[str], list[str]]]:
        choices: dict[tuple[str, ...], list[str]] = {}
        for stage in self.study.stages:
            if stage in stages:
                choices.setdefault(tuple(self.study.formats(stage)), []).append(stage)
        return [
            (
                verb if len(choices) == 1 else f"{verb}_{'+'.join(formats)}",
                members,
                [
                    self.paths.cell(Cell(pattern, prompts, form, temperature))
                    for prompts in self.study.config.prompts
                    for form in formats
                    for temperature in self.study.config.generation.temperatures
                ],
            )
            for formats, members in choices.items()
        ]

    def completions_files(self, model: Model) -> dict[str, str]:
        """Prompt set → the file with an imported model's finished completions."""
        return {name: str(self.study.completions_file(model, name)) for name in self.study.config.prompts}

    def measurements(self) -> list[str]:
        embeddings = [path for model in self.study.answering() for path in self.embeddings_of(model)]
        tokens = self.all_token_documents() + self.all_token_vocabularies() + self.all_divergences()
        tokens += self.all_reward_scores() + self.all_repetition() + self.all_judgements()
        tokens += self.all_experiments() + self.all_semantic() + self.all_personas()
        tokens += self.all_feature_answers() + self.all_pair_features() + self.all_answer_features()
        return self.all_scores() + embeddings + tokens + self.all_benchmark_results() + self.all_benchmark_samples()

    def all_scores(self) -> list[str]:
        return [self.paths.scores(model) for model in self.study.answering()]

    def all_token_documents(self) -> list[str]:
        models = self.study.language_models() if self.study.measures_tokens() else []
        return [self.paths.token_documents(model) for model in models]

    def all_token_vocabularies(self) -> list[str]:
        models = self.study.language_models() if self.study.measures_tokens() else []
        return [self.paths.token_vocabulary(model) for model in models]

    def all_reward_scores(self) -> list[str]:
        """What reward models give to pairs of answers."""
        return [self.paths.reward_scores(model) for model in self.study.judged_rewards()]

    def reward_inputs(self, model: Model) -> dict[str, object]:
        """What the job reads that computes them, by name."""
        data = [self.data_of(model, name) for name in self.study.reward_data(model).values()]
        return {**self.model_inputs("", model), "data": data}

    def all_repetition(self) -> list[str]:
        """How many completions of each model repeat themselves."""
        measured = self.study.config.measures.repetition is not None
        return [self.paths.repetition(model) for model in self.study.answering()] if measured else []

    def all_divergences(self) -> list[str]:
        return [self.paths.divergence(model) for model in self.study.diverging()]

    def divergence_inputs(self, model: Model) -> dict[str, object]:
        """What the job reads that measures how far a model is from its reference, by name."""
        reference = self.study.diverging_from(model)
        return {**self.model_inputs("", model), **self.model_inputs("reference_", reference)}

    def has_costs(self) -> bool:
        """Whether the costs of stages are told: the study names their reference, and there is something to gain."""
        return self.study.config.measures.divergence is not None and self.study.scores_quality()

    def all_benchmark_results(self) -> list[str]:
        models = self.study.language_models() if self.study.runs_benchmarks() else []
        return [self.paths.benchmark_results(model) for model in models]

    def all_benchmark_samples(self) -> list[str]:
        models = self.study.language_models() if self.study.runs_benchmarks() else []
        return [self.paths.benchmark_samples(model) for model in models]

    def benchmark_data(self) -> list[str]:
        """The study's data sets that its benchmarks read, each once."""
        names = (task.settings.data for task in self.study.benchmarks)
        return [self.paths.data(name) for name in dict.fromkeys(names) if name is not None]

    def all_training_curves(self) -> list[str]:
        return [self.paths.curves(model) for model in self.study.trained()]

    def table_names(self) -> list[str]:
        """The study's tables."""
        attribution = ["attribution"] if self.study.stages else []
        return [*self.diversity_tables(), *attribution, *self.step_tables(), *self.further_tables()]

    def diversity_tables(self) -> list[str]:
        """The tables of the rule `tabulate`."""
        if not self.study.stages:
            return []
        return ["diversity", "curves", "samples", *(["training"] if self.study.trained() else [])]

    def step_tables(self) -> list[str]:
        """The tables of the rule `compare_steps`; only of models sampled from here is the token entropy known."""
        if not self.study.stages:
            return []
        return ["tests", *(["matched_attribution"] if self.study.sampled() else [])]

    def further_tables(self) -> list[str]:
        """The tables that not every study has."""
        names = ["format_effect"] if self.study.has_format_effects() else []
        if self.study.measures_tokens():
            names += ["tokens", "tokens_pooled", "vocabulary_cdf"]
        if self.compares_tokens():
            names += ["published_tokens"]
        if self.study.runs_benchmarks():
            names += ["benchmarks", "benchmarks_pooled", "benchmark_tests"]
        names += self.guard_rail_tables()
        if self.has_costs():
            names += ["divergence", "costs"]
        if self.study.judged_rewards():
            names += ["rewards"]
        if self.study.config.measures.repetition is not None:
            names += ["repetition"]
        if self.derived_sets():
            names += self.filter_tables()
        names += self.card_tables()
        names += self.judgement_tables()
        if self.labelled_data():
            names += ["label_agreement"]
        names += self.creativity_tables() + self.text_feature_tables()
        if self.study.config.measures.toy_bandit:
            names += ["toy_bandit"]
        if self.study.config.measures.truth:
            names += ["truth"]
        return [*names, *self.comparison_tables()]

    def comparison_tables(self) -> list[str]:
        """The tables of the rule `compare`."""
        return ["comparison", "order_q", "published", "consequence"] if self.study.compares() else []

    def comparison_inputs(self) -> dict[str, list[str]]:
        """What the rule `compare` reads, by name: one file of scores and one of stored results per compared model."""
        models = self.study.compared()
        return {
            "scores": [self.paths.scores(model) for model in models],
            "results": [str(self.study.reference_file(model)) for model in models],
            "cells": [path for model in models for path in self.cells_of(model)],
        }

    def pages(self) -> list[str]:
        """Pages of the report, and their digests: what a comparison found, judged pairs to be read, data cards, and
        continuations coloured by confidence.
        """
        named = [self.paths.finding] if self.study.compares() else []
        named += [self.paths.judged_pairs] if self.judgement_tables() else []
        named += [self.paths.data_cards] if self.card_tables() else []
        named += [self.paths.coloured_tokens] if self.continuation_tables() else []
        return [of(suffix) for of in named for suffix in ("html", "sha256")]

    def digest_lists(self) -> list[str]:
        """The files that list the digests of pages and sheets."""
        return [path for path in self.pages() + self.all_sheets() + self.labelling_sheets() if path.endswith(".sha256")]

    def compares_tokens(self) -> bool:
        """Whether token statistics are measured of models whose published values are known."""
        return self.study.measures_tokens() and bool(self.study.published())

    def published_token_values(self) -> str:
        """The file of published token statistics."""
        return _in_package("analysis", "published_tokens.csv")

    def table_outputs(self, *names: str) -> dict[str, str]:
        """The files of these tables as named outputs: `NAME` and `NAME_csv`."""
        from snakemake.io import report

        files = {name: self.paths.table(name) for name in names}
        for name in names:
            caption, labels = f"../report/table_{name}.rst", {"table": name.replace("_", " ")}
            files[f"{name}_csv"] = report(self.paths.table_csv(name), caption, category="Tables", labels=labels)
        return files

    def tables(self) -> list[str]:
        files = [path for name in self.table_names() for path in (self.paths.table(name), self.paths.table_csv(name))]
        return files + self.pages()

    def drawings(self) -> dict[str, Drawing]:
        """The study's figures by file name."""
        views, compared = list(self.study.views()), self.study.compared_views()
        sizes, features = list(self.study.config.models), features_of(self.study)
        return figures_of(self.table_names(), sizes, features, *((views, compared) if self.study.has_formats() else ()))

    def figure_inputs(self, drawing: Drawing) -> dict[str, str]:
        """The tables that a figure is drawn from, by name; `candidates` says which stages it has to mark."""
        names = self.table_names()
        further = [name for name in (*drawing.spec.further_tables, "candidates") if name in names]
        return {name: self.paths.table(name) for name in (*drawing.spec.tables, *further)}

    def figure_code(self, drawing: Drawing) -> list[str]:
        """The modules that decide what a figure looks like."""
        modules = [_in_package("figures", f"{module}.py") for module in drawing.spec.modules]
        return [*modules, _in_package("metrics", "registry.py")]

    def figure_labels(self, drawing: Drawing) -> dict[str, str]:
        """How a report tells figures of one section apart."""
        labels = {"figure": drawing.kind.replace("_", " "), "size": drawing.size or "all"}
        return {**labels, "format": drawing.view or "all"} if self.study.has_formats() else labels

    def figures(self) -> list[str]:
        return [path for name in self.drawings() for path in self.figure_outputs(name).values()]

    def figure_outputs(self, name: str) -> dict[str, str]:
        """A figure's files by name: vector, bitmap and their digests."""
        return {suffix: self.paths.figure(name, suffix) for suffix in ("svg", "png", "sha256")}
