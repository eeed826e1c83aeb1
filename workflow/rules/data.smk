# Data sets and the tokenizer of models that are pretrained here.


rule sample_data:
    output:
        paths.data("{data}"),
    params:
        spec=lambda wildcards: specs.data_spec(study, wildcards.data),
    log:
        paths.log("sample_data", "{data}"),
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    priority: 100
    script:
        "../../scripts/sample_data.py"


if study.config.tokenizer:

    rule train_tokenizer:
        input:
            paths.data(study.config.tokenizer.data),
        output:
            directory=directory(paths.tokenizer()),
            manifest=paths.tokenizer_manifest(),
        params:
            spec=specs.tokenizer_spec(study),
        log:
            paths.log("train_tokenizer", "tokenizer"),
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        priority: 100
        script:
            "../../scripts/train_tokenizer.py"
