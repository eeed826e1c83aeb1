# What is done to a finished model: completions for every cell, token statistics, sentence vectors, scores.


rule generations:
    input:
        lambda wildcards: targets.cells(),


rule measurements:
    input:
        lambda wildcards: targets.measurements() + targets.all_sheets(),


# One job writes all stale cells of a model in one pass. Its outputs are `update`d: good cells are neither deleted nor
# written again. Stages differ in their prompt formats, so there is one rule for each choice of formats.
for name, stages, cells in targets.generating_rules(ANY):

    rule:
        name:
            name
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
        output:
            update(cells),
        log:
            paths.log("generate", ANY),
        wildcard_constraints:
            stage="|".join(map(re.escape, stages)),
        priority: lambda wildcards: targets.priority("completions", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                name, lambda wildcards: demands.generation(model_of(wildcards))
            ),
        params:
            spec=lambda wildcards: specs.generation_spec(study, model_of(wildcards)),
        script:
            "../../scripts/generate.py"


# Stages without weights of their own: of n answers of the parent, the reward picks the best.
for name, stages, cells in targets.choosing_rules(ANY):

    rule:
        name:
            name
        input:
            unpack(lambda wildcards: targets.choice_inputs(model_of(wildcards))),
        output:
            update(cells),
        log:
            paths.log("choose", ANY),
        wildcard_constraints:
            stage="|".join(map(re.escape, stages)),
        priority: lambda wildcards: targets.priority("completions", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                name, lambda wildcards: demands.choice(model_of(wildcards))
            ),
        params:
            spec=lambda wildcards: specs.choice_spec(study, model_of(wildcards)),
        script:
            "../../scripts/choose.py"


for name, stages, cells in targets.importing_rules(ANY):

    rule:
        name:
            name
        input:
            unpack(lambda wildcards: targets.completions_files(model_of(wildcards))),
        output:
            update(cells),
        log:
            paths.log("import_completions", ANY),
        wildcard_constraints:
            stage="|".join(map(re.escape, stages)),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(name, lambda wildcards: demands.analysis()),
        params:
            spec=lambda wildcards: specs.import_spec(study, model_of(wildcards)),
        script:
            "../../scripts/import_completions.py"


if study.measures_tokens():

    rule measure_tokens:
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
            reference_manifest=lambda wildcards: paths.manifest(
                study.first(model_of(wildcards))
            ),
            reference_weights=lambda wildcards: ancient(
                paths.weights(study.first(model_of(wildcards)))
            ),
            documents=paths.data(study.config.measures.tokens.data),
        output:
            documents=paths.token_documents(ANY),
            vocabulary=paths.token_vocabulary(ANY),
        log:
            paths.log("measure_tokens", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "measure_tokens", lambda wildcards: demands.tokens(model_of(wildcards))
            ),
        params:
            spec=specs.tokens_spec(study),
        script:
            "../../scripts/measure_tokens.py"


