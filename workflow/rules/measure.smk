# What is done to a finished model: completions for every cell, token statistics, sentence vectors, scores.


rule generations:
    input:
        targets.cells(),


rule measurements:
    input:
        targets.measurements(),


# One job writes all stale cells of a model in one pass. Its outputs are `update`d: good cells are neither deleted nor
# written again. Stages differ in their prompt formats, so there is one rule for each choice of formats.
for name, stages, cells in targets.generating_rules(ANY):

    rule:
        name:
            name
        wildcard_constraints:
            stage="|".join(map(re.escape, stages)),
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
        output:
            update(cells),
        params:
            spec=lambda wildcards: specs.generation_spec(study, model_of(wildcards)),
        log:
            paths.log("generate", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            mem_mb=4000,
            runtime=240,
        priority: lambda wildcards: targets.rank(wildcards.size)
        script:
            "../../scripts/generate.py"


for name, stages, cells in targets.importing_rules(ANY):

    rule:
        name:
            name
        wildcard_constraints:
            stage="|".join(map(re.escape, stages)),
        input:
            unpack(lambda wildcards: targets.completions_files(model_of(wildcards))),
        output:
            update(cells),
        params:
            spec=lambda wildcards: specs.import_spec(study, model_of(wildcards)),
        log:
            paths.log("import_completions", ANY),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        script:
            "../../scripts/import_completions.py"


if study.measures_tokens():

    rule measure_tokens:
        input:
            manifest=paths.manifest(ANY),
            weights=ancient(paths.weights(ANY)),
            reference_manifest=lambda wildcards: paths.manifest(study.first(model_of(wildcards))),
            reference_weights=lambda wildcards: ancient(paths.weights(study.first(model_of(wildcards)))),
            documents=paths.data(study.config.measures.tokens.data),
        output:
            documents=paths.token_documents(ANY),
            vocabulary=paths.token_vocabulary(ANY),
        params:
            spec=specs.tokens_spec(study),
        log:
            paths.log("measure_tokens", ANY),
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            mem_mb=4000,
            runtime=120,
        script:
            "../../scripts/measure_tokens.py"


rule embed:
    input:
        cells=lambda wildcards: targets.cells_of_size(wildcards.size, int(wildcards.seed)),
    output:
        paths.embeddings("{size}", "{seed}"),
    params:
        spec=specs.embedding_spec(study),
    log:
        paths.log("embed", "{size}/s{seed}"),
    conda:
        "../../envs/models.yaml"
    threads: study.config.threads
    resources:
        mem_mb=4000,
        runtime=120,
    priority: lambda wildcards: targets.rank(wildcards.size)
    script:
        "../../scripts/embed.py"


rule score:
    input:
        cells=lambda wildcards: targets.cells_of(model_of(wildcards)),
        embeddings=paths.embeddings("{size}", "{seed}"),
    output:
        paths.scores(ANY),
    params:
        spec=specs.score_spec(study),
    log:
        paths.log("score", ANY),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    script:
        "../../scripts/score.py"
