# Looking after what is there: check every published file; keep the store small.


rule verify:
    log:
        paths.log("verify", "verify"),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        spec="{}",
    script:
        "../../scripts/verify.py"


rule prune:
    log:
        paths.log("prune", "prune"),
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        spec="{}",
    script:
        "../../scripts/prune.py"