if study.diverging():

    rule measure_divergence:
        input:
            unpack(lambda wildcards: targets.divergence_inputs(model_of(wildcards))),
        output:
            paths.divergence(ANY),
        log:
            paths.log("measure_divergence", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "measure_divergence",
                lambda wildcards: demands.divergence(model_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.divergence_spec(study, model_of(wildcards)),
        script:
            "../../scripts/measure_divergence.py"


if study.judged_rewards():

    rule score_rewards:
        input:
            unpack(lambda wildcards: targets.reward_inputs(model_of(wildcards))),
        output:
            paths.reward_scores(ANY),
        log:
            paths.log("score_rewards", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "score_rewards",
                lambda wildcards: demands.rewards(model_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.rewards_spec(study, model_of(wildcards)),
        script:
            "../../scripts/score_rewards.py"


if study.config.measures.repetition:

    rule measure_repetition:
        input:
            cells=lambda wildcards: targets.cells_of(model_of(wildcards)),
        output:
            paths.repetition(ANY),
        log:
            paths.log("measure_repetition", ANY),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "measure_repetition",
                lambda wildcards: demands.repetition(model_of(wildcards)),
            ),
        params:
            spec=specs.repetition_spec(study),
        script:
            "../../scripts/measure_repetition.py"


# What a judge says of a stage beside the reference. Judges differ in what they need: weights, a network, or labels.
if targets.comparisons.of_kind("reward"):

    rule judge_by_reward:
        input:
            unpack(lambda wildcards: targets.judgement_inputs(judgement_of(wildcards))),
        output:
            paths.judgements(ANY_JUDGEMENT),
        log:
            paths.log("judge_by_reward", ANY_JUDGEMENT),
        wildcard_constraints:
            judge="|".join(map(re.escape, targets.comparisons.of_kind("reward"))),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "judge_by_reward",
                lambda wildcards: demands.judging(judgement_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: judging_specs.judgements_spec(
                study, judgement_of(wildcards)
            ),
        script:
            "../../scripts/judge.py"


if targets.comparisons.of_kind("endpoint"):

    rule judge_by_endpoint:
        input:
            unpack(lambda wildcards: targets.judgement_inputs(judgement_of(wildcards))),
        output:
            paths.judgements(ANY_JUDGEMENT),
        log:
            paths.log("judge_by_endpoint", ANY_JUDGEMENT),
        wildcard_constraints:
            judge="|".join(map(re.escape, targets.comparisons.of_kind("endpoint"))),
        # It waits for others, and nodes of a cluster often reach no network.
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "judge_by_endpoint",
                lambda wildcards: demands.judging(judgement_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: judging_specs.judgements_spec(
                study, judgement_of(wildcards)
            ),
        script:
            "../../scripts/judge.py"


if targets.comparisons.of_kind("labels"):

    rule judge_by_people:
        input:
            unpack(lambda wildcards: targets.judgement_inputs(judgement_of(wildcards))),
        output:
            paths.judgements(ANY_JUDGEMENT),
        log:
            paths.log("judge_by_people", ANY_JUDGEMENT),
        wildcard_constraints:
            judge="|".join(map(re.escape, targets.comparisons.of_kind("labels"))),
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "judge_by_people",
                lambda wildcards: demands.judging(judgement_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: judging_specs.judgements_spec(
                study, judgement_of(wildcards)
            ),
        script:
            "../../scripts/judge.py"

    rule write_comparison_sheet:
        input:
            unpack(lambda wildcards: targets.sheet_inputs(judgement_of(wildcards))),
        output:
            page=paths.sheet(ANY_JUDGEMENT, "html"),
            csv=paths.sheet(ANY_JUDGEMENT, "csv"),
            sha256=paths.sheet(ANY_JUDGEMENT, "sha256"),
        log:
            paths.log("write_comparison_sheet", ANY_JUDGEMENT),
        wildcard_constraints:
            judge="|".join(map(re.escape, targets.comparisons.of_kind("labels"))),
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "write_comparison_sheet",
                lambda wildcards: demands.judging(judgement_of(wildcards)),
            ),
        params:
            spec=judging_specs.sheet_spec(study),
        script:
            "../../scripts/write_comparison_sheet.py"


if study.runs_benchmarks():

    rule run_benchmarks:
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
            data=targets.benchmark_data(),
        output:
            results=paths.benchmark_results(ANY),
            samples=paths.benchmark_samples(ANY),
        log:
            paths.log("run_benchmarks", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "run_benchmarks",
                lambda wildcards: demands.benchmarks(model_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.benchmarks_spec(study, model_of(wildcards)),
        script:
            "../../scripts/run_benchmarks.py"


if study.embeds():

    rule embed:
        input:
            cells=lambda wildcards: targets.cells_of_size(
                wildcards.size, int(wildcards.seed)
            ),
        output:
            paths.embeddings("{size}", "{seed}"),
        log:
            paths.log("embed", "{size}/s{seed}"),
        priority: lambda wildcards: targets.priority("vectors", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources("embed", lambda wildcards: demands.embedding()),
        params:
            spec=specs.embedding_spec(study),
        script:
            "../../scripts/embed.py"


rule score:
    input:
        cells=lambda wildcards: targets.cells_of(model_of(wildcards)),
        embeddings=targets.embeddings_of(ANY),
    output:
        paths.scores(ANY),
    log:
        paths.log("score", ANY),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **demands.resources(
            "score", lambda wildcards: demands.scoring(model_of(wildcards))
        ),
    params:
        spec=specs.score_spec(study),
    script:
        "../../scripts/score.py"
