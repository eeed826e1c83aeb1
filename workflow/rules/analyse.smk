# Tidy tables: one row per cell and metric, with n, interval and definition; and what each step of the lineage costs.
# Long lists of inputs are functions: a cluster's jobs read these rules as well, and need no file of other jobs.


rule tables:
    input:
        lambda wildcards: targets.tables(),


if study.stages:

    rule tabulate:
        input:
            scores=lambda wildcards: targets.all_scores(),
            cells=lambda wildcards: targets.shown_cells(),
            curves=lambda wildcards: targets.all_training_curves(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.diversity_tables()),
        log:
            paths.log("tabulate", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("tabulate", lambda wildcards: demands.analysis()),
        params:
            spec=specs.analysis_spec(study),
        script:
            "../../scripts/tabulate.py"


if study.measures_tokens():

    rule tabulate_tokens:
        input:
            documents=lambda wildcards: targets.all_token_documents(),
            vocabularies=lambda wildcards: targets.all_token_vocabularies(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs("tokens", "tokens_pooled", "vocabulary_cdf"),
        log:
            paths.log("tabulate_tokens", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("tabulate_tokens", lambda wildcards: demands.analysis()),
        params:
            spec=specs.analysis_spec(study),
        script:
            "../../scripts/tabulate_tokens.py"


if study.runs_benchmarks():

    rule tabulate_benchmarks:
        input:
            results=lambda wildcards: targets.all_benchmark_results(),
            samples=lambda wildcards: targets.all_benchmark_samples(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(
                "benchmarks", "benchmarks_pooled", "benchmark_tests"
            ),
        log:
            paths.log("tabulate_benchmarks", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_benchmarks", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.analysis_spec(study),
        script:
            "../../scripts/tabulate_benchmarks.py"


if study.rails:

    rule judge_candidates:
        input:
            samples=lambda wildcards: targets.all_benchmark_samples(),
        output:
            **targets.table_outputs("candidates"),
        log:
            paths.log("judge_candidates", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "judge_candidates", lambda wildcards: demands.analysis()
            ),
        params:
            spec=candidates_spec(study),
        script:
            "../../scripts/judge_candidates.py"


if targets.has_merits():

    rule tabulate_merits:
        input:
            **targets.merits_inputs(),
        output:
            **targets.table_outputs("candidate_merits"),
        log:
            paths.log("tabulate_merits", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("tabulate_merits", lambda wildcards: demands.analysis()),
        params:
            spec=merits_spec(study),
        script:
            "../../scripts/tabulate_merits.py"


if study.judged_rewards():

    rule tabulate_rewards:
        input:
            scores=lambda wildcards: targets.all_reward_scores(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs("rewards"),
        log:
            paths.log("tabulate_rewards", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_rewards", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.reward_table_spec(study),
        script:
            "../../scripts/tabulate_rewards.py"


if study.config.measures.repetition:

    rule tabulate_repetition:
        input:
            counts=lambda wildcards: targets.all_repetition(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs("repetition"),
        log:
            paths.log("tabulate_repetition", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_repetition", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.lineage_table_spec(study),
        script:
            "../../scripts/tabulate_repetition.py"


if targets.derived_sets():

    rule tabulate_filters:
        input:
            data=[path for *_, path in targets.derived_sets()],
        output:
            **targets.table_outputs(*targets.filter_tables()),
        log:
            paths.log("tabulate_filters", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_filters", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.filters_spec(study, targets.derived_sets()),
        script:
            "../../scripts/tabulate_filters.py"


if targets.card_tables():

    rule tabulate_data_cards:
        input:
            **targets.card_inputs(),
        output:
            **targets.table_outputs(*targets.card_tables()),
            page=report(
                paths.data_cards("html"),
                caption="../report/data_cards_page.rst",
                category="Preference data",
                labels={"page": "data cards"},
            ),
            page_sha256=paths.data_cards("sha256"),
        log:
            paths.log("tabulate_data_cards", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_data_cards",
                lambda wildcards: demands.data_cards(
                    [name for name, *_ in targets.card_sets()]
                ),
            ),
        params:
            spec=specs.data_cards_spec(
                study, targets.card_sets(), targets.card_scores()
            ),
        script:
            "../../scripts/tabulate_data_cards.py"


if targets.judgement_tables():

    rule tabulate_judgements:
        input:
            judgements=lambda wildcards: targets.all_judgements(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.judgement_tables()),
            page=report(
                paths.judged_pairs("html"),
                caption="../report/judged_pairs_page.rst",
                category="Judges",
                labels={"page": "judged pairs"},
            ),
            page_sha256=paths.judged_pairs("sha256"),
        log:
            paths.log("tabulate_judgements", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_judgements", lambda wildcards: demands.analysis()
            ),
        params:
            spec=judging_specs.judgement_tables_spec(study),
        script:
            "../../scripts/tabulate_judgements.py"


if targets.compares_tokens():

    rule compare_published_tokens:
        input:
            tokens=paths.table("tokens_pooled"),
            published=targets.published_token_values(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs("published_tokens"),
        log:
            paths.log("compare_published_tokens", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "compare_published_tokens", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.published_tokens_spec(study),
        script:
            "../../scripts/compare_published_tokens.py"


if study.stages:

    rule attribute:
        input:
            scores=lambda wildcards: targets.all_scores(),
            documents=lambda wildcards: targets.all_token_documents(),
            vocabularies=lambda wildcards: targets.all_token_vocabularies(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs("attribution"),
        log:
            paths.log("attribute", "tables"),
        # The longest of the tables.
        priority: 1
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("attribute", lambda wildcards: demands.analysis()),
        params:
            spec=specs.analysis_spec(study),
        script:
            "../../scripts/attribute.py"

    rule compare_steps:
        input:
            scores=lambda wildcards: targets.all_scores(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.step_tables()),
        log:
            paths.log("compare_steps", "tables"),
        # As long as the attribution.
        priority: 1
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("compare_steps", lambda wildcards: demands.analysis()),
        params:
            spec=specs.analysis_spec(study),
        script:
            "../../scripts/compare_steps.py"


if targets.has_costs():

    rule tabulate_costs:
        input:
            scores=lambda wildcards: targets.all_scores(),
            divergences=lambda wildcards: targets.all_divergences(),
            truth=[paths.table("truth")] if study.config.measures.truth else [],
            candidates=targets.marks(),
        output:
            **targets.table_outputs("divergence", "costs"),
        log:
            paths.log("tabulate_costs", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("tabulate_costs", lambda wildcards: demands.analysis()),
        params:
            spec=specs.costs_spec(study),
        script:
            "../../scripts/tabulate_costs.py"


if study.has_format_effects():

    rule split_format_effects:
        input:
            scores=lambda wildcards: targets.all_scores(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs("format_effect"),
        log:
            paths.log("split_format_effects", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "split_format_effects", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.format_effect_spec(study),
        script:
            "../../scripts/split_format_effects.py"


if study.compares():

    rule compare:
        input:
            unpack(lambda wildcards: targets.comparison_inputs()),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.comparison_tables()),
            finding=report(
                paths.finding("html"),
                caption="../report/finding.rst",
                category="Comparison with stored results",
                labels={"table": "finding"},
            ),
            finding_sha256=paths.finding("sha256"),
        log:
            paths.log("compare", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("compare", lambda wildcards: demands.analysis()),
        params:
            spec=specs.comparison_spec(study),
        script:
            "../../scripts/compare.py"


if study.config.measures.truth:

    rule measure_truth:
        input:
            tokens=targets.all_token_documents()[:1],
        output:
            **targets.table_outputs("truth"),
        log:
            paths.log("measure_truth", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("measure_truth", lambda wildcards: demands.analysis()),
        params:
            spec=specs.truth_spec(study),
        script:
            "../../scripts/measure_truth.py"
