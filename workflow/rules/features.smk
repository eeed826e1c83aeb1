# Text features: what stages answer to the prompts of preference pairs, the features of all answers, and their tables.


if targets.all_feature_answers():

    rule answer_pairs:
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
            pairs=[paths.data(name) for name in targets.pair_feature_sets()],
        output:
            paths.feature_answers(ANY),
        log:
            paths.log("answer_pairs", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "answer_pairs",
                lambda wildcards: demands.feature_answers(model_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.feature_answers_spec(study),
        script:
            "../../scripts/answer_pairs.py"


if targets.pair_feature_sets():

    rule measure_pair_features:
        input:
            paths.data("{data}"),
        output:
            paths.pair_features("{data}"),
        log:
            paths.log("measure_pair_features", "{data}"),
        wildcard_constraints:
            data="|".join(map(re.escape, targets.pair_feature_sets())),
        conda:
            "../../envs/analysis.yaml"
        threads: demands.machine.feature_processes
        resources:
            **demands.resources(
                "measure_pair_features",
                lambda wildcards: demands.pair_features(wildcards.data),
            ),
        params:
            spec=specs.pair_features_spec(study),
        script:
            "../../scripts/measure_pair_features.py"


if targets.all_answer_features():

    rule measure_answer_features:
        input:
            unpack(lambda wildcards: targets.answer_feature_inputs(model_of(wildcards))),
        output:
            paths.answer_features(ANY),
        log:
            paths.log("measure_answer_features", ANY),
        conda:
            "../../envs/analysis.yaml"
        threads: demands.machine.feature_processes
        resources:
            **demands.resources(
                "measure_answer_features",
                lambda wildcards: demands.answer_features(model_of(wildcards)),
            ),
        params:
            spec=specs.answer_features_spec(study),
        script:
            "../../scripts/measure_answer_features.py"


if targets.text_feature_tables():

    rule tabulate_text_features:
        input:
            pairs=targets.all_pair_features(),
            answers=targets.all_answer_features(),
            candidates=targets.marks(),
        output:
            **targets.table_outputs(*targets.text_feature_tables()),
        log:
            paths.log("tabulate_text_features", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_text_features", lambda wildcards: demands.feature_tables()
            ),
        params:
            spec=specs.text_features_table_spec(study),
        script:
            "../../scripts/tabulate_text_features.py"
