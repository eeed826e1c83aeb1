# Data sets and the tokenizer of models that are pretrained here.


rule sample_data:
    output:
        paths.data("{data}"),
    log:
        paths.log("sample_data", "{data}"),
    wildcard_constraints:
        data="|".join(map(re.escape, targets.world_data())) or "none",
    priority: 100
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        **demands.resources(
            "sample_data", lambda wildcards: demands.data(wildcards.data)
        ),
    params:
        spec=lambda wildcards: specs.data_spec(study, wildcards.data),
    script:
        "../../scripts/sample_data.py"


# Local files are in the spec by their SHA-256, so touching them makes nothing stale.
rule read_data:
    input:
        lambda wildcards: ancient(targets.data_files(wildcards.data)),
    output:
        paths.data("{data}"),
    log:
        paths.log("read_data", "{data}"),
    wildcard_constraints:
        data="|".join(map(re.escape, targets.source_data())) or "none",
    priority: 100
    conda:
        "../../envs/models.yaml"
    threads: 1
    resources:
        **demands.resources("read_data", lambda wildcards: demands.data(wildcards.data)),
    params:
        spec=lambda wildcards: specs.data_spec(study, wildcards.data),
    script:
        "../../scripts/read_data.py"


# Preference pairs among the answers of a model, for stages that are tuned on what their ancestors write.
if targets.unlabelled_names():

    rule sample_pairs:
        input:
            unpack(lambda wildcards: targets.sampling_inputs(sampled_of(wildcards))),
        output:
            paths.sampled(ANY_SAMPLED),
        log:
            paths.log("sample_pairs", ANY_SAMPLED),
        wildcard_constraints:
            data="|".join(map(re.escape, targets.unlabelled_names())),
        priority: lambda wildcards: targets.rank(wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "sample_pairs",
                lambda wildcards: demands.sampled_data(sampled_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.sampled_spec(study, sampled_of(wildcards)),
        script:
            "../../scripts/sample_pairs.py"


if study.config.tokenizer:

    rule train_tokenizer:
        input:
            [paths.data(name) for name in study.config.tokenizer.data],
        output:
            directory=directory(paths.tokenizer()),
            manifest=paths.tokenizer_manifest(),
        log:
            paths.log("train_tokenizer", "tokenizer"),
        priority: 100
        conda:
            "../../envs/models.yaml"
        threads: 1
        resources:
            **demands.resources(
                "train_tokenizer", lambda wildcards: demands.tokenizer()
            ),
        params:
            spec=specs.tokenizer_spec(study),
        script:
            "../../scripts/train_tokenizer.py"
