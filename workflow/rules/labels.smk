# Pairs that are labelled by a job of their own: candidates, sheets for people, and the labels of people or annotators.


rule labelling_sheets:
    input:
        lambda wildcards: targets.sheets_to_label(),


if targets.labelled_data():

    rule sample_candidates:
        input:
            unpack(lambda wildcards: targets.sampling_inputs(model_data_of(wildcards))),
        output:
            paths.candidates(ANY_MODEL_DATA),
        log:
            paths.log("sample_candidates", ANY_MODEL_DATA),
        priority: lambda wildcards: targets.priority("models", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "sample_candidates",
                lambda wildcards: demands.sampled_data(model_data_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.sampled_spec(study, model_data_of(wildcards)),
        script:
            "../../scripts/sample_pairs.py"

    rule write_sheet:
        input:
            candidates=paths.candidates(ANY_MODEL_DATA),
        output:
            **targets.sheet(ANY_MODEL_DATA),
        log:
            paths.log("write_sheet", ANY_MODEL_DATA),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "write_sheet",
                lambda wildcards: demands.labels(model_data_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.sheet_spec(study, model_data_of(wildcards)),
        script:
            "../../scripts/write_sheet.py"

    rule label_pairs:
        input:
            unpack(lambda wildcards: targets.label_inputs(model_data_of(wildcards))),
        output:
            pairs=paths.sampled(ANY_MODEL_DATA),
            labels=paths.labels(ANY_MODEL_DATA),
        log:
            paths.log("label_pairs", ANY_MODEL_DATA),
        wildcard_constraints:
            data="|".join(map(re.escape, targets.labelled_names())),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "label_pairs",
                lambda wildcards: demands.labels(model_data_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.label_spec(study, model_data_of(wildcards)),
        script:
            "../../scripts/label_pairs.py"

    rule tabulate_label_agreement:
        input:
            labels=lambda wildcards: targets.all_labels(),
        output:
            **targets.table_outputs("label_agreement"),
        log:
            paths.log("tabulate_label_agreement", "tables"),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "tabulate_label_agreement", lambda wildcards: demands.analysis()
            ),
        params:
            spec=lambda wildcards: specs.label_agreement_spec(
                study, targets.labelled_data()
            ),
        script:
            "../../scripts/tabulate_label_agreement.py"
