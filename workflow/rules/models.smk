# Models: each stage is made by its method from its parent, its data and nothing else.


rule models:
    input:
        targets.models(),


rule train:
    input:
        unpack(lambda wildcards: targets.training_inputs(model_of(wildcards))),
    output:
        manifest=paths.manifest(ANY),
        curves=paths.curves(ANY),
        weights=directory(paths.weights(ANY)),
    log:
        paths.log("train", ANY),
    # The largest model is the longest chain of jobs: it starts first.
    priority: lambda wildcards: targets.rank(wildcards.size)
    conda:
        "../../envs/models.yaml"
    threads: study.config.threads
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        spec=lambda wildcards: specs.model_spec(study, model_of(wildcards)),
    script:
        "../../scripts/train.py"
