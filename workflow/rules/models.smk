# Models: each stage is made by its method from its parent, its data and nothing else.


rule models:
    input:
        lambda wildcards: targets.models(),


# What a model gives to preference pairs, as the reference of all stages that are tuned from it.
if targets.all_reference_scores():

    rule score_reference:
        input:
            unpack(
                lambda wildcards: targets.reference_inputs(
                    reference_scores_of(wildcards)
                )
            ),
        output:
            paths.reference_scores(ANY, "{pairs}"),
        log:
            paths.log("score_reference", f"{ANY}/{{pairs}}"),
        wildcard_constraints:
            pairs="|".join(
                map(
                    re.escape,
                    {scores.pairs: None for scores in study.all_reference_scores()},
                )
            ),
        priority: lambda wildcards: targets.priority("models", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                "score_reference",
                lambda wildcards: demands.reference_scores(
                    reference_scores_of(wildcards)
                ),
            ),
        params:
            spec=lambda wildcards: specs.reference_spec(
                study, reference_scores_of(wildcards)
            ),
        script:
            "../../scripts/score_reference.py"


rule train:
    input:
        unpack(lambda wildcards: targets.training_inputs(model_of(wildcards))),
    output:
        manifest=paths.manifest(ANY),
        curves=paths.curves(ANY),
        weights=directory(paths.weights(ANY)),
    log:
        paths.log("train", ANY),
    wildcard_constraints:
        stage="|".join(map(re.escape, targets.training_stages())) or "none",
    # The largest model is the longest chain of jobs: it starts first.
    priority: lambda wildcards: targets.priority("models", wildcards.size)
    conda:
        "../../envs/models.yaml"
    threads: study.config.threads
    resources:
        **demands.resources(
            "train", lambda wildcards: demands.model(model_of(wildcards))
        ),
    params:
        spec=lambda wildcards: specs.model_spec(study, model_of(wildcards)),
    script:
        "../../scripts/train.py"


# The epochs of a run are stages, and one job makes them all. There is one rule for each number of epochs.
for name, runs, models in targets.epoch_rules(ANY_RUN):

    rule:
        name:
            name
        input:
            unpack(lambda wildcards: targets.training_inputs(first_epoch(wildcards))),
        output:
            manifests=models["manifests"],
            curves=models["curves"],
            weights=directory(models["weights"]),
        log:
            paths.log("train", ANY_RUN),
        wildcard_constraints:
            run="|".join(map(re.escape, runs)),
        priority: lambda wildcards: targets.priority("models", wildcards.size)
        conda:
            "../../envs/models.yaml"
        threads: study.config.threads
        resources:
            **demands.resources(
                name, lambda wildcards: demands.model(first_epoch(wildcards))
            ),
        params:
            spec=lambda wildcards: specs.run_spec(study, first_epoch(wildcards)),
        script:
            "../../scripts/train_epochs.py"
