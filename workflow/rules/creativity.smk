# The measures of creativity: what models are asked for them alone, what is found in the outputs, and their tables.


# The creativity measures ask each model with one loading of it.
if targets.experiment_kinds():

    rule run_experiments:
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
        output:
            **targets.experiment_outputs(ANY),
        log:
            paths.log("run_experiments", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "run_experiments",
                lambda wildcards: demands.experiments(model_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.experiments_spec(study, model_of(wildcards)),
        script:
            "../../scripts/run_experiments.py"


if targets.all_semantic():

    rule measure_semantic:
        input:
            cells=lambda wildcards: targets.semantic_cells(model_of(wildcards)),
        output:
            semantic_outputs=paths.semantic(ANY, "outputs"),
            semantic_values=paths.semantic(ANY, "values"),
        log:
            paths.log("measure_semantic", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "measure_semantic",
                lambda wildcards: demands.semantic(model_of(wildcards)),
            ),
        params:
            spec=specs.semantic_spec(study),
        script:
            "../../scripts/measure_semantic.py"


if study.config.measures.personas:

    rule measure_personas:
        input:
            sampled=paths.experiment(ANY, "personas"),
        output:
            persona_outputs=paths.personas(ANY, "outputs"),
            persona_answers=paths.personas(ANY, "answers"),
            persona_sentences=paths.personas(ANY, "sentences"),
            persona_clusters=paths.personas(ANY, "clusters"),
        log:
            paths.log("measure_personas", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "measure_personas", lambda wildcards: demands.personas()
            ),
        params:
            spec=lambda wildcards: specs.personas_spec(study, model_of(wildcards)),
        script:
            "../../scripts/measure_personas.py"


if targets.semantic_tables():

    rule tabulate_semantic:
        input:
            values=lambda wildcards: targets.all_semantic(["values"]),
            found=lambda wildcards: targets.all_semantic(["outputs"]),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.semantic_tables()),
        log:
            paths.log("tabulate_semantic", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_semantic", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.lineage_table_spec(study),
        script:
            "../../scripts/tabulate_semantic.py"


if targets.persona_tables():

    rule tabulate_personas:
        input:
            read=lambda wildcards: targets.all_personas(["outputs"]),
            answers=lambda wildcards: targets.all_personas(["answers"]),
            sentences=lambda wildcards: targets.all_personas(["sentences"]),
            clusters=lambda wildcards: targets.all_personas(["clusters"]),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.persona_tables()),
        log:
            paths.log("tabulate_personas", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_personas", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.personas_table_spec(study),
        script:
            "../../scripts/tabulate_personas.py"


if targets.continuation_tables():

    rule tabulate_continuations:
        input:
            unpack(lambda wildcards: targets.continuation_inputs()),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.continuation_tables()),
            page=report(
                paths.coloured_tokens("html"),
                caption="../report/coloured_tokens_page.rst",
                category="Creativity",
                labels={"page": "continuations by confidence"},
            ),
            page_sha256=paths.coloured_tokens("sha256"),
        log:
            paths.log("tabulate_continuations", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_continuations", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.continuations_spec(study),
        script:
            "../../scripts/tabulate_continuations.py"


if targets.top_entropy_tables():

    rule tabulate_top_entropy:
        input:
            tokens=lambda wildcards: targets.of_experiments("top_entropy"),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.top_entropy_tables()),
        log:
            paths.log("tabulate_top_entropy", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_top_entropy", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.top_entropy_table_spec(study),
        script:
            "../../scripts/tabulate_top_entropy.py"


if targets.probe_tables():

    rule tabulate_probes:
        input:
            unpack(lambda wildcards: targets.probe_inputs()),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.probe_tables()),
        log:
            paths.log("tabulate_probes", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources("tabulate_probes", lambda wildcards: demands.analysis()),
        params:
            spec=specs.probes_table_spec(study),
        script:
            "../../scripts/tabulate_probes.py"


if study.config.measures.toy_bandit:

    rule simulate_toy_bandit:
        output:
            **targets.table_outputs("toy_bandit"),
        log:
            paths.log("simulate_toy_bandit", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "simulate_toy_bandit", lambda wildcards: demands.analysis()
            ),
        params:
            spec=specs.toy_bandit_spec(study),
        script:
            "../../scripts/simulate_toy_bandit.py"
