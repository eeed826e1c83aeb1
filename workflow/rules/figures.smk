# Figures: one rule and one function each, fed by tidy tables. The modules that draw are inputs: a figure follows its code.


rule figures:
    input:
        lambda wildcards: targets.figures(),


for name, drawing in targets.drawings().items():

    rule:
        name:
            f"plot_{name}"
        input:
            **targets.figure_inputs(drawing),
            code=targets.figure_code(drawing),
        output:
            svg=report(
                paths.figure(name, "svg"),
                caption=f"../report/{drawing.caption}",
                category=drawing.spec.section,
                labels=targets.figure_labels(drawing),
            ),
            png=paths.figure(name, "png"),
            sha256=paths.figure(name, "sha256"),
        log:
            paths.log("plot", name),
        # Two seconds of drawing are not worth a cluster's job.
        localrule: True
        conda:
            "../../envs/analysis.yaml"
        threads: 1
        resources:
            **demands.resources(f"plot_{name}", lambda wildcards: demands.figure()),
        params:
            spec=specs.figure_spec(study, drawing),
        script:
            "../../scripts/plot.py"
