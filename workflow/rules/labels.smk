# Pairs that are labelled by a job of their own: candidates, sheets for people, and the labels of people or annotators.


rule labelling_sheets:
    input:
        lambda wildcards: targets.labelling_sheets() + targets.all_sheets(),


if targets.labelled_data():

    rule sample_candidates:
        input:
            unpack(lambda wildcards: targets.sampling_inputs(sampled_of(wildcards))),
        output:
            paths.candidates(ANY_SAMPLED),
        log:
            paths.log("sample_candidates", ANY_SAMPLED),
        priority: lambda wildcards: targets.rank(wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "sample_candidates",
                lambda wildcards: demands.sampled_data(sampled_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.sampled_spec(study, sampled_of(wildcards)),
        script:
            "../../scripts/sample_pairs.py"

    rule write_sheet:
        input:
            candidates=paths.candidates(ANY_SAMPLED),
        output:
            **targets.sheet(ANY_SAMPLED),
        log:
            paths.log("write_sheet", ANY_SAMPLED),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "write_sheet",
                lambda wildcards: demands.labels(sampled_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.sheet_spec(study, sampled_of(wildcards)),
        script:
            "../../scripts/write_sheet.py"

    rule label_pairs:
        input:
            unpack(lambda wildcards: targets.label_inputs(sampled_of(wildcards))),
        output:
            pairs=paths.sampled(ANY_SAMPLED),
            labels=paths.labels(ANY_SAMPLED),
        log:
            paths.log("label_pairs", ANY_SAMPLED),
        wildcard_constraints:
            data="|".join(map(re.escape, targets.labelled_names())),
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(
                "label_pairs",
                lambda wildcards: demands.labels(sampled_of(wildcards)),
            ),
        params:
            spec=lambda wildcards: specs.label_spec(study, sampled_of(wildcards)),
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
