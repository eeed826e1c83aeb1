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
            unpack(lambda wildcards: targets.sampling_inputs(model_data_of(wildcards))),
        output:
            paths.sampled(ANY_MODEL_DATA),
        log:
            paths.log("sample_pairs", ANY_MODEL_DATA),
        wildcard_constraints:
            data="|".join(map(re.escape, targets.unlabelled_names())),
        priority: lambda wildcards: targets.priority("models", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "sample_pairs",
                lambda wildcards: demands.sampled_data(model_data_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.sampled_spec(study, model_data_of(wildcards)),
        script:
            "../../scripts/sample_pairs.py"


# Sets that are made from others. Those that a model writes or filters, or that are made from such, are per model.
if study.derived_once():

    rule derive_data:
        input:
            data=lambda wildcards: targets.parents_of(wildcards.data),
        output:
            paths.data("{data}"),
        log:
            paths.log("derive_data", "{data}"),
        wildcard_constraints:
            data="|".join(map(re.escape, study.derived_once())),
        priority: 100
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "derive_data", lambda wildcards: demands.derived_data(wildcards.data)
            ),
        params:
            spec=lambda wildcards: specs.derived_spec(study, wildcards.data),
        script:
            "../../scripts/derive_data.py"


if study.derived_of_models():

    rule derive_model_data:
        input:
            unpack(lambda wildcards: targets.derived_inputs(model_data_of(wildcards))),
        output:
            paths.derived(ANY_MODEL_DATA),
        log:
            paths.log("derive_model_data", ANY_MODEL_DATA),
        wildcard_constraints:
            data="|".join(
                dict.fromkeys(
                    re.escape(each.data) for each in study.derived_of_models()
                )
            ),
        priority: lambda wildcards: targets.priority("models", wildcards.size)
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "derive_model_data",
                lambda wildcards: demands.derived_data(wildcards.data),
            ),
        params:
            spec=lambda wildcards: specs.derived_spec(study, wildcards.data),
        script:
            "../../scripts/derive_data.py"


# What a filter's bounds are percentiles of: dear to make, and not made again for another percentile.
if study.filtered():

    rule sample_own_answers:
        input:
            unpack(
                lambda wildcards: targets.own_answers_inputs(model_data_of(wildcards))
            ),
        output:
            paths.own_answers(ANY_MODEL_DATA),
        log:
            paths.log("sample_own_answers", ANY_MODEL_DATA),
        priority: lambda wildcards: targets.priority("models", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "sample_own_answers",
                lambda wildcards: demands.own_answers(model_data_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.own_answers_spec(
                study, model_data_of(wildcards)
            ),
        script:
            "../../scripts/sample_own_answers.py"


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
